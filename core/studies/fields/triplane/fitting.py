"""Fit fields to objects: a batch of objects learns at once, from points near their surfaces.

Points are taken from the surface with Gaussian offsets of three sizes, and a fifth of them anywhere;
the loss is binary cross-entropy of the occupancy. How well objects are reconstructed is the share
of the volume that field and object have in common (IoU) on a grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from core.base.errors import RunError
from core.base.events import Progress
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import seeded
from core.studies.fields.triplane.config import FieldConfig, TriplaneConfig
from core.studies.fields.triplane.fields import Codes, Layers, TriPlanes, Weights
from core.studies.fields.triplane.shapes import Digits, Shapes, Solids, surfaces
from core.study import Setup

OFFSETS = (0.15, 0.02, 0.05)  # of shares NEAR of the points near the surface
NEAR = (0.25, 0.25, 0.5)
ANYWHERE = 0.2
SURFACE = 512  # points on each surface
EDGE = 0.95
TASK = "Fitting fields"
Field = TriPlanes | Weights | Codes


@dataclass(frozen=True)
class Objects:
    """What is fitted: shapes and points on their surfaces."""

    shapes: Shapes
    surface: torch.Tensor  # [N, SURFACE, 3]

    def __len__(self) -> int:
        return len(self.shapes.labels)

    def drawn(
        self, rows: torch.Tensor, count: int, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return points [B, count, 3] to learn from and whether they are inside, [B, count]."""
        size = (len(rows), count)
        places = torch.randint(self.surface.shape[1], size, generator=rng)[..., None]
        points = self.surface[rows].gather(1, places.expand(-1, -1, 3))
        limits = torch.tensor(NEAR).cumsum(0)[:-1] * count
        offsets = torch.tensor(OFFSETS)[torch.bucketize(torch.arange(count).float(), limits)]
        points = points + offsets[:, None] * torch.randn((*size, 3), generator=rng)
        is_free = torch.rand(size, generator=rng) < ANYWHERE
        anywhere = 2 * torch.rand((*size, 3), generator=rng) - 1
        points = torch.where(is_free[..., None], anywhere, points).clamp(-1, 1)
        return points, self.shapes.occupied(rows, points).float()


def objects_of(config: TriplaneConfig, seed: int) -> Objects:
    """Return the objects of a seed; their turns and sizes depend on it as well."""
    kind = Digits if config.shapes == "digits" else Solids
    shapes = kind(config.objects, seed)
    return Objects(shapes, surfaces(shapes, SURFACE, seed))


def layers_of(kind: str, config: FieldConfig) -> Layers:
    """Return the sizes of the networks of a kind of field."""
    planes = Layers(config.hidden, config.layers, config.omega, config.frequencies)
    if kind == "planes":
        return planes
    if kind == "codes":
        return replace(planes, hidden=config.code_hidden)
    return replace(planes, hidden=config.alone_hidden, omega=config.alone_omega, frequencies=0)


def field_of(kind: str, objects: int, config: FieldConfig) -> Field:
    """Return untrained fields of a kind: planes, weights, weights_shared or codes."""
    sizes = layers_of(kind, config)
    if kind == "planes":
        return TriPlanes(objects, config.side, config.channels, sizes)
    if kind == "codes":
        return Codes(objects, config.code, sizes)
    return Weights(objects, sizes, is_shared_start=kind == "weights_shared")


