"""The surface of a scene as a mesh: a ball and a floor whose places are known, and what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from core import formats
from core.base.errors import FormatError
from core.capture.camera import Camera, Similarity, look_at
from core.formats.spread import spread
from core.formats.table import ExportOptions
from core.radiance.model import Surroundings
from core.radiance.sh import BASE
from core.radiance.sh_splats import SplatScene

RADIUS = 0.8
UP = np.array([0.0, -1.0, 0.0])
TO_ORIGINAL = Similarity(
    2.0, np.array([[0.0, -0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, 0.6]]), np.array([5.0, -1.0, 2.0])
)
ORANGE = np.array([0.9, 0.5, 0.1])


def cameras(count: int = 24) -> list[Camera]:
    """Return cameras all around the ball."""
    return [
        Camera(look_at(3 * place, np.zeros(3), UP), 110.0, 110.0, 64.0, 48.0, 128, 96)
        for place in spread(count) * [1, 0.9, 1]
    ]


def ball(count: int = 6000) -> SplatScene:
    """Return flat opaque discs on a sphere, seen by its cameras."""
    from scipy.spatial.transform import Rotation

    outward = spread(count)
    across = np.cross(outward, np.eye(3)[np.abs(outward).argmin(axis=1)])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    axes = np.stack((across, np.cross(outward, across), outward), axis=2)
    width = RADIUS * np.sqrt(4 * np.pi / count)
    explicit = {
        "means": RADIUS * outward,
        "log_scales": np.tile(np.log([width, width, 0.05 * width]), (count, 1)),
        "quats": Rotation.from_matrix(axes).as_quat()[:, [3, 0, 1, 2]],
        "opacity_logits": np.full(count, 4.0),
        "sh_coeffs": np.tile((ORANGE - 0.5) / BASE, (count, 1, 1)),
    }
    tensors = {name: torch.tensor(values, dtype=torch.float32) for name, values in explicit.items()}
    summary = {"cameras": [camera.to_json() for camera in cameras()]}
    around = Surroundings(np.array([[-1.0] * 3, [1.0] * 3]), UP, TO_ORIGINAL, summary)
    return SplatScene(tensors, around)


def colors_of(path: Path) -> np.ndarray:
    """Return the colours [V, 4] of a GLB, which has one mesh that is not to be lit."""
    content = path.read_bytes()
    length = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + length])
    assert document["materials"][0]["extensions"] == {"KHR_materials_unlit": {}}
    (primitive,) = document["meshes"][0]["primitives"]
    accessor = document["accessors"][primitive["attributes"]["COLOR_0"]]
    assert (accessor["componentType"], accessor["type"], accessor["normalized"]) == (
        5121,
        "VEC4",
        True,
    )
    view = document["bufferViews"][accessor["bufferView"]]
    start = 28 + length + view.get("byteOffset", 0)
    return np.frombuffer(content, np.uint8, 4 * accessor["count"], start).reshape(-1, 4)


@pytest.mark.parametrize("suffix", [".mesh.ply", ".mesh.glb", ".mesh.obj"])
def test_a_ball_of_gaussians_becomes_a_ball(suffix, tmp_path):
    path, told = tmp_path / f"ball{suffix}", []
    options = ExportOptions(mesh_cells=48, progress=lambda share, _text: told.append(share))
    sentence = formats.export_scene(ball(), path, options=options)
    mesh = trimesh.load_mesh(path, process=False)
    vertices = mesh.vertices * ([-1, -1, 1] if suffix == ".mesh.glb" else [1, 1, 1])
    radii = np.linalg.norm(TO_ORIGINAL.inverse().apply(vertices), axis=1)
    # the depth of a slanted disc is that of its centre, which lets the ball grow by up to a disc's width
    assert 0 < radii.mean() - RADIUS < RADIUS * np.sqrt(4 * np.pi / 6000)
    assert radii.std() < 0.2 * 2 * RADIUS / 48  # of a cell: as round as the grid allows
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(
        8 * 4 / 3 * np.pi * RADIUS**3, rel=0.1
    )  # outside is outside
    if suffix != ".mesh.glb":
        shown, wanted = mesh.visual.vertex_colors, ORANGE
    else:  # trimesh forgets colours beside a material, without which viewers draw black metal
        shown, wanted = colors_of(path), ((ORANGE + 0.055) / 1.055) ** 2.4
    assert len(shown) == len(vertices)
    np.testing.assert_allclose(shown[:, :3].mean(0) / 255, wanted, atol=0.03)
    assert told == sorted(told)
    assert told[-1] <= 1
    assert "held-out views its depth differs from the scene's by 0." in sentence


def test_a_scene_of_another_program_is_looked_at_from_around(tmp_path):
    scene = ball(2000)
    scene.surroundings.summary.clear()
    sentence = formats.export_scene(
        scene, tmp_path / "a.mesh.ply", options=ExportOptions(mesh_cells=32)
    )
    assert "triangles from a grid of" in sentence
    assert trimesh.load_mesh(tmp_path / "a.mesh.ply").volume > 0


@pytest.mark.parametrize(
    ("cells", "said"),
    [(8, "Choose 32 to 1024"), (5000, "Choose 32 to 1024"), (1000, r"GB of memory.*or fewer")],
)
def test_a_grid_that_is_too_large_or_small_is_refused_before_it_is_made(cells, said, tmp_path):
    with pytest.raises(FormatError, match=said):
        formats.export_scene(
            ball(1000), tmp_path / "a.mesh.ply", options=ExportOptions(mesh_cells=cells)
        )
    assert not list(tmp_path.iterdir())


def test_haze_has_no_surface_and_says_so(tmp_path):
    scene = ball(500)
    scene.explicit["opacity_logits"].fill_(-6.0)
    with pytest.raises(FormatError, match=r"a\.mesh\.ply: No surface is seen"):
        formats.export_scene(scene, tmp_path / "a.mesh.ply")
    assert not list(tmp_path.iterdir())


def test_the_demo_becomes_the_solids_it_was_made_of(tmp_path):
    """Discs on the demo's solids, fused from its own cameras, against rays that meet the solids exactly."""
    from core.capture.solids import first_hit
    from core.capture.synthetic import SOLIDS
    from core.capture.synthetic import cameras as demo_cameras

    scene = ball(12_000)
    rng = np.random.default_rng(0)
    areas = np.array([solid.area for solid in SOLIDS])
    counts = rng.multinomial(12_000, areas / areas.sum())
    pairs = [(solid, solid.sample(rng, n)) for solid, n in zip(SOLIDS, counts, strict=True)]
    points = np.concatenate([sampled for _, sampled in pairs])
    normals = np.concatenate([solid.normals(sampled) for solid, sampled in pairs])
    scene.explicit["means"] = torch.tensor(points - 0.005 * normals, dtype=torch.float32)
    scene.explicit["log_scales"].fill_(float(np.log(0.03)))
    around = scene.surroundings
    listed = {"cameras": [camera.to_json() for camera in demo_cameras()[::2]]}
    bounds = np.stack((points.min(0), points.max(0)))
    scene.surroundings = Surroundings(bounds, around.up, Similarity.identity(), listed)
    scene.to_original = Similarity.identity()
    path = tmp_path / "demo.mesh.ply"
    formats.export_scene(scene, path, options=ExportOptions(mesh_cells=96))
    mesh = trimesh.load_mesh(path, process=False)
    assert 25_000 < len(mesh.faces) < 400_000
    camera = demo_cameras()[20].resized(80, 60)
    directions = camera.directions().reshape(-1, 3)
    origins = np.broadcast_to(camera.center, directions.shape)
    truth, _ = first_hit(SOLIDS, origins, directions)
    is_solid = np.isfinite(truth)
    depth = _drawn(mesh, camera) / (directions @ camera.forward)
    found = is_solid & np.isfinite(depth)
    assert found.sum() > 0.95 * is_solid.sum()
    assert (np.isfinite(depth) & ~is_solid).sum() < 0.05 * is_solid.sum()
    apart = np.abs(depth[found] - truth[found])
    assert np.median(apart) < 0.05  # a cell is 0.05, a Gaussian 0.03 wide


def _drawn(mesh: trimesh.Trimesh, camera: Camera) -> np.ndarray:
    from core.formats.mesh_kernels import draw_depth

    pose = camera.world_to_camera
    lens = (camera.fx, camera.fy, camera.cx, camera.cy)
    numbers = np.concatenate((pose[:3, :3].reshape(-1), pose[:3, 3], lens)).astype(np.float32)
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    draw_depth(mesh.vertices.astype(np.float32), np.asarray(mesh.faces), numbers, depth)
    return depth.reshape(-1).astype(np.float64)
