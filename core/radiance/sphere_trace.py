"""Where rays meet the surface of a distance field, and a plain lit picture of it.

    distance   points [P, 3] -> [P]  scene units, negative inside
    ->
    distances  [R]  scene units along the ray; is_hit [R]

Sphere tracing (Hart 1996): a ray goes on by the distance itself. A learned field may overestimate
it, so every stride is shortened, and a stride that ends inside goes back by what it went too far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from core.radiance.volume import Rays, rays_in_box

Distance = Callable[[torch.Tensor], torch.Tensor]
Colors = Callable[[torch.Tensor], torch.Tensor]
STEPS = 96
SHARE = 0.9  # of the distance that a stride takes
NEAR_ENOUGH = 1e-3  # of the box's diagonal
DIFFERENCE = 2e-3  # of the box's diagonal, between the places that a normal is measured at
AMBIENT = 0.25
GREY = 0.8


@torch.no_grad()
def sphere_trace(
    distance: Distance, rays: Rays, tolerance: float, steps: int = STEPS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Follow rays until they are within a tolerance of the surface; return distances [R] and hits [R]."""
    along = rays.near.clone()
    is_hit = torch.zeros_like(along, dtype=torch.bool)
    alive = torch.arange(len(rays), device=along.device)[rays.far > rays.near]
    for _ in range(steps):
        if not len(alive):
            break
        points = rays.origins[alive] + along[alive, None] * rays.directions[alive]
        left = distance(points)  # [A]
        is_there = left.abs() < tolerance
        is_hit[alive[is_there]] = True
        along[alive] += torch.where(is_there, torch.zeros_like(left), SHARE * left)
        alive = alive[~is_there & (along[alive] < rays.far[alive]) & (along[alive] >= 0)]
    return along, is_hit


@torch.no_grad()
def normals_of(distance: Distance, points: torch.Tensor, step: float) -> torch.Tensor:
    """Return unit gradients [P, 3] of a distance field, by central differences."""
    offsets = step * torch.eye(3, device=points.device, dtype=points.dtype)
    slopes = [distance(points + offset) - distance(points - offset) for offset in offsets]
    return F.normalize(torch.stack(slopes, dim=-1), dim=-1)


@dataclass(frozen=True, eq=False)
class Hit:
    """A trace of opaque surfaces (core/radiance/field.py)."""

    rgb: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    spread: torch.Tensor


@dataclass(frozen=True, eq=False)
class SurfaceAsk:
    """The surface inside a box [2, 3], lit from the eye; `colors` [P, 3] of places, grey where not given."""

    distance: Distance
    bounds: np.ndarray
    colors: Colors | None = None

    @torch.no_grad()
    def __call__(self, origins: torch.Tensor, directions: torch.Tensor) -> Hit:
        """Return what rays [R, 3] meet."""
        size = float(np.linalg.norm(self.bounds[1] - self.bounds[0]))
        rays = rays_in_box(origins, directions, self.bounds)
        along, is_hit = sphere_trace(self.distance, rays, NEAR_ENOUGH * size)
        points = (origins + along[:, None] * directions)[is_hit]
        normals = normals_of(self.distance, points, DIFFERENCE * size)
        facing = -(normals * directions[is_hit]).sum(dim=-1, keepdim=True)
        light = AMBIENT + (1 - AMBIENT) * facing.clamp(0, 1)  # [H, 1]
        base = torch.full_like(points, GREY) if self.colors is None else self.colors(points)
        rgb = torch.zeros_like(directions)
        rgb[is_hit] = base * light
        alpha = is_hit.to(along)
        return Hit(rgb, alpha, along * alpha, torch.zeros_like(along))
