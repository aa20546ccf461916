"""Spheres, boxes and a round platform: where rays meet them. World units, z up.

origins [P, 3], directions [P, 3] unit  ->  distances [P], infinite where a ray misses
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Texture = Callable[[np.ndarray], np.ndarray]
NEAREST = 1e-4


@dataclass(frozen=True, eq=False)
class Sphere:
    """A ball; `gloss` is the strength of its highlight."""

    center: np.ndarray
    radius: float
    texture: Texture
    gloss: float = 0.2

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return the distance to the first point in front."""
        offset = origins - self.center
        along = (offset * directions).sum(1)
        inside = along**2 - (offset * offset).sum(1) + self.radius**2
        root = np.sqrt(np.maximum(inside, 0.0))
        distance = np.where(-along - root > NEAREST, -along - root, -along + root)
        return np.where((inside > 0) & (distance > NEAREST), distance, np.inf)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Return outward normals at surface points."""
        return (points - self.center) / self.radius

    def colors(self, points: np.ndarray) -> np.ndarray:
        """Return the texture at surface points."""
        return self.texture(points - self.center)

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return points spread evenly over the surface."""
        normals = rng.normal(size=(count, 3))
        return self.center + self.radius * normals / np.linalg.norm(normals, axis=1, keepdims=True)

    @property
    def area(self) -> float:
        """Surface."""
        return 4 * np.pi * self.radius**2

    @property
    def extent(self) -> float:
        """Radius of a ball of about the same size, for soft contact shadows."""
        return self.radius


@dataclass(frozen=True, eq=False)
class Box:
    """A box turned about z by `angle`."""

    center: np.ndarray
    half: np.ndarray
    angle: float
    texture: Texture
    gloss: float = 0.08

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return the distance to the first point in front."""
        origins, directions = self._local(origins - self.center), self._local(directions)
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = (-self.half - origins) / directions, (self.half - origins) / directions
        enter, leave = np.fmin(low, high).max(1), np.fmax(low, high).min(1)
        return np.where((enter < leave) & (enter > NEAREST), enter, np.inf)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Return outward normals at surface points."""
        share = self._local(points - self.center) / self.half
        face = np.abs(share).argmax(1)
        local = np.zeros_like(points)
        rows = np.arange(len(points))
        local[rows, face] = np.sign(share[rows, face])
        return local @ self._turn

    def colors(self, points: np.ndarray) -> np.ndarray:
        """Return the texture at surface points."""
        return self.texture(self._local(points - self.center))

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return points spread evenly over the faces."""
        x, y, z = self.half
        face = rng.choice(3, count, p=np.array([y * z, x * z, x * y]) / (y * z + x * z + x * y))
        local = rng.uniform(-1, 1, (count, 3))
        rows = np.arange(count)
        local[rows, face] = np.sign(local[rows, face])
        return self.center + local * self.half @ self._turn

    @property
    def area(self) -> float:
        """Surface."""
        x, y, z = self.half
        return 8 * (x * y + y * z + x * z)

    @property
    def extent(self) -> float:
        """Radius of a ball of about the same size, for soft contact shadows."""
        return float(np.cbrt(np.prod(self.half)))

    @property
    def _turn(self) -> np.ndarray:
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])

    def _local(self, vectors: np.ndarray) -> np.ndarray:
        return vectors @ self._turn.T


@dataclass(frozen=True, eq=False)
class Platform:
    """A round slab about the z axis with its top at height 0."""

    radius: float
    depth: float
    texture: Texture
    rim: Texture
    gloss: float = 0.05

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return the distance to the first point in front."""
        nearest = np.full(len(origins), np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            for height in (0.0, -self.depth):
                distance = (height - origins[:, 2]) / directions[:, 2]
                place = origins[:, :2] + distance[:, None] * directions[:, :2]
                is_hit = (distance > NEAREST) & ((place**2).sum(1) < self.radius**2)
                nearest = np.where(is_hit & (distance < nearest), distance, nearest)
            across = (directions[:, :2] ** 2).sum(1)
            along = (origins[:, :2] * directions[:, :2]).sum(1)
            inside = along**2 - across * ((origins[:, :2] ** 2).sum(1) - self.radius**2)
            distance = (-along - np.sqrt(np.maximum(inside, 0.0))) / across
            height = origins[:, 2] + distance * directions[:, 2]
            is_hit = (inside > 0) & (distance > NEAREST) & (height < 0) & (height > -self.depth)
        return np.where(is_hit & (distance < nearest), distance, nearest)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Return outward normals at surface points."""
        normals = np.zeros_like(points)
        is_rim = self._is_rim(points)
        normals[is_rim, :2] = points[is_rim, :2] / self.radius
        normals[~is_rim, 2] = np.where(points[~is_rim, 2] > -self.depth / 2, 1.0, -1.0)
        return normals

    def colors(self, points: np.ndarray) -> np.ndarray:
        """Return the textures of top and rim."""
        is_rim = self._is_rim(points)
        colors = np.empty_like(points)
        colors[~is_rim] = self.texture(points[~is_rim])
        unrolled = points[is_rim].copy()
        unrolled[:, 0] = np.arctan2(unrolled[:, 1], unrolled[:, 0]) * self.radius
        unrolled[:, 1] = 0.0
        colors[is_rim] = self.rim(unrolled)
        return colors

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return points on top and rim."""
        angle = rng.uniform(0, 2 * np.pi, count)
        is_rim = rng.random(count) < 2 * self.depth / (self.radius + 2 * self.depth)
        radius = np.where(is_rim, self.radius, self.radius * np.sqrt(rng.random(count)))
        height = np.where(is_rim, -self.depth * rng.random(count), 0.0)
        return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), height])

    @property
    def area(self) -> float:
        """Surface of top and rim."""
        return np.pi * self.radius * (self.radius + 2 * self.depth)

    def _is_rim(self, points: np.ndarray) -> np.ndarray:
        return (points[:, 2] < -1e-6) & (points[:, 2] > -self.depth + 1e-6)


Solid = Sphere | Box | Platform


def first_hit(
    solids: tuple[Solid, ...], origins: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return for every ray the distance [P] to the first solid and which one it is [P] (-1: none)."""
    nearest = np.full(len(origins), np.inf)
    solid_ids = np.full(len(origins), -1)
    for index, solid in enumerate(solids):
        distance = solid.hit(origins, directions)
        is_nearer = distance < nearest
        nearest[is_nearer], solid_ids[is_nearer] = distance[is_nearer], index
    return nearest, solid_ids
