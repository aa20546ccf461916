"""How many badly drawn pixels a Gaussian covers: the score of density control by errors.

    errors   [H, W]  mean absolute error of a picture over its channels
    means2d  [V, 2]  pixels
    radii    [V]     pixels, 0 where not drawn
    ->
    covered  [V]     badly drawn pixels in the square round each Gaussian

A pixel is badly drawn where its error, scaled to 0..1 over the picture, exceeds a threshold. The
mean of `covered` over several views (FastGS, Ren et al. 2025, arXiv 2511.04283, multi-view
consistent densification) says where detail is missing; their sum says which Gaussians to remove
(multi-view consistent pruning). The squares stand for the exact footprints: four numbers of a
summed-area table each, whatever their size. The views are those of the steps since the last
round, where FastGS draws ten anew.
"""

from __future__ import annotations

import torch


def covered_errors(
    errors: torch.Tensor, means2d: torch.Tensor, radii: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Return how many badly drawn pixels lie in the square round each Gaussian, [V]."""
    height, width = errors.shape
    low, high = errors.min(), errors.max()
    bad = (errors - low) > threshold * (high - low)
    table = errors.new_zeros(height + 1, width + 1)  # of whole numbers: exact up to 2^24 pixels
    table[1:, 1:] = bad.to(errors.dtype).cumsum(0).cumsum(1)
    reach = radii.to(means2d.dtype)[:, None]
    size = means2d.new_tensor((width, height))
    first = torch.minimum((means2d - reach).floor().clamp(min=0), size).long()  # [V, 2]
    last = torch.minimum((means2d + reach).ceil().clamp(min=0), size).long()
    (left, top), (right, bottom) = first.unbind(1), last.unbind(1)
    inside = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return torch.where(radii > 0, inside, torch.zeros_like(inside))
