"""The pixel inspector: a click names the Gaussians that made the pixel, and their sum is its colour."""

import time

import numpy as np
import pytest
import torch

from app import actions
from app.session import Session
from app.training import TrainingPlan
from core.engine.pixels import taken_apart


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The demo after a few steps, drawn in one view."""
    session = Session(
        inline=True,
        device="cpu",
        home=tmp_path_factory.mktemp("home"),
        plan=TrainingPlan(preset="quick", starts=False),
    )
    session.post(actions.ResizeView("a", 160, 120))
    session.post(actions.OpenDemo())
    ticked(session, lambda: session.frame("a") is not None and session.frame("a").is_full)
    yield session
    session.close()


def ticked(session, until, limit_s=300.0):
    """Go on until something holds; a first run compiles kernels meanwhile."""
    ends_s = time.monotonic() + limit_s
    while time.monotonic() < ends_s:
        session.tick()
        if until():
            return
        time.sleep(0.001)
    raise AssertionError(session.store.get("notices"))


def test_the_parts_of_a_pixel_add_up_to_what_is_drawn(opened):
    scene, frame = opened._scene, opened.frame("a")
    snapshot, camera = scene.snapshots.peek(), frame.view.camera
    for pixel in ((80, 60), (20, 100), (5, 5)):
        parts = taken_apart(snapshot, scene.service.renderer, camera, pixel)
        drawn = frame.image[pixel[1], pixel[0]].astype(float) / 255
        # the picture is rounded to bytes and its background asked on a coarser grid
        np.testing.assert_allclose(np.clip(parts.color, 0, 1), drawn, atol=0.02)
        assert parts.weights.sum() + parts.background_share == pytest.approx(1, abs=1e-6)
        assert (np.diff(parts.depths) >= 0).all()


def test_the_halves_of_a_colour_join_to_the_whole(opened):
    scene, frame = opened._scene, opened.frame("a")
    parts = taken_apart(scene.snapshots.peek(), scene.service.renderer, frame.view.camera, (80, 60))
    assert len(parts.ids)
    one, other = (torch.logit(torch.from_numpy(part)) for part in (parts.explicit, parts.neural))
    joined = torch.sigmoid(one + other).numpy()
    np.testing.assert_allclose(joined, parts.colors, atol=1e-4)


def test_a_click_shows_and_marks_what_made_the_pixel(opened):
    store = opened.store
    opened.post(actions.InspectPixel("a", 0.5, 0.5))
    ticked(opened, lambda: store.get("pixel.text"))
    assert store.get("pixel.text").startswith("Pixel 80, 60 at step")
    places, weights, sizes = store.get("pixel.marks")
    assert len(places) == len(weights) == len(sizes) > 0
    ids = [int(row[0]) for row in store.get("pixel.rows")]
    assert [int(row[0]) for row in store.get("pixel.halves")] == ids
    assert max(ids) < opened._scene.snapshots.peek().num_gaussians
    heaviest = [float(row[1]) for row in store.get("pixel.rows")]
    assert heaviest == sorted(heaviest, reverse=True)
    opened.post(actions.ClosePixel())
    opened.tick()
    assert store.get("pixel.marks") is None


def test_a_pixel_of_a_view_without_a_picture_is_refused_in_a_sentence(opened):
    opened.post(actions.InspectPixel("elsewhere", 0.5, 0.5))
    ticked(opened, lambda: any("no picture" in str(one) for one in opened.store.get("notices")))
