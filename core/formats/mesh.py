"""A scene's surface as a triangle mesh with vertex colours, PLY, OBJ or GLB, for programs that know no Gaussians.

How the surface is found stands in core/formats/surface.py. PLY and OBJ keep the axes of the capture
and sRGB colours; glTF asks for y up (half a turn about z) and linear colours, and is marked unlit,
because the photographs' light is in the colours already.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import FormatError
from core.capture.camera import Camera
from core.formats.files import replacing
from core.formats.surface import (
    FEWEST_CELLS,
    MOST_CELLS,
    DepthView,
    Grid,
    Surface,
    chosen,
    fused,
    grid_of,
    seen,
)
from core.formats.table import ExportOptions
from core.radiance.field import Snapshot
from core.render.backend import Renderer

HALF_TURN = np.array([-1.0, -1.0, 1.0])


def write_drawn(
    scene: Snapshot,
    path: Path,
    cameras: Sequence[Camera],
    renderer: Renderer,
    options: ExportOptions,
) -> list[str]:
    """Write the surface that the cameras see; say how large it is and how far it lies from the scene."""
    path, cells = Path(path), options.mesh_cells
    if cells and not FEWEST_CELLS <= cells <= MOST_CELLS:
        raise FormatError(
            f"{path.name}: {cells} cells along the longest side. "
            f"Choose {FEWEST_CELLS} to {MOST_CELLS}, or 0 for what fits the scene."
        )
    to_fuse, to_measure = chosen(cameras)
    views = []
    for index, camera in enumerate(to_fuse):
        views.append(seen(scene, camera, renderer))
        options.progress(0.5 * (index + 1) / len(to_fuse), f"depth {index + 1} of {len(to_fuse)}")
    try:
        grid = grid_of(views, cells)
        surface = fused(views, grid, lambda share, text: options.progress(0.5 + share / 2.2, text))
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from None
    _save(surface, scene, path)
    held_out = [seen(scene, camera, renderer) for camera in to_measure]
    return [_size(surface, grid), _loss(_reopened(scene, path), held_out or views, bool(held_out))]


def _save(surface: Surface, scene: Snapshot, path: Path) -> None:
    import trimesh

    is_gltf = path.suffix == ".glb"
    vertices = scene.to_original.apply(surface.vertices.astype(np.float64))
    colors = _linear(surface.colors) if is_gltf else surface.colors
    mesh = trimesh.Trimesh(
        vertices * HALF_TURN if is_gltf else vertices,
        surface.faces,
        vertex_colors=np.rint(np.clip(colors, 0, 1) * 255).astype(np.uint8),
        process=False,
    )
    more: dict[str, Any] = {"tree_postprocessor": _unlit} if is_gltf else {}
    content = mesh.export(file_type=path.suffix[1:], **more)
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _unlit(tree: dict[str, Any]) -> None:
    """Name a material without lighting, in place."""
    tree["materials"] = [
        {
            "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
            "doubleSided": True,
            "extensions": {"KHR_materials_unlit": {}},
        }
    ]
    tree["extensionsUsed"] = sorted({*tree.get("extensionsUsed", ()), "KHR_materials_unlit"})
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0


def _linear(colors: np.ndarray) -> np.ndarray:
    """Return sRGB values 0..1 as linear light."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def _reopened(scene: Snapshot, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the file again; return vertices in scene units and faces."""
    import trimesh

    mesh = trimesh.load_mesh(path, process=False)
    vertices = mesh.vertices * HALF_TURN if path.suffix == ".glb" else mesh.vertices
    back = scene.to_original.inverse().apply(vertices)
    return back.astype(np.float32), np.asarray(mesh.faces)


def _size(surface: Surface, grid: Grid) -> str:
    specks = f", {surface.num_specks:,} loose specks left out" if surface.num_specks else ""
    across = " x ".join(map(str, grid.shape))
    return (
        f"{len(surface.vertices):,} vertices, {len(surface.faces):,} triangles from a grid of {across} "
        f"({grid.num_bytes / 1e6:.0f} MB of memory){specks}."
    )


def _loss(
    mesh: tuple[np.ndarray, np.ndarray], views: Sequence[DepthView], is_held_out: bool
) -> str:
    """Say how far the mesh lies from the scene's own depth, and what it lacks."""
    from core.formats.mesh_kernels import draw_depth

    apart, missing = [], []
    for view in views:
        depth = np.full(view.depth.shape, np.inf, np.float32)
        draw_depth(*mesh, view.numbers, depth)
        wanted = view.has_surface
        found = wanted & np.isfinite(depth)
        apart.append(np.abs(depth[found] - view.depth[found]) / view.depth[found])
        missing.append(1 - found.sum() / max(1, wanted.sum()))
    every = np.concatenate(apart)
    if not len(every):
        return "Re-opened: none of the views meets the mesh."
    which = "held-out" if is_held_out else "fused"
    return (
        f"Re-opened: in {len(views)} {which} views its depth differs from the scene's by "
        f"{np.median(every):.2%} of the distance (median; 90 % of pixels below {np.percentile(every, 90):.1%}), "
        f"and {np.mean(missing):.0%} of what they see is not in it (it ends where the cameras' box does)."
    )
