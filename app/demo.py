"""Where the bundled demo capture is."""

from __future__ import annotations

from pathlib import Path


def capture_path(given: str | None) -> Path:
    """Return the folder of a capture; without one, the demo's."""
    if given is not None:
        return Path(given)
    from assets import DEMO

    return Path(DEMO)
