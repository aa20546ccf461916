"""Grids of features at many resolutions for places of any rank, hashed where a table is too short.

    places   [N, rank]                 0..1
    ->
    encoded  [N, levels * features]    level by level, coarsest first

Plain torch for studies in two dimensions or with tables of their own lengths; core/nn/hashgrid.py is
the compiled one of radiance fields. Mueller et al. 2022, section 3: vertex i of level l sits at
i / side_l; where all (side_l + 1)^rank vertices have rows of their own nothing is hashed.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

PRIMES = (1, 2_654_435_761, 805_459_861)
INITIAL_RANGE = 1e-4


def geometric_sides(coarsest: int, finest: int, levels: int) -> list[int]:
    """Return cells along a side of every level, growing by one factor."""
    growth = (finest / coarsest) ** (1 / max(levels - 1, 1))
    return [round(coarsest * growth**level) for level in range(levels)]


class HashLevels(nn.Module):
    """One table for all levels; level l has sides[l] cells along a side and its own rows[l] rows."""

    def __init__(self, rank: int, sides: Sequence[int], rows: Sequence[int], features: int) -> None:
        super().__init__()
        self.rank, self.sides, self.rows, self.features = rank, list(sides), list(rows), features
        table = torch.empty(sum(self.rows), features)
        self.table = nn.Parameter(table.uniform_(-INITIAL_RANGE, INITIAL_RANGE))
        strides = [[(side + 1) ** at for side in self.sides] for at in range(rank)]
        is_hashed = [int((side + 1) ** rank > own) for side, own in zip(sides, rows, strict=True)]
        starts = [sum(self.rows[:level]) for level in range(len(self.rows))]
        self.layout = [self.sides, self.rows, starts, is_hashed, *strides]  # [4 + rank][levels]

    @classmethod
    def capped(cls, rank: int, sides: Sequence[int], longest: int, features: int) -> HashLevels:
        """Return levels with a row for each vertex, at most `longest` rows each."""
        return cls(rank, sides, [min(longest, (side + 1) ** rank) for side in sides], features)

    @property
    def width(self) -> int:
        """Features of a place."""
        return len(self.sides) * self.features

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """Return features [N, levels * features] at places [N, rank]."""
        rows, weights = self.corners(places)
        found = _Blend.apply(self.table, rows.flatten(0, 1), weights.flatten(0, 1))
        return found.reshape(len(places), self.width)

    @torch.no_grad()
    def corners(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows and weights [N, levels, 2^rank] that a place reads."""
        numbers = torch.tensor(self.layout, device=places.device)  # [4 + rank, levels]
        sides, counts, starts, is_hashed = *numbers[:3], numbers[3].bool()
        points = places.T[..., None] * sides  # [rank, N, levels]
        cell = points.floor()
        share, cell = points - cell, cell.long()
        by_place = [[(cell[at] + up) * numbers[4 + at] for up in (0, 1)] for at in range(self.rank)]
        by_hash = [[(cell[at] + up) * PRIMES[at] for up in (0, 1)] for at in range(self.rank)]
        near = [(1 - share[at], share[at]) for at in range(self.rank)]
        found_rows, weights = [], []
        for corner in itertools.product((0, 1), repeat=self.rank):
            picked = tuple(enumerate(corner))
            place = functools.reduce(torch.add, (by_place[at][up] for at, up in picked))
            if self.layout[3][-1]:  # the finest level is the first to be hashed
                mixed = functools.reduce(torch.bitwise_xor, (by_hash[at][up] for at, up in picked))
                place = torch.where(is_hashed, mixed, place)
            weights.append(functools.reduce(torch.mul, (near[at][up] for at, up in picked)))
            # a place on the far edge has a vertex beyond the last one, whose weight is 0
            found_rows.append(place % counts + starts)
        return torch.stack(found_rows, dim=-1), torch.stack(weights, dim=-1)


class _Blend(torch.autograd.Function):
    """Weighted sums of rows of a table; the backward adds rows where torch's own would sort them first."""

    @staticmethod
    def forward(
        ctx: Any, table: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.shape = table.shape
        return nn.functional.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        rows, weights = ctx.saved_tensors
        shares = weights[..., None] * upstream[:, None]  # [N levels, 2^rank, features]
        gradient = upstream.new_zeros(ctx.shape)
        return gradient.index_add_(0, rows.flatten(), shares.flatten(0, 1)), None, None
