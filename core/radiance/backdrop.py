"""A picture of Gaussians over a background that is asked for at fewer pixels.

    rgb [H, W, 3], alpha [H, W, 1], background [h, w, 3] with h <= H, w <= W
    ->
    picture [H, W, 3] = rgb + (1 - alpha) * the background, enlarged bilinearly

Compiled loops on the CPU in float32, plain torch elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from core.radiance import backdrop_kernels as kernels


def laid_over(
    rgb: torch.Tensor, alpha: torch.Tensor, background: torch.Tensor | None
) -> torch.Tensor:
    """Return the picture [H, W, 3]; differentiable in all three."""
    if background is None:
        return rgb
    if _is_compiled(rgb, alpha, background):
        return _LaidOver.apply(rgb, alpha, background)
    return rgb + (1 - alpha) * enlarged(background, rgb.shape[0], rgb.shape[1])


def enlarged(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return a picture [h, w, 3] enlarged to [H, W, 3]."""
    if picture.shape[:2] == (height, width):
        return picture
    grown = F.interpolate(
        picture.permute(2, 0, 1)[None], (height, width), mode="bilinear", align_corners=False
    )
    return grown[0].permute(1, 2, 0)


def seen_through(alpha: torch.Tensor, height: int, width: int, least: float) -> torch.Tensor:
    """Return the coarse cells [S] near which a pixel lets more than `least` through, with a border of one cell."""
    if _is_compiled(alpha):
        cells = np.empty((height, width), np.uint8)
        opacity = alpha.detach()[..., 0].numpy()
        kernels.shows_through(opacity, np.float32(least), np.empty_like(cells), cells)
        return torch.from_numpy(np.flatnonzero(cells))
    passing = (1 - alpha.detach())[None, :, :, 0][None]  # [1, 1, H, W]
    found = F.adaptive_max_pool2d(passing, (height, width))
    found = F.max_pool2d(found, 3, stride=1, padding=1)
    return (found.flatten() > least).nonzero().flatten()


class _LaidOver(torch.autograd.Function):
    """The compiled composition."""

    @staticmethod
    def forward(
        ctx: Any, rgb: torch.Tensor, alpha: torch.Tensor, background: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(alpha, background)
        picture = torch.empty_like(rgb)
        kernels.lay_over(rgb.detach().numpy(), *_arrays(alpha, background), picture.numpy())
        return picture

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, ...]:
        alpha, background = ctx.saved_tensors
        to_alpha, to_background = torch.empty_like(alpha), torch.empty_like(background)
        row_sums = np.empty((len(alpha), *background.shape[1:]), np.float32)
        kernels.lay_over_backward(
            upstream.contiguous().numpy(),
            *_arrays(alpha, background),
            row_sums,
            to_alpha[..., 0].numpy(),
            to_background.numpy(),
        )
        return upstream, to_alpha, to_background


def _arrays(alpha: torch.Tensor, background: torch.Tensor) -> tuple[Any, ...]:
    (height, width), (rows, columns) = alpha.shape[:2], background.shape[:2]
    steps = kernels.steps(height, rows), kernels.steps(width, columns)
    return alpha.detach()[..., 0].numpy(), background.detach().numpy(), *steps


def _is_compiled(*tensors: torch.Tensor) -> bool:
    return all(
        tensor.device.type == "cpu" and tensor.dtype == torch.float32 and tensor.is_contiguous()
        for tensor in tensors
    )
