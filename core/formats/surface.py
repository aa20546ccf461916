"""The surface of a scene, from depth pictures fused on a grid (TSDF) and marching cubes. Scene units.

vertices  [V, 3]  float32
faces     [F, 3]  int, counter-clockwise from outside
colors    [V, 3]  float32  0..1 sRGB, the weighted mean of the views that see the vertex

The depth of a pixel is the expected one: the contract of the renderers has no median. At an edge the
expected depth lies in the air between two surfaces; therefore a second picture tells how far along
the ray the Gaussians of a pixel are spread, and a pixel counts less the more they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from core.base.errors import FormatError
from core.capture.camera import Camera
from core.capture.placement import common_point
from core.radiance.field import Snapshot, TracedScene
from core.render.backend import Renderer
from core.render.composite import composite
from core.render.evaluate import matrices
from core.render.traced import traced

LONGEST_SIDE = 480  # pixels of a depth picture
MOST_VIEWS = 64
TEST_EVERY = 8  # views kept back to measure on, as captures keep photographs back
FEWEST_CELLS, MOST_DEFAULT_CELLS, MOST_CELLS = 32, 256, 1024  # along the longest side
BYTES_PER_CELL = 14  # two numbers, the mask and what marching cubes copies
MOST_BYTES = 2_000_000_000
TRUNCATION = 5.0  # cells
OPAQUE, EMPTY = 0.5, 0.1  # alpha from which a pixel has a surface, and below which its ray is free
LEAST_PART = 0.002  # of all triangles: smaller loose parts are specks
Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class DepthView:
    """What one camera sees: depth [H, W], trust [H, W] (mesh_kernels.py), rgb [H, W, 3] uint8."""

    camera: Camera
    depth: np.ndarray
    spread: (
        np.ndarray
    )  # [H, W] standard deviation of depth along the ray; negative where nothing is
    rgb: np.ndarray

    def trust(self, truncation: float) -> np.ndarray:
        """Return the weight of every pixel for a truncation in scene units.

        What is seen at a slant counts less, by the squared cosine: behind the horizon of a round thing
        it would otherwise pull the surface outwards.
        """
        across, along = np.gradient(self.depth, axis=(1, 0))
        lens, depth = self.camera, np.maximum(self.depth, 1e-9)
        slope = np.square(across * lens.fx / depth) + np.square(along * lens.fy / depth)
        known = 1 / (1 + slope) / (1 + np.square(self.spread / truncation))
        return np.where(self.spread >= 0, known, self.spread).astype(np.float32)

    @property
    def has_surface(self) -> np.ndarray:
        """[H, W] bool."""
        return self.spread >= 0

    @property
    def numbers(self) -> np.ndarray:
        """Return the camera as the kernels take it, [16] float32."""
        camera, pose = self.camera, self.camera.world_to_camera
        lens = (camera.fx, camera.fy, camera.cx, camera.cy)
        return np.concatenate((pose[:3, :3].reshape(-1), pose[:3, 3], lens)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangle mesh with a colour per vertex, and how many specks were left out of it."""

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    num_specks: int = 0


@dataclass(frozen=True)
class Grid:
    """Where values are kept: corners low + cell * (i, j, k)."""

    low: tuple[float, float, float]
    cell: float
    shape: tuple[int, int, int]

    @property
    def num_bytes(self) -> int:
        """Memory that fusing and marching cubes take."""
        return int(np.prod(self.shape, dtype=np.int64)) * BYTES_PER_CELL


@torch.no_grad()
def seen(scene: Snapshot, camera: Camera, renderer: Renderer) -> DepthView:
    """Draw depth, its spread along the ray, and colour."""
    camera = _small(camera)
    if isinstance(scene, TracedScene):
        return _seen_by_rays(scene, camera)
    splats = scene.splats(camera)
    viewmats, Ks = matrices(camera, scene.device)

    def drawn(colors: torch.Tensor, channels: str) -> object:
        return renderer.rasterize(
            replace(splats, colors=colors), viewmats, Ks, camera.width, camera.height,
            channels=channels, antialiased=scene.is_antialiased,
        )  # fmt: skip

    layers = drawn(splats.colors, "rgb+depth")
    depth, alpha = layers.depth[0, ..., 0], layers.alpha[0, ..., 0]
    depths = splats.means @ viewmats[0, 2, :3] + viewmats[0, 2, 3]
    unit = depths.abs().mean().clamp(min=1e-6)  # keeps the squares in the range of float32
    squares = drawn((depths / unit).square()[:, None].expand(-1, 3).contiguous(), "rgb")
    mean_square = squares.rgb[0, ..., 0] / alpha.clamp(min=1e-6)
    spread = (mean_square - (depth / unit).square()).clamp(min=0).sqrt() * unit
    spread = _where_solid(spread, alpha)
    background = scene.background(camera)
    shown = composite(layers, None if background is None else background[None])[0]
    return DepthView(
        camera,
        depth.cpu().numpy().astype(np.float32),
        spread.cpu().numpy().astype(np.float32),
        (shown.clamp(0, 1) * 255).round().byte().cpu().numpy(),
    )


