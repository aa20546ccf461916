"""Coordinate-aware modulation in three dimensions: planes of numbers that scale and shift features.

    places [N, 3]  0..1
    ->
    gamma, beta [N, layers]  one number of each for a layer, for all of its features

Lee et al. 2024, static scenes: a layer has three planes (xy, xz, yz) of gamma, whose values at a place
are multiplied. Those of beta are added here: a product of three zeros, where beta starts, never learns.
"""

from __future__ import annotations

import torch
from torch import nn

AXES = ((0, 1), (0, 2), (1, 2))  # of the planes


class PlaneModulation(nn.Module):
    """The planes [3, layers, side, side] of all layers of a network; gamma starts at one, beta at zero."""

    def __init__(self, layers: int, side: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(3, layers, side, side))
        self.beta = nn.Parameter(torch.zeros(3, layers, side, side))

    def forward(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return gamma and beta [N, layers], read by linear interpolation."""
        points = 2 * places - 1
        pairs = torch.stack([points[:, axes] for axes in AXES])[:, :, None]  # [3, N, 1, 2]
        planes = torch.cat((self.gamma, self.beta), dim=1)
        # all layers at once: reading is then paid for once per plane
        read = nn.functional.grid_sample(planes, pairs, align_corners=True, padding_mode="border")
        gamma, beta = read[..., 0].chunk(2, dim=1)  # [3, layers, N]
        return gamma.prod(dim=0).T, beta.sum(dim=0).T
