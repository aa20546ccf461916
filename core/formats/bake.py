"""Bake a scene whose colour comes from a network into plain Gaussians with spherical harmonics.

Positions, sizes, rotations and opacities are taken over exactly. Colours are asked for from the
cameras' places and from places spread around the scene, and fitted by weighted least squares:
a camera that has the Gaussian in view counts in full, every other place a little, so that the
colour stays sensible where no photograph looked from.

    colors  [M, N, 3]  seen from M places
    bases   [M, n, K]  spherical harmonics towards them, for n Gaussians at a time
    ->
    sh_coeffs [N, K, 3]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from core.capture.camera import Camera
from core.formats.spread import spread
from core.radiance.field import Snapshot
from core.radiance.parts import SceneParts
from core.radiance.sh import BASE, sh_basis
from core.radiance.sh_splats import splat_parts
from core.radiance.visible import visible_rows

MOST_CAMERAS = 64
SPREAD_PLACES = 32
SPREAD_WEIGHT = 0.05  # of a place that no photograph saw the Gaussian from
RIDGE = 1e-3  # of the total weight, on what depends on direction
ROWS = 4096  # Gaussians solved at a time
SMALLEST_SCALE = 1e-12
OPACITY_MARGIN = 1e-6


@torch.no_grad()
def bake_sh(snapshot: Snapshot, cameras: Sequence[Camera], degree: int = 3) -> SceneParts:
    """Return the scene as plain Gaussians of a degree 0 to 3; what lies behind them is left out."""
    chosen = _evenly(cameras, MOST_CAMERAS)
    places = [camera.center for camera in chosen] + _around(snapshot.bounds)
    splats = snapshot.all_splats(places[0])
    colors = torch.stack([snapshot.all_splats(place).colors.cpu() for place in places])
    means = splats.means.cpu()
    sizes = splats.scales.cpu().amax(dim=1)
    weights = torch.full((len(places), len(means)), SPREAD_WEIGHT)
    for number, camera in enumerate(chosen):
        weights[number, visible_rows(means, camera, sizes)] = 1.0
    centers = torch.as_tensor(np.stack(places), dtype=torch.float32)
    sh_coeffs = torch.cat(
        [
            _fitted(means[rows], centers, colors[:, rows], weights[:, rows], degree)
            for rows in torch.arange(len(means)).split(ROWS)
        ]
    )
    described = snapshot.parts()
    opacities = splats.opacities.cpu().clamp(OPACITY_MARGIN, 1 - OPACITY_MARGIN)
    return SceneParts(
        kind="splats",
        parts=splat_parts(
            means.numpy(),
            splats.scales.cpu().clamp(min=SMALLEST_SCALE).log().numpy(),
            splats.quats.cpu().numpy(),
            torch.logit(opacities).numpy(),
            sh_coeffs.numpy(),
        ),
        settings={"sh_degree": degree},
        step=snapshot.step,
        bounds=snapshot.bounds,
        up=snapshot.up,
        to_original=snapshot.to_original,
        summary=described.summary,
    )


def _fitted(
    means: torch.Tensor,
    centers: torch.Tensor,
    colors: torch.Tensor,
    weights: torch.Tensor,
    degree: int,
) -> torch.Tensor:
    """Return coefficients [n, K, 3]: the mean colour is free, the rest pays for its size."""
    directions = torch.nn.functional.normalize(means[None] - centers[:, None], dim=-1)  # [M, n, 3]
    bases = sh_basis(directions, degree).permute(1, 0, 2).double()  # [n, M, K]
    weighted = bases * weights.T[..., None]  # [n, M, K]
    total = weights.sum(0).double()  # [n]
    penalty = torch.full((bases.shape[-1],), RIDGE * BASE**2, dtype=torch.float64)
    penalty[0] = 0.0
    normal = weighted.transpose(1, 2) @ bases + torch.diag(penalty) * total[:, None, None]
    wanted = weighted.transpose(1, 2) @ (colors.permute(1, 0, 2).double() - 0.5)  # [n, K, 3]
    return torch.linalg.solve(normal, wanted).float()


def _evenly(cameras: Sequence[Camera], most: int) -> list[Camera]:
    if len(cameras) <= most:
        return list(cameras)
    return [cameras[round(k)] for k in np.linspace(0, len(cameras) - 1, most)]


def _around(bounds: np.ndarray) -> list[np.ndarray]:
    """Return places spread evenly over a sphere around the scene."""
    bounds = np.asarray(bounds, dtype=np.float64)
    middle, radius = bounds.mean(0), max(float(np.linalg.norm(bounds[1] - bounds[0])), 1e-3)
    return list(middle + radius * spread(SPREAD_PLACES))
