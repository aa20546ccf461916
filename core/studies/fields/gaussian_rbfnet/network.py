"""Encoders and decoders: places [N, rank] 0..1 -> features [N, D] -> values [N, O].

A decoder is the Gaussian layer of core/nn/radial.py or a network of ReLUs of a size that matches it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn

from core.nn.hash_levels import HashLevels, geometric_sides
from core.nn.radial import RadialLayer


class SawtoothGrids(nn.Module):
    """Dense grids, each read at a coordinate that starts over several times across the domain (DiF-Grid).

    Level l holds sides[l] values along an axis and `channels[l]` numbers each, normal numbers at first. The
    local coordinate is (x mod (1 / w_l)) w_l of 0..1, w_l = repeats[l].
    """

    def __init__(
        self,
        rank: int,
        sides: Sequence[int],
        channels: Sequence[int],
        repeats: Sequence[float],
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.repeats, self.width = tuple(repeats), sum(channels)
        self.grids = nn.ParameterList(
            nn.Parameter(nn.init.normal_(torch.empty(1, own, *([side] * rank)), std=scale))
            for side, own in zip(sides, channels, strict=True)
        )

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """Return features [N, D]."""
        found = []
        for grid, repeat in zip(self.grids, self.repeats, strict=True):
            local = torch.remainder(places * repeat, 1.0)
            points = (2 * local - 1).flip(-1)  # the last axis first, as torch asks
            points = points.reshape(1, -1, *([1] * (places.shape[1] - 1)), places.shape[1])
            read = nn.functional.grid_sample(
                grid, points, mode="bilinear", padding_mode="border", align_corners=True
            )
            found.append(read.reshape(grid.shape[1], -1).T)
        return torch.cat(found, dim=-1)


def hash_encoder(rank: int, levels: int, coarsest: int, finest: int, longest: int) -> HashLevels:
    """Return the encoder of hash grids, two features a level."""
    return HashLevels.capped(rank, geometric_sides(coarsest, finest, levels), longest, 2)


def relu_network(widths: Sequence[int]) -> nn.Sequential:
    """Return linear maps with ReLUs between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def radial_products(inputs: int, units: int, outputs: int) -> int:
    """Return the multiply-adds of the Gaussian layer: two products with [D, M] and the readout."""
    return 2 * inputs * units + units * outputs


def network_products(widths: Sequence[int]) -> int:
    """Return the multiply-adds of linear maps."""
    return sum(before * after for before, after in itertools.pairwise(widths))


def width_of_equal_products(inputs: int, units: int, outputs: int) -> int:
    """Return the width of a three-layer network that multiplies as often as the Gaussian layer."""
    wanted, some = radial_products(inputs, units, outputs), inputs + outputs
    width = (-some + math.sqrt(some**2 + 4 * wanted)) / 2  # of width^2 + some width = wanted
    return max(1, round(width))


def width_of_equal_numbers(inputs: int, units: int, outputs: int) -> int:
    """Return the width of one hidden layer that has as many numbers as the Gaussian layer."""
    numbers = 2 * units * inputs + (units + 1) * outputs
    return max(1, round((numbers - outputs) / (inputs + 1 + outputs)))


class Field(nn.Module):
    """An encoder (none: the coordinates themselves) and a decoder."""

    def __init__(self, encoder: nn.Module | None, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def features(self, places: torch.Tensor) -> torch.Tensor:
        """Return what the decoder reads [N, D]."""
        return places if self.encoder is None else self.encoder(places)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """Return values [N, O]."""
        found: torch.Tensor = self.decoder(self.features(places))
        return found

    @property
    def readout(self) -> nn.Linear:
        """The last linear map."""
        last = self.decoder.readout if isinstance(self.decoder, RadialLayer) else self.decoder[-1]  # type: ignore[index]
        assert isinstance(last, nn.Linear)
        return last
