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
from core.capture.masks import MaskConfig, Transparency
from core.capture.pictures import over

TEST_EVERY = 8
AS_THEY_ARE = MaskConfig()


@dataclass(frozen=True, eq=False)
class Photo:
    """One photograph: `read()` decodes it, undistorted, as [H, W, 3] or [H, W, 4] uint8 at any size.

    `read_weight()` returns its mask likewise, [H, W] at any size; None: there is no mask. `masks`
    says what of mask and transparency is used. `crop` is the share of the file's pixels that
    undistorting pushed out of the picture.
    """

    name: str
    path: Path
    camera: Camera
    read: Callable[[], np.ndarray] = field(repr=False)
    is_test: bool = False
    crop: float = 0.0
    read_weight: Callable[[], np.ndarray] | None = field(default=None, repr=False)
    masks: MaskConfig = AS_THEY_ARE

    @property
    def most_channels(self) -> int:
        """How many channels `sample` has at most."""
        has_mask = self.masks.is_used and self.read_weight is not None
        return 4 if has_mask or self.masks.transparency is Transparency.MASK else 3

    def image(self) -> np.ndarray:
        """Return the picture [H, W, 3] uint8 at the camera's size (area-averaged when smaller), alpha over white."""
        level = 0 if self.masks.transparency is Transparency.BLACK else 255
        return resized(over(self.read(), level), self.camera.width, self.camera.height)

    def sample(self) -> np.ndarray:
        """Return what is learnt at the camera's size: the picture, and where some of it does not count, how much does.

        [H, W, 3] uint8, or [H, W, 4] with the weight last: 255 counts, 0 does not.
        """
        width, height = self.camera.width, self.camera.height
        picture, weights = self.read(), []
        if self.masks.transparency is Transparency.MASK and picture.shape[2] == 4:
            weights.append(picture[..., 3])
            picture = picture[..., :3]
        if self.masks.is_used and self.read_weight is not None:
            weight = self.read_weight()
            weights.append(255 - weight if self.masks.is_inverted else weight)
        picture = over(picture, 0 if self.masks.transparency is Transparency.BLACK else 255)
        if not weights:
            return resized(picture, width, height)
        rows, columns = picture.shape[:2]
        weight = np.min([resized(weight, columns, rows) for weight in weights], axis=0)
        return resized(np.dstack([picture, weight]), width, height)


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize [H, W], [H, W, 3] or [H, W, 4] uint8; what does not count gives nothing to the pixels beside it."""
    import cv2

    if picture.shape[1::-1] == (width, height):
        return picture
    is_smaller = width <= picture.shape[1] and height <= picture.shape[0]
    rule = cv2.INTER_AREA if is_smaller else cv2.INTER_CUBIC
    if picture.ndim == 2 or picture.shape[2] == 3:
        return np.asarray(cv2.resize(picture, (width, height), interpolation=rule))
    rule = rule if is_smaller else cv2.INTER_LINEAR
    weight = picture[..., 3:].astype(np.float32)
    layers = np.concatenate([picture[..., :3] * (weight / 255), weight], axis=-1)
    layers = cv2.resize(layers, (width, height), interpolation=rule)  # [H, W, 4]
    layers[..., :3] *= 255 / np.maximum(layers[..., 3:], 1e-3)
    return np.rint(np.clip(layers, 0, 255)).astype(np.uint8)


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

    def masked(self, masks: MaskConfig) -> Capture:
        """Return the capture with masks and transparency used in this way."""
        return replace(self, photos=tuple(replace(photo, masks=masks) for photo in self.photos))

    def limited(self, max_size: int) -> Capture:
        """Return the capture with every picture's longer side at most `max_size` pixels."""
        photos = tuple(
            replace(photo, camera=_limited(photo.camera, max_size)) for photo in self.photos
        )
        return replace(self, photos=photos)


def _limited(camera: Camera, max_size: int) -> Camera:
    scale = min(1.0, max_size / max(camera.width, camera.height))
    return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
