"""The network of every field: an encoder that all share, hidden layers, one number and a colour.

points  [P, 3]  -1..1  ->  values [P], colors [P, 3] 0..1

waves   sines and cosines of eq. 4 of Mildenhall et al. 2020; `window` fades fast ones in
hash    the multiresolution grid of core/nn/hashgrid.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from core.nn.hashgrid import HashGrid, HashGridConfig, encode_reference

INITIAL_RADIUS = 0.5  # of the ball that a distance field begins as
GRID = HashGridConfig(levels=8, features=2, log2_table=13, base_resolution=8, max_resolution=64)


@dataclass(frozen=True)
class Sizes:
    """Sizes of a field's network."""

    encoder: str
    waves: int
    width: int
    layers: int
    is_ball: bool  # begins as the distance to a ball (Gropp et al. 2020, section 4)


class FieldNetwork(nn.Module):
    """Encoder and hidden layers; smooth, so that a field's slopes mean something."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.window = float(sizes.waves)  # how many waves are let through; not learned
        is_hash = sizes.encoder == "hash"
        self.grid = HashGrid(GRID) if is_hash else None
        width = 3 + (GRID.width if is_hash else 6 * sizes.waves)
        given = [width] + [sizes.width] * (sizes.layers - 1)
        self.hidden = nn.ModuleList(nn.Linear(number, sizes.width) for number in given)
        self.value = nn.Linear(sizes.width, 1)
        self.color = nn.Sequential(
            nn.Linear(sizes.width, sizes.width), nn.ReLU(), nn.Linear(sizes.width, 3)
        )
        if sizes.is_ball and not self.value.weight.is_meta:
            self._begin_as_ball()

    @torch.no_grad()
    def _begin_as_ball(self) -> None:
        """Give layers weights whose sum grows with the distance from the middle."""
        for at, layer in enumerate(self.hidden):
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / layer.out_features))
            nn.init.zeros_(layer.bias)
            if at == 0:
                layer.weight[:, 3:] = 0  # waves and grids come in as they are learned
        nn.init.normal_(self.value.weight, math.sqrt(math.pi / self.sizes.width), 1e-4)
        nn.init.constant_(self.value.bias, -INITIAL_RADIUS)

    @property
    def finest(self) -> float:
        """Half a cell, or a quarter of the shortest wave: slopes are measured over so much."""
        if self.grid is not None:
            return 1.0 / GRID.max_resolution
        return 0.25 / 2 ** (self.sizes.waves - 1)

    def encoded(self, points: torch.Tensor) -> torch.Tensor:
        """Return what the first layer gets, [P, 3 + ...]."""
        if self.grid is not None:
            u = (0.5 + 0.5 * points).clamp(0, 1)
            if u.requires_grad:  # the compiled grid gives points no gradient
                found = encode_reference(self.grid.table, u, self.grid.layout)
            else:
                found = self.grid(u.contiguous())
            return torch.cat((points, found), dim=-1)
        count = self.sizes.waves
        level = torch.arange(count, device=points.device)
        share = (self.window - level).clamp(0, 1)  # Lin et al. 2021, eq. 14
        open_ = (0.5 - 0.5 * torch.cos(torch.pi * share))[:, None]  # [waves, 1]
        angles = points[:, None] * (torch.pi * 2.0**level)[:, None]
        waves = torch.cat((angles.sin() * open_, angles.cos() * open_), dim=-1)  # [P, waves, 6]
        return torch.cat((points, waves.flatten(1)), dim=-1)

    def features(self, points: torch.Tensor) -> torch.Tensor:
        """Return the last hidden values [P, width]."""
        values = self.encoded(points)
        for layer in self.hidden:
            values = nn.functional.softplus(layer(values), beta=100)
        return values

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Return the number at each point [P]."""
        found: torch.Tensor = self.value(self.features(points))[:, 0]
        return found

    def with_colors(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return numbers [P] and colours [P, 3]."""
        features = self.features(points)
        return self.value(features)[:, 0], torch.sigmoid(self.color(features))

    def slopes(self, points: torch.Tensor) -> torch.Tensor:
        """Return gradients [P, 3] as differences over `finest`, which jump at no cell's border."""
        step = self.finest
        offsets = step * torch.eye(3, device=points.device)
        both = torch.cat((points + offsets[:, None], points - offsets[:, None]))  # [6, P, 3]
        ahead, behind = self(both.reshape(-1, 3)).reshape(2, 3, -1)
        return ((ahead - behind) / (2 * step)).T
