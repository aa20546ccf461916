"""Compare pictures where it counts: masked pixels neither teach nor are measured.

    sample            [H, W, 3 or 4]  a photograph 0..1, where something is masked with the weight last
    rendered, target  [H, W, 3]       colours 0..1
    weight            [H, W, 1]       1 counts, 0 does not; None: everything counts

Where a pixel does not count, the photograph is taken to show what is rendered there: its difference,
its gradient and its part of SSIM's windows vanish, and the loss itself is the usual one. A mean over all pixels
times `share_of` is then the mean over those that count.
"""

from __future__ import annotations

import torch

from core.nn.ssim import ssim


def parts_of(sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Split a sample into picture and weight."""
    if sample.shape[-1] == 3:
        return sample, None
    return sample[..., :3].contiguous(), sample[..., 3:]


def counted(
    rendered: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both pictures with what is rendered, held still, in place of what does not count."""
    if weight is None:
        return rendered, target
    still = rendered.detach()
    return torch.lerp(still, rendered, weight), torch.lerp(still, target, weight)


def share_of(weight: torch.Tensor | None) -> float:
    """Return all pixels by those that count; 0 where none does."""
    if weight is None:
        return 1.0
    total = float(weight.sum())
    return weight.numel() / total if total > 0 else 0.0


def compared(
    rendered: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None
) -> dict[str, float]:
    """Return PSNR and SSIM over the pixels that count."""
    rendered, target = counted(rendered, target, weight)
    share = share_of(weight)
    # the difference already holds the weight once: squared it would count twice
    divisor = 1.0 if weight is None else weight.clamp(min=1e-6)
    error = ((rendered - target) ** 2 / divisor).mean() * share
    return {
        "psnr": float(-10 * torch.log10(error)),
        "ssim": 1 - share * (1 - float(ssim(rendered, target))),
    }
