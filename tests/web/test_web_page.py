"""The page in a real browser: the picture, the hand on it, the panels beside it."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from browser import wait_for
from serving import UP, PaintedSession, Serving, first_camera

from app.actions import InspectPixel, SetBlend
from app.web.controls import HAND_LEADS_S
from app.web.page import COLUMN_WIDTH
from core.capture.camera import look_at

MIDDLE = (640, 400)
LEFT, RIGHT = COLUMN_WIDTH + 10, 1280 - COLUMN_WIDTH - 10


def at_rest(serving, view, after=0):
    """Return the last camera of a view once the hand has let go, of those posted after so many."""

    def settled():
        moves = serving.session.moves(view)[after:]
        if not moves or moves[-1].is_moving:
            return None
        time.sleep(0.5)  # a busy machine may rest in the middle of a drag
        is_last = len(serving.session.moves(view)) == after + len(moves)
        return moves[-1].camera if is_last else None

    return wait_for(settled, what="the hand to let go")


def color_at(tab, x, y):
    """Return the mean colour of a patch, which evens out the JPEG's grain."""
    return tab.picture()[y - 4 : y + 4, x - 4 : x + 4].reshape(-1, 3).mean(axis=0)


def shows(tab, color):
    """Whether the middle of the picture has a colour; 6 of 255 is JPEG and the browser's scaling."""
    return np.abs(color_at(tab, *MIDDLE) - color).max() < 6


@pytest.fixture(scope="module")
def opened(browser):
    """A served session and a tab that shows it; opening one takes seconds."""
    serving = Serving(PaintedSession())
    tab = browser.open(serving.server.url)
    wait_for(serving.session.views, 60, "the browser to connect")
    yield serving, tab
    tab.close()
    serving.close()


@pytest.fixture
def page(opened):
    """The served session and its tab, at the scene's first view."""
    serving, tab = opened
    serving.on_loop(serving.session.start_over)
    wait_for(lambda: shows(tab, first_color()), 60, "the first picture")
    time.sleep(HAND_LEADS_S)
    return serving, tab


def first_color():
    return 127.5 + 127.5 * first_camera().forward


def test_the_page_shows_the_scenes_first_view_under_our_title(page):
    serving, tab = page
    assert tab.run("document.title") == "HyRF Studio"
    assert "painted" in tab.text()
    picture = tab.picture()
    # The painted colours of one direction differ from left to right: the picture fills the middle.
    assert np.abs(picture[400, LEFT].astype(int) - picture[400, RIGHT]).max() > 30
    assert serving.session.moves(serving.session.views()[0]) == []  # showing it is no movement


def test_panels_read_as_on_the_desktop_and_name_no_keys(page):
    _, tab = page
    text = tab.text()
    for words in ("Training", "Cameras", "Layers", "Scene", "Curves", "Notices", "Background"):
        assert words in text
    assert "layers." not in text
    assert "Share" not in text


def test_dragging_turns_the_camera_around_the_scene_without_rolling(page):
    serving, tab = page
    tab.drag(MIDDLE, (740, 430))
    (view,) = serving.session.views()
    camera = at_rest(serving, view)
    first = first_camera()
    assert np.degrees(np.arccos(camera.forward @ first.forward)) > 10
    assert np.linalg.norm(camera.center) == pytest.approx(np.linalg.norm(first.center), rel=1e-3)
    assert camera.camera_to_world[:3, 0] @ np.array(UP) == pytest.approx(0.0, abs=1e-4)
    wait_for(lambda: shows(tab, 127.5 + 127.5 * camera.forward), what="the picture to follow")


def test_a_click_asks_for_the_pixel_and_its_gaussians_are_marked(page):
    serving, tab = page
    tab.drag(MIDDLE, MIDDLE)
    asked = wait_for(lambda: pixels_asked(serving), what="the click")[-1]
    assert (asked.x, asked.y) == pytest.approx((0.5, 0.5), abs=0.02)
    assert asked.view in serving.session.views()
    camera = first_camera()
    ahead = camera.center + 3 * camera.forward
    marks = np.array([ahead]), np.array([1.0]), np.array([0.1])
    serving.set(**{"pixel.marks": marks})
    wait_for(lambda: is_amber(tab), what="the mark")
    serving.set(**{"pixel.marks": None})
    wait_for(lambda: shows(tab, first_color()), what="the mark to go")


def is_amber(tab):
    """Whether the middle is redder than blue, which no direction near the first view's is."""
    red, _, blue = tab.picture()[MIDDLE[1], MIDDLE[0]].astype(int)
    return red > blue + 60


