"""Points and cameras for other programs: trimesh and pycolmap read what was written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from core.base.errors import FormatError
from core.capture.camera import Camera, Similarity, look_at
from core.capture.colmap import read_colmap
from core.formats import cameras_colmap, cameras_json, pointcloud
from core.radiance.model import Surroundings
from core.radiance.sh import BASE
from core.radiance.sh_splats import SplatScene

UP = np.array([0.0, -1.0, 0.0])
TO_ORIGINAL = Similarity(
    2.0, np.array([[0.0, -0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, 0.6]]), np.array([5.0, -1.0, 2.0])
)
COLORS = np.array([[1.0, 0.0, 0.2], [0.4, 0.6, 0.8], [0.0, 1.0, 0.0]])
CAMERAS = [
    Camera(look_at(np.array(place), np.zeros(3), UP), 60.0, 61.0, 32.5, 24.0, 64, 48)
    for place in ((0.0, 0.0, -4.0), (3.0, 1.0, -2.5))
]


def scene(names=("a.jpg", "b.jpg"), opacities=(3.0, 0.0, -5.0)):
    explicit = {
        "means": torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [9.0, 9.0, 9.0]]),
        "log_scales": torch.zeros(3, 3),
        "quats": torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(3, 1),
        "opacity_logits": torch.tensor(opacities),
        "sh_coeffs": torch.from_numpy((COLORS - 0.5) / BASE).float()[:, None],
    }
    cameras = [{**each.to_json(), "name": name} for each, name in zip(CAMERAS, names, strict=False)]
    summary = {"cameras": cameras, "photographs": 5}
    around = Surroundings(np.array([[-1.0] * 3, [1.0] * 3]), UP, TO_ORIGINAL, summary)
    return SplatScene(explicit, around).parts()


def test_trimesh_reads_the_points_without_the_faint_ones(tmp_path):
    import trimesh

    told = pointcloud.write(scene(), tmp_path / "a.points.ply")
    assert told == ["2 points. 1 Gaussians below an opacity of 0.1 are left out."]
    cloud = trimesh.load(tmp_path / "a.points.ply")
    wanted = TO_ORIGINAL.apply(np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(cloud.vertices, wanted, rtol=1e-6)
    np.testing.assert_allclose(cloud.colors[:, :3] / 255, COLORS[:2], atol=0.5 / 255)


def test_a_scene_of_haze_has_no_points(tmp_path):
    with pytest.raises(FormatError, match="none of the 3"):
        pointcloud.write(scene(opacities=(-5.0, -5.0, -5.0)), tmp_path / "a.points.ply")


def test_cameras_as_json_stand_where_the_photographs_were_taken(tmp_path):
    told = cameras_json.write(scene(), tmp_path / "a.cameras.json")
    assert told == ["2 cameras, the first of 5: a scene remembers no more."]
    entries = json.loads((tmp_path / "a.cameras.json").read_text("utf-8"))
    assert [entry["img_name"] for entry in entries] == ["a.jpg", "b.jpg"]
    for entry, camera in zip(entries, CAMERAS, strict=True):
        original = TO_ORIGINAL.apply_camera(camera)
        np.testing.assert_allclose(entry["position"], original.center)
        np.testing.assert_allclose(entry["rotation"], original.camera_to_world[:3, :3], atol=1e-12)
        assert (entry["fx"], entry["fy"], entry["cx"], entry["height"]) == (60, 61, 32.5, 48)


def test_pycolmap_and_our_reader_find_the_same_model(tmp_path):
    import pycolmap

    cameras_colmap.write(scene(), tmp_path / "a.colmap")
    model = pycolmap.Reconstruction(tmp_path / "a.colmap")
    assert (model.num_images(), model.num_points3D(), len(model.cameras)) == (2, 2, 1)
    listing = read_colmap(tmp_path / "a.colmap")
    assert [frame.name for frame in listing.frames] == ["a.jpg", "b.jpg"]
    for frame, camera in zip(listing.frames, CAMERAS, strict=True):
        original = TO_ORIGINAL.apply_camera(camera)
        np.testing.assert_allclose(frame.camera_to_world, original.camera_to_world, atol=1e-9)
        assert (frame.lens.fx, frame.lens.cx) == (60.0, 32.5)
    np.testing.assert_allclose(listing.points[0], TO_ORIGINAL.apply(np.zeros(3)), rtol=1e-6)


def test_a_model_is_replaced_but_nothing_else_is(tmp_path):
    folder = tmp_path / "a.colmap"
    for _ in range(2):
        cameras_colmap.write(scene(), folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FormatError, match="holds other things"):
        cameras_colmap.write(scene(), folder)
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["a.colmap"]


@pytest.mark.parametrize("module", [cameras_json, cameras_colmap])
def test_a_scene_without_cameras_says_what_to_do(module, tmp_path):
    with pytest.raises(FormatError, match="remembers no cameras"):
        module.write(scene(names=()), tmp_path / "a.out")
    parts = scene()
    parts.summary["cameras"] = [{"fx": 1}]
    with pytest.raises(FormatError, match="cannot be understood"):
        module.write(parts, tmp_path / "a.out")
