"""Views: each has its own camera and size, and asks for exactly the pictures that are due."""

import numpy as np
import pytest

from app.store import Store
from app.views import Views, place_of
from core.capture.camera import Camera, look_at
from core.render.view import Channel

UP = np.array([0.0, 0.0, 1.0])
BOUNDS = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def camera_at(x):
    pose = look_at(np.array([x, -4.0, 1.0]), np.zeros(3), UP)
    return Camera(pose, 400.0, 400.0, 200.0, 150.0, 400, 300)


class Fixture:
    def __init__(self, cameras=(-1.0, 0.0, 1.0)):
        self.store, self.requests, self.now = Store(), [], 0.0
        self.views = Views(
            self.store, lambda name, view: self.requests.append((name, view)), lambda: self.now
        )
        self.cameras = tuple(camera_at(x) for x in cameras)
        self.place = place_of(BOUNDS, UP, self.cameras)

    def open(self, name="a", width=800, height=600):
        self.views.resize(name, width, height)
        self.views.enter(self.place)
        self.views.tick()
        return self

    def taken(self):
        self.views.tick()
        taken, self.requests = self.requests, []
        return taken


def test_a_view_that_opens_before_the_scene_gets_its_first_picture_when_it_is_there():
    fixture = Fixture()
    fixture.views.resize("a", 800, 600)
    assert fixture.taken() == []
    fixture.views.enter(fixture.place)
    ((name, view),) = fixture.taken()
    assert name == "a"
    assert (view.camera.width, view.camera.height) == (800, 600)
    np.testing.assert_allclose(view.camera.camera_to_world, fixture.cameras[0].camera_to_world)
    assert fixture.store.get("camera.a") is view.camera


def test_a_view_that_opens_later_starts_at_the_first_view():
    fixture = Fixture().open()
    fixture.views.resize("b", 320, 200)
    requests = dict(fixture.taken())
    assert requests["b"].camera.width == 320


def test_nothing_is_asked_for_while_nothing_changes():
    fixture = Fixture().open()
    fixture.taken()
    assert fixture.taken() == []


def test_views_move_independently_and_serials_grow():
    fixture = Fixture().open("a").open("b")
    first = dict(fixture.taken())
    fixture.views.move("b", camera_at(3.0).fitted(800, 600), is_moving=True)
    ((name, view),) = fixture.taken()
    assert name == "b"
    assert view.is_moving
    assert view.serial > first["b"].serial if "b" in first else view.serial > 1
    assert fixture.views.is_moving


def test_a_hand_that_says_nothing_has_let_go():
    fixture = Fixture().open()
    fixture.views.move("a", camera_at(3.0), is_moving=True)
    fixture.now = 10.0
    assert not fixture.views.is_moving


def test_the_blend_and_the_channel_are_shared_by_all_views():
    fixture = Fixture().open("a").open("b")
    fixture.taken()
    fixture.views.blend(0.2)
    fixture.views.channel("depth")
    requests = dict(fixture.taken())
    assert set(requests) == {"a", "b"}
    assert all(view.blend == 0.2 for view in requests.values())
    assert all(view.channel is Channel.DEPTH for view in requests.values())


@pytest.mark.parametrize(("blend", "mode"), [(0.5, 0.5), (0.0, 0.0), (0.1, 0.0), (0.9, 1.0)])
def test_the_switch_shows_the_layer_nearest_to_the_blend(blend, mode):
    fixture = Fixture()
    fixture.views.blend(blend)
    assert fixture.store.get("layers.mode") == mode
    assert fixture.store.get("layers.blend") == blend


def test_a_blend_outside_its_range_is_brought_back():
    fixture = Fixture()
    fixture.views.blend(7)
    assert fixture.store.get("layers.blend") == 1.0


def test_snapping_shows_the_photographs_camera_and_tells_the_front_end():
    fixture = Fixture().open()
    fixture.views.snap("a", 2)
    np.testing.assert_allclose(
        fixture.store.get("camera.a").camera_to_world, fixture.cameras[2].camera_to_world
    )
    assert fixture.store.get("photo.a") == 2


def test_a_photograph_that_does_not_exist_moves_nothing():
    fixture = Fixture().open()
    before = fixture.store.get("camera.a")
    fixture.views.snap("a", 99)
    assert fixture.store.get("camera.a") is before


def test_stepping_through_photographs_goes_around_the_ends():
    fixture = Fixture().open()
    seen = []
    for steps in (1, 1, 1, 1, -1, -1):
        fixture.views.step_photo("a", steps)
        seen.append(fixture.store.get("photo.a"))
    assert seen == [0, 1, 2, 0, 2, 1]


def test_the_first_step_back_shows_the_last_photograph():
    fixture = Fixture().open()
    fixture.views.step_photo("a", -1)
    assert fixture.store.get("photo.a") == 2


def test_an_action_without_a_view_concerns_the_one_touched_last():
    fixture = Fixture().open("a").open("b")
    fixture.views.snap("", 1)
    assert fixture.store.get("photo.b") == 1
    assert fixture.store.get("photo.a") == -1


def test_resetting_twice_reaches_the_front_end_twice():
    fixture = Fixture().open()
    fixture.views.reset("a")
    version = fixture.store.version
    fixture.views.reset("a")
    assert "camera.a" in fixture.store.changed_since(version)


def test_framing_brings_the_whole_scene_into_view():
    fixture = Fixture().open()
    fixture.views.frame_scene("a")
    camera = fixture.store.get("camera.a")
    corners = np.stack(np.meshgrid(*BOUNDS.T), axis=-1).reshape(-1, 3)
    pixels, depths = camera.project(corners)
    assert (depths > 0).all()
    assert (pixels >= 0).all()
    assert (pixels <= [camera.width, camera.height]).all()


def test_a_camera_that_is_not_finite_is_ignored():
    fixture = Fixture().open()
    fixture.taken()
    fixture.views.move("a", camera_at(np.nan), is_moving=True)
    assert fixture.taken() == []


def test_a_closed_view_asks_for_nothing():
    fixture = Fixture().open()
    fixture.taken()
    fixture.views.close("a")
    fixture.views.blend(0.0)
    assert fixture.taken() == []
    assert len(fixture.views) == 0


def test_a_scene_without_cameras_is_first_seen_whole():
    place = place_of(BOUNDS, UP)
    pixels, depths = place.home.project(np.zeros((1, 3)))
    assert depths[0] > 1
    np.testing.assert_allclose(pixels[0], [place.home.width / 2, place.home.height / 2], atol=1.0)


def test_bounds_that_are_empty_or_broken_still_give_a_place_to_stand():
    for bounds in (np.zeros((2, 3)), np.full((2, 3), np.nan)):
        place = place_of(bounds, UP)
        assert np.isfinite(place.home.camera_to_world).all()
        assert place.radius > 0
