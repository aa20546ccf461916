"""Where results that are expensive to make are kept between starts."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return the folder for one kind of results: under $HYRF_CACHE, else the user's cache."""
    root = os.environ.get("HYRF_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "hyrf-studio") / name
