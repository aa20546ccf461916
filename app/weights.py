"""What a scene weighs on disk, by part: read from its file, or estimated from its arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.engine import use_one_core

if TYPE_CHECKING:
    from core.radiance.field import Snapshot

SHARE_NAMES = {
    "explicit": ("Gaussians", "gaussians"),
    "geometry grid": ("Geometry field", "neural"),
    "radiance grid": ("Colour field", "neural"),
    "networks": ("Networks", "neural"),
}
BYTES_PER_VALUE = {"position16": 2, "uniform8": 1, "table8": 1, "float16": 2}
Shares = tuple[tuple[str, float, str], ...]


@dataclass(frozen=True)
class Weight:
    """(name, bytes, palette role) of each part, from a file if `is_exact`; whether there is a neural background."""

    shares: Shares
    is_exact: bool
    has_background: bool


def weigh(snapshot: Snapshot, file: Path | None = None) -> Weight:
    """Weigh a scene beside the app loop; `file` is where it was opened from."""
    use_one_core()
    shares = shares_of_file(file) if file is not None else _estimated(snapshot)
    return Weight(shares, file is not None, _has_background(snapshot))


def shares_of_file(path: Path) -> Shares:
    """Return what each part takes in a scene file."""
    from core.formats import size_of

    amounts = {name: float(size) for name, size in size_of(path).items() if name != "total"}
    return _named(amounts)


def _estimated(snapshot: Snapshot) -> Shares:
    """Add up the arrays as they are coded; packing them saves a little more."""
    amounts: dict[str, float] = {}
    for part in snapshot.parts().parts.values():
        each = BYTES_PER_VALUE.get(part.coding.value, part.values.itemsize)
        amounts[part.component] = amounts.get(part.component, 0.0) + float(part.values.size * each)
    return _named(amounts)


def _named(amounts: dict[str, float]) -> Shares:
    """Put parts into their usual order with names for people; unknown ones come last, in plain text colour."""
    known = [name for name in SHARE_NAMES if name in amounts]
    others = [name for name in amounts if name not in SHARE_NAMES]
    rows = [(SHARE_NAMES[name][0], amounts[name], SHARE_NAMES[name][1]) for name in known]
    rows += [(name.capitalize(), amounts[name], "secondary") for name in others]
    return tuple(rows)


def _has_background(snapshot: Snapshot) -> bool:
    """Ask the scene itself, for a picture of a few pixels."""
    from core.capture.camera import Camera, look_at

    center = snapshot.bounds.mean(axis=0)
    pose = look_at(center, center + np.array([1.0, 0.3, 0.2]), snapshot.up)
    return snapshot.background(Camera(pose, 8.0, 8.0, 4.0, 4.0, 8, 8)) is not None
