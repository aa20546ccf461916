"""The object: exact distances, colours, pictures and surface points of solids, or of a mesh file.

points     [P, 3]  scene units; the object lies inside the box of -1..1
distances  [P]     negative inside; of an open mesh without sign
colors     [P, 3]  0..1
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from core.base.errors import ConfigError
from core.capture.camera import Camera, look_at
from core.radiance.sphere_trace import SurfaceAsk
from core.radiance.volume import camera_rays

BOX = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
UP = np.array([0.0, 0.0, 1.0])
REACH = 2.6  # of the cameras from the middle
FOCAL = 1.5  # picture widths
FILLED = 0.7  # of the box by a mesh's longest side
MESH_SAMPLES = 60_000
RAYS = 1 << 16  # followed at once
CELLS = 96  # of the grid that the true surface is found on


class Shape(Protocol):
    """An object that everything is known of."""

    has_inside: bool

    def distance(self, points: torch.Tensor) -> torch.Tensor:
        """Return distances [P]."""
        ...

    def colors(self, points: torch.Tensor) -> torch.Tensor:
        """Return colours [P, 3]."""
        ...


class Solids:
    """A base plate with a ball, a standing ring and a post: a hole to grasp in, gaps to plan through."""

    has_inside = True

    def parts(self, points: torch.Tensor) -> torch.Tensor:
        """Return the distances to each part [P, 4]; their least is exact outside."""
        plate = _box(points, (0.0, 0.0, -0.42), (0.62, 0.45, 0.1))
        ball = (points - points.new_tensor([-0.3, 0.12, -0.05])).norm(dim=-1) - 0.3
        local = points - points.new_tensor([0.34, -0.05, 0.1])
        around = local[:, [0, 2]].norm(dim=-1) - 0.28  # a ring that stands across y
        ring = torch.stack((around, local[:, 1]), dim=-1).norm(dim=-1) - 0.1
        post = _box(points, (-0.1, -0.36, 0.05), (0.08, 0.08, 0.4))
        return torch.stack((plate, ball, ring, post), dim=-1)

    def distance(self, points: torch.Tensor) -> torch.Tensor:
        """Return the distance of the union."""
        return self.parts(points).amin(dim=-1)

    def colors(self, points: torch.Tensor) -> torch.Tensor:
        """Return a colour for each part, in checks that a camera can hold on to."""
        base = points.new_tensor(
            [[0.85, 0.7, 0.4], [0.8, 0.25, 0.2], [0.2, 0.5, 0.8], [0.3, 0.65, 0.3]]
        )
        checks = (points * 6).floor().sum(dim=-1, keepdim=True) % 2
        return base[self.parts(points).argmin(dim=-1)] * (0.65 + 0.35 * checks)


def _box(points: torch.Tensor, center: tuple[float, ...], half: tuple[float, ...]) -> torch.Tensor:
    apart = (points - points.new_tensor(center)).abs() - points.new_tensor(half)
    return apart.clamp(min=0).norm(dim=-1) + apart.amax(dim=-1).clamp(max=0)


class MeshShape:
    """A mesh file, centred and scaled: distances to samples of its surface, sign from their normals."""

    def __init__(self, path: str) -> None:
        import trimesh
        from scipy.spatial import cKDTree

        try:
            mesh = trimesh.load(Path(path).expanduser(), force="mesh")
        except Exception as error:  # whatever its readers raise: it is the file that is wrong
            raise ConfigError(
                f"{path}: cannot be read as a mesh ({error}). Name another."
            ) from None
        if len(mesh.faces) == 0:
            raise ConfigError(f"{path}: holds no triangles. Name a mesh with a surface.")
        low, high = mesh.bounds
        mesh.apply_translation(-(low + high) / 2)
        mesh.apply_scale(2 * FILLED / float((high - low).max()))
        self.has_inside = bool(mesh.is_watertight)
        rng = np.random.default_rng(0)
        places, faces = trimesh.sample.sample_surface(mesh, MESH_SAMPLES, seed=rng)
        self.samples = np.asarray(places, np.float32)
        self.normals = np.asarray(mesh.face_normals[faces], np.float32)
        self.tree = cKDTree(self.samples)

    def distance(self, points: torch.Tensor) -> torch.Tensor:
        """Return the distance to the nearest sample; an open mesh has no inside and no sign."""
        places = points.detach().cpu().numpy()
        apart, row = self.tree.query(places, workers=1)
        if self.has_inside:
            along = ((places - self.samples[row]) * self.normals[row]).sum(axis=1)
            apart = np.where(along < 0, -apart, apart)
        return torch.as_tensor(apart, dtype=points.dtype, device=points.device)

    def colors(self, points: torch.Tensor) -> torch.Tensor:
        """Return checks in the colours of the places."""
        checks = (points * 6).floor().sum(dim=-1, keepdim=True) % 2
        return (0.5 + 0.4 * points.clamp(-1, 1)) * (0.65 + 0.35 * checks)


def shape_of(mesh: str) -> Shape:
    """Return the object of a setting: a mesh file, or the solids where none is named."""
    return MeshShape(mesh) if mesh else Solids()


@dataclass(frozen=True, eq=False)
class Views:
    """Pictures of the object over white: pixels [V, H, W, 3], alpha [V, H, W], depth along rays [V, H, W]."""

    cameras: tuple[Camera, ...]
    pixels: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor


def ring(count: int, size: int, turn: float = 0.0) -> tuple[Camera, ...]:
    """Return cameras all around the object, in a spiral from above to a little below."""
    found = []
    for index in range(count):
        height = 0.85 - 1.1 * (index + 0.5) / count
        angle = turn + index * np.pi * (3 - 5**0.5)  # the golden angle: no two look from one side
        across = np.sqrt(1 - height**2)
        center = REACH * np.array([across * np.cos(angle), across * np.sin(angle), height])
        pose = look_at(center, np.zeros(3), UP)
        found.append(Camera(pose, FOCAL * size, FOCAL * size, size / 2, size / 2, size, size))
    return tuple(found)


@torch.no_grad()
def views_of(shape: Shape, cameras: tuple[Camera, ...]) -> Views:
    """Photograph the object; pixels are means over four rays, alpha and depth those of the centre."""
    side, count = cameras[0].width, len(cameras)
    fine = _asked(shape, tuple(camera.resized(2 * side, 2 * side) for camera in cameras))
    colors = fine[:, :3] + 1 - fine[:, 3:4]
    pixels = colors.reshape(count, side, 2, side, 2, 3).mean(dim=(2, 4))
    middle = _asked(shape, cameras).reshape(count, side, side, 5)
    return Views(cameras, pixels, middle[..., 3], middle[..., 4])


def _asked(shape: Shape, cameras: tuple[Camera, ...]) -> torch.Tensor:
    """Return colour, alpha and depth [R, 5] of every pixel of all cameras."""
    ask = SurfaceAsk(shape.distance, BOX, shape.colors)
    origins, directions = (torch.cat(part) for part in zip(*map(camera_rays, cameras), strict=True))
    found = [
        ask(first, second)
        for first, second in zip(origins.split(RAYS), directions.split(RAYS), strict=True)
    ]
    rows = [torch.cat((one.rgb, one.alpha[:, None], one.depth[:, None]), dim=-1) for one in found]
    return torch.cat(rows)


def grid_points(cells: int) -> torch.Tensor:
    """Return the corners [(G + 1)^3, 3] of a grid over the box."""
    line = torch.linspace(-1, 1, cells + 1)
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).reshape(-1, 3)


def true_surface(shape: Shape, count: int, seed: int) -> np.ndarray:
    """Return points [count, 3] on the true surface, spread by area."""
    if isinstance(shape, MeshShape):
        return shape.samples[np.random.default_rng(seed).integers(0, len(shape.samples), count)]
    import trimesh

    found = trimesh.sample.sample_surface(_solid_mesh(), count, seed=np.random.default_rng(seed))[0]
    return np.asarray(found, np.float32)


@functools.cache
def _solid_mesh() -> Any:
    """Return the triangles of the solids, which never change."""
    import trimesh
    from skimage.measure import marching_cubes

    values = Solids().distance(grid_points(CELLS)).reshape((CELLS + 1,) * 3).numpy()
    vertices, faces, _, _ = marching_cubes(values, 0.0)
    return trimesh.Trimesh(vertices * (2 / CELLS) - 1, faces, process=False)
