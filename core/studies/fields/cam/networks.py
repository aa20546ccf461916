"""The networks: coordinates in, values out, with or without grids inside.

places       [N, rank]      0..1, (y, x), (x) or (y, x, t)
values       [N, channels]  0..1
gamma, beta  [N, 1]         one number a sample, for all features of a layer
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import nn

from core.nn.hash_levels import HashLevels, geometric_sides


class Modulation(nn.Module):
    """Two grids of one number per cell: gamma, which scales, and beta, which shifts."""

    def __init__(self, rank: int, side: int) -> None:
        super().__init__()
        shape = (1, 1, *([side] * rank)) if rank > 1 else (1, 1, 1, side)
        self.gamma, self.beta = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return gamma and beta [N, 1] at places [N, rank] of 0..1; the last axis is x for torch."""
        points = 2 * places.flip(-1) - 1  # [N, rank], x first
        if points.shape[-1] == 1:
            points = torch.cat((points, torch.zeros_like(points)), dim=-1)
        points = points[None, :, None]  # [1, N, 1, 2]
        return tuple(  # type: ignore[return-value]
            nn.functional.grid_sample(grid, points, align_corners=True, padding_mode="border")
            .reshape(1, -1)
            .T
            for grid in (self.gamma, self.beta)
        )


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network, and what its layers do between the linear map and the activation."""

    rank: int = 2
    channels: int = 3
    features: int = 128
    sigma: float = 10.0
    width: int = 128
    layers: int = 3
    grid: int = 16
    has_norm: bool = True
    is_modulated: bool = True
    by_time: bool = False  # modulate by the last coordinate alone


class CoordinateNetwork(nn.Module):
    """Fourier features, hidden layers that may be normalised and modulated, a sigmoid at the end."""

    def __init__(self, config: Sizes) -> None:
        super().__init__()
        rank, channels, width = config.rank, config.channels, config.width
        self.has_norm, self.by_time = config.has_norm, config.by_time
        self.register_buffer("frequencies", config.sigma * torch.randn(rank, config.features))
        widths = [2 * config.features, *([width] * config.layers)]
        pairs = itertools.pairwise(widths)
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairs)
        self.out = nn.Linear(width, channels)
        grids = 1 if self.by_time else rank
        self.grids = nn.ModuleList(
            Modulation(grids, config.grid)
            for _ in range(config.layers if config.is_modulated else 0)
        )

    def forward(self, places: torch.Tensor, *, layer: int | None = None) -> torch.Tensor:
        """Return values [N, channels] at places [N, rank], or the features of a hidden layer."""
        angles = 2 * math.pi * places @ self.frequencies
        h = torch.cat((torch.cos(angles), torch.sin(angles)), dim=-1)  # [N, 2 features]
        where = places[:, -1:] if self.by_time else places
        for at, linear in enumerate(self.hidden):
            h = linear(h)
            if self.has_norm:  # over the features of each sample: batch neighbours change nothing
                h = nn.functional.layer_norm(h, h.shape[-1:])
            if self.grids:
                gamma, beta = self.grids[at](where)
                h = gamma * h + beta
            h = torch.relu(h)
            if at == layer:
                return h
        return torch.sigmoid(self.out(h))


class HashField(nn.Module):
    """The grid-first method that is compared with: a hash grid (Mueller et al. 2022) and a small network.

    Its tables are as long as `wanted` parameters allow; coarse levels fit without hashing.
    """

    LEVELS, FEATURES, HIDDEN, COARSEST = 8, 2, 32, 8

    def __init__(self, wanted: int, finest: int, rank: int, channels: int) -> None:
        super().__init__()
        inputs, hidden = self.LEVELS * self.FEATURES, self.HIDDEN
        network = (inputs + 1) * hidden + (hidden + 1) * channels
        self.sides = geometric_sides(self.COARSEST, finest, self.LEVELS)
        rows, left = [], (wanted - network) // self.FEATURES
        for level, side in enumerate(
            self.sides
        ):  # what a coarse level leaves is for the finer ones
            rows.append(max(16, min(left // (self.LEVELS - level), (side + 1) ** rank)))
            left -= rows[-1]
        self.levels = HashLevels(rank, self.sides, rows, self.FEATURES)
        self.first, self.out = nn.Linear(inputs, hidden), nn.Linear(hidden, channels)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """Return values [N, channels] at places [N, rank]."""
        return torch.sigmoid(self.out(torch.relu(self.first(self.levels(places)))))
