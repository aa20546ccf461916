"""Touching the object: where two fingers hold it, and a body that falls on it.

A grasp is a line through the object: its two ends and how far their normals are from that line. A
falling body is a set of points, pushed out by STIFFNESS max(0, -s) along the slope of the distance,
with damping; the same body on the true distance is what it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from core.radiance.sphere_trace import normals_of, sphere_trace
from core.radiance.volume import Rays

Distance = Callable[[torch.Tensor], torch.Tensor]
STEP = 2e-3  # scene units, normals are measured over
OPENING = 0.5  # of the gripper
FRICTION = 0.5  # tangent of the friction cone
STIFFNESS, DAMPING, SLIDING = 4000.0, 20.0, 4.0
GRAVITY, TIME_STEP = 9.81, 2e-3
HALF = 0.1  # of the falling cube's side


@dataclass(frozen=True, eq=False)
class Grasps:
    """Ends [G, 2, 3] and the larger angle [G] between a normal and the line, radians; best first."""

    ends: torch.Tensor
    angles: torch.Tensor

    @property
    def holds(self) -> torch.Tensor:
        """Whether both ends lie in the friction cone, [G] bool."""
        return self.angles < torch.atan(torch.tensor(FRICTION))


@torch.no_grad()
def grasps_of(distance: Distance, points: torch.Tensor) -> Grasps:
    """Score a grasp at every surface point [P, 3]: the other finger comes from the opposite side."""
    inward = -normals_of(distance, points, STEP)
    origins = points + OPENING * inward  # the other finger, as far open as it goes
    far = torch.full((len(points),), OPENING)
    rays = Rays(origins, -inward, torch.zeros(len(points)), far)
    along, is_hit = sphere_trace(distance, rays, 1e-3)
    starts_free = distance(origins) > 0
    ends = origins - along[:, None] * inward
    is_apart = (ends - points).norm(dim=-1) > 4 * STEP
    rows = is_hit & starts_free & is_apart
    line = F.normalize(ends[rows] - points[rows], dim=-1)
    first, second = (normals_of(distance, side, STEP) for side in (points[rows], ends[rows]))
    cosines = torch.minimum(-(first * line).sum(-1), (second * line).sum(-1)).clamp(-1, 1)
    angles = torch.acos(cosines)
    order = angles.argsort()
    return Grasps(torch.stack((points[rows], ends[rows]), dim=1)[order], angles[order])


def cube() -> torch.Tensor:
    """Return the corners, edge middles and face middles [26, 3] of the falling cube."""
    line = torch.tensor([-HALF, 0.0, HALF])
    every = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).reshape(-1, 3)
    return every[every.abs().amax(dim=-1) > 0]


@torch.no_grad()
def drop(distance: Distance, start: torch.Tensor, seconds: float) -> torch.Tensor:
    """Let the cube fall from a place [3]; return its middle at every step [T, 3]. Mass 1, semi-implicit Euler."""
    body = cube()
    inertia = 2 / 3 * HALF**2 * 1.0  # of a full cube of mass one, the same about every axis
    place, turn = start.clone(), torch.eye(3)
    speed, spin = torch.zeros(3), torch.zeros(3)
    trail = []
    for _ in range(round(seconds / TIME_STEP)):
        arms = body @ turn.T
        points = place + arms
        depth = (-distance(points)).clamp(min=0)
        force = torch.zeros_like(points)
        touches = depth > 0
        if bool(touches.any()):
            normals = normals_of(distance, points[touches], STEP)
            moving = speed + torch.linalg.cross(spin.expand_as(arms[touches]), arms[touches])
            into = (moving * normals).sum(dim=-1, keepdim=True)
            push = (STIFFNESS * depth[touches, None] - DAMPING * into).clamp(min=0)
            force[touches] = push * normals - SLIDING * (moving - into * normals)
        speed = speed + TIME_STEP * (force.sum(dim=0) + torch.tensor([0.0, 0.0, -GRAVITY]))
        spin = spin + TIME_STEP * torch.linalg.cross(arms, force).sum(dim=0) / inertia
        place = place + TIME_STEP * speed
        turn = _turned(turn, TIME_STEP * spin)
        trail.append(place)
    return torch.stack(trail)


def _turned(turn: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Return a rotation turned further by a small turn vector, orthonormal again."""
    x, y, z = by.tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    new = turn + cross @ turn
    first = F.normalize(new[:, 0], dim=0)
    second = F.normalize(new[:, 1] - (new[:, 1] @ first) * first, dim=0)
    return torch.stack((first, second, torch.linalg.cross(first, second)), dim=1)
