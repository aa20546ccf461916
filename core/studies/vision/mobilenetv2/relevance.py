"""Grad-CAM: where in a picture the features stand that raise a class's logit.

    map = relu(sum_c mean_yx(d logit / d F_c) F_c)     [B, h, w]

Selvaraju et al. 2017, eqs. 1 and 2. F are features of any layer that a record holds. At the last
layer of a network that averages and maps linearly this is the class activation map of Zhou et al. 2016.
"""

from __future__ import annotations

import torch

from core.nn.macs import measuring
from core.studies.vision.mobilenetv2.network import MobileNet, Record


def grad_cam(
    module: MobileNet, pictures: torch.Tensor, classes: torch.Tensor, layer: str = "last"
) -> torch.Tensor:
    """Return the map [B, h, w] of one class [B] for each picture; no parameter's gradient is touched."""
    record: Record = {}
    with measuring(module), torch.enable_grad():
        logits = module(pictures, record)
        features = record[layer]  # [B, C, h, w]
        wanted = logits.gather(1, classes[:, None]).sum()
        (slopes,) = torch.autograd.grad(wanted, features)
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    return torch.relu((weights * features.detach()).sum(dim=1))


def enlarged(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Return maps [B, h, w] at the pictures' size, each with a largest value of one."""
    grown = torch.nn.functional.interpolate(
        maps[:, None], size=(size, size), mode="bilinear", align_corners=False
    )[:, 0]
    return grown / grown.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
