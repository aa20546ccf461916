"""The demo capture: its files are what the program draws, its mask is its sky."""

import numpy as np
import pytest
from captures import surface_distances
from PIL import Image

from assets import DEMO
from core.capture import scenery
from core.capture.camera import Camera, look_at
from core.capture.opening import open_capture
from core.capture.synthetic import SOLIDS, UP, cameras, render, sky_mask, surface_points


@pytest.mark.parametrize("index", [7, 30])
def test_the_stored_pictures_are_the_ones_drawn_today(index):
    stored = np.array(Image.open(DEMO / "images" / f"{index:03}.jpg")).astype(int)
    difference = np.abs(render(cameras()[index]) - stored)
    # JPEG at quality 92 with halved colour resolution changes a pixel by about 3 of 255
    assert difference.mean() < 4


def test_the_demo_is_small_enough_to_travel():
    assert sum(path.stat().st_size for path in DEMO.rglob("*")) < 1_600_000


def test_the_mask_is_exactly_what_does_not_move_when_the_camera_does():
    camera = cameras()[0].resized(80, 60)
    far = camera.camera_to_world.copy()
    far[:3, 3] += [0.0, 0.0, 1000.0]  # away from everything near
    here, there = render(camera).astype(int), render(camera.moved(far)).astype(int)
    sky = sky_mask(camera)
    assert 0.2 < sky.mean() < 0.8
    # pixels on a silhouette mix near and far, so the border of the mask is left out
    inner = (
        sky & np.roll(sky, 1, 0) & np.roll(sky, -1, 0) & np.roll(sky, 1, 1) & np.roll(sky, -1, 1)
    )
    np.testing.assert_array_equal(here[inner], there[inner])
    assert (np.abs(here - there)[~sky].max(1) > 2).mean() > 0.95


def test_the_mask_fits_cameras_of_the_opened_capture():
    capture = open_capture(DEMO)
    camera = capture.to_original.apply_camera(capture.photos[3].camera)
    assert (sky_mask(camera) == sky_mask(cameras()[3])).mean() > 0.999


def test_the_sky_has_detail_all_around():
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    for angle in angles:
        center = np.array([0.0, 0.0, 500.0])
        target = center + np.array([np.cos(angle), np.sin(angle), 0.1])
        camera = Camera(look_at(center, target, UP), 60, 60, 40, 30, 80, 60)
        assert render(camera).astype(float).std() > 15


def test_seed_points_lie_on_surfaces():
    points, colors = surface_points(400)
    assert points.shape == colors.shape == (400, 3)
    assert surface_distances(points).max() < 1e-9
    assert len(np.unique(colors, axis=0)) > 200


def test_noise_is_the_same_on_every_machine():
    points = np.array([[0.25, 1.5, -2.75], [10.1, -3.3, 7.7]])
    np.testing.assert_allclose(scenery.noise(points), scenery.noise(points.copy()))
    values = scenery.lattice(np.array([[0, 0, 0], [1, 2, 3], [-4, 5, -6]]))
    assert ((values >= 0) & (values <= 1)).all()
    assert len(set(values.tolist())) == 3


def test_highlights_follow_the_eye():
    ball = next(solid for solid in SOLIDS if solid.gloss == 0.9)
    eye = np.array([-0.2, 0.3, 1.0])
    normal = scenery.SUN + eye / np.linalg.norm(eye)
    place = ball.center + ball.radius * normal / np.linalg.norm(normal)
    brightness = []
    for center in (place + eye, place + np.array([1.0, 0.0, 0.5])):
        camera = Camera(look_at(center, place, UP), 500, 500, 4, 4, 8, 8)
        brightness.append(render(camera).mean())
    assert brightness[0] > brightness[1] + 20
