"""Paths for a body of balls through a field, and an independent check of how close they come.

paths [B, T, 3] of the body's middle, scene units

cost = COLLISION sum relu(r_k + margin - s(c_k(q_t)))^2 + sum |q_{t+1} - 2 q_t + q_{t-1}|^2, both ends held.
Where a field knows no distance the probability of being inside is summed over the body instead
(Adamkiewicz et al. 2022). The path begins as the shortest one on a coarse grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.nn.module_adam import ModuleAdam
from core.studies.fields.robot_fields.meshes import on_grid
from core.studies.fields.robot_fields.shapes import Shape

BALLS = torch.tensor([[-0.07, 0.0, 0.0], [0.0, 0.0, 0.0], [0.07, 0.0, 0.0]])
RADIUS = 0.06
MARGIN = 0.04  # to be kept
WISHED = 1.5  # margins that the cost asks for: a soft cost gives way a little
GRID = 24
TIMES = 40
STEPS, RATE = 150, 5e-3
COLLISION, FUZZY = 50.0, 5.0
ROOM = 0.9  # of the box that paths stay in
FINE = 4  # places between two times that are checked

Distance = Callable[[torch.Tensor], torch.Tensor]


def pairs_of(shape: Shape, count: int, seed: int) -> torch.Tensor:
    """Return starts and goals [B, 2, 3] that are free and whose straight line is not."""
    rng = torch.Generator().manual_seed(seed)
    found: list[torch.Tensor] = []
    while len(found) < count:
        ends = ROOM * (2 * torch.rand(64, 2, 3, generator=rng) - 1)
        share = torch.linspace(0, 1, TIMES)[:, None]
        lines = ends[:, None, 0] * (1 - share) + ends[:, None, 1] * share  # [64, T, 3]
        free = (clearances(shape.distance, ends) > 2 * MARGIN).all(dim=1)
        blocked = (clearances(shape.distance, lines) < 0).any(dim=1)
        found.extend(ends[free & blocked])
    return torch.stack(found[:count])


def clearances(distance: Distance, places: torch.Tensor) -> torch.Tensor:
    """Return how far the body is from what a distance describes, at places [B, T, 3], [B, T]."""
    balls = places[..., None, :] + BALLS.to(places)  # [B, T, K, 3]
    return (distance(balls.reshape(-1, 3)).reshape(balls.shape[:-1]) - RADIUS).amin(dim=-1)


def voxel_paths(field: Any, pairs: torch.Tensor) -> torch.Tensor:
    """Return the shortest paths [B, T, 3] between cells that the body fits in: the baseline."""
    from scipy.ndimage import distance_transform_edt
    from skimage.graph import route_through_array

    cell = 2 / GRID
    is_free = on_grid(field.inside, GRID) < 0.5
    reach = RADIUS + float(BALLS.norm(dim=-1).max()) + MARGIN
    room = distance_transform_edt(is_free) * cell
    costs = np.where(room > reach, 1.0, 1e4)  # not infinite: an end may stand in a narrow place
    paths = []
    for start, goal in pairs.numpy():
        ends = [tuple(np.rint((place + 1) / cell).astype(int)) for place in (start, goal)]
        cells, _ = route_through_array(costs, *ends, fully_connected=True, geometric=True)
        places = np.array(cells) * cell - 1
        places[0], places[-1] = start, goal
        paths.append(_evenly(places))
    return torch.as_tensor(np.stack(paths), dtype=torch.float32)


def _evenly(places: np.ndarray) -> np.ndarray:
    """Return TIMES places at equal lengths along a path [n, 3]."""
    lengths = np.concatenate(([0.0], np.linalg.norm(np.diff(places, axis=0), axis=1).cumsum()))
    asked = np.linspace(0, lengths[-1], TIMES)
    return np.stack([np.interp(asked, lengths, column) for column in places.T], axis=1)


def refined(field: Any, paths: torch.Tensor) -> torch.Tensor:
    """Return paths moved down the cost, all at once."""
    inner = torch.nn.Parameter(paths[:, 1:-1].clone())
    optimizer = ModuleAdam([inner], RATE)
    ends = paths[:, :1], paths[:, -1:]
    for _ in range(STEPS):
        whole = torch.cat((ends[0], inner, ends[1]), dim=1)
        bend = (whole[:, 2:] - 2 * whole[:, 1:-1] + whole[:, :-2]).square().sum()
        leave = (whole.abs() - ROOM).clamp(min=0).square().sum()
        optimizer.zero_grad()
        (_touch(field, inner) + bend + COLLISION * leave).backward()
        optimizer.step()
    return torch.cat((ends[0], inner.detach(), ends[1]), dim=1)


def _touch(field: Any, places: torch.Tensor) -> torch.Tensor:
    if field.is_metric:
        room = clearances(field.distance, places)
        return COLLISION * (WISHED * MARGIN - room).clamp(min=0).square().sum()
    reach = RADIUS + MARGIN  # the body's surface, swollen by the margin, in six directions
    ways = torch.cat((torch.eye(3), -torch.eye(3), torch.zeros(1, 3))).to(places) * reach
    body = (BALLS.to(places)[:, None] + ways).reshape(-1, 3)
    points = places[..., None, :] + body
    return FUZZY * field.inside(points.reshape(-1, 3)).sum() / len(body)


@torch.no_grad()
def kept_clearance(shape: Shape, paths: torch.Tensor) -> torch.Tensor:
    """Return the least true distance [B] of each body to the object, between the times too."""
    share = torch.arange(FINE)[:, None] / FINE
    steps = paths[:, :-1, None] * (1 - share) + paths[:, 1:, None] * share  # [B, T - 1, FINE, 3]
    every = torch.cat((steps.flatten(1, 2), paths[:, -1:]), dim=1)
    return clearances(shape.distance, every).amin(dim=1)


def certified(field: Any, paths: torch.Tensor) -> torch.Tensor:
    """Return a field's own word on clearance [B], which only one that gives lengths may give."""
    if not field.is_metric:
        raise ConfigError(
            f"{type(field).__name__} gives no distances, only how likely it is to be inside: that is "
            "no safety check. Ask a distance field, or the extracted mesh."
        )
    with torch.no_grad():
        return clearances(field.distance, paths).amin(dim=1)
