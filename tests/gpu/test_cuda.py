"""The gsplat backend keeps the same promises; needs a device, a compiler and minutes for the first build."""

from __future__ import annotations

import pytest
import torch
from render_scenes import EDGE_CASES, NAMES, random_scene

from core.radiance.splats import Splats
from core.render.backend import choose
from core.render.reference import ReferenceRenderer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(scope="module", name="cuda")
def _cuda():
    return choose("gsplat", print)


def _loss(layers):
    return (
        layers.rgb.square().sum() + 0.5 * layers.alpha.square().sum() + 0.1 * layers.depth.sum()
    ).cpu()


def _error(actual, expected):
    """Largest difference beside the largest number, one pixel or Gaussian in a hundred left out.

    gsplat is built with fast math, so a few pixels fall on the other side of the cut at 1/255.
    """
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    if not expected.numel():
        return 0.0
    difference = (actual - expected).abs().flatten()
    return float(difference.quantile(0.99)) / max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
@pytest.mark.parametrize("case", EDGE_CASES)
def test_pictures_and_gradients_agree_with_the_reference(cuda, case, antialiased):
    scene = EDGE_CASES[case]()
    truth, leaves = scene.leaves(torch.float64), scene.leaves(device="cuda")
    expected = scene.draw(ReferenceRenderer(), truth, antialiased)
    actual = scene.draw(cuda, leaves, antialiased)
    for name in ("rgb", "alpha", "depth"):
        assert _error(getattr(actual, name), getattr(expected, name)) < 2e-3, name
    _loss(expected).backward()
    _loss(actual).backward()
    for name, leaf, exact in zip(NAMES, leaves, truth, strict=True):
        assert _error(leaf.grad, exact.grad) < 1e-2, name


def test_absolute_gradients_appear_with_the_backward_pass(cuda):
    scene = random_scene(40)
    truth, leaves = scene.leaves(torch.float64), scene.leaves(device="cuda")
    expected, actual = scene.draw(ReferenceRenderer(), truth), scene.draw(cuda, leaves)
    assert actual.stats.absgrad is None
    _loss(expected).backward()
    _loss(actual).backward()
    assert _error(actual.stats.absgrad, expected.stats.absgrad) < 1e-2
    assert _error(actual.stats.means2d, expected.stats.means2d) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_gaussians_with_impossible_numbers_are_left_out(cuda, name):
    scene = random_scene(20)
    values = [value.clone().cuda() for value in scene.values]
    values[NAMES.index(name)][3] = float("nan")
    kept = [torch.cat([value[:3], value[4:]]).cuda() for value in scene.values]
    torch.testing.assert_close(
        scene.draw(cuda, values).rgb, scene.draw(cuda, kept).rgb, rtol=0, atol=1e-5
    )


def test_contributors_of_a_pixel_add_up_to_its_color(cuda):
    scene = random_scene(80)
    values = [value.cuda() for value in scene.values]
    picture = scene.draw(cuda, values).rgb
    rows, weights, _ = cuda.contributors(Splats(*values), scene.viewmats[0], scene.Ks[0], (26, 18))
    color = (weights[:, None] * values[4][rows]).sum(0)
    torch.testing.assert_close(color, picture[0, 18, 26], rtol=0, atol=1e-3)


def test_a_cancelled_frame_is_given_up(cuda):
    scene = random_scene()
    assert scene.draw(cuda, scene.values, cancelled=lambda: True) is None
