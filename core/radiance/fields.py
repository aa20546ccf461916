"""The neural half of a hybrid scene: two fields, by default on hash grids, and the space they live in.

    geometry field   u [V, 3]                     -> scale 3, rotation 4, opacity 1   [V, 8]
    radiance field   u [V, 3], directions [V, 3]  -> colour                           [V, 3]

u is the contracted position in (0, 1)^3. Outputs are offsets before any activation. Positions
enter detached: they learn from the rasterizer alone. HyRF (Wang et al. 2025), section 3.2.
Other kinds of fields are in field_kinds.py; they override what is said here of hash grids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

import numpy as np
import torch
from pydantic import Field

from core.base.config import Config
from core.capture.camera import Camera
from core.nn.encoding import contract, sh_bands3
from core.nn.hashgrid import HashGrid, HashGridConfig
from core.nn.mlp import Mlp
from core.radiance.parts import Coding, Part
from core.radiance.seen import ColorNetwork
from core.radiance.splats import Splats

DIRECTION_WIDTH = 9  # spherical harmonics of bands 0 to 2


Kind = Literal["hash", "neurbf", "cam", "gaussian_rbfnet"]


class FieldsConfig(Config):
    """Sizes of the two fields; the geometry table has half the entries of the radiance table."""

    kind: Kind = Field(
        "hash",
        title="Kind of fields",
        description="Hash grids as in HyRF, or NeuRBF, CAM or Gaussian RBFNet with about as many numbers.",
    )
    levels: int = Field(
        16, ge=1, le=24, title="Levels", description="Resolutions of each hash grid."
    )
    features: int = Field(
        2, ge=1, le=8, title="Features per level", description="Feature channels per resolution."
    )
    log2_table: int = Field(
        18,
        ge=8,
        le=22,
        title="Table size (log2)",
        description="Log2 of the radiance grid's entries per resolution.",
    )
    base_resolution: int = Field(
        64, ge=2, le=1024, title="Coarsest resolution", description="Coarsest cells per axis."
    )
    max_resolution: int = Field(
        1024, ge=4, le=8192, title="Finest resolution", description="Finest cells per axis."
    )
    hidden: int = Field(
        64, ge=8, le=128, title="Network width", description="Width of the networks' hidden layers."
    )
    layers: int = Field(
        2, ge=1, le=4, title="Hidden layers", description="Hidden layers of each network."
    )
    is_shared: bool = Field(
        False,
        title="One shared grid",
        description="One grid of the same total size for both fields (ablation).",
    )

    def grid(self, log2_table: int, levels: int) -> HashGridConfig:
        """Return the configuration of one grid."""
        return HashGridConfig(
            levels=levels,
            features=self.features,
            log2_table=log2_table,
            base_resolution=self.base_resolution,
            max_resolution=self.max_resolution,
        )


@dataclass(frozen=True, eq=False)
class Space:
    """The box inside which nothing is contracted, and the sphere that carries the background."""

    low: np.ndarray  # [3]
    high: np.ndarray  # [3]
    center: np.ndarray  # [3] of the sphere
    radius: float

    def contract(self, points: torch.Tensor) -> torch.Tensor:
        """Map points [V, 3] of the scene to u [V, 3] in (0, 1); no gradient."""
        return contract(points.detach(), self.low, self.high)

    def sphere_points(self, origin: np.ndarray, directions: torch.Tensor) -> torch.Tensor:
        """Intersect rays from one origin [3] with the background sphere, [R, 3]."""
        offset = torch.as_tensor(
            origin - self.center, dtype=directions.dtype, device=directions.device
        )
        along = directions @ offset  # [R]
        inside = along**2 - (offset @ offset - self.radius**2)
        distance = -along + torch.sqrt(inside.clamp(min=0.0))
        center = torch.as_tensor(self.center, dtype=directions.dtype, device=directions.device)
        return center + offset + distance[:, None] * directions


class Box(str, Enum):
    """Which region of a scene is not contracted."""

    SPHERE = "sphere"  # mean camera position +- 1.1 radius: the official code
    EXTREMES = "extremes"  # bounding box of the camera positions: the paper, standard scenes
    POINTS = "points"  # 1st to 99th percentile of the seed points: the paper, urban scenes


def space_of(
    cameras: Iterable[Camera],
    box: Box = Box.SPHERE,
    points: np.ndarray | None = None,
    sphere_scale: float = 100.0,
) -> Space:
    """Fit the space to the cameras, or to seed points [P, 3]."""
    centers = np.stack([camera.center for camera in cameras])  # [C, 3]
    middle = centers.mean(0)
    radius = 1.1 * max(float(np.linalg.norm(centers - middle, axis=1).max()), 1e-3)
    low, high = middle - radius, middle + radius
    if box is Box.EXTREMES:
        margin = 0.05 * radius  # cameras on one plane would give a box without volume
        low, high = centers.min(0) - margin, centers.max(0) + margin
    elif box is Box.POINTS and points is not None and len(points) > 1:
        low, high = np.percentile(points, (1, 99), axis=0)
        high = np.maximum(high, low + 1e-3)
    return Space(low, high, middle, sphere_scale * radius)


class Coloring(Protocol):
    """What the fields say of the colours of all Gaussians, kept until somebody looks."""

    def colors(self, splats: Splats, center: np.ndarray) -> torch.Tensor:
        """Return the colours [V, 3] of Gaussians `splats.ids` seen from `center` [3]."""
        ...


class HybridFields(torch.nn.Module):
    """Both fields with their networks; the same instance serves Gaussians and background."""

    def __init__(self, config: FieldsConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.build(generator)

    def build(self, generator: torch.Generator | None) -> None:
        """Make the grids and the networks that read them."""
        config = self.config
        hidden = (config.hidden,) * config.layers
        if config.is_shared:
            # 1.5 times the levels at the radiance table's size: as many entries as both grids together
            grid = config.grid(config.log2_table, config.levels + config.levels // 2)
            self.geometry_grid = self.radiance_grid = HashGrid(grid, generator)
        else:
            self.geometry_grid = HashGrid(
                config.grid(config.log2_table - 1, config.levels), generator
            )
            self.radiance_grid = HashGrid(config.grid(config.log2_table, config.levels), generator)
        width = self.geometry_grid.config.width
        self.geometry_network = Mlp((width, *hidden, 8), generator)
        self.radiance_network = Mlp((width + DIRECTION_WIDTH, *hidden, 3), generator)

    def geometry(self, u: torch.Tensor) -> torch.Tensor:
        """Return scale, rotation and opacity offsets [V, 8]."""
        return self.geometry_network(self.geometry_grid(u))

    def radiance(self, u: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Return colour offsets [V, 3] for unit directions."""
        return self.radiance_network(self.radiance_grid(u), sh_bands3(directions))

    def both(self, u: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return geometry [V, 8] and radiance [V, 3]; a shared grid is queried once."""
        geometry_features = self.geometry_grid(u)
        shared = self.geometry_grid is self.radiance_grid
        radiance_features = geometry_features if shared else self.radiance_grid(u)
        radiance = self.radiance_network(radiance_features, sh_bands3(directions))
        return self.geometry_network(geometry_features), radiance

    def begin(self, u: torch.Tensor, generator: torch.Generator) -> None:
        """Get ready to learn a scene whose first Gaussians are at u [P, 3]; hash grids are ready anyway."""

    def coloring(self, u: torch.Tensor, logits: torch.Tensor | None) -> Coloring:
        """Return what can be known of the colours of Gaussians at u [N, 3] before they are looked at."""
        partial = self.radiance_network.partial(self.radiance_grid(u))
        return ColorNetwork(self.radiance_network, partial, logits)

    @classmethod
    def from_weights(
        cls, config: FieldsConfig, weights: Mapping[str, torch.Tensor]
    ) -> HybridFields:
        """Return fields that hold these tensors themselves, frozen."""
        with torch.device("meta"):  # shapes only: nothing is drawn at random and thrown away
            fields = cls(config)
        fields.load_state_dict(weights, assign=True)
        return fields.requires_grad_(False)

    def grids(self) -> dict[str, HashGrid]:
        """Return the grids by name, one when shared."""
        if self.config.is_shared:
            return {"radiance_grid": self.radiance_grid}
        return {"geometry_grid": self.geometry_grid, "radiance_grid": self.radiance_grid}

    def network_parameters(self) -> list[torch.nn.Parameter]:
        """Return the weights of both networks."""
        return [*self.geometry_network.parameters(), *self.radiance_network.parameters()]

    def rate_shares(self) -> list[float]:
        """Return for each of `network_parameters` the share of the fields' rate it learns at."""
        return [1.0] * len(self.network_parameters())

    def parts(self) -> dict[str, Part]:
        """Take the fields apart for a file."""
        parts = {}
        for name, grid in self.grids().items():
            table = grid.table.detach().cpu().numpy()
            parts[name] = Part(table, name.replace("_", " "), Coding.TABLE8)
        for name in ("geometry_network", "radiance_network"):
            for key, value in getattr(self, name).state_dict().items():
                parts[f"{name}.{key}"] = Part(value.cpu().numpy(), "networks", Coding.FLOAT16)
        return parts

    @classmethod
    def from_arrays(cls, config: FieldsConfig, arrays: Mapping[str, torch.Tensor]) -> HybridFields:
        """Return the fields that a file holds, frozen."""
        weights = {name: values for name, values in arrays.items() if "_network." in name}
        tables = {name: values for name, values in arrays.items() if name.endswith("_grid")}
        for name in ("geometry_grid", "radiance_grid"):
            weights[f"{name}.table"] = tables.get(name, tables["radiance_grid"])  # one when shared
        return cls.from_weights(config, weights)
