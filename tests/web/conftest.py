"""Fixtures: pages served from a thread, one Chromium for all browser tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from browser import Browser, find_chromium
from serving import PaintedSession, Serving


@pytest.fixture
def serve() -> Iterator[Callable[..., Serving]]:
    """Return a function that serves a session; everything is closed afterwards."""
    open_ones: list[Serving] = []

    def start(session: Any = None, **options: Any) -> Serving:
        serving = Serving(session or PaintedSession(), **options)
        open_ones.append(serving)
        return serving

    yield start
    for serving in open_ones:
        serving.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start one headless Chromium."""
    if find_chromium() is None:
        pytest.skip("no chromium on this machine (apt install chromium)")
    chromium = Browser(tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()
