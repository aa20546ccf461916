"""A capture: photographs with cameras, seed points and the way back to the original coordinates.

points        [P, 3]  float32  scene units
point_colors  [P, 3]  uint8    sRGB
bounds        [2, 3]  float64  scene units: lowest and highest corner of what the cameras see in common
up            [3]     float64  unit vector
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from core.capture.camera import Camera, Similarity
from core.capture.pictures import over_white

TEST_EVERY = 8


@dataclass(frozen=True, eq=False)
class Photo:
    """One photograph: `read()` decodes it, undistorted, as [H, W, 3] or [H, W, 4] uint8 at any size.

    `crop` is the share of the file's pixels that undistorting pushed out of the picture.
    """

    name: str
    path: Path
    camera: Camera
    read: Callable[[], np.ndarray] = field(repr=False)
    is_test: bool = False
    crop: float = 0.0

    def image(self) -> np.ndarray:
        """Return the picture [H, W, 3] uint8 at the camera's size (area-averaged when smaller), alpha over white."""
        import cv2

        picture = over_white(self.read())
        size = (self.camera.width, self.camera.height)
        if picture.shape[1::-1] == size:
            return picture
        is_smaller = size[0] <= picture.shape[1] and size[1] <= picture.shape[0]
        rule = cv2.INTER_AREA if is_smaller else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(picture, size, interpolation=rule))


@dataclass(frozen=True, eq=False)
class Capture:
    """Immutable set of photographs. `to_original` maps scene units to the coordinates of the files.

    `seeds` says where the points come from; `poses` how the cameras were estimated, where they were.
    """

    name: str
    folder: Path
    photos: tuple[Photo, ...]
    points: np.ndarray
    point_colors: np.ndarray
    bounds: np.ndarray
    up: np.ndarray
    to_original: Similarity
    seeds: str = ""
    poses: str = ""
    notices: tuple[str, ...] = ()

    @property
    def train(self) -> tuple[Photo, ...]:
        """Photographs to learn from."""
        return tuple(photo for photo in self.photos if not photo.is_test)

    @property
    def test(self) -> tuple[Photo, ...]:
        """Photographs held out."""
        return tuple(photo for photo in self.photos if photo.is_test)

    def limited(self, max_size: int) -> Capture:
        """Return the capture with every picture's longer side at most `max_size` pixels."""
        photos = tuple(
            replace(photo, camera=_limited(photo.camera, max_size)) for photo in self.photos
        )
        return replace(self, photos=photos)


def _limited(camera: Camera, max_size: int) -> Camera:
    scale = min(1.0, max_size / max(camera.width, camera.height))
    return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
