"""Solid objects, many at a time: where they are, points on their surface, and what they are.

points     [B, P, 3]   -1..1, x right, y up, z towards the viewer
occupied   [B, P]      bool
surface    [N, S, 3]   points on the surface of every object
labels     [N]

Digits    handwritten digits of scikit-learn made thick, turned about the vertical axis and scaled
Solids    furniture and the like out of superquadrics (Barr 1981), each with a part: inside where
          (|x/a|^e + |y/b|^e)^(f/e) + |z/c|^f < 1; exponents of 2 give an ellipsoid, large ones a box

An object is turned and scaled once, before it is fitted, and every object is another one: no second
picture of it can stand on the other side of a split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from core.nn.bundled import digits

LEVEL = 0.45  # of a digit's ink, above which it is solid
HALF = 0.85  # a digit's picture reaches so far from the middle
THICK = 0.3
PAIRS, STEP, HALVINGS = 6144, 0.4, 10  # to find surfaces with


class Shapes(Protocol):
    """Objects that can be asked whether a point is inside."""

    labels: torch.Tensor
    classes: tuple[str, ...]

    def occupied(self, rows: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Return whether points [B, P, 3] lie inside objects rows [B]."""
        ...


class Digits:
    """Handwritten digits as solids."""

    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        pictures, labels = digits()
        rows = rng.permutation(len(pictures))[:count]
        self.pictures = torch.tensor(pictures[rows], dtype=torch.float32)[:, None]  # [N, 1, 8, 8]
        self.originals = self.pictures.clone()
        self.labels = torch.from_numpy(labels[rows].astype(np.int64))
        self.classes = tuple(str(digit) for digit in range(10))
        self.angles = torch.tensor(
            rng.uniform(-math.pi / 4, math.pi / 4, count), dtype=torch.float32
        )
        self.scales = torch.tensor(rng.uniform(0.8, 1.0, count), dtype=torch.float32)

    def morph(self, row: int, share: float) -> None:
        """Turn the ink of one object by a share into that of the next."""
        after = (row + 1) % len(self.originals)
        self.pictures[row] = (1 - share) * self.originals[row] + share * self.originals[after]

    def occupied(self, rows: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Return whether points lie in the ink and within the thickness."""
        x, y, z = (points / self.scales[rows, None, None]).unbind(dim=-1)  # [B, P] each
        cos, sin = torch.cos(self.angles[rows, None]), torch.sin(self.angles[rows, None])
        across, deep = cos * x + sin * z, cos * z - sin * x
        places = torch.stack((across, -y), dim=-1)[:, :, None] / HALF  # [B, P, 1, 2]
        ink = torch.nn.functional.grid_sample(self.pictures[rows], places, align_corners=False)
        return (ink[:, 0, :, 0] > LEVEL) & (deep.abs() < THICK)


@dataclass(frozen=True)
class Primitive:
    """One superquadric of a class: centre and radii of x, y, z, exponents (e, f), and its part."""

    center: tuple[float, float, float]
    radii: tuple[float, float, float]
    exponents: tuple[float, float]
    part: str


BOX, BALL = (8.0, 8.0), (2.0, 2.0)
LEGS = tuple((x, z) for x in (-0.45, 0.45) for z in (-0.45, 0.45))
MODELS: dict[str, tuple[Primitive, ...]] = {
    "table": (
        Primitive((0, 0.35, 0), (0.65, 0.08, 0.65), BOX, "top"),
        *(Primitive((x, -0.2, z), (0.08, 0.5, 0.08), BOX, "leg") for x, z in LEGS),
    ),
    "chair": (
        Primitive((0, -0.05, 0), (0.5, 0.08, 0.5), BOX, "seat"),
        Primitive((0, 0.4, -0.45), (0.5, 0.42, 0.08), BOX, "back"),
        *(Primitive((x, -0.45, z), (0.08, 0.35, 0.08), BOX, "chair leg") for x, z in LEGS),
    ),
    "lamp": (
        Primitive((0, -0.65, 0), (0.4, 0.08, 0.4), BALL, "base"),
        Primitive((0, -0.1, 0), (0.07, 0.55, 0.07), BOX, "pole"),
        Primitive((0, 0.5, 0), (0.42, 0.25, 0.42), BALL, "shade"),
    ),
    "aeroplane": (
        Primitive((0, 0, 0), (0.14, 0.14, 0.8), BALL, "body"),
        Primitive((0, 0, 0.1), (0.8, 0.06, 0.2), BOX, "wing"),
        Primitive((0, 0.18, -0.6), (0.06, 0.22, 0.14), BOX, "tail"),
    ),
    "dumbbell": (
        Primitive((0, 0, 0), (0.6, 0.1, 0.1), BOX, "bar"),
        Primitive((-0.6, 0, 0), (0.16, 0.36, 0.36), BOX, "weight"),
        Primitive((0.6, 0, 0), (0.16, 0.36, 0.36), BOX, "weight"),
    ),
}
PARTS = tuple(dict.fromkeys(one.part for model in MODELS.values() for one in model))
MOST = max(map(len, MODELS.values()))
FAR = 1e6  # where a class has fewer primitives than another, its places are never inside


class Solids:
    """Furniture and the like, every one of other proportions."""

    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.classes = tuple(MODELS)
        labels = rng.permutation(np.arange(count) % len(MODELS))
        self.labels = torch.from_numpy(labels.astype(np.int64))
        rows = [_padded(MODELS[self.classes[label]]) for label in labels]
        stretch = rng.uniform(0.75, 1.1, (count, 1, 3))
        centers = np.array([[one.center for one in row] for row in rows]) * stretch
        radii = np.array([[one.radii for one in row] for row in rows])
        radii = radii * stretch * rng.uniform(0.8, 1.3, (count, MOST, 3))
        self.centers, self.radii, self.exponents = (
            torch.tensor(values, dtype=torch.float32)  # [N, K, 3], [N, K, 3], [N, K, 2]
            for values in (centers, radii, [[one.exponents for one in row] for row in rows])
        )
        parts = [[PARTS.index(one.part) for one in row] for row in rows]
        self.parts = torch.tensor(parts)  # [N, K]
        self.is_there = torch.tensor(
            [[at < len(MODELS[self.classes[x]]) for at in range(MOST)] for x in labels]
        )
        self.angles = torch.tensor(
            rng.uniform(-math.pi / 4, math.pi / 4, count), dtype=torch.float32
        )

    def occupied(self, rows: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Return whether points lie in any primitive."""
        return (self._levels(rows, points) < 1).any(dim=-1)

    def part_of(self, rows: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Return the part [B, P] whose primitive is nearest by its own measure."""
        nearest = self._levels(rows, points).argmin(dim=-1)
        return self.parts[rows].gather(1, nearest)

    def _levels(self, rows: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Return how far out points are in every primitive, [B, P, K]: 1 on its surface."""
        cos, sin = torch.cos(self.angles[rows, None]), torch.sin(self.angles[rows, None])
        x, y, z = points.unbind(dim=-1)
        turned = torch.stack((cos * x + sin * z, y, cos * z - sin * x), dim=-1)[:, :, None]
        share = ((turned - self.centers[rows, None]) / self.radii[rows, None]).abs()  # [B, P, K, 3]
        e, f = self.exponents[rows, None].unbind(dim=-1)  # [B, 1, K]
        level = (share[..., 0] ** e + share[..., 1] ** e) ** (f / e) + share[..., 2] ** f
        return torch.where(self.is_there[rows, None], level ** (1 / f), FAR)


def _padded(model: Sequence[Primitive]) -> list[Primitive]:
    return [*model, *[model[0]] * (MOST - len(model))]


def surfaces(shapes: Shapes, count: int, seed: int, batch: int = 64) -> torch.Tensor:
    """Return points [N, count, 3] on every surface: pairs that differ are halved until they meet."""
    rng = torch.Generator().manual_seed(seed)
    found = []
    for rows in torch.arange(len(shapes.labels)).split(batch):
        size = (len(rows), PAIRS, 3)
        first = 2 * torch.rand(size, generator=rng) - 1
        away = torch.nn.functional.normalize(torch.randn(size, generator=rng), dim=-1)
        second = first + STEP * away
        differs = shapes.occupied(rows, first) != shapes.occupied(rows, second)  # [B, PAIRS]
        order = torch.argsort(differs.to(torch.int8), dim=1, descending=True, stable=True)
        number = differs.sum(dim=1, keepdim=True).clamp_min(1)
        chosen = order.gather(1, torch.arange(count) % number)[..., None].expand(-1, -1, 3)
        first, second = first.gather(1, chosen), second.gather(1, chosen)
        is_inside = shapes.occupied(rows, first)
        for _ in range(HALVINGS):
            middle = (first + second) / 2
            is_first = (shapes.occupied(rows, middle) == is_inside)[..., None]
            first, second = (
                torch.where(is_first, middle, first),
                torch.where(is_first, second, middle),
            )
        found.append((first + second) / 2)
    return torch.cat(found)
