"""The exported page, opened from disk in a real browser."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import wait_for

from core.capture.camera import Camera, Similarity, look_at
from core.formats import equirect, page
from core.radiance.model import Surroundings
from core.radiance.scenes import assemble
from core.radiance.sh import evaluate_sh
from core.radiance.sh_splats import SplatScene
from core.render.composite import to_uint8
from core.render.cpu import CpuRenderer
from core.render.evaluate import draw

WIDTH, HEIGHT = 320, 240
UP = np.array([0.0, -1.0, 0.0])


def camera(*center: float) -> Camera:
    pose = look_at(np.array(center), np.zeros(3), UP)
    return Camera(pose, 260.0, 250.0, 150.0, 125.0, WIDTH, HEIGHT)


def written(path, explicit, first, picture=None, is_antialiased=False):
    """Export Gaussians whose first camera is `first`; return the scene read back from the page."""
    turned = np.array([[0.0, -0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, 0.6]])
    to_original = Similarity(2.0, turned, np.array([5.0, -1.0, 2.0]))
    summary = {
        "capture": "<page> & test",
        "cameras": [first.to_json()],
        "is_antialiased": is_antialiased,
    }
    around = Surroundings(np.array([[-1.0] * 3, [1.0] * 3]), UP, to_original, summary)
    parts = SplatScene(explicit, around).parts()
    page.write(parts if picture is None else equirect.added(parts, picture), path)
    return assemble(page.read(path)), to_original.apply_camera(first)


def cloud(count=1500, num_bases=16):
    rng = torch.Generator().manual_seed(1)
    return {
        "means": torch.randn(count, 3, generator=rng) * 0.5,
        "log_scales": torch.randn(count, 3, generator=rng) * 0.5 - 2.7,
        "quats": torch.randn(count, 4, generator=rng),
        "opacity_logits": torch.randn(count, generator=rng),
        "sh_coeffs": torch.randn(count, num_bases, 3, generator=rng) * 0.3,
    }


def single(sh_coeffs):
    return {
        "means": torch.zeros(1, 3),
        "log_scales": torch.full((1, 3), -1.0),
        "quats": torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        "opacity_logits": torch.tensor([9.0]),
        "sh_coeffs": sh_coeffs,
    }


def gradient():
    """An all-round picture that is different everywhere, without an edge at its seam."""
    angle = (np.arange(512) + 0.5) / 512 * 2 * np.pi
    down = np.linspace(0, 255, 256)
    red, green = np.broadcast_arrays(128 + 100 * np.sin(angle)[None], down[:, None])
    return np.stack((red, green, np.full_like(red, 60)), axis=-1).astype(np.uint8)


@pytest.fixture
def opened(browser):
    """Return a function that opens a page from disk and waits for its final picture."""
    tabs = []

    def open_page(path):
        tab = browser.open(path.as_uri(), WIDTH, HEIGHT)
        tabs.append(tab)
        settle(tab)
        tab.run("dispatchEvent(new KeyboardEvent('keydown', {key: 'h'}))")  # words away
        settle(tab)
        return tab

    yield open_page
    for tab in tabs:
        tab.close()


def settle(tab):
    ready = "document.querySelector('#picture')?.dataset.state === 'settled'"
    wait_for(lambda: tab.run(ready), 60, "the page's picture")
    time.sleep(0.1)  # until the compositor shows it


def psnr(one, other):
    error = np.mean((one.astype(float) - other.astype(float)) ** 2) / 255**2
    return -10 * math.log10(max(error, 1e-12))


@pytest.mark.parametrize("num_bases", [1, 4, 9, 16])
def test_the_page_shows_what_our_renderer_draws(opened, tmp_path, num_bases):
    is_antialiased = num_bases == 9
    scene, seen_from = written(
        tmp_path / "a.html",
        cloud(num_bases=num_bases),
        camera(0.6, -0.4, -3.0),
        gradient(),
        is_antialiased,
    )
    expected = to_uint8(draw(scene, CpuRenderer(), seen_from))
    # half floats round every layer, 8 bits the result, and pixels at the cut of 1/255 may fall either
    # way: 40 dB is left, where a wrong blur, order, band of harmonics or picture behind is below 30
    assert psnr(opened(tmp_path / "a.html").picture(), expected) > 40


def test_a_drag_orbits_and_r_returns_to_the_first_view(opened, tmp_path):
    written(tmp_path / "a.html", cloud(), camera(0.6, -0.4, -3.0))
    tab = opened(tmp_path / "a.html")
    before = tab.picture()
    tab.drag((160, 120), (220, 140))
    settle(tab)
    assert psnr(tab.picture(), before) < 25
    tab.run("dispatchEvent(new KeyboardEvent('keydown', {key: 'r'}))")
    settle(tab)
    assert psnr(tab.picture(), before) > 45


def test_the_wheel_brings_the_scene_nearer(opened, tmp_path):
    written(tmp_path / "a.html", single(torch.ones(1, 1, 3)), camera(0.0, 0.0, -3.0))
    tab = opened(tmp_path / "a.html")
    before = (tab.picture() > 40).sum()
    wheel = {"type": "mouseWheel", "x": 160, "y": 120, "deltaX": 0, "deltaY": -400}
    tab.call("Input.dispatchMouseEvent", **wheel)
    time.sleep(0.2)
    settle(tab)
    assert (tab.picture() > 40).sum() > 1.5 * before


def test_the_colour_of_a_gaussian_depends_on_the_side_it_is_seen_from(opened, tmp_path):
    sh_coeffs = torch.zeros(1, 4, 3)
    sh_coeffs[0, 2] = torch.tensor([0.6, 0.0, -0.6])
    shown = []
    for name, z in (("front", -3.0), ("back", 3.0)):
        first = replace(camera(0.0, 0.0, z), cx=160.0, cy=120.0)
        written(tmp_path / f"{name}.html", single(sh_coeffs), first)
        middle = opened(tmp_path / f"{name}.html").picture()[120, 160]
        expected = evaluate_sh(sh_coeffs, torch.tensor([[0.0, 0.0, -z / 3.0]]))[0] * 255
        # an opacity of 0.999 and two roundings to bytes
        np.testing.assert_allclose(middle, expected, atol=3)
        shown.append(middle.astype(int))
    assert abs(shown[0] - shown[1])[0] > 100


def test_the_background_fills_what_no_gaussian_covers_and_b_takes_it_away(opened, tmp_path):
    first = camera(0.6, -0.4, -3.0)
    scene, seen_from = written(tmp_path / "a.html", single(torch.ones(1, 1, 3)), first, gradient())
    tab = opened(tmp_path / "a.html")
    corner = tab.picture()[2:8, 2:8].reshape(-1, 3).mean(0)
    expected = scene.background(seen_from)[2:8, 2:8].reshape(-1, 3).mean(0) * 255
    np.testing.assert_allclose(corner, expected, atol=2)
    tab.run("dispatchEvent(new KeyboardEvent('keydown', {key: 'b'}))")
    settle(tab)
    assert tab.picture()[2:8, 2:8].max() == 0


def test_without_webgl_the_page_says_so(browser, tmp_path):
    written(tmp_path / "a.html", single(torch.ones(1, 1, 3)), camera(0.0, 0.0, -3.0))
    content = (tmp_path / "a.html").read_text("utf-8")
    content = content.replace(
        "start().catch", "HTMLCanvasElement.prototype.getContext = () => null;\nstart().catch"
    )
    (tmp_path / "b.html").write_text(content, "utf-8")
    tab = browser.open((tmp_path / "b.html").as_uri(), 640, 480)
    wait_for(lambda: "no WebGL 2" in tab.text(), what="the message")
    assert "<page> & test" in tab.text()
    tab.close()
