"""Signed distance to a mesh: exact, signed by what is nearest, and no mesh without an inside."""

import os
from pathlib import Path

import numpy as np
import pytest
import trimesh

from core.base.errors import ConfigError
from core.studies.mesh_distance import MeshDistance
from core.studies.signals import SignalConfig, carved_ball, mesh_of


def around(count, reach=1.2):
    return np.random.default_rng(1).uniform(-reach, reach, (count, 3))


def test_the_distance_to_a_box_is_the_formula():
    box = trimesh.creation.box((1, 1.4, 0.6))
    points = around(2000)
    q = np.abs(points) - box.extents / 2
    truth = np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)
    np.testing.assert_allclose(MeshDistance(box.vertices, box.faces)(points), truth, atol=1e-12)


def test_boxes_leave_out_no_triangle_that_is_nearest():
    vertices, faces = carved_ball(24)
    distance = MeshDistance(vertices, faces)
    points = 0.5 + 0.5 * around(60)
    normals = np.cross(
        vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    )
    dense = trimesh.triangles.closest_point
    for point, found in zip(points, distance(points), strict=True):
        nearest = dense(vertices[faces], np.broadcast_to(point, (len(faces), 3)))
        every = np.linalg.norm(nearest - point, axis=1)
        assert abs(found) == pytest.approx(every.min(), abs=1e-12)
    assert np.isfinite(normals).all()


def test_inside_is_told_from_outside_at_sharp_edges_and_in_bores():
    vertices, faces = carved_ball(48)
    points = np.random.default_rng(2).random((4000, 3))
    found = MeshDistance(vertices, faces)(points)
    x, y, z = (points - 0.5).T
    in_bore = np.min([np.hypot(x, y), np.hypot(y, z), np.hypot(z, x)], axis=0) < 0.1
    far = np.linalg.norm(points - 0.5, axis=1) > 0.42
    assert (found[in_bore | far] > 0).all()
    assert 0.05 < (found < 0).mean() < 0.2


def test_triangles_that_all_face_inwards_give_the_same_distance():
    box = trimesh.creation.box((1, 1, 1))
    points = around(200)
    turned = MeshDistance(box.vertices, box.faces[:, ::-1])(points)
    np.testing.assert_allclose(turned, MeshDistance(box.vertices, box.faces)(points))


def test_a_mesh_with_a_hole_is_refused_with_the_number_of_open_edges():
    box = trimesh.creation.box((1, 1, 1))
    with pytest.raises(ConfigError, match="3 of 18 edges"):
        MeshDistance(box.vertices, box.faces[1:], "box.obj")


def test_what_is_no_mesh_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty.obj").write_text("# nothing\n")
    with pytest.raises(ConfigError, match=r"empty\.obj"):
        mesh_of(SignalConfig(mesh=str(tmp_path / "empty.obj")))
    with pytest.raises(ConfigError, match=r"gone\.obj"):
        mesh_of(SignalConfig(mesh=str(tmp_path / "gone.obj")))


@pytest.mark.slow
def test_the_armadillo_has_an_inside():
    folder = os.environ.get("HYRF_TEST_DATA")
    if not folder:
        pytest.skip("HYRF_TEST_DATA is not set: no armadillo")
    vertices, faces = mesh_of(SignalConfig(mesh=str(Path(folder) / "meshes" / "armadillo.obj")))
    points = np.random.default_rng(3).random((3000, 3))
    inside = (MeshDistance(vertices, faces)(points) < 0).mean()
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert inside == pytest.approx(mesh.volume, abs=0.02)  # two standard errors of 3000 points
