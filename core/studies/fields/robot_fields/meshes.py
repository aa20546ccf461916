"""Surfaces of any field as triangles, their distance to the true one, and distances read off a grid.

vertices [V, 3] scene units, faces [F, 3]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from core.base.errors import ConfigError, FormatError
from core.radiance.sphere_trace import AMBIENT, GREY, Hit, normals_of
from core.radiance.volume import rays_in_box
from core.studies.fields.robot_fields.gaussians import GaussianField
from core.studies.fields.robot_fields.shapes import BOX, Views, grid_points

Level = Callable[[torch.Tensor], torch.Tensor]
CHUNK = 16_384
SAMPLES = 10_000  # points of either surface that are compared
CLOSE = 0.02  # scene units: the F-score's threshold, 1 % of the box
MARCHED = 64  # places along a ray where a level is looked for


@torch.no_grad()
def on_grid(level: Level, cells: int) -> np.ndarray:
    """Return a level at the corners of a grid over the box, [G + 1, G + 1, G + 1]."""
    found = torch.cat([level(part) for part in grid_points(cells).split(CHUNK)])
    return found.reshape((cells + 1,) * 3).cpu().numpy()


def mesh_of(field: Any, cells: int, views: Views | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices and faces of a field's surface; none where it has none yet.

    Gaussians have no surface by construction: their depth pictures are fused, and what is less than
    half opaque is left out (core/formats/surface.py).
    """
    if isinstance(field, GaussianField):
        assert views is not None
        return _fused(field, views, cells)
    from skimage.measure import marching_cubes

    values = np.pad(on_grid(field.level, cells), 1, constant_values=-1e3)  # closed at the box
    if not (values > 0).any():
        return np.empty((0, 3), np.float32), np.empty((0, 3), np.int64)
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent")
    return ((vertices - 1) * (2 / cells) - 1).clip(-1, 1).astype(np.float32), faces


def _fused(field: GaussianField, views: Views, cells: int) -> tuple[np.ndarray, np.ndarray]:
    from core.formats.surface import fused, grid_of, seen

    scene = field.scene(0, views.cameras)
    try:
        pictures = [seen(scene, camera, field.renderer) for camera in views.cameras]
        surface = fused(pictures, grid_of(pictures, max(32, cells)), lambda _share, _text: None)
    except FormatError:  # too thin yet for any depth
        return np.empty((0, 3), np.float32), np.empty((0, 3), np.int64)
    return surface.vertices, surface.faces


def compared(vertices: np.ndarray, faces: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the Chamfer distance, the F-score, loose parts and whether the mesh is closed."""
    import trimesh
    from scipy.spatial import cKDTree

    if not len(faces):
        return {"chamfer": 2.0, "f_score": 0.0, "parts": 0.0, "watertight": 0.0}
    mesh = trimesh.Trimesh(vertices, faces, process=True)
    points = trimesh.sample.sample_surface(mesh, SAMPLES, seed=np.random.default_rng(0))[0]
    to_truth, _ = cKDTree(truth).query(points, workers=1)
    to_mesh, _ = cKDTree(points).query(truth, workers=1)
    precision, recall = (to_truth < CLOSE).mean(), (to_mesh < CLOSE).mean()
    return {
        "chamfer": float(0.5 * (to_truth.mean() + to_mesh.mean())),
        "f_score": float(2 * precision * recall / max(precision + recall, 1e-9)),
        "parts": float(num_parts(faces, len(vertices))),
        "watertight": float(mesh.is_watertight),
    }


def num_parts(faces: np.ndarray, num_vertices: int) -> int:
    """Return how many loose parts a mesh has."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    starts, ends = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    links = coo_matrix((np.ones(len(starts), bool), (starts, ends)), shape=(num_vertices,) * 2)
    _, part_of = connected_components(links, directed=False)
    return len(np.unique(part_of[starts]))


class GridDistance:
    """Approximate signed distances of a field that knows none: from the cells where it is inside.

    Differentiable, trilinear between cells; off by up to a cell, therefore `is_metric` is False.
    """

    is_metric = False

    def __init__(self, field: Any, cells: int) -> None:
        from scipy.ndimage import distance_transform_edt

        with torch.no_grad():
            is_inside = on_grid(field.inside, cells) > 0.5
        cell = 2 / cells
        if is_inside.any() and not is_inside.all():
            apart = distance_transform_edt(~is_inside) - distance_transform_edt(is_inside)
        else:
            apart = np.full(is_inside.shape, -cells if is_inside.all() else cells, float)
        apart = apart - 0.5 * np.sign(apart)  # the surface lies between the cells
        self.values = torch.as_tensor(apart * cell, dtype=torch.float32)[None, None]

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """Return distances [P]."""
        place = points.flip(-1)[None, None, None]  # the last axis of a grid is x to torch
        options = {"mode": "bilinear", "padding_mode": "border", "align_corners": True}
        found: torch.Tensor = F.grid_sample(self.values, place, **options)
        return found.reshape(-1)


def distance_of(field: Any, cells: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a field's own distance, or the best that can be read off a grid."""
    found: Callable[[torch.Tensor], torch.Tensor] = (
        field.distance if field.is_metric else GridDistance(field, cells)
    )
    return found


def metres(distance: float, metres_per_unit: float) -> float:
    """Return a length in metres; without a known scale there is no answer."""
    if metres_per_unit <= 0:
        raise ConfigError(
            f"{distance:.3f} scene units are no length in metres: the scale of this object is not "
            "known. Set metres_per_unit."
        )
    return distance * metres_per_unit


@dataclass(frozen=True, eq=False)
class LevelAsk:
    """Pictures of a field that gives no distance: steps along the ray, then a secant; lit from the eye."""

    level: Level
    step: float  # that normals are measured over

    @torch.no_grad()
    def __call__(self, origins: torch.Tensor, directions: torch.Tensor) -> Hit:
        """Return where rays [R, 3] first go inside."""
        rays = rays_in_box(origins, directions, BOX)
        share = torch.linspace(0, 1, MARCHED, device=origins.device)
        along = rays.near[:, None] + share * (rays.far - rays.near)[:, None]  # [R, S]
        values = self.level(rays.at(along).reshape(-1, 3)).reshape(along.shape)
        goes_in = (values[:, 1:] > 0) & (values[:, :-1] <= 0) & (rays.far > rays.near)[:, None]
        is_hit, at = goes_in.any(dim=-1), goes_in.float().argmax(dim=-1, keepdim=True)
        before, after = values.gather(1, at), values.gather(1, at + 1)
        part = (-before / (after - before).clamp(min=1e-12)).clamp(0, 1)
        start, end = along.gather(1, at), along.gather(1, at + 1)
        depth = (start + part * (end - start))[:, 0] * is_hit
        points = (origins + depth[:, None] * directions)[is_hit]
        normals = normals_of(lambda places: -self.level(places), points, self.step)
        facing = -(normals * directions[is_hit]).sum(dim=-1, keepdim=True)
        rgb = torch.zeros_like(directions)
        rgb[is_hit] = GREY * (AMBIENT + (1 - AMBIENT) * facing.clamp(0, 1))
        return Hit(rgb, is_hit.to(depth), depth, torch.zeros_like(depth))
