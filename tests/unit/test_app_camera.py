"""The camera in the user's hand: where it goes, and that nothing can break it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.camera import FAST, OrbitControl
from core.capture.camera import Camera, look_at

UP = np.array([0.0, 0.0, 1.0])


def make_camera(center=(3.0, -2.0, 1.0), target=(0.0, 0.0, 0.0), up=UP):
    pose = look_at(np.array(center), np.array(target), up)
    return Camera(pose, 500.0, 500.0, 320.0, 240.0, 640, 480)


def make_control(**arguments):
    return OrbitControl(make_camera(**arguments), np.zeros(3), UP, radius=2.0)


def is_rigid(matrix):
    rotation = matrix[:3, :3]
    return np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-9) and np.linalg.det(rotation) > 0


def test_an_adopted_camera_comes_back_unchanged_tilt_included():
    tilt = np.eye(4)
    tilt[:2, :2] = [[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]]
    tilted = make_camera().moved(make_camera().camera_to_world @ tilt)
    control = OrbitControl(tilted, np.zeros(3), UP)
    back = control.camera(640, 480)
    np.testing.assert_allclose(back.camera_to_world, tilted.camera_to_world, atol=1e-12)
    np.testing.assert_allclose(back.K, tilted.K)


def test_a_camera_that_looks_straight_down_is_adopted_and_orbits_on():
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = (
        [0, 1, 0], [1, 0, 0], [0, 0, -1], [0, 0, 5],
    )  # fmt: skip
    camera = make_camera().moved(pose)
    control = OrbitControl(camera, np.zeros(3), UP)
    np.testing.assert_allclose(control.camera(640, 480).camera_to_world, pose, atol=1e-12)
    control.orbit(10, -30)
    assert is_rigid(control.camera(640, 480).camera_to_world)


def test_orbiting_keeps_the_distance_and_the_pivots_place_in_the_picture():
    control = make_control(target=(0.5, 0.2, -0.1))
    before, _ = control.camera(640, 480).project(np.zeros((1, 3)))
    distance = control.distance
    for _ in range(50):
        control.orbit(7, 3)
    after, _ = control.camera(640, 480).project(np.zeros((1, 3)))
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert control.distance == pytest.approx(distance)


def test_dragging_to_the_right_moves_what_is_near_to_the_right():
    control = make_control()
    near = control.center * 0.5  # between the camera and the pivot
    before, _ = control.camera(640, 480).project(near[None])
    control.orbit(20, 0)
    after, _ = control.camera(640, 480).project(near[None])
    assert after[0, 0] > before[0, 0] + 1


def test_dragging_downwards_rises_above_the_scene():
    control = make_control()
    height = control.center @ UP
    control.orbit(0, 40)
    assert control.center @ UP > height


def test_the_poles_are_approached_without_a_flip():
    control = make_control()
    for _ in range(400):
        before = control.camera(64, 48).camera_to_world
        control.orbit(0, 11)
        after = control.camera(64, 48).camera_to_world
        assert before[:3, 0] @ after[:3, 0] > 0.999  # right stays right
    assert after[:3, 2] @ UP < -0.99


def test_the_tilt_of_a_photograph_fades_while_the_hand_moves():
    tilt = np.eye(4)
    tilt[:2, :2] = [[0, -1], [1, 0]]  # held upright
    control = OrbitControl(
        make_camera().moved(make_camera().camera_to_world @ tilt), np.zeros(3), UP
    )
    for _ in range(100):
        control.orbit(10, 0)
    assert abs(control.camera(64, 48).camera_to_world[:3, 0] @ UP) < 1e-3


def test_panning_takes_the_pivot_along_with_the_mouse():
    control = make_control()
    world = np.zeros((1, 3))
    before, _ = control.camera(640, 480).project(world)
    control.pan(30, -12, height=480)
    after, _ = control.camera(640, 480).project(world)
    np.testing.assert_allclose(after - before, [[30, -12]], atol=1e-6)


def test_zooming_approaches_the_pivot_and_never_reaches_it():
    control = make_control()
    distance = control.distance
    control.zoom(1)
    assert control.distance < distance
    control.zoom(1e6)
    assert 0 < control.distance < 0.01
    control.zoom(-3)
    assert control.distance > 0.01 * 0.2


def test_flying_forward_moves_ahead_and_faster_when_asked():
    slow, fast = make_control(), make_control()
    start = slow.center.copy()
    slow.fly((0, 0, 1), (0, 0), 0.05)
    fast.fly((0, 0, 1), (0, 0), 0.05, FAST)
    step, leap = slow.center - start, fast.center - start
    np.testing.assert_allclose(leap, step * FAST, atol=1e-9)
    assert step @ slow.camera(64, 48).forward == pytest.approx(np.linalg.norm(step))


def test_a_stalled_window_does_not_make_the_camera_leap():
    control = make_control()
    start = control.center.copy()
    control.fly((0, 0, 1), (0, 0), 30.0)
    assert np.linalg.norm(control.center - start) < 0.5


def test_framing_shows_the_whole_sphere():
    control = make_control()
    control.frame(np.array([1.0, 2.0, 3.0]), 0.7)
    camera = control.camera(640, 480)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 3))
    points = points / np.linalg.norm(points, axis=1, keepdims=True) * 0.7 + [1.0, 2.0, 3.0]
    pixels, depths = camera.project(points)
    assert (depths > 0).all()
    assert (pixels >= 0).all()
    assert (pixels <= [640, 480]).all()


def test_the_lens_widens_within_its_limits():
    control = make_control()
    control.vertical_fov = math.radians(80)
    assert control.camera(640, 480).vertical_fov == pytest.approx(math.radians(80))
    control.vertical_fov = 9.0
    assert control.vertical_fov <= math.radians(120) + 1e-9


numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)
moves = st.one_of(
    st.tuples(st.just("orbit"), numbers, numbers),
    st.tuples(st.just("look"), numbers, numbers),
    st.tuples(st.just("pan"), numbers, numbers),
    st.tuples(st.just("zoom"), numbers, numbers),
    st.tuples(st.just("fly"), numbers, numbers),
    st.tuples(st.just("frame"), numbers, numbers),
    st.tuples(st.just("fov"), numbers, numbers),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(moves, max_size=12))
def test_whatever_the_hand_does_the_camera_stays_rigid_and_finite(actions):
    control = make_control()
    for name, one, two in actions:
        if name in ("orbit", "look"):
            getattr(control, name)(one, two)
        elif name == "pan":
            control.pan(one, two, 480)
        elif name == "zoom":
            getattr(control, name)(one)
        elif name == "fly":
            control.fly((one, two, 1.0), (two, one), one)
        elif name == "frame":
            control.frame(np.array([one, 0.0, 0.0]), two)
        else:
            control.vertical_fov = one
    camera = control.camera(320, 200)
    assert np.isfinite(camera.camera_to_world).all()
    assert np.isfinite(camera.K).all()
    assert is_rigid(camera.camera_to_world)
