"""Where results that are expensive to make are kept between starts."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return the folder for one kind of results: under $HYRF_CACHE, else the user's cache."""
    root = os.environ.get("HYRF_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "hyrf-studio") / name


def keep(path: Path, content: bytes) -> None:
    """Write a result whole or not at all; without a writable cache the next start computes it again."""
    temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
