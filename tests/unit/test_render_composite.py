"""Layers to pictures: the blend, bytes and colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.render.backend import Layers, RenderStats
from core.render.colormap import viridis
from core.render.composite import composite, to_uint8

RANDOM = torch.Generator().manual_seed(0)
ALPHA = torch.rand(1, 4, 5, 1, generator=RANDOM)
LAYERS = Layers(
    torch.rand(1, 4, 5, 3, generator=RANDOM) * ALPHA, ALPHA, None,
    RenderStats(torch.zeros(1, 0, 2), torch.zeros(1, 0)),
)  # fmt: skip
BACKGROUND = torch.rand(1, 4, 5, 3, generator=RANDOM)


def test_blend_zero_shows_the_gaussians_over_black():
    torch.testing.assert_close(composite(LAYERS, BACKGROUND, 0.0), LAYERS.rgb)


def test_blend_one_half_shows_the_background_through_the_gaussians():
    wanted = LAYERS.rgb + (1 - ALPHA) * BACKGROUND
    torch.testing.assert_close(composite(LAYERS, BACKGROUND, 0.5), wanted)
    torch.testing.assert_close(composite(LAYERS, BACKGROUND), wanted)


def test_blend_one_shows_the_background_alone():
    torch.testing.assert_close(composite(LAYERS, BACKGROUND, 1.0), BACKGROUND)


@pytest.mark.parametrize("blend", [0.1, 0.3, 0.6, 0.85])
def test_blends_between_are_linear_in_each_half(blend):
    low, high = (0.0, 0.5) if blend < 0.5 else (0.5, 1.0)
    share = (blend - low) / (high - low)
    wanted = (1 - share) * composite(LAYERS, BACKGROUND, low) + share * composite(
        LAYERS, BACKGROUND, high
    )
    torch.testing.assert_close(composite(LAYERS, BACKGROUND, blend), wanted)


def test_without_a_background_the_far_side_is_black():
    torch.testing.assert_close(composite(LAYERS, None, 0.5), LAYERS.rgb)
    assert composite(LAYERS, None, 1.0).abs().max() == 0


def test_gradients_reach_the_background():
    background = BACKGROUND.clone().requires_grad_()
    composite(LAYERS, background).sum().backward()
    torch.testing.assert_close(background.grad, (1 - ALPHA).expand_as(background))


def test_bytes_are_rounded_and_clamped_and_nan_is_black():
    picture = torch.tensor([[[0.0, 1.0, 0.5], [-3.0, 9.0, float("nan")]]])
    assert to_uint8(picture).tolist() == [[[0, 255, 128], [0, 255, 0]]]


def test_every_byte_survives_a_round_trip():
    levels = np.arange(256, dtype=np.float32).repeat(3).reshape(16, 16, 3) / 255
    assert (to_uint8(levels).ravel() == np.arange(256).repeat(3)).all()


def test_viridis_rises_in_lightness_and_clamps_at_its_ends():
    values = torch.linspace(2.0, 6.0, 100)[None]
    colors = viridis(values, 2.0, 6.0)
    lightness = colors[0] @ torch.tensor([0.2126, 0.7152, 0.0722])
    assert (lightness.diff() > 0).all()
    torch.testing.assert_close(viridis(torch.tensor([[-1.0, 99.0]]), 2.0, 6.0)[0, 0], colors[0, 0])
    torch.testing.assert_close(viridis(torch.tensor([[-1.0, 99.0]]), 2.0, 6.0)[0, 1], colors[0, -1])


def test_viridis_shows_what_is_not_a_number_as_black_and_survives_an_empty_range():
    assert viridis(torch.tensor([[float("nan")]]), 0.0, 1.0).abs().max() == 0
    assert torch.isfinite(viridis(torch.ones(2, 2), 1.0, 1.0)).all()