def pixels_asked(serving):
    return [one for one in list(serving.session.asked) if isinstance(one, InspectPixel)]


def test_reset_view_brings_the_browser_back_and_is_not_echoed(page):
    serving, tab = page
    (view,) = serving.session.views()
    tab.drag(MIDDLE, (540, 400))
    at_rest(serving, view)
    moves = len(serving.session.moves(view))
    tab.click(tab.button("Reset view"))
    wait_for(lambda: shows(tab, first_color()), what="the first view")
    time.sleep(0.8)
    assert len(serving.session.moves(view)) == moves
    tab.drag(MIDDLE, (640, 404), steps=3)  # the next movement starts from there
    turned = at_rest(serving, view, after=moves).forward @ first_camera().forward
    assert np.degrees(np.arccos(min(turned, 1.0))) < 5


@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.36, 0.48, 0.8)])
def test_a_scene_with_another_up_is_seen_upright(page, up):
    serving, tab = page
    (view,) = serving.session.views()
    pose = look_at(np.array([3.0, 2.0, 1.0]), np.zeros(3), np.array(up))
    home = first_camera().moved(pose)
    serving.on_loop(lambda: serving.session.enter(up, home))
    wait_for(lambda: shows(tab, 127.5 + 127.5 * home.forward), what="the other scene")
    time.sleep(0.5)
    tab.drag(MIDDLE, (643, 400), steps=3)  # makes the browser say where it is
    turned = at_rest(serving, view).camera_to_world[:3, :3].T @ pose[:3, :3]
    assert np.degrees(np.arccos((np.trace(turned) - 1) / 2)) < 3


def test_a_click_on_a_slider_posts_one_action(page):
    serving, tab = page
    box = tab.run(
        "(() => { const b = document.querySelector('.mantine-Slider-track')"
        ".getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
    )
    x, y = box[0] + 0.8 * box[2], box[1] + box[3] / 2
    tab.mouse("mousePressed", x, y, buttons=1)
    tab.mouse("mouseReleased", x, y)
    asked = wait_for(lambda: [a for a in serving.session.asked if isinstance(a, SetBlend)])
    time.sleep(0.8)
    asked = [a for a in serving.session.asked if isinstance(a, SetBlend)]
    assert [round(a.value, 1) for a in asked] == [0.8]


def test_the_layer_switch_posts_its_blend(page):
    serving, tab = page
    tab.click(tab.button("Gaussians"))
    asked = wait_for(lambda: [a for a in serving.session.asked if isinstance(a, SetBlend)])
    assert [a.value for a in asked] == [0.0]


def test_what_changes_in_the_store_changes_on_the_page(page):
    serving, tab = page
    serving.set(scene__gaussians="24.8 k", title="fox")
    wait_for(lambda: "24.8 k" in tab.text() and "fox" in tab.text())


def test_a_place_without_a_picture_says_so(page):
    serving, tab = page
    serving.on_loop(serving.session.frames.clear)
    wait_for(lambda: "The first picture appears in a moment." in tab.text())
    serving.set(page="start")
    wait_for(lambda: "or try the demo" in tab.text() and "Layers" not in tab.text())


def test_two_browsers_have_cameras_of_their_own(page, browser):
    serving, tab = page
    other = browser.open(serving.server.url, 1000, 700)
    try:
        first, second = wait_for(lambda: len(v := serving.session.views()) == 2 and v)
        tab.drag(MIDDLE, (740, 430))
        moved = at_rest(serving, first)
        assert serving.session.moves(second) == []
        wait_for(lambda: shows(tab, 127.5 + 127.5 * moved.forward), what="its own view")
        still = other.picture()[350, 500]
        assert np.abs(still - first_color()).max() < 6
    finally:
        other.close()
    wait_for(lambda: serving.session.closed_views == [second], what="the view to close")


def test_every_movement_ends_with_one_picture_at_rest(page):
    serving, tab = page
    tab.drag(MIDDLE, (700, 400))
    (view,) = serving.session.views()
    at_rest(serving, view)
    time.sleep(0.4)
    moving = [move.is_moving for move in serving.session.moves(view)]
    # A busy machine may rest in the middle of the drag; two rests in a row would draw twice.
    assert moving[-1] is False
    assert (False, False) not in itertools.pairwise(moving)


def test_a_page_with_a_token_opens_through_the_printed_address(serve, browser):
    serving = serve(host="0.0.0.0", token="open sesame")
    tab = browser.open(serving.server.url)
    wait_for(serving.session.views, 60, "the browser to connect")
    wait_for(lambda: shows(tab, first_color()), 60, "the first picture")
    assert "token" not in tab.run("location.href")
    tab.close()
