"""What a scene weighs on disk, by part, estimated from its arrays without writing a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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


def measured_shares(snapshot: Snapshot) -> tuple[Shares, bool]:
    """Return (name, bytes, palette role) of each part, and whether the scene has a neural background."""
    from core.capture.camera import Camera, look_at
    from core.engine.cores import use_cores

    use_cores(1)
    amounts: dict[str, float] = {}
    for part in snapshot.parts().parts.values():
        each = BYTES_PER_VALUE.get(part.coding.value, part.values.itemsize)
        amounts[part.component] = amounts.get(part.component, 0.0) + float(part.values.size * each)
    center = snapshot.bounds.mean(axis=0)
    pose = look_at(center, center + np.array([1.0, 0.3, 0.2]), snapshot.up)
    probe = Camera(pose, 8.0, 8.0, 4.0, 4.0, 8, 8)
    shares = tuple(
        (SHARE_NAMES[name][0], amounts[name], SHARE_NAMES[name][1])
        for name in SHARE_NAMES
        if name in amounts
    )
    return shares, snapshot.background(probe) is not None
