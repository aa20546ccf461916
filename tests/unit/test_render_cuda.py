"""The CUDA backend on a machine without one: what it asks of gsplat, with the reference in gsplat's place.

The stand-in binds every call to the real signature and lays its answers out as gsplat does.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import gsplat
import pytest
import torch
from render_scenes import EDGE_CASES, NAMES, random_scene

from core.radiance.splats import Splats
from core.render import cuda
from core.render.backend import BLUR, NEAR, Layers
from core.render.reference import ReferenceRenderer

SIGNATURE = inspect.signature(gsplat.rasterization)


def stand_in(*arguments, **named):
    call = SIGNATURE.bind(*arguments, **named)
    call.apply_defaults()
    given = SimpleNamespace(**call.arguments)
    assert (given.near_plane, given.eps2d, given.packed, given.absgrad) == (NEAR, BLUR, False, True)
    splats = Splats(given.means, given.quats, given.scales, given.opacities, given.colors)
    layers = ReferenceRenderer().rasterize(
        splats, given.viewmats, given.Ks, given.width, given.height, "rgb+depth",
        given.rasterize_mode == "antialiased",
    )  # fmt: skip
    means2d = layers.stats.means2d
    if layers.rgb.requires_grad:
        layers.rgb.register_hook(
            lambda gradient: setattr(means2d, "absgrad", gradient.sum() * 0 + 3)
        )
    has_depth = given.render_mode == "RGB+ED"
    pictures = torch.cat([layers.rgb, layers.depth], -1) if has_depth else layers.rgb
    radii = layers.stats.radii[..., None].repeat(1, 1, 2)
    return pictures, layers.alpha, {"means2d": means2d, "radii": radii}


@pytest.fixture(autouse=True)
def _pretend_cuda(monkeypatch):
    monkeypatch.setattr(gsplat, "rasterization", stand_in)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "_device", lambda splats: torch.device("cpu"))
    monkeypatch.setattr(cuda, "_missing", lambda: None)


@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
@pytest.mark.parametrize("case", ["random", "no Gaussians", "two cameras", "opaque"])
def test_layers_and_gradients_arrive_as_gsplat_made_them(case, antialiased):
    scene = EDGE_CASES[case]()
    mine, truth = scene.leaves(), scene.leaves()
    layers, expected = (
        scene.draw(renderer, leaves, antialiased)
        for renderer, leaves in ((cuda.CudaRenderer(), mine), (ReferenceRenderer(), truth))
    )
    for drawn in (layers, expected):
        (drawn.rgb.square().sum() + drawn.alpha.sum() + drawn.depth.sum()).backward()
    for name in ("rgb", "alpha", "depth"):
        assert torch.equal(getattr(layers, name), getattr(expected, name)), name
    assert torch.equal(layers.stats.radii, expected.stats.radii)
    for leaf, exact in zip(mine, truth, strict=True):
        torch.testing.assert_close(leaf.grad, exact.grad)


def test_absolute_gradients_are_read_after_the_backward_pass():
    scene = random_scene(10)
    layers = scene.draw(cuda.CudaRenderer(), scene.leaves())
    assert layers.stats.absgrad is None
    layers.rgb.sum().backward()
    assert float(layers.stats.absgrad) == 3


def test_pictures_without_depth_have_none():
    scene = random_scene(5)
    layers = cuda.CudaRenderer().rasterize(Splats(*scene.values), scene.viewmats, scene.Ks, 20, 10)
    assert layers.depth is None
    assert layers.rgb.shape == (1, 10, 20, 3)


@pytest.mark.parametrize("name", NAMES)
def test_impossible_numbers_never_reach_gsplat(name):
    scene = random_scene(12)
    leaves = scene.leaves()
    with torch.no_grad():
        leaves[NAMES.index(name)][3] = float("nan")
    kept = [torch.cat([value[:3], value[4:]]) for value in scene.values]
    layers = scene.draw(cuda.CudaRenderer(), leaves)
    layers.rgb.sum().backward()
    torch.testing.assert_close(layers.rgb, scene.draw(ReferenceRenderer(), kept).rgb)
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)


def test_a_frame_that_may_be_cancelled_has_no_gradients():
    scene = random_scene(5)
    assert scene.draw(cuda.CudaRenderer(), scene.values, cancelled=lambda: True) is None
    layers = scene.draw(cuda.CudaRenderer(), scene.leaves(), cancelled=lambda: False)
    assert not layers.rgb.requires_grad


def test_a_backend_that_draws_the_trial_frame_correctly_is_trusted():
    assert cuda.CudaRenderer().probe() is None


def test_a_backend_that_draws_wrong_pictures_is_not_trusted(monkeypatch):
    def wrong(*arguments, **named):
        pictures, alpha, meta = stand_in(*arguments, **named)
        return pictures * 0.9, alpha, meta

    monkeypatch.setattr(gsplat, "rasterization", wrong)
    assert "wrong pictures here (rgb" in cuda.CudaRenderer().probe()


def test_a_backend_that_fails_its_trial_gives_its_reason(monkeypatch):
    def broken(*_, **__) -> Layers:
        raise RuntimeError("the compiler said no\nand more")

    monkeypatch.setattr(gsplat, "rasterization", broken)
    reason = cuda.CudaRenderer().probe()
    assert reason == "gsplat does not run here (RuntimeError: the compiler said no)"
