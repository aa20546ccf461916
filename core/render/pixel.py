"""Who paints a pixel: the Gaussians under it, their weights and depths, front to back."""

from __future__ import annotations

import torch

from core.radiance.splats import Splats
from core.render.backend import ALPHA_CUT, ALPHA_MAX
from core.render.reference import distance2, project, weights


@torch.no_grad()
def contributors(
    splats: Splats,
    viewmat: torch.Tensor,
    K: torch.Tensor,
    pixel: tuple[int, int],
    *,
    antialiased: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return rows of `splats` [M], compositing weights [M] and depths [M] of one pixel (x, y), front to back."""
    x, y = pixel
    viewmat, K = viewmat.to(splats.means), K.to(splats.means)
    # the bound on x/z depends on the size of the picture, which the pixel inspector does not know:
    # a principal point in the middle gives it
    width, height = round(2 * float(K[0, 2])), round(2 * float(K[1, 2]))
    projected = project(splats, viewmat, K, max(width, x + 1), max(height, y + 1), antialiased)
    if not len(projected.rows):
        nothing = splats.means.new_zeros(0)
        return projected.rows, nothing, nothing
    point = splats.means.new_tensor([[x + 0.5, y + 0.5]])
    squared = distance2(projected, point)[:, 0]
    alphas = (projected.opacities * torch.exp(-squared)).clamp(max=ALPHA_MAX)
    under = alphas >= ALPHA_CUT
    weight = weights(alphas[under, None])[:, 0]
    drawn = weight > 0
    return (
        projected.rows[under][drawn],
        weight[drawn],
        projected.depths[under][drawn],
    )
