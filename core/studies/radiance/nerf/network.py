"""The network of figure 7: density from the place, colour from the place and the direction.

places      [P, 3]  contracted scene units, -2..2
directions  [P, 3]  of length one
->
density     [P]     1 / contracted scene units, >= 0
colors      [P, 3]  0..1
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from core.nn.encoding import contract


@dataclass(frozen=True)
class Sizes:
    """Sizes of one network; no frequencies: the number itself is given."""

    width: int
    layers: int
    skip: int  # hidden layers before the place is given once more
    place_frequencies: int
    direction_frequencies: int
    sees_directions: bool
    is_cut: bool  # the density at 0, as published


def encoded(values: torch.Tensor, frequencies: int) -> torch.Tensor:
    """Return sines and cosines of 2^k pi x (eq. 4), [P, 3 * 2 * frequencies], or x itself."""
    if not frequencies:
        return values
    waves = torch.pi * 2.0 ** torch.arange(frequencies, device=values.device)
    angles = values[:, None] * waves[:, None]  # [P, frequencies, 3]
    return torch.cat((angles.sin(), angles.cos()), dim=-1).flatten(1)


def width_of(frequencies: int) -> int:
    """Return how many numbers `encoded` makes of three."""
    return 6 * frequencies if frequencies else 3


class NerfNetwork(nn.Module):
    """Hidden layers with one skip; density behind them, colour behind one more half as wide."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        place, width = width_of(sizes.place_frequencies), sizes.width
        seen = width_of(sizes.direction_frequencies) if sizes.sees_directions else 0
        given = [place] + [width] * (sizes.layers - 1)
        if sizes.skip < sizes.layers:
            given[sizes.skip] += place
        self.hidden = nn.ModuleList(nn.Linear(number, width) for number in given)
        self.density = nn.Linear(width, 1)
        self.feature = nn.Linear(width, width)
        self.view = nn.Linear(width + seen, width // 2)
        self.color = nn.Linear(width // 2, 3)

    def forward(
        self, places: torch.Tensor, directions: torch.Tensor, noise: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return density [P] and colours [P, 3]; `noise` [P] is added before the density is cut at 0."""
        sizes = self.sizes
        # half a turn per cell of -2..2: the lowest wave does not repeat inside the contracted scene
        place = encoded(places * 0.5, sizes.place_frequencies)
        values = place
        for at, layer in enumerate(self.hidden):
            values = torch.cat((values, place), dim=-1) if at == sizes.skip else values
            values = torch.relu(layer(values))
        raw = self.density(values)[:, 0]
        raw = raw if noise is None else raw + noise
        density = torch.relu(raw) if sizes.is_cut else nn.functional.softplus(raw)
        feature = self.feature(values)
        if sizes.sees_directions:
            feature = torch.cat((feature, encoded(directions, sizes.direction_frequencies)), dim=-1)
        return density, torch.sigmoid(self.color(torch.relu(self.view(feature))))


class SceneField:
    """A network asked in scene units: places are contracted around the ball that holds the cameras."""

    def __init__(
        self,
        network: NerfNetwork,
        center: torch.Tensor,
        radius: float,
        noise: float = 0.0,
        rng: torch.Generator | None = None,
    ) -> None:
        self.network, self.noise, self.rng = network, noise, rng
        self.radius = radius
        middle = center.detach().cpu().numpy()
        self.low, self.high = middle - radius, middle + radius

    def __call__(
        self, points: torch.Tensor, directions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return density [P] in 1 / scene units and colours [P, 3]."""
        places = 4 * contract(points, self.low, self.high) - 2
        noise = None
        if self.noise:
            noise = torch.randn(len(points), generator=self.rng, device=points.device) * self.noise
        density, colors = self.network(places, directions, noise)
        return density / self.radius, colors
