"""Occupancy, distance and radiance: how each is fitted, and what it answers.

query                  occupancy     distance          radiance
inside p(x)            sigmoid(f)    sigmoid(-s / b)   1 - exp(-density * voxel)
level, > 0 inside      f             -s                density - threshold
distance               from a grid   s                 from a grid

Everything is differentiable in the points. Only the distance field's own distance is a length:
`is_metric` says so, and safety checks refuse the others (planning.py).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn

from core.radiance.occupancy import OccupancyGrid
from core.radiance.volume import Marched, Rays, importance, march, merged, rays_in_box, stratified
from core.studies.fields.robot_fields.networks import FieldNetwork, Sizes
from core.studies.fields.robot_fields.shapes import BOX, Shape, Views, grid_points

VOXEL = 0.05  # scene units, a density's inside is asked over
CLAMP = 0.1  # of a distance that is learned (Park et al. 2019, eq. 4)
EIKONAL = 0.1
OFF_SURFACE, FADE = 0.01, 100.0  # weight and rate of exp(-rate |s|) away from the surface
DENSITY = 25.0  # of a softplus of one
CLEAR = 4.0  # taken off a network's number: a field begins as haze of 0.5 per scene unit, which rays pass
CELLS = 24  # of the grid that rays skip empty space with
GRID_EVERY = 16
FADING = 0.6  # of the grid: at the usual 0.95 it holds what a field begins with for 700 steps
NEAR_SHARE = 0.5  # of the points lie close to the surface, by so much:
NEAR_SPREAD = 0.08
CLOUD_CELLS = 40  # of the grid that a level's threshold is found on


class Field(nn.Module):
    """What every field answers; subclasses say how a network's number is meant and learned."""

    is_metric: ClassVar[bool] = False

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.network = FieldNetwork(sizes)

    def level(self, points: torch.Tensor) -> torch.Tensor:
        """Return a number [P] that is 0 on the surface and above inside."""
        raise TypeError(f"{type(self).__name__} has no level")

    def inside(self, points: torch.Tensor) -> torch.Tensor:
        """Return the probability [P] of being inside."""
        return torch.sigmoid(self.level(points))

    def gradient(self, points: torch.Tensor) -> torch.Tensor:
        """Return the slope [P, 3] of the level by central differences."""
        step = self.network.finest
        offsets = step * torch.eye(3, device=points.device)
        both = torch.cat((points + offsets[:, None], points - offsets[:, None])).reshape(-1, 3)
        ahead, behind = self.level(both).reshape(2, 3, -1)
        return ((ahead - behind) / (2 * step)).T


