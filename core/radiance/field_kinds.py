"""Fields of other papers in the place of HyRF's hash grids, in plain torch.

    geometry   u [V, 3]  ->  scale 3, rotation 4, opacity 1  [V, 8]
    harmonics  u [V, 3]  ->  spherical harmonics of bands 0 to 2 of the colour  [V, 9, 3]

neurbf            kernels where the first Gaussians are, beside hash grids of half the size
                  (Chen et al. 2023; core/studies/fields/neurbf)
cam               networks on waves, scaled and shifted inside by planes
                  (Lee et al. 2024; core/studies/fields/cam)
gaussian_rbfnet   one layer of Gaussian units reads the same hash grids
                  (Bouzidi et al. 2025; core/studies/fields/gaussian_rbfnet)

Each is made of about as many numbers as the hash grids and their networks would be. Colours are linear in
harmonics, as two of the three papers have them: what is known of a place then serves every view.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from core.base.errors import ConfigError
from core.nn import kernel_places
from core.nn.encoding import sh_bands3
from core.nn.hashgrid import HashGrid
from core.nn.modulation import PlaneModulation
from core.nn.radial import INITIAL_RANGE, RadialFeatures, RadialLayer, SineDecoder
from core.nn.seeded import seeded
from core.radiance.fields import DIRECTION_WIDTH, Coloring, FieldsConfig, HybridFields
from core.radiance.init import grown_points
from core.radiance.parts import Coding, Part
from core.radiance.splats import Splats, unit_directions

GEOMETRY, COLORS = 8, 3 * DIRECTION_WIDTH  # outputs of the two fields
SAMPLE = 2048  # places at which fields are looked at before they learn


def class_of(config: FieldsConfig) -> type[HybridFields]:
    """Return the class of a kind of fields."""
    return {
        "hash": HybridFields,
        "neurbf": RadialFields,
        "cam": ModulatedFields,
        "gaussian_rbfnet": GaussianFields,
    }[config.kind]


def hash_numbers(config: FieldsConfig) -> int:
    """Return how many numbers two hash grids with their networks are made of."""
    entries = (
        config.levels * config.features * (2**config.log2_table + 2 ** (config.log2_table - 1))
    )
    width, hidden = config.levels * config.features, config.hidden
    between = 2 * (config.layers - 1) * hidden**2
    return entries + between + hidden * (2 * width + DIRECTION_WIDTH + GEOMETRY + 3)


@dataclass(frozen=True, eq=False)
class Harmonics:
    """Colours as harmonics [N, 9, 3] of every Gaussian, and its explicit logits [N, 3] or None."""

    harmonics: torch.Tensor
    logits: torch.Tensor | None

    def colors(self, splats: Splats, center: np.ndarray) -> torch.Tensor:
        """Return the colours [V, 3] of Gaussians `splats.ids` seen from `center` [3]."""
        assert splats.ids is not None
        bands = sh_bands3(unit_directions(splats.means, center))
        colors = _along(self.harmonics[splats.ids], bands)
        return torch.sigmoid(colors if self.logits is None else colors + self.logits[splats.ids])


class HarmonicFields(HybridFields):
    """What the other kinds share: colours as harmonics, and a start at which they change nothing."""

    def build(self, generator: torch.Generator | None) -> None:
        """Make the parts, with weights drawn from the generator alone."""
        if self.config.is_shared:
            raise ConfigError(
                f"One shared grid is an ablation of hash grids, not of fields of the kind '{self.config.kind}'. "
                "Set hybrid.fields.kind=hash, or switch the shared grid off."
            )
        if generator is None:  # shapes only, or weights that nobody reads
            self.make(None)
            return
        with seeded(generator.initial_seed(), generator.device):
            self.make(generator)

    def make(self, generator: torch.Generator | None) -> None:
        """Make the parts of this kind."""
        raise TypeError(f"{type(self).__name__} does not say what it is made of")

    def harmonics(self, u: torch.Tensor) -> torch.Tensor:
        """Return the harmonics [V, 9, 3] of the colour."""
        raise TypeError(f"{type(self).__name__} does not say how colours are read")

    def readouts(self) -> tuple[nn.Linear, nn.Linear]:
        """Return the last linear maps of geometry and colour."""
        raise TypeError(f"{type(self).__name__} does not say where its networks end")

    def radiance(self, u: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Return colour offsets [V, 3] for unit directions."""
        return _along(self.harmonics(u), sh_bands3(directions))

    def both(self, u: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return geometry [V, 8] and radiance [V, 3]."""
        return self.geometry(u), self.radiance(u, directions)

    def coloring(self, u: torch.Tensor, logits: torch.Tensor | None) -> Coloring:
        """Return the harmonics of all Gaussians, once for every view."""
        return Harmonics(self.harmonics(u), logits)

    @torch.no_grad()
    def begin(self, u: torch.Tensor, generator: torch.Generator) -> None:
        """Go where the scene is, then shift the outputs so that they are zero on average there."""
        if not len(u):
            return
        self.settle(u, generator)
        sample = u[torch.randperm(len(u), generator=generator)[:SAMPLE].to(u.device)]
        found = self.geometry(sample), self.harmonics(sample).flatten(1)
        for readout, values in zip(self.readouts(), found, strict=True):
            readout.bias -= values.mean(dim=0)

    def settle(self, u: torch.Tensor, generator: torch.Generator) -> None:
        """Fit what does not learn to the places u [P, 3]."""

    def grids(self) -> dict[str, HashGrid]:
        """Return the hash grids by name; none where the kind has none."""
        names = ("geometry_grid", "radiance_grid")
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def network_parameters(self) -> list[nn.Parameter]:
        """Return everything that learns but the tables of hash grids."""
        tables = {id(grid.table) for grid in self.grids().values()}
        return [one for one in self.parameters() if id(one) not in tables]

    def parts(self) -> dict[str, Part]:
        """Take the fields apart for a file: what learns in its steps, what does not exactly."""
        parts, learned = {}, {name for name, _ in self.named_parameters()}
        for key, value in self.state_dict().items():
            array = value.detach().cpu().numpy()
            name, _, last = key.rpartition(".")
            if last == "table":
                parts[name] = Part(array, name.replace("_", " "), Coding.TABLE8)
            else:
                coding = Coding.FLOAT16 if key in learned else Coding.RAW
                parts[f"fields.{key}"] = Part(array, "networks", coding)
        return parts

    @classmethod
    def from_arrays(cls, config: FieldsConfig, arrays: Mapping[str, torch.Tensor]) -> HybridFields:
        """Return the fields that a file holds, frozen."""
        start = "fields."
        weights = {
            name.removeprefix(start): one for name, one in arrays.items() if name.startswith(start)
        }
        weights |= {f"{n}.table": one for n, one in arrays.items() if n.endswith("_grid")}
        return cls.from_weights(config, weights)


class GaussianFields(HarmonicFields):
    """HyRF's hash grids, each read by one layer of Gaussian units in the place of a network."""

    def make(self, generator: torch.Generator | None) -> None:
        """Make grids and layers; as many units as a network is wide."""
        config = self.config
        self.geometry_grid, self.radiance_grid = _grids(config, config.log2_table, generator)
        width = self.geometry_grid.config.width
        self.geometry_layer = RadialLayer(width, config.hidden, GEOMETRY)
        self.radiance_layer = RadialLayer(width, config.hidden, COLORS)

    def geometry(self, u: torch.Tensor) -> torch.Tensor:
        """Return scale, rotation and opacity offsets [V, 8]."""
        return self.geometry_layer(self.geometry_grid(u))

    def harmonics(self, u: torch.Tensor) -> torch.Tensor:
        """Return the harmonics [V, 9, 3] of the colour."""
        return self.radiance_layer(self.radiance_grid(u)).unflatten(1, (DIRECTION_WIDTH, 3))

    def readouts(self) -> tuple[nn.Linear, nn.Linear]:
        """Return the linear maps of the layers."""
        return self.geometry_layer.readout, self.radiance_layer.readout

    def settle(self, u: torch.Tensor, generator: torch.Generator) -> None:
        """Spread the centres over the features found there: equal units would stay equal."""
        sample = u[torch.randperm(len(u), generator=generator)[:SAMPLE].to(u.device)]
        for grid, layer in (
            (self.geometry_grid, self.geometry_layer),
            (self.radiance_grid, self.radiance_layer),
        ):
            layer.spread(grid(sample), generator)


class RadialFields(HarmonicFields):
    """Kernels that stand where the first Gaussians are, shared by both fields, beside smaller grids."""

    FEATURES = (8, 16)  # of a kernel, for geometry and colour: as their tables, one to two
    NEIGHBOURS = 5
    SINE = (10.0, 100.0)
    SPREAD = 0.3  # covariances are divided by it
    PLACE_AND_SHAPE = 9  # numbers of a kernel's centre and symmetric matrix

    def make(self, generator: torch.Generator | None) -> None:
        """Make grids of half the entries, and as many kernels as the other half and more has numbers."""
        config = self.config
        self.geometry_grid, self.radiance_grid = _grids(config, config.log2_table - 1, generator)
        widths = [self.geometry_grid.config.width + own for own in self.FEATURES]
        self.geometry_decoder = SineDecoder(widths[0], config.hidden, GEOMETRY, self.SINE)
        self.radiance_decoder = SineDecoder(widths[1], config.hidden, COLORS, self.SINE)
        for name, width in zip(("geometry_bias", "radiance_bias"), widths, strict=True):
            bias = torch.empty(width).uniform_(-INITIAL_RANGE, INITIAL_RANGE)
            setattr(self, name, nn.Parameter(bias))
        left = hash_numbers(config) - sum(one.numel() for one in self.parameters())
        features = sum(self.FEATURES)
        self.radial = RadialFeatures(
            max(left // (features + self.PLACE_AND_SHAPE), self.NEIGHBOURS),
            3,
            features,
            neighbours=self.NEIGHBOURS,
            octaves=None,
            is_normalised=False,
        )

    def geometry(self, u: torch.Tensor) -> torch.Tensor:
        """Return scale, rotation and opacity offsets [V, 8]."""
        return self._geometry(u, self.radial(u))

    def harmonics(self, u: torch.Tensor) -> torch.Tensor:
        """Return the harmonics [V, 9, 3] of the colour."""
        return self._harmonics(u, self.radial(u))

    def both(self, u: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return geometry [V, 8] and radiance [V, 3]; neighbours are searched once."""
        near = self.radial(u)
        return self._geometry(u, near), _along(self._harmonics(u, near), sh_bands3(directions))

    def readouts(self) -> tuple[nn.Linear, nn.Linear]:
        """Return the last maps of the decoders."""
        return self.geometry_decoder.out, self.radiance_decoder.out

    def settle(self, u: torch.Tensor, generator: torch.Generator) -> None:
        """Put the kernels where k-means finds the Gaussians, shaped like their clusters."""
        rng = np.random.default_rng(generator.initial_seed())
        points, count = u.cpu().numpy().astype(np.float64), len(self.radial.centers)
        if len(points) < count:
            points, _ = grown_points(points, points, count, rng)
        weights = np.ones(len(points))
        start = kernel_places.drawn(points, weights, count, rng)
        centers = kernel_places.clustered(points, weights, start)
        covariance = kernel_places.covariances(points, weights, centers, self.SPREAD)
        shapes = kernel_places.inverted(covariance, kernel_places.next_centre(centers))
        self.radial.place(centers, shapes)

    def _geometry(self, u: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        features = torch.cat((self.geometry_grid(u), near[:, : self.FEATURES[0]]), dim=1)
        return self.geometry_decoder(features + self.geometry_bias)

    def _harmonics(self, u: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        features = torch.cat((self.radiance_grid(u), near[:, self.FEATURES[0] :]), dim=1)
        found = self.radiance_decoder(features + self.radiance_bias)
        return found.unflatten(1, (DIRECTION_WIDTH, 3))


class ModulatedNetwork(nn.Module):
    """A network on waves of the coordinates; planes scale and shift its features before each ReLU."""

    def __init__(self, octaves: int, width: int, layers: int, outputs: int, side: int) -> None:
        super().__init__()
        self.octaves = octaves
        widths = [3 + 6 * octaves, *([width] * layers)]
        pairs = itertools.pairwise(widths)
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairs)
        self.out = nn.Linear(width, outputs)
        nn.init.zeros_(self.out.weight)
        self.planes = PlaneModulation(layers, side)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Return values [V, O] at u [V, 3]."""
        frequencies = 2 * math.pi * 2.0 ** torch.arange(self.octaves, device=u.device)
        angles = (u[:, :, None] * frequencies).flatten(1)
        h = torch.cat((2 * u - 1, torch.sin(angles), torch.cos(angles)), dim=1)
        gamma, beta = self.planes(u)  # [V, layers]
        for layer, linear in enumerate(self.hidden):
            h = torch.relu(gamma[:, layer, None] * linear(h) + beta[:, layer, None])
        return self.out(h)


class ModulatedFields(HarmonicFields):
    """Two networks on waves, modulated at the place they are asked about; no grid feeds them."""

    WIDER = 2  # than the networks behind hash grids
    NETWORK_SHARE = 0.1  # of the planes' rate

    def make(self, generator: torch.Generator | None) -> None:
        """Make both networks, with planes of as many cells as the numbers allow."""
        config = self.config
        layers, width = config.layers + 1, self.WIDER * config.hidden
        octaves = max(int(math.log2(config.max_resolution)) - 1, 1)
        inputs = 3 + 6 * octaves
        one = (inputs + 1) * width + (layers - 1) * (width + 1) * width
        networks = 2 * one + (width + 1) * (GEOMETRY + COLORS)
        cells = (hash_numbers(config) - networks) / (2 * 6 * layers)  # of each plane
        sizes = octaves, width, layers
        side = max(int(math.sqrt(max(cells, 0))), 2)
        self.geometry_network = ModulatedNetwork(*sizes, GEOMETRY, side)
        self.radiance_network = ModulatedNetwork(*sizes, COLORS, side)

    def geometry(self, u: torch.Tensor) -> torch.Tensor:
        """Return scale, rotation and opacity offsets [V, 8]."""
        return self.geometry_network(u)

    def harmonics(self, u: torch.Tensor) -> torch.Tensor:
        """Return the harmonics [V, 9, 3] of the colour."""
        return self.radiance_network(u).unflatten(1, (DIRECTION_WIDTH, 3))

    def readouts(self) -> tuple[nn.Linear, nn.Linear]:
        """Return the last maps of the networks."""
        return self.geometry_network.out, self.radiance_network.out

    def rate_shares(self) -> list[float]:
        """Return the shares: the paper's grids learn ten times as fast as the weights."""
        named: Any = [name for name, _ in self.named_parameters()]
        return [1.0 if ".planes." in name else self.NETWORK_SHARE for name in named]


def _grids(
    config: FieldsConfig, log2_table: int, generator: torch.Generator | None
) -> tuple[HashGrid, HashGrid]:
    """Return the grids of geometry, with half the entries, and of colour."""
    geometry, radiance = (config.grid(size, config.levels) for size in (log2_table - 1, log2_table))
    return HashGrid(geometry, generator), HashGrid(radiance, generator)


def _along(harmonics: torch.Tensor, bands: torch.Tensor) -> torch.Tensor:
    """Return colours [V, 3] of harmonics [V, 9, 3] in directions with bands [V, 9]."""
    return (harmonics * bands[..., None]).sum(dim=1)
