"""Lenses as camera files describe them, and how a distorted picture becomes a pinhole one.

A picture is undistorted when it is first read: it keeps its size, its principal point and the shape of
its pixels, and the focal length grows by the smallest zoom (>= 1) at which every pixel shows
something. There are never black borders, so no mask is needed in the loss; a little of the
picture's edge is cropped where the lens bends it inwards.

    distortion  parameters after focal lengths and centre, in COLMAP's order for `model`
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from core.base.errors import CaptureError
from core.capture.camera import Camera

PINHOLE_MODELS = ("SIMPLE_PINHOLE", "PINHOLE")
# models that are a pinhole camera when all their distortion parameters are zero
POLYNOMIAL_MODELS = ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
MAX_ZOOM = 4.0


@dataclass(frozen=True)
class Lens:
    """Intrinsics in pixels; pixel centres at .5."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = "PINHOLE"
    distortion: tuple[float, ...] = ()

    @property
    def is_pinhole(self) -> bool:
        """Whether pictures need no undistortion."""
        return self.model in PINHOLE_MODELS or (
            self.model in POLYNOMIAL_MODELS and not any(self.distortion)
        )

    def resized(self, width: int, height: int) -> Lens:
        """Return the lens for another number of pixels; distortion acts on normalised rays and stays."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=self.cx * sx,
            cy=self.cy * sy,
        )

    def camera(self, camera_to_world: np.ndarray) -> Camera:
        """Return the pinhole camera of the undistorted picture."""
        zoom = 1.0 if self.is_pinhole else _zoom(self)
        return Camera(
            np.asarray(camera_to_world, dtype=np.float64),
            self.fx * zoom,
            self.fy * zoom,
            self.cx,
            self.cy,
            self.width,
            self.height,
        )

    def crop(self) -> float:
        """Return the share of the file's pixels that the undistorted picture does not show."""
        return 0.0 if self.is_pinhole else _crop(self)

    def undistort(self, picture: np.ndarray) -> np.ndarray:
        """Resample a picture [H, W, C] uint8 to the pinhole camera of `camera`."""
        if self.is_pinhole:
            return picture
        import cv2

        columns, rows = _maps(self)
        return cv2.remap(
            picture, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )  # [H, W, C]

    def project(self, rays: np.ndarray) -> np.ndarray:
        """Map rays [P, 2] (x/z, y/z) to pixels [P, 2] of the distorted picture."""
        import pycolmap

        camera = pycolmap.Camera.create_from_model_id(1, self.model, 1.0, self.width, self.height)
        focals = (self.fx, self.fy)[: len(camera.focal_length_idxs())]
        camera.params = [*focals, self.cx, self.cy, *self.distortion]
        return camera.img_from_cam(np.column_stack([rays, np.ones(len(rays))]))


def check_lens(lens: Lens, where: str) -> Lens:
    """Return a lens whose numbers can be used, or refuse it by name."""
    numbers = (lens.fx, lens.fy, lens.cx, lens.cy, *lens.distortion)
    if not np.isfinite(numbers).all() or min(lens.fx, lens.fy) <= 0:
        raise CaptureError(
            f"{where}: focal length ({lens.fx:g}, {lens.fy:g}) and centre ({lens.cx:g}, {lens.cy:g}) "
            "are not usable numbers. Estimate the cameras again."
        )
    if not (1 <= lens.width <= 65535 and 1 <= lens.height <= 65535):
        raise CaptureError(
            f"{where}: a picture of {lens.width}x{lens.height} pixels is not possible."
        )
    return lens


@lru_cache(maxsize=256)
def _zoom(lens: Lens) -> float:
    """Return the smallest zoom in [1, MAX_ZOOM] whose border shows only what the picture holds."""
    x = np.linspace(0.5, lens.width - 0.5, 65)
    y = np.linspace(0.5, lens.height - 0.5, 65)
    border = np.concatenate(
        [np.column_stack(np.broadcast_arrays(x, edge)) for edge in (y[0], y[-1])]
        + [np.column_stack(np.broadcast_arrays(edge, y)) for edge in (x[0], x[-1])]
    )
    rays = (border - [lens.cx, lens.cy]) / [lens.fx, lens.fy]

    def fits(zoom: float) -> bool:
        pixels = lens.project(rays / zoom)
        inside = (pixels >= 0) & (pixels <= [lens.width, lens.height])
        return bool(np.isfinite(pixels).all() and inside.all())

    if fits(1.0):
        return 1.0
    if not fits(MAX_ZOOM):
        raise CaptureError(
            f"The {lens.model} lens with parameters {lens.distortion} leaves no usable part of a "
            f"{lens.width}x{lens.height} picture. Check its distortion parameters."
        )
    low, high = 1.0, MAX_ZOOM
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


@lru_cache(maxsize=256)
def _crop(lens: Lens) -> float:
    """Return 1 - (area within the pinhole border as the file shows it) / (area of the picture)."""
    pinhole = lens.camera(np.eye(4))
    ends = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) * [lens.width, lens.height]
    steps = np.linspace(0, 1, 64, endpoint=False)[:, None]
    border = np.concatenate([a + steps * (b - a) for a, b in pairwise(ends)])
    x, y = lens.project((border - [pinhole.cx, pinhole.cy]) / [pinhole.fx, pinhole.fy]).T
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2  # of the polygon
    return max(0.0, float(1 - area / (lens.width * lens.height)))


@lru_cache(maxsize=2)
def _maps(lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pinhole pixel lies in the file: columns and rows [H, W] float32, centres at 0."""
    pinhole = lens.camera(np.eye(4))
    x = (np.arange(lens.width) + 0.5 - pinhole.cx) / pinhole.fx
    y = (np.arange(lens.height) + 0.5 - pinhole.cy) / pinhole.fy
    rays = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)  # [H, W, 2]
    pixels = lens.project(rays.reshape(-1, 2)).reshape(rays.shape) - 0.5
    return pixels[..., 0].astype(np.float32), pixels[..., 1].astype(np.float32)