class PointField(Field):
    """Learned from points with known distances."""

    def sampled(self, shape: Shape, surface: torch.Tensor, count: int, rng: torch.Generator):
        """Return points [count, 3] and their distances [count]."""
        near = int(count * NEAR_SHARE)
        rows = torch.randint(len(surface), (near,), generator=rng)
        close = surface[rows] + NEAR_SPREAD * torch.randn(near, 3, generator=rng)
        spread = 2 * torch.rand(count - near, 3, generator=rng) - 1
        points = torch.cat((close.clamp(-1, 1), spread))
        return points, shape.distance(points)

    def loss(self, points: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Return how far the field is from the distances."""
        raise TypeError(f"{type(self).__name__} learns from no points")


class OccupancyField(PointField):
    """Probability of being inside (Mescheder et al. 2019, eq. 3)."""

    def level(self, points: torch.Tensor) -> torch.Tensor:
        """Return the logit."""
        return self.network(points)

    def loss(self, points: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy."""
        labels = (distances < 0).to(points)
        return nn.functional.binary_cross_entropy_with_logits(self.network(points), labels)


class DistanceField(PointField):
    """Signed distance, with or without the eikonal term (Gropp et al. 2020, eq. 2)."""

    is_metric = True
    sharpness = 0.02  # b of the probability of being inside

    def __init__(self, sizes: Sizes, *, has_eikonal: bool = True) -> None:
        super().__init__(sizes)
        self.has_eikonal = has_eikonal

    def level(self, points: torch.Tensor) -> torch.Tensor:
        """Return minus the distance."""
        return -self.network(points)

    def distance(self, points: torch.Tensor) -> torch.Tensor:
        """Return the distance [P]."""
        return self.network(points)

    def inside(self, points: torch.Tensor) -> torch.Tensor:
        """Return sigmoid(-s / b)."""
        return torch.sigmoid(-self.network(points) / self.sharpness)

    def loss(self, points: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Return the clamped difference, the eikonal term and the one that keeps space empty."""
        found = self.network(points)
        apart = found.clamp(-CLAMP, CLAMP) - distances.clamp(-CLAMP, CLAMP)
        total = apart.abs().mean()
        if self.has_eikonal:
            total = total + EIKONAL * eikonal(self.network, points[:: max(1, len(points) // 512)])
            away = distances.abs() > CLAMP
            total = total + OFF_SURFACE * (torch.exp(-FADE * found.abs()) * away).mean()
        return total


def eikonal(network: FieldNetwork, points: torch.Tensor) -> torch.Tensor:
    """Return how far slopes are from length one, squared."""
    return (network.slopes(points).norm(dim=-1) - 1).square().mean()


class RadianceField(Field):
    """Density and colour, learned from pictures (Mildenhall et al. 2020)."""

    def __init__(self, sizes: Sizes, samples: int) -> None:
        super().__init__(sizes)
        self.samples, self.threshold = samples, 10.0
        self.grid = OccupancyGrid(BOX, CELLS, threshold=0.05)

    def density(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the density that a network's number means."""
        return DENSITY * nn.functional.softplus(raw - CLEAR)

    def __call__(self, points: torch.Tensor, directions: torch.Tensor | None = None):
        """Return density [P] and colours [P, 3]; the object looks the same from all sides."""
        raw, colors = self.network.with_colors(points)
        return self.density(raw), colors

    def level(self, points: torch.Tensor) -> torch.Tensor:
        """Return by how much the density is above the threshold."""
        return self.density(self.network(points)) - self.threshold

    def inside(self, points: torch.Tensor) -> torch.Tensor:
        """Return 1 - exp(-density * voxel)."""
        return -torch.expm1(-self.density(self.network(points)) * VOXEL)

    @torch.no_grad()
    def find_threshold(self) -> float:
        """Set the threshold between the two heaps of the histogram of densities (Otsu 1979)."""
        from skimage.filters import threshold_otsu

        found = [self.density(self.network(part)) for part in grid_points(CLOUD_CELLS).split(8192)]
        logs = torch.log1p(torch.cat(found)).numpy()
        if logs.max() > logs.min():
            self.threshold = float(max(torch.expm1(torch.tensor(threshold_otsu(logs))), 1e-3))
        return self.threshold

    def follow(
        self, rays: Rays, rng: torch.Generator | None = None, *, skips: bool = True
    ) -> Marched:
        """Follow rays with half the samples spread and half where density is, skipping what is empty."""
        occupied = self.grid.grown() if skips else None
        half = self.samples // 2
        first = stratified(rays, half, rng)
        with torch.no_grad():
            found = march(self, rays, first, occupied=occupied)
        every = merged(first, importance(first, found.weights, self.samples - half, rng))
        return march(self, rays, every, occupied=occupied)

    def ask(self, origins: torch.Tensor, directions: torch.Tensor) -> Marched:
        """Return what rays [R, 3] meet."""
        return self.follow(rays_in_box(origins, directions, BOX))

    def loss(self, views: Views, rows: tuple[torch.Tensor, torch.Tensor, torch.Tensor], rng):
        """Return the squared error of rays (origins, directions, colours) over white."""
        origins, directions, colors = rows
        found = self.follow(rays_in_box(origins, directions, BOX), rng)
        return (found.over(1.0) - colors).square().mean()

    def refresh(self, rng: torch.Generator) -> None:
        """Ask every cell of the grid again."""
        self.grid.update(lambda points: self.density(self.network(points)), rng, fading=FADING)


class PictureDistance(RadianceField):
    """A distance learned from pictures through the density that it means (Yariv et al. 2021, eq. 2 and 3)."""

    is_metric = True

    def __init__(self, sizes: Sizes, samples: int) -> None:
        super().__init__(sizes, samples)
        self.log_b = nn.Parameter(torch.full((), math.log(0.1)))
        self.threshold = 0.0

    def density(self, raw: torch.Tensor) -> torch.Tensor:
        """Return 1 / b times the distribution of Laplace at minus the distance."""
        b = self.log_b.exp().clamp(min=5e-3)
        ramp = 0.5 * torch.exp(-raw.abs() / b)
        return torch.where(raw > 0, ramp, 1 - ramp) / b

    def level(self, points: torch.Tensor) -> torch.Tensor:
        """Return minus the distance."""
        return -self.network(points)

    def distance(self, points: torch.Tensor) -> torch.Tensor:
        """Return the distance [P]."""
        return self.network(points)

    def inside(self, points: torch.Tensor) -> torch.Tensor:
        """Return sigmoid(-s / b)."""
        return torch.sigmoid(-self.network(points) / self.log_b.exp())

    def find_threshold(self) -> float:
        """Return 0: the surface of a distance is known."""
        return 0.0

    def loss(self, views: Views, rows: tuple[torch.Tensor, torch.Tensor, torch.Tensor], rng):
        """Return the error of the pictures and the eikonal term."""
        points = 2 * torch.rand(256, 3, generator=rng) - 1
        return super().loss(views, rows, rng) + EIKONAL * eikonal(self.network, points)
