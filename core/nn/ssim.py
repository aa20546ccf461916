"""Picture loss and metrics: L1, structural similarity (SSIM) and PSNR.

    rendered, target  [H, W, C]  colours 0..1
    ->
    loss, SSIM, PSNR  []         one number; PSNR in dB

SSIM uses a Gaussian window of 11 pixels with standard deviation 1.5 and counts zeros outside the
picture ("same" padding), as the loss of 3DGS does (Kerbl et al. 2023, eq. 7; Wang et al. 2004,
eq. 13). Metrics that crop the border instead give slightly different numbers. Compiled loops on
the CPU in float32, plain torch elsewhere.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

from core.base.shapes import expect
from core.nn import ssim_kernels as kernels

_scratch = threading.local()


class TargetStatistics:
    """What SSIM needs to know of a photograph: computed once, kept beside it."""

    def __init__(self, target: torch.Tensor) -> None:
        """Blur a photograph [H, W, C] float32 on the CPU."""
        picture = _rows(target)
        self.means, self.variances = np.empty_like(picture), np.empty_like(picture)
        kernels.statistics(
            picture,
            kernels.window(),
            target.shape[2],
            _workspace(picture.shape),
            self.means,
            self.variances,
        )


def l1_ssim_loss(
    rendered: torch.Tensor,
    target: torch.Tensor,
    ssim_weight: float = 0.2,
    statistics: TargetStatistics | None = None,
) -> torch.Tensor:
    """Return (1 - w) * mean |rendered - target| + w * (1 - SSIM); `statistics` saves a pass on the CPU."""
    expect(target, *rendered.shape, name="target")
    if _is_compiled(rendered, target):
        statistics = statistics or TargetStatistics(target)
        return _PictureLoss.apply(rendered, target, ssim_weight, statistics)
    absolute = (rendered - target).abs().mean()
    return (1 - ssim_weight) * absolute + ssim_weight * (1 - ssim_reference(rendered, target))


def ssim(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean SSIM of two pictures [H, W, C]."""
    expect(target, *image.shape, name="target")
    if _is_compiled(image, target):
        return 1 - l1_ssim_loss(image, target, ssim_weight=1.0)
    return ssim_reference(image, target)


def psnr(rendered: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the peak signal-to-noise ratio in dB for a peak of 1; infinite for equal pictures."""
    expect(target, *rendered.shape, name="target")
    return -10 * torch.log10(((rendered - target) ** 2).mean())


def ssim_reference(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute SSIM with plain torch operations in any precision; autograd differentiates it."""
    taps = torch.as_tensor(kernels.window(), dtype=image.dtype, device=image.device)

    def blur(picture: torch.Tensor) -> torch.Tensor:
        planes = picture.permute(2, 0, 1)[:, None]  # [C, 1, H, W]
        planes = torch.nn.functional.conv2d(planes, taps.view(1, 1, 1, -1), padding="same")
        planes = torch.nn.functional.conv2d(planes, taps.view(1, 1, -1, 1), padding="same")
        return planes[:, 0].permute(1, 2, 0)

    mean, target_mean = blur(image), blur(target)
    variance = blur(image * image) - mean**2
    target_variance = blur(target * target) - target_mean**2
    covariance = blur(image * target) - mean * target_mean
    c1, c2 = float(kernels.C1), float(kernels.C2)
    light = (2 * mean * target_mean + c1) / (mean**2 + target_mean**2 + c1)
    contrast = (2 * covariance + c2) / (variance + target_variance + c2)
    return (light * contrast).mean()


class _PictureLoss(torch.autograd.Function):
    """The compiled loss; its gradient is computed along with its value."""

    @staticmethod
    def forward(
        ctx: Any,
        rendered: torch.Tensor,
        target: torch.Tensor,
        ssim_weight: float,
        statistics: TargetStatistics,
    ) -> torch.Tensor:
        picture, count = _rows(rendered), rendered.numel()
        gradient = torch.empty(rendered.shape)
        absolute, similarity = kernels.l1_and_ssim(
            picture,
            _rows(target),
            statistics.means,
            statistics.variances,
            kernels.window(),
            rendered.shape[2],
            np.float32((1 - ssim_weight) / count),
            np.float32(ssim_weight / count),
            _workspace(picture.shape),
            gradient.view(picture.shape).numpy(),
        )
        ctx.save_for_backward(gradient)
        loss = (1 - ssim_weight) * absolute / count + ssim_weight * (1 - similarity / count)
        return torch.tensor(loss, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient if upstream.item() == 1.0 else gradient * upstream), None, None, None


def _rows(picture: torch.Tensor) -> np.ndarray:
    """Return a picture as rows of interleaved channels [H, W * C]."""
    array = picture.detach().contiguous().numpy()
    return array.reshape(array.shape[0], -1)


def _workspace(shape: tuple[int, ...]) -> np.ndarray:
    """Return this thread's scratch [6, H, W * C]; kept for the next picture of the same size.

    Fresh memory for every step costs more than the arithmetic: the system clears each page.
    """
    kept = getattr(_scratch, "workspace", None)
    if kept is None or kept.shape[1:] != shape:
        kept = _scratch.workspace = np.empty((6, *shape), np.float32)
    return kept


def _is_compiled(*tensors: torch.Tensor) -> bool:
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
