"""Small captures that tests write and spoil, and where the real ones lie."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from assets import DEMO
from core.base.events import Event
from core.capture.capture import Capture
from core.capture.opening import open_capture
from core.capture.solids import Box, Solid, Sphere
from core.capture.synthetic import SOLIDS


def real(name: str) -> Path:
    """Return the folder of a real capture, or skip the test."""
    root = os.environ.get("HYRF_TEST_DATA")
    folder = Path(root or "/nowhere") / "captures" / name
    if not folder.is_dir():
        pytest.skip(f"the real capture {name} is not here (set HYRF_TEST_DATA)")
    return folder


class SmallCapture:
    """The first pictures of the demo in a folder of its own, with its JSON as an editable dict."""

    def __init__(self, folder: Path, count: int = 10) -> None:
        self.folder, self.images = folder, folder / "images"
        self.images.mkdir(parents=True)
        self.values = json.loads((DEMO / "transforms.json").read_text())
        self.values["frames"] = self.values["frames"][:count]
        for frame in self.values["frames"]:
            shutil.copy(DEMO / frame["file_path"], folder / frame["file_path"])
        shutil.copy(DEMO / "points.ply", folder)

    @property
    def frames(self) -> list[dict]:
        return self.values["frames"]

    def picture(self, index: int) -> Path:
        return self.folder / self.frames[index]["file_path"]

    def open(self, **options) -> Capture:
        """Write the JSON and open the folder."""
        (self.folder / "transforms.json").write_text(
            json.dumps(self.values, ensure_ascii=False), "utf-8"
        )
        return open_capture(self.folder, **options)


class Heard:
    """Collect events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)


def surface_distances(points: np.ndarray) -> np.ndarray:
    """Return the distance of points [P, 3] in the demo's coordinates to the nearest surface."""
    return np.min([_distance(solid, points) for solid in SOLIDS], axis=0)


def _distance(solid: Solid, points: np.ndarray) -> np.ndarray:
    """Return the distance of points [P, 3] to a solid's surface."""
    if isinstance(solid, Sphere):
        return np.abs(np.linalg.norm(points - solid.center, axis=1) - solid.radius)
    if isinstance(solid, Box):
        offset = np.abs(solid._local(points - solid.center)) - solid.half
        outside = np.linalg.norm(np.maximum(offset, 0), axis=1)
        return np.abs(outside + np.minimum(offset.max(1), 0))
    across = np.hypot(points[:, 0], points[:, 1]) - solid.radius
    along = np.maximum(points[:, 2], -solid.depth - points[:, 2])
    offset = np.column_stack([across, along])
    return np.abs(np.linalg.norm(np.maximum(offset, 0), axis=1) + np.minimum(offset.max(1), 0))
