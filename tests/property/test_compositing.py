"""What compositing can never break, whatever the scene."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from render_scenes import Scene, random_scene

from core.radiance.splats import Splats
from core.render.composite import composite
from core.render.cpu import CpuRenderer
from core.render.reference import weights

SEEDS = st.integers(0, 2**32 - 1)


def wild_scene(seed: int, num: int, width: int, height: int, spread: float) -> Scene:
    """A scene whose sizes and places range over many orders of magnitude."""
    scene = random_scene(num, width, height, seed=seed)
    random = torch.Generator().manual_seed(seed)
    values = list(scene.values)
    values[0] = values[0] + spread * torch.randn(num, 3, generator=random)
    values[2] = 10 ** (6 * torch.rand(num, 3, generator=random) - 4)
    return Scene(tuple(values), scene.viewmats, scene.Ks, width, height)


@given(SEEDS, st.integers(0, 40), st.integers(1, 40), st.integers(1, 40), st.floats(0, 20))
@settings(max_examples=60, deadline=None)
def test_pictures_stay_within_bounds(seed, num, width, height, spread):
    scene = wild_scene(seed, num, width, height, spread)
    layers = scene.draw(CpuRenderer(), scene.values)
    assert layers.rgb.shape == (1, height, width, 3)
    slack = 1e-5  # rounding of up to 40 weights
    assert float(layers.alpha.min()) >= 0
    assert float(layers.alpha.max()) <= 1
    assert float(layers.rgb.min()) >= 0
    assert bool((layers.rgb <= layers.alpha + slack).all())
    assert bool(torch.isfinite(layers.depth).all())


@given(SEEDS, st.integers(1, 40), st.floats(0, 20))
@settings(max_examples=40, deadline=None)
def test_a_uniformly_coloured_world_stays_that_colour(seed, num, spread):
    scene = wild_scene(seed, num, 33, 21, spread)
    grey = torch.rand(3, generator=torch.Generator().manual_seed(seed))
    values = [*scene.values[:4], grey.expand(num, 3).contiguous()]
    layers = scene.draw(CpuRenderer(), values)
    picture = composite(layers, grey.expand(1, 21, 33, 3))
    torch.testing.assert_close(picture, grey.expand_as(picture), rtol=0, atol=1e-5)


@given(SEEDS, st.integers(1, 30), st.floats(0, 20))
@settings(max_examples=30, deadline=None)
def test_gradients_are_finite_whatever_the_scene(seed, num, spread):
    scene = wild_scene(seed, num, 21, 18, spread)
    leaves = scene.leaves()
    layers = scene.draw(CpuRenderer(), leaves, antialiased=seed % 2 == 0)
    (layers.rgb.sum() + layers.alpha.sum() + layers.depth.sum()).backward()
    assert all(bool(torch.isfinite(leaf.grad).all()) for leaf in leaves)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_input_does_not_matter(seed):
    scene = random_scene(30, seed=seed)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
    one = CpuRenderer().rasterize(Splats(*scene.values), scene.viewmats, scene.Ks, 53, 37)
    values = [value[shuffled] for value in scene.values]
    other = CpuRenderer().rasterize(Splats(*values), scene.viewmats, scene.Ks, 53, 37)
    assert torch.equal(one.rgb, other.rgb)
    assert torch.equal(one.stats.radii[:, shuffled], other.stats.radii)


@given(st.lists(st.floats(0.0, 0.999), min_size=1, max_size=30))
def test_weights_are_shares_of_one(alphas):
    share = weights(torch.tensor(alphas, dtype=torch.float64)[:, None])
    assert bool((share >= 0).all())
    assert float(share.sum()) <= 1 + 1e-12
