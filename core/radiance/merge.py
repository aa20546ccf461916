"""How explicit logits and field outputs become a Gaussian (HyRF, section 3.3, equations 5 to 8).

color_logits    [V, 3]   c = sigmoid(c_n + c_e)
opacity_logits  [V]      a = sigmoid(a_n + a_e)
scale_logits    [V]      s = sigmoid(s_n + s_e) in the paper, sigmoid(s_n) * sigmoid(s_e) in the code
rotation                 r = (1, 0, 0, 0) + r_n, normalised where used; purely neural
offsets         [V, 8]   s_n (3), r_n (4), a_n (1)
"""

from __future__ import annotations

from enum import Enum

import torch

LOGIT_LIMIT = 15.0


class ScaleMerge(str, Enum):
    """Where the paper and its code disagree."""

    SUM = "sum"
    PRODUCT = "product"


def merged_scales(
    scale_logits: torch.Tensor, offsets: torch.Tensor, merge: ScaleMerge
) -> torch.Tensor:
    """Return standard deviations [V, 3]; every axis is below one scene unit."""
    neural, own = offsets[:, :3], scale_logits[:, None]
    if merge is ScaleMerge.SUM:
        return torch.sigmoid(neural + own)
    return torch.sigmoid(neural) * torch.sigmoid(own)


def merged_quats(offsets: torch.Tensor) -> torch.Tensor:
    """Return rotations [V, 4] (w, x, y, z), not normalised; zero offsets mean no rotation."""
    identity = offsets.new_tensor((1.0, 0.0, 0.0, 0.0))
    return offsets[:, 3:7] + identity


def merged_opacities(opacity_logits: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Return opacities [V]."""
    return torch.sigmoid(offsets[:, 7] + opacity_logits)


def logits_of(values: torch.Tensor) -> torch.Tensor:
    """Return log(p / (1 - p)), finite also at 0 and 1."""
    return torch.logit(values.double(), eps=1e-7).to(values.dtype)


def solved_scale_logits(
    scales: torch.Tensor, offsets: torch.Tensor, merge: ScaleMerge
) -> torch.Tensor:
    """Return the explicit logits [M] whose merged scales [M, 3] come closest, in the mean over axes of their logits.

    The official code takes the mean of logit(s / 1.6) alone, which applies the neural part twice.
    """
    if merge is ScaleMerge.SUM:
        own = logits_of(scales) - offsets[:, :3]
    else:
        own = logits_of((scales / torch.sigmoid(offsets[:, :3])).clamp(1e-6, 1 - 1e-6))
    return own.mean(dim=1).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)


def solved_opacity_logits(opacities: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Return the explicit logits [M] that give the asked opacities at these offsets."""
    return (logits_of(opacities) - offsets[:, 7]).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
