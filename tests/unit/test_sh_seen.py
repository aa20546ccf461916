"""Harmonic colours in one compiled pass: the same values and gradients as the pieces."""

import numpy as np
import pytest
import torch

from core.radiance.sh_seen import seen_colors, seen_colors_reference

CENTER = np.array([0.3, -0.1, -2.0])


def given(count: int, bands: int) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(count)
    means = torch.randn(count, 3, generator=draw)
    constant = torch.randn(count, 1, 3, generator=draw)  # a good part of the colours is below zero
    others = torch.randn(count, bands, 3, generator=draw) * 0.3
    return means, (constant.requires_grad_(True), others.requires_grad_(True))


@pytest.mark.parametrize(("bands", "degree"), [(15, 3), (15, 1), (15, 0), (8, 2), (0, 0)])
@pytest.mark.parametrize("count", [0, 1, 1500])
def test_values_and_gradients_are_those_of_the_pieces(count, bands, degree):
    means, found = given(count, bands)
    _, wanted = given(count, bands)
    weight = torch.rand(count, 3, generator=torch.Generator().manual_seed(1))
    one = seen_colors(means, CENTER, found, degree)
    two = seen_colors_reference(means, CENTER, wanted, degree)
    torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-6)
    (one * weight).sum().backward()
    (two * weight).sum().backward()
    for mine, plain in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.grad, plain.grad, atol=1e-6, rtol=1e-6)
