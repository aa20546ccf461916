"""What lies behind the Gaussians of a moving picture: looked up on a cube, asked of the field as seldom as possible.

The background is a colour on a far sphere that depends a little on the direction it is seen from. A
panorama looks its rays' ends on that sphere up, so a camera that moves shifts nothing; only the
direction is the one from the cube's centre. The two directions differ by at most the angle

    moved / (radius - distance from the sphere's centre)

and beyond MOST_ASLANT the panorama is made anew around the camera. Texels are asked for in tiles,
where light passes through the Gaussians and nobody has looked before.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from core.capture.camera import Camera
from core.radiance.field import Sphere
from core.render import panorama_kernels as kernels
from core.render.panorama_kernels import FOCAL, SIDE, TILE, TILES

MOST_ASLANT = 0.03  # radians between the direction looked along and the one a texel was made for
FAINT = 1 / 255  # of the light: what passes less is left black


class Panorama:
    """The background of one snapshot in all directions, on the CPU."""

    def __init__(self, sphere: Sphere) -> None:
        self.sphere = sphere
        self.num_asked = 0  # texels so far
        self._center: np.ndarray | None = None
        self._colors = np.empty((6, SIDE, SIDE, 3), np.float32)
        self._is_known = np.zeros((6, TILES, TILES), bool)

    @torch.no_grad()
    def picture(self, camera: Camera, alpha: torch.Tensor | None = None) -> torch.Tensor:
        """Return the background [H, W, 3]; black where `alpha` [H, W] lets no light through."""
        center = self._stand(camera.center)
        height, width = camera.height, camera.width
        covered = np.empty((0, 0), np.float32) if alpha is None else alpha.contiguous().numpy()
        texels = np.empty((height, width), np.int32)
        weights = np.empty((height, width, 2), np.float32)
        is_wanted = np.zeros((6, TILES, TILES), np.uint8)
        pose, sphere = camera.camera_to_world, self.sphere
        lens = [*pose[:3, :3].ravel(), camera.fx, camera.fy, camera.cx, camera.cy]
        offsets = [*(camera.center - sphere.center), *(camera.center - center)]
        kernels.locate(
            np.array(lens, np.float32), np.array([*offsets, sphere.radius, FAINT], np.float32),
            covered, texels, weights, is_wanted,
        )  # fmt: skip
        self._fill(is_wanted.astype(bool) & ~self._is_known, center)
        picture = torch.empty(height, width, 3)
        kernels.sample(texels, weights, self._colors.reshape(-1, 3), picture.numpy())
        return picture

    def _stand(self, center: np.ndarray) -> np.ndarray:
        """Return where the panorama was made; it starts anew around a camera too far from there."""
        room = self.sphere.radius - float(np.linalg.norm(center - self.sphere.center))
        is_far = self._center is None or (
            float(np.linalg.norm(center - self._center)) > MOST_ASLANT * max(room, 0.0)
        )
        if self._center is None or is_far:
            self._center = center.copy()
            self._is_known[:] = False
        return self._center

    def _fill(self, is_missing: np.ndarray, center: np.ndarray) -> None:
        """Ask the field for tiles of the cube."""
        if not is_missing.any():
            return
        texels = np.flatnonzero(is_missing.repeat(TILE, axis=1).repeat(TILE, axis=2))
        rays = torch.from_numpy(_directions()[texels])
        self._colors.reshape(-1, 3)[texels] = self.sphere.colors(center, rays).numpy()
        self._is_known |= is_missing
        self.num_asked += len(texels)


@functools.cache
def _directions() -> np.ndarray:
    """Return the unit directions of all texels [6 * SIDE * SIDE, 3] float32."""
    across = (np.arange(SIDE) + 0.5 - SIDE / 2) / FOCAL
    rays = np.empty((6, SIDE, SIDE, 3))
    for face in range(6):
        axis, sign = face // 2, 1.0 - 2.0 * (face % 2)
        rays[face, ..., axis] = sign
        rays[face, ..., (axis + 1) % 3] = sign * across[None, :]
        rays[face, ..., (axis + 2) % 3] = across[:, None]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return rays.reshape(-1, 3).astype(np.float32)
