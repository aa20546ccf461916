"""What made a pixel: the Gaussians along its ray, their colours taken apart, and what lies behind.

    ids, weights, depths   [M], [M], [M]   front to back; weights and the background's share sum to one
    colors                 [M, 3]          as seen from the camera
    explicit, neural       [M, 3]          the two halves alone, each through the sigmoid; NaN without halves
    places, sizes          [M, 3], [M]     centres in scene units, largest standard deviation

color = sum of weights * colors + background share * background
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from core.base.errors import RenderError
from core.capture.camera import Camera
from core.radiance.field import HybridColors, Snapshot, TracedScene
from core.render.backend import Renderer
from core.render.evaluate import matrices

LEAST = 1e-6  # colours closer to 0 or 1 have no finite logit


@dataclass(frozen=True, eq=False)
class PixelParts:
    """One pixel of one view, taken apart."""

    step: int
    pixel: tuple[int, int]
    ids: np.ndarray
    weights: np.ndarray
    depths: np.ndarray
    colors: np.ndarray
    explicit: np.ndarray
    neural: np.ndarray
    places: np.ndarray
    sizes: np.ndarray
    background: np.ndarray  # [3]

    @property
    def background_share(self) -> float:
        """Light that passes all Gaussians."""
        return float(max(0.0, 1.0 - self.weights.sum()))

    @property
    def color(self) -> np.ndarray:
        """The pixel's colour, [3]."""
        found: np.ndarray = self.weights @ self.colors + self.background_share * self.background
        return found

    @property
    def left(self) -> np.ndarray:
        """What is left of the light behind each Gaussian, [M]."""
        found: np.ndarray = 1.0 - self.weights.cumsum()
        return found


@torch.no_grad()
def taken_apart(
    snapshot: Snapshot, renderer: Renderer, camera: Camera, pixel: tuple[int, int]
) -> PixelParts:
    """Return what made the pixel (x, y) of a view; costs about what preparing one frame does."""
    if isinstance(snapshot, TracedScene):
        raise RenderError(
            "This scene is asked along rays and holds no Gaussians: its pixels have no such parts."
        )
    splats = snapshot.splats(camera)
    viewmats, Ks = matrices(camera, splats.means.device)
    rows, weights, depths = renderer.contributors(
        splats, viewmats[0], Ks[0], pixel, antialiased=snapshot.is_antialiased
    )
    ids = rows if splats.ids is None else splats.ids[rows]
    colors = splats.colors[rows]
    explicit, neural = _halves(snapshot, ids, colors)
    return PixelParts(
        step=snapshot.step,
        pixel=pixel,
        ids=_array(ids).astype(np.int64),
        weights=_array(weights),
        depths=_array(depths),
        colors=_array(colors),
        explicit=explicit,
        neural=neural,
        places=_array(splats.means[rows]),
        sizes=_array(splats.scales[rows].amax(dim=-1)),
        background=_behind(snapshot, camera, pixel),
    )


def _halves(
    snapshot: Snapshot, ids: torch.Tensor, colors: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return both halves of the colours: their sum before the sigmoid is the whole's."""
    if not isinstance(snapshot, HybridColors):
        nothing = np.full((len(ids), 3), np.nan)
        return nothing, nothing
    own = snapshot.explicit_logits(ids)
    whole = torch.logit(colors.clamp(LEAST, 1 - LEAST))
    return _array(torch.sigmoid(own)), _array(torch.sigmoid(whole - own))


def _behind(snapshot: Snapshot, camera: Camera, pixel: tuple[int, int]) -> np.ndarray:
    sphere = snapshot.sphere()
    if sphere is not None:
        x, y = pixel
        ray = np.array([(x + 0.5 - camera.cx) / camera.fx, (y + 0.5 - camera.cy) / camera.fy, 1.0])
        ray = camera.camera_to_world[:3, :3] @ (ray / np.linalg.norm(ray))
        rays = torch.as_tensor(ray[None], dtype=torch.float32, device=snapshot.device)
        return np.clip(_array(sphere.colors(camera.center, rays)[0]), 0, 1)
    found = snapshot.background(camera)
    return np.zeros(3) if found is None else _array(found[pixel[1], pixel[0]])


def _array(values: torch.Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().double().cpu().numpy()
    return found