class Fit:
    """Fields of some objects while they learn."""

    def __init__(
        self, field: Field, objects: Objects, rows: torch.Tensor, config: FieldConfig, seed: int
    ) -> None:
        self.field, self.objects, self.rows, self.config = field, objects, rows, config
        self.optimizer = ModuleAdam(field.parameters(), config.rate)
        self.rng = torch.Generator().manual_seed(seed)
        self.steps_done = 0
        self.losses = torch.full((len(rows),), math.nan)
        self.device = next(field.parameters()).device  # objects stay in main memory

    def step(self, total: int) -> float:
        """Learn from a few points of every object; codes share their network, a part of them at a time."""
        slots = None
        if isinstance(self.field, Codes):
            order = torch.randperm(len(self.rows), generator=self.rng)
            slots = order[: self.config.batch]
        rows = self.rows if slots is None else self.rows[slots]
        points, inside = self.objects.drawn(rows, self.config.points, self.rng)
        points, inside = points.to(self.device), inside.to(self.device)
        logits = self.field(points, slots)
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, inside, reduction="none"
        ).mean(dim=1)  # [B]
        self.optimizer.zero_grad()
        losses.sum().backward()  # a sum: how many objects learn beside one changes nothing for it
        share = min(1.0, self.steps_done / total)
        self.optimizer.rate = self.config.rate * 0.5 * (1 + math.cos(math.pi * share))
        self.optimizer.step()
        self.steps_done += 1
        self.losses[slice(None) if slots is None else slots] = losses.detach().cpu()
        return float(losses.detach().mean())

    @torch.no_grad()
    def inside(self, points: torch.Tensor, slot: int) -> torch.Tensor:
        """Return whether points [1, P, 3] lie in the reconstruction of one object, [P]."""
        logits = self.field(points.to(self.device), torch.tensor([slot]))
        return (logits[0] > 0).cpu()

    @torch.no_grad()
    def iou(self, **options: Any) -> torch.Tensor:
        """Return the IoU of every object, [B]."""
        grid = volume(self.config.grid)
        found = []
        for slots in torch.arange(len(self.rows)).split(self.config.batch):
            points = grid.expand(len(slots), -1, -1)
            truth = self.objects.shapes.occupied(self.rows[slots], points)
            inside = (self.field(points.to(self.device), slots, **options) > 0).cpu()
            common, either = (inside & truth).sum(dim=1), (inside | truth).sum(dim=1)
            found.append(common / either.clamp_min(1))
        return torch.cat(found)


def volume(side: int) -> torch.Tensor:
    """Return the points of a grid [1, side^3, 3], z outermost, then y, then x."""
    line = torch.linspace(-EDGE, EDGE, side)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return torch.stack((x, y, z), dim=-1).reshape(1, -1, 3)


def fitted(kind: str, config: TriplaneConfig, objects: Objects, setup: Setup) -> dict[str, Any]:
    """Return {features [N, ...], iou [N], iou_without_planes [N]} of fields of a kind, fitted or kept."""
    key = f"{kind} {config.shapes} {config.objects} {config.fields.model_dump_json()} seed {setup.seed}"

    def build() -> dict[str, Any]:
        if kind == "codes":
            return _codes(config, objects, setup)
        return _own(kind, config, objects, setup)

    found: dict[str, Any] = setup.artifact(key, build)
    return found


def _own(kind: str, config: TriplaneConfig, objects: Objects, setup: Setup) -> dict[str, Any]:
    """Fit fields whose networks are their own, batch after batch."""
    batches = torch.arange(len(objects)).split(config.fields.batch)
    steps = config.fields.steps if kind == "planes" else config.fields.alone_steps
    parts: dict[str, list[torch.Tensor]] = {"features": [], "iou": [], "iou_without_planes": []}
    for at, rows in enumerate(batches):
        start = setup.seed if kind == "weights_shared" else 1000 * (setup.seed + 1) + at
        with seeded(start, setup.device):
            field = field_of(kind, len(rows), config.fields)
        fit = Fit(field, objects, rows, config.fields, 1000 * (setup.seed + 1) + at)
        _run(fit, steps, setup, lambda share, at=at: (at + share) / len(batches))
        parts["iou"].append(fit.iou())
        if isinstance(field, TriPlanes):
            parts["features"].append(field.planes.detach().flatten(1, 2))  # [B, 3 C, R, R]
            parts["iou_without_planes"].append(fit.iou(has_planes=False))
        else:
            parts["features"].append(field.network.flat().detach())
            parts["iou_without_planes"].append(parts["iou"][-1])
    return {name: torch.cat(values).cpu().contiguous() for name, values in parts.items()}


def _codes(config: TriplaneConfig, objects: Objects, setup: Setup) -> dict[str, Any]:
    """Fit codes and their network together, a batch of objects in a step."""
    rows = torch.arange(len(objects))
    with seeded(setup.seed, setup.device):
        field = field_of("codes", len(objects), config.fields)
    assert isinstance(field, Codes)
    fit = Fit(field, objects, rows, config.fields, setup.seed)
    _run(fit, config.fields.code_steps, setup, lambda share: share)
    iou = fit.iou()
    return {"features": field.codes.detach().cpu().clone(), "iou": iou, "iou_without_planes": iou}


def _run(fit: Fit, steps: int, setup: Setup, fraction: Callable[[float], float]) -> None:
    for step in range(steps):
        if setup.cancelled():
            raise RunError("The fields were not fitted: the run was stopped. Start it again.")
        fit.step(steps)
        setup.report(Progress(TASK, fraction((step + 1) / steps)))
