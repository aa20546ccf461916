"""The networks: NeuRBF, and the hash grid that it is compared with at equal numbers.

places [N, rank] 0..1 -> values [N, channels]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from core.nn.hash_levels import HashLevels, geometric_sides
from core.nn.radial import INITIAL_RANGE, KernelShape, RadialFeatures, SineDecoder


@dataclass(frozen=True)
class Kind:
    """What NeuRBF does for one kind of signal [release, configurations]."""

    neighbours: int
    shape: KernelShape
    octaves: tuple[float, float] | None  # of sin(phi w_q), log2 of w
    sine: tuple[float, float]  # v of h + sin(h v)
    is_normalised: bool
    levels: int  # of the grid beside the kernels
    level_features: int
    alpha: float  # covariances are divided by it


KINDS = {
    "picture": Kind(4, "inverse_quadratic", (-3.0, 12.0), (10.0, 100.0), True, 2, 2, 0.5),
    "shape": Kind(8, "hat", (0.0, 3.0), (30.0, 300.0), True, 16, 1, 0.5),
    "views": Kind(5, "inverse_quadratic", None, (10.0, 100.0), False, 8, 2, 0.3),
}


@dataclass(frozen=True)
class Sizes:
    """Sizes of both networks."""

    signal: str
    rank: int
    channels: int
    features: int  # C_r
    width: int
    reference_levels: int
    reference_table: int  # most rows of a level of the hash grid that is compared with
    own_table: int  # and of NeuRBF's grid
    coarsest: int
    finest: int

    def reference_grid(self) -> HashLevels:
        """Return the grid of the method that is compared with (Mueller et al. 2022)."""
        sides = geometric_sides(self.coarsest, self.finest, self.reference_levels)
        return HashLevels.capped(self.rank, sides, self.reference_table, 2)

    def own_grid(self) -> HashLevels:
        """Return the small grid that stands beside the kernels."""
        kind = KINDS[self.signal]
        finest = 2 * self.coarsest if kind.levels == 2 else self.finest
        sides = geometric_sides(self.coarsest, finest, kind.levels)
        return HashLevels.capped(self.rank, sides, self.own_table, kind.level_features)

    def num_kernels(self) -> int:
        """Return how many kernels make both networks equally large; centres and shapes count."""
        with torch.device("meta"):
            wanted, own = numbers(HashNetwork(self)), numbers(NeuRbf(self, 0))
            one = numbers(NeuRbf(self, 1)) - own
        return max((wanted - own) // one, 1)


class NeuRbf(nn.Module):
    """f = [grid, kernels] + b, read by a decoder that ends its first map in a sine."""

    def __init__(self, sizes: Sizes, kernels: int, *, is_composed: bool = True) -> None:
        super().__init__()
        kind = KINDS[sizes.signal]
        self.grid = sizes.own_grid()
        self.radial = RadialFeatures(
            kernels,
            sizes.rank,
            sizes.features,
            shape=kind.shape,
            neighbours=kind.neighbours,
            octaves=kind.octaves if is_composed else None,
            is_normalised=kind.is_normalised,
        )
        width = self.grid.width + sizes.features
        self.bias = nn.Parameter(
            nn.init.uniform_(torch.empty(width), -INITIAL_RANGE, INITIAL_RANGE)
        )
        self.decoder = SineDecoder(width, sizes.width, sizes.channels, kind.sine)

    def forward(
        self,
        places: torch.Tensor,
        near: torch.Tensor | None = None,
        parts: tuple[bool, bool] = (True, True),
    ) -> torch.Tensor:
        """Return values [N, channels]; `parts` leaves out what grid or kernels say."""
        grid, radial = self.grid(places), self.radial(places, near)
        features = torch.cat((grid * parts[0], radial * parts[1]), dim=-1) + self.bias
        found: torch.Tensor = self.decoder(features)
        return found


class GridOnly(nn.Module):
    """NeuRBF's grid alone, to find out where a scene has detail."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.grid = sizes.own_grid()
        self.decoder = SineDecoder(self.grid.width, sizes.width, sizes.channels, None)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """Return values [N, channels]."""
        found: torch.Tensor = self.decoder(self.grid(places))
        return found


class HashNetwork(nn.Module):
    """The method that is compared with: a hash grid of many levels and a network of ReLUs."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.grid = sizes.reference_grid()
        self.decoder = SineDecoder(self.grid.width, sizes.width, sizes.channels, None)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """Return values [N, channels]."""
        found: torch.Tensor = self.decoder(self.grid(places))
        return found


def numbers(network: nn.Module) -> int:
    """Return how many numbers a network is made of, with those of its kernels' places and shapes."""
    learned = sum(one.numel() for one in network.parameters())
    radial = getattr(network, "radial", None)
    return learned + (radial.num_geometry if radial is not None else 0)
