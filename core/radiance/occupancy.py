"""Where a field is worth asking: the largest density seen lately in each cell of a coarse grid.

    values  [G, G, G]  1/scene units, by x, y, z

A cell is asked at a random place of it and keeps the larger of that density and its old one, which
fades (Mueller et al. 2022, appendix E). Points outside the box are not occupied.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

FADING = 0.95
CHUNK = 1 << 16
Density = Callable[[torch.Tensor], torch.Tensor]


class OccupancyGrid:
    """Coarse grid over a box [2, 3] that tells which points have a density above `threshold`."""

    def __init__(
        self,
        bounds: np.ndarray,
        cells: int = 32,
        threshold: float = 0.1,
        device: str | torch.device = "cpu",
    ) -> None:
        self.low, self.high = torch.as_tensor(
            np.asarray(bounds), dtype=torch.float32, device=device
        )
        self.cells, self.threshold = cells, threshold
        self.values = torch.full((cells,) * 3, float("inf"), device=device)  # all to be asked

    @torch.no_grad()
    def update(
        self, density: Density, rng: torch.Generator | None = None, *, fading: float = FADING
    ) -> None:
        """Ask every cell once, at a random place in it or in the middle without rng."""
        device, count = self.values.device, self.cells
        line = torch.arange(count, device=device)
        corner = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
        inside = 0.5 if rng is None else torch.rand(corner.shape, generator=rng, device=device)
        points = self.low + (corner + inside) / count * (self.high - self.low)
        found = torch.cat([density(part) for part in points.split(CHUNK)]).reshape(
            self.values.shape
        )
        old = torch.where(self.values.isinf(), torch.zeros_like(self.values), self.values)
        self.values = torch.maximum(old * fading, found)

    @torch.no_grad()
    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """Return whether points [P, 3] are worth asking, [P] bool."""
        place = (points - self.low) / (self.high - self.low) * self.cells
        cell = place.floor().long()
        is_inside = ((cell >= 0) & (cell < self.cells)).all(dim=-1)
        x, y, z = cell.clamp(0, self.cells - 1).unbind(-1)
        return is_inside & (self.values[x, y, z] > self.threshold)

    def grown(self) -> OccupancyGrid:
        """Return a copy in which every cell knows its neighbours' density too: safe between the places asked."""
        grid = OccupancyGrid.__new__(OccupancyGrid)
        grid.low, grid.high, grid.cells, grid.threshold = (
            self.low,
            self.high,
            self.cells,
            self.threshold,
        )
        pooled = torch.nn.functional.max_pool3d(self.values[None, None], 3, stride=1, padding=1)
        grid.values = pooled[0, 0]
        return grid

    @property
    def share(self) -> float:
        """Occupied share of the box."""
        return float((self.values > self.threshold).float().mean())