def _seen_by_rays(scene: Any, camera: Camera) -> DepthView:
    """Ask a field for depth, its spread and colour."""
    found = traced(scene, camera)
    assert found is not None  # nobody can cancel this one
    layers, spread = found
    return DepthView(
        camera,
        layers.depth[0, ..., 0].cpu().numpy().astype(np.float32),
        _where_solid(spread, layers.alpha[0, ..., 0]).cpu().numpy().astype(np.float32),
        (composite(layers)[0].clamp(0, 1) * 255).round().byte().cpu().numpy(),
    )


def _where_solid(spread: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Return the spread [H, W] where there is a surface, below 0 where the ray is free, else NaN."""
    return torch.where(alpha >= OPAQUE, spread, torch.where(alpha < EMPTY, alpha - 1, np.nan))


def chosen(cameras: Sequence[Camera]) -> tuple[list[Camera], list[Camera]]:
    """Return the cameras to fuse and those to measure on; the latter are empty of the former."""
    kept_back = list(cameras)[::TEST_EVERY] if len(cameras) > 2 else []
    fused = [camera for camera in cameras if not any(camera is other for other in kept_back)]
    places = np.linspace(0, len(fused) - 1, min(MOST_VIEWS, len(fused))).round().astype(int)
    return [fused[k] for k in places], kept_back[: MOST_VIEWS // TEST_EVERY]


def grid_of(views: Sequence[DepthView], num_cells: int = 0) -> Grid:
    """Return the grid around what is seen inside the cameras' box; 0 cells: one per pixel, 256 at most."""
    points, footprint = _seen_points(views)
    low, high = _cameras_box([view.camera for view in views])
    inside = points[((points >= low) & (points <= high)).all(1)]
    if len(inside) < 100:
        raise FormatError(
            "No surface is seen between the cameras: a mesh needs a scene that they look at from around. "
            "Export Gaussians or a point cloud instead."
        )
    low, high = np.percentile(inside, [0.5, 99.5], axis=0)
    longest = float((high - low).max())
    if not num_cells:
        num_cells = int(np.clip(longest / footprint, FEWEST_CELLS, MOST_DEFAULT_CELLS))
    cell = longest / num_cells
    low, high = low - TRUNCATION * cell, high + TRUNCATION * cell
    shape = tuple(int(n) for n in np.ceil((high - low) / cell).astype(int) + 1)
    grid = Grid(tuple(low.tolist()), cell, shape)
    if grid.num_bytes > MOST_BYTES:
        fitting = int(num_cells * (MOST_BYTES / grid.num_bytes) ** (1 / 3))
        raise FormatError(
            f"A mesh of {num_cells} cells along its longest side takes {grid.num_bytes / 1e9:.1f} GB of memory, "
            f"more than the {MOST_BYTES / 1e9:.0f} GB that are allowed. Choose {fitting} cells or fewer."
        )
    return grid


def fused(views: Sequence[DepthView], grid: Grid, progress: Progress) -> Surface:
    """Fuse the views and return the surface."""
    from skimage.measure import marching_cubes

    from core.formats.mesh_kernels import fuse

    truncation = TRUNCATION * grid.cell
    sums, weights = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    place = np.array([*grid.low, grid.cell], np.float32)
    for index, view in enumerate(views):
        trust = np.nan_to_num(view.trust(truncation))
        fuse(view.depth, trust, view.numbers, place, np.float32(truncation), sums, weights)
        progress((index + 1) / len(views), f"fusing view {index + 1} of {len(views)}")
    known = weights > 0
    np.divide(sums, weights, out=sums, where=known)
    sums[~known] = 1.0
    whole = np.zeros(grid.shape, bool)  # a cell stands at its far corner and needs all eight
    whole[1:, 1:, 1:] = _all_corners(known)
    del weights, known
    if not (sums[whole] < 0).any():
        raise FormatError(
            "The views agree on no surface, so that there is no mesh to write. "
            "Train longer, or export Gaussians or a point cloud instead."
        )
    vertices, faces, _, _ = marching_cubes(sums, 0.0, mask=whole, gradient_direction="descent")
    del sums, whole
    vertices, faces, num_specks = _without_specks(vertices, faces)
    vertices = (vertices * grid.cell + np.array(grid.low)).astype(np.float32)
    return Surface(vertices, faces, _colors(vertices, views, truncation), num_specks)


def _all_corners(known: np.ndarray) -> np.ndarray:
    whole = known[1:] & known[:-1]
    whole = whole[:, 1:] & whole[:, :-1]
    return whole[:, :, 1:] & whole[:, :, :-1]


def _without_specks(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Leave out loose parts of less than LEAST_PART of all triangles; return how many they were."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    starts, ends = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    links = coo_matrix((np.ones(len(starts), bool), (starts, ends)), shape=(len(vertices),) * 2)
    count, part_of = connected_components(links, directed=False)
    sizes = np.bincount(part_of[faces[:, 0]], minlength=count)
    keep = sizes >= max(LEAST_PART * len(faces), min(8, sizes.max()))
    faces = faces[keep[part_of[faces[:, 0]]]]
    used = np.unique(faces)
    renamed = np.zeros(len(vertices), np.int64)
    renamed[used] = np.arange(len(used))
    return vertices[used], renamed[faces], int(count - keep.sum())


def _colors(vertices: np.ndarray, views: Sequence[DepthView], truncation: float) -> np.ndarray:
    """Return the mean colour of each vertex over the views that see it."""
    total, weight = np.zeros((len(vertices), 3), np.float32), np.zeros(len(vertices), np.float32)
    for view in views:
        pixels, depths = view.camera.project(vertices)
        size = (view.camera.width, view.camera.height)
        rows = np.flatnonzero(((pixels >= 0) & (pixels < size)).all(1))  # not where it is NaN
        column, line = pixels[rows].astype(int).T
        trust = np.nan_to_num(view.trust(truncation))[line, column]
        is_seen = (trust > 0) & (np.abs(view.depth[line, column] - depths[rows]) < truncation)
        rows, line, column = rows[is_seen], line[is_seen], column[is_seen]
        total[rows] += view.rgb[line, column] * (trust[is_seen, None] / 255)
        weight[rows] += trust[is_seen]
    unseen = np.flatnonzero(weight == 0)
    colors = total / np.maximum(weight, 1e-12)[:, None]
    if 0 < len(unseen) < len(vertices):
        from scipy.spatial import cKDTree

        known = np.flatnonzero(weight > 0)
        _, nearest = cKDTree(vertices[known]).query(vertices[unseen], workers=1)
        colors[unseen] = colors[known[nearest]]
    return colors


def _seen_points(views: Sequence[DepthView], stride: int = 4) -> tuple[np.ndarray, float]:
    """Return points [P, 3] on what is seen, and the size of a pixel there (median)."""
    points, sizes = [], []
    for view in views:
        camera = view.camera
        pose = camera.camera_to_world
        at = np.zeros(view.depth.shape, bool)
        at[::stride, ::stride] = True
        line, column = np.nonzero(at & view.has_surface)
        depth = view.depth[line, column].astype(np.float64)
        local = np.stack(
            (
                (column + 0.5 - camera.cx) / camera.fx * depth,
                (line + 0.5 - camera.cy) / camera.fy * depth,
                depth,
            ),
            axis=1,
        )
        points.append(local @ pose[:3, :3].T + pose[:3, 3])
        sizes.append(depth / camera.fx)
    every = np.concatenate(sizes) if sizes else np.empty(0)
    footprint = float(np.median(every)) if len(every) else 1.0
    return np.concatenate(points) if points else np.empty((0, 3)), max(footprint, 1e-9)


def _cameras_box(cameras: Sequence[Camera]) -> tuple[np.ndarray, np.ndarray]:
    """Return the box of the cameras and of as much around the middle of their view as they are away from it."""
    centers, middle = np.stack([camera.center for camera in cameras]), common_point(cameras)
    reach = float(np.median(np.linalg.norm(centers - middle, axis=1)))
    return np.minimum(centers.min(0), middle - reach), np.maximum(centers.max(0), middle + reach)


def _small(camera: Camera) -> Camera:
    shrink = min(1.0, LONGEST_SIDE / max(camera.width, camera.height))
    width, height = round(camera.width * shrink), round(camera.height * shrink)
    return camera.resized(max(1, width), max(1, height))
