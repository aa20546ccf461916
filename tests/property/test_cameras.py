"""Cameras and similarities: every conversion has a way back."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.capture.camera import Camera, Similarity, from_opengl, look_at

finite = st.floats(-50, 50)
vectors = st.tuples(finite, finite, finite).map(np.array)


@st.composite
def rotations(draw):
    quaternion = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 4)))
    length = np.linalg.norm(quaternion)
    w, x, y, z = quaternion / length if length > 1e-3 else np.array([1.0, 0, 0, 0])
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@st.composite
def poses(draw):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = draw(rotations()), draw(vectors)
    return pose


@st.composite
def cameras(draw):
    focal = st.floats(10, 5000)
    return Camera(
        draw(poses()),
        draw(focal),
        draw(focal),
        draw(st.floats(0, 400)),
        draw(st.floats(0, 300)),
        draw(st.integers(1, 400)),
        draw(st.integers(1, 300)),
    )


@st.composite
def similarities(draw):
    return Similarity(draw(st.floats(1e-3, 1e3)), draw(rotations()), draw(vectors))


@given(poses())
def test_opengl_and_back_is_the_same_pose(pose):
    np.testing.assert_array_equal(from_opengl(from_opengl(pose)), pose)


@given(poses())
def test_an_opengl_camera_looks_along_its_minus_z_and_its_y_is_up(pose):
    turned = from_opengl(pose)
    np.testing.assert_array_equal(turned[:3, 2], -pose[:3, 2])
    np.testing.assert_array_equal(turned[:3, 1], -pose[:3, 1])
    np.testing.assert_array_equal(turned[:3, [0, 3]], pose[:3, [0, 3]])


@given(cameras())
def test_world_to_camera_undoes_camera_to_world(camera):
    product = camera.world_to_camera @ camera.camera_to_world
    np.testing.assert_allclose(product, np.eye(4), atol=1e-10)


@given(cameras(), st.floats(0.1, 100), st.floats(-3, 3), st.floats(-3, 3))
def test_a_point_on_a_pixels_ray_projects_into_that_pixel(camera, depth, x, y):
    local = np.array([x, y, 1.0]) * depth
    point = camera.camera_to_world[:3, :3] @ local + camera.center
    pixels, depths = camera.project(point[None])
    wanted = [x * camera.fx + camera.cx, y * camera.fy + camera.cy]
    # positions up to 50 units away lose digits in the world and back
    np.testing.assert_allclose(depths[0], depth, atol=1e-9 * (1 + depth))
    np.testing.assert_allclose(pixels[0], wanted, atol=1e-6 * camera.fx + 1e-6 * camera.fy)


@given(cameras())
def test_directions_project_back_onto_pixel_centres(camera):
    small = camera.resized(5, 4)
    directions = small.directions().reshape(-1, 3)
    pixels, _ = small.project(directions * 3 + small.center)
    columns, rows = np.meshgrid(np.arange(5) + 0.5, np.arange(4) + 0.5)
    # a ray far off the axis meets the picture plane at a small angle and loses digits
    error = np.abs(pixels - np.stack([columns.ravel(), rows.ravel()], axis=1))
    assert (error <= 1e-7 * (1 + np.abs(pixels))).all()


@given(cameras(), st.integers(1, 500), st.integers(1, 500))
def test_resizing_keeps_the_view_and_comes_back(camera, width, height):
    back = camera.resized(width, height).resized(camera.width, camera.height)
    np.testing.assert_allclose(back.K, camera.K, rtol=1e-12, atol=1e-300)
    assert (back.width, back.height) == (camera.width, camera.height)


@given(cameras())
def test_a_camera_survives_json(camera):
    again = Camera.from_json(json.loads(json.dumps(camera.to_json())))
    np.testing.assert_array_equal(again.camera_to_world, camera.camera_to_world)
    np.testing.assert_array_equal(again.K, camera.K)


@given(similarities(), vectors)
def test_a_similarity_and_its_inverse_cancel(similarity, point):
    back = similarity.inverse().apply(similarity.apply(point))
    # the translation of up to 50 units is scaled by up to 1000 on the way back
    np.testing.assert_allclose(back, point, atol=1e-9)
    again = Similarity.from_json(json.loads(json.dumps(similarity.to_json())))
    np.testing.assert_array_equal(again.apply(point), similarity.apply(point))


@given(similarities(), cameras(), vectors)
def test_moving_camera_and_point_together_keeps_the_pixel(similarity, camera, offset):
    point = camera.center + camera.forward * 5 + np.clip(offset, -1, 1)
    pixels, depths = camera.project(point[None])
    moved_pixels, moved_depths = similarity.apply_camera(camera).project(
        similarity.apply(point)[None]
    )
    np.testing.assert_allclose(moved_depths, depths * similarity.scale, rtol=1e-6)
    np.testing.assert_allclose(moved_pixels, pixels, atol=1e-5 * (camera.fx + camera.fy))


@given(vectors, vectors, vectors)
def test_look_at_is_a_rotation_that_faces_the_target(center, target, up):
    if np.linalg.norm(target - center) < 1e-3 or np.linalg.norm(up) < 1e-3:
        return
    pose = look_at(center, target, up)
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-9)
    assert np.linalg.det(pose[:3, :3]) > 0
    local = pose[:3, :3].T @ (target - center)
    np.testing.assert_allclose(local[:2], 0, atol=1e-6)
    assert local[2] > 0
