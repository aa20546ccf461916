"""Colours of Gaussians seen from one place, from harmonics kept as training keeps them.

    means    [V, 3]      scene units; receive no gradient
    center   [3]         of the camera
    sh_dc    [V, 1, 3]   the constant band
    sh_rest  [V, K, 3]   the others, of which those up to `degree` take part
    ->
    colors   [V, 3]      not below 0

One compiled pass each way on the CPU in float32; the plain composition elsewhere is its slow twin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from core.radiance import sh_kernels as kernels
from core.radiance.sh import evaluate_sh
from core.radiance.splats import unit_directions

Coefficients = tuple[torch.Tensor, torch.Tensor]


def seen_colors(
    means: torch.Tensor, center: np.ndarray, coefficients: Coefficients, degree: int
) -> torch.Tensor:
    """Return the colours [V, 3]; differentiable in the coefficients (constant band, other bands)."""
    tensors = means, *coefficients
    if all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors):
        return _SeenColors.apply(means.detach(), center, (degree + 1) ** 2, *coefficients)
    return seen_colors_reference(means, center, coefficients, degree)


def seen_colors_reference(
    means: torch.Tensor, center: np.ndarray, coefficients: Coefficients, degree: int
) -> torch.Tensor:
    """Return the colours piece by piece, on any device and in any precision."""
    constant, bands = coefficients
    used = torch.cat((constant, bands[:, : (degree + 1) ** 2 - 1]), dim=1)
    return evaluate_sh(used, unit_directions(means.detach(), center))


class _SeenColors(torch.autograd.Function):
    """The compiled colours; the bases are computed again in the backward."""

    @staticmethod
    def forward(
        ctx: Any,
        means: torch.Tensor,
        center: np.ndarray,
        num_bases: int,
        constant: torch.Tensor,
        bands: torch.Tensor,
    ) -> torch.Tensor:
        means, colors = means.contiguous(), torch.empty(len(means), 3)
        ctx.center, ctx.num_bases, ctx.num_bands = (
            np.asarray(center, np.float32),
            num_bases,
            bands.shape[1],
        )
        own, others = (given.detach().contiguous().numpy() for given in (constant, bands))
        kernels.seen_forward(means.numpy(), ctx.center, own, others, num_bases, colors.numpy())
        ctx.save_for_backward(means, colors)
        return colors

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        means, colors = ctx.saved_tensors
        to_constant = torch.empty(len(means), 1, 3)
        to_bands = torch.empty(len(means), ctx.num_bands, 3)
        kernels.seen_backward(
            means.numpy(),
            ctx.center,
            colors.numpy(),
            upstream.contiguous().numpy(),
            ctx.num_bases,
            to_constant.numpy(),
            to_bands.numpy(),
        )
        return None, None, None, to_constant, to_bands
