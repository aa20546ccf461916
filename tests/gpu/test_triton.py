"""The Triton renderer on a real device: the same sweep at full size, the same bits, one round trip."""

from __future__ import annotations

import warnings

import pytest
import torch
from render_agreement import assert_agrees, assert_close, drawn
from render_scenes import EDGE_CASES, NAMES, random_scene

from core.radiance.splats import Splats
from core.render.backend import choose
from core.render.cpu import CpuRenderer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(scope="module", name="triton")
def _triton():
    return choose("triton", print)


@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
@pytest.mark.parametrize("case", EDGE_CASES)
def test_pictures_and_gradients_agree_with_the_double_precision_reference(
    triton, case, antialiased
):
    # a device's exponential, root and division are good to six digits, so a pixel may change sides of the cut
    assert_agrees(
        triton, EDGE_CASES[case](), antialiased, "cuda", share=5e-5, slack=1e-3, kept=0.999
    )


@pytest.mark.parametrize(
    ("num", "width", "height", "size"),
    [(50_000, 480, 270, 0.02), (200_000, 1920, 1080, 0.01), (3_000, 1001, 563, 0.3)],
)
def test_large_pictures_and_gradients_agree_with_the_cpu_renderer(triton, num, width, height, size):
    scene = random_scene(num, width, height, seed=1, size=size)
    expected, truth = drawn(CpuRenderer(), scene)
    actual, gradients = drawn(triton, scene, device="cuda")
    for name in ("rgb", "alpha", "depth"):
        assert_close(getattr(actual, name), getattr(expected, name), 1e-4, name, kept=0.999)
    for name, gradient, wanted in zip(NAMES, gradients, truth, strict=True):
        assert_close(gradient, wanted, 1e-3, f"gradient of {name}", kept=0.999)
    assert_close(actual.stats.absgrad, expected.stats.absgrad, 1e-3, "absgrad", kept=0.999)


def test_the_same_frame_twice_gives_the_same_bits(triton):
    scene = random_scene(20_000, 480, 270, size=0.05)
    (first, first_gradients), (second, second_gradients) = (
        drawn(triton, scene, device="cuda") for _ in range(2)
    )
    assert torch.equal(first.rgb, second.rgb)
    assert torch.equal(first.stats.absgrad, second.stats.absgrad)
    for one_time, other_time in zip(first_gradients, second_gradients, strict=True):
        assert torch.equal(one_time, other_time)


def test_a_step_waits_for_the_device_once(triton):
    scene = random_scene(2_000, 160, 90, size=0.05)
    leaves = scene.leaves(device="cuda")
    viewmats, Ks = scene.viewmats.cuda(), scene.Ks.cuda()

    def step():
        layers = triton.rasterize(Splats(*leaves), viewmats, Ks, 160, 90, "rgb+depth")
        (layers.rgb.square().sum() + layers.depth.sum()).backward()

    step()  # compiles
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len([wait for wait in waits if "synchroniz" in str(wait.message)]) <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_gaussians_with_impossible_numbers_are_left_out(triton, name, number):
    scene = random_scene(20)
    values = [value.clone().cuda() for value in scene.values]
    values[NAMES.index(name)][3] = number
    kept = [torch.cat([value[:3], value[4:]]).cuda() for value in scene.values]
    layers = scene.draw(triton, values)
    assert torch.equal(layers.rgb, scene.draw(triton, kept).rgb)
    assert layers.stats.radii[0, 3] == 0


def test_contributors_of_a_pixel_add_up_to_its_color(triton):
    scene = random_scene(80)
    values = [value.cuda() for value in scene.values]
    picture = scene.draw(triton, values).rgb
    rows, weights, _ = triton.contributors(
        Splats(*values), scene.viewmats[0], scene.Ks[0], (26, 18)
    )
    color = (weights[:, None] * values[4][rows]).sum(0)
    torch.testing.assert_close(color, picture[0, 18, 26], rtol=0, atol=1e-3)


def test_a_cancelled_frame_is_given_up(triton):
    scene = random_scene()
    assert scene.draw(triton, scene.values, cancelled=lambda: True) is None
