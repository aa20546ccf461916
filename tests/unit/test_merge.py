"""How explicit logits and field outputs become Gaussians."""

import pytest
import torch

from core.radiance.merge import (
    ScaleMerge,
    merged_opacities,
    merged_quats,
    merged_scales,
    solved_opacity_logits,
    solved_scale_logits,
)


def random_offsets(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("merge", list(ScaleMerge))
def test_scales_stay_between_zero_and_one_scene_unit(merge):
    logits = torch.linspace(-30, 30, 50)
    scales = merged_scales(logits, random_offsets(50) * 5, merge)
    assert scales.shape == (50, 3)
    assert (scales >= 0).all()
    assert (scales <= 1).all()


def test_zero_offsets_leave_the_explicit_scale_in_the_paper_and_halve_it_in_the_code():
    logits = torch.tensor([-2.0])
    zero = torch.zeros(1, 8)
    own = torch.sigmoid(logits)[0]
    torch.testing.assert_close(merged_scales(logits, zero, ScaleMerge.SUM), own.expand(1, 3))
    torch.testing.assert_close(
        merged_scales(logits, zero, ScaleMerge.PRODUCT), (own / 2).expand(1, 3)
    )


def test_zero_offsets_mean_no_rotation():
    assert merged_quats(torch.zeros(2, 8)).tolist() == [[1.0, 0.0, 0.0, 0.0]] * 2


@pytest.mark.parametrize("merge", list(ScaleMerge))
def test_solving_the_scale_logit_returns_the_logit_it_was_merged_from(merge):
    logits, offsets = torch.linspace(-6, 2, 20), random_offsets(20)
    scales = merged_scales(logits, offsets, merge)
    torch.testing.assert_close(
        solved_scale_logits(scales, offsets, merge), logits, atol=1e-3, rtol=1e-3
    )


def test_solving_the_opacity_logit_gives_the_asked_opacity_elsewhere():
    asked, elsewhere = torch.rand(20) * 0.98 + 0.01, random_offsets(20, seed=1)
    logits = solved_opacity_logits(asked, elsewhere)
    torch.testing.assert_close(merged_opacities(logits, elsewhere), asked, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("merge", list(ScaleMerge))
def test_an_opacity_of_exactly_one_keeps_its_logit_finite(merge):
    logits = solved_opacity_logits(torch.ones(3), torch.zeros(3, 8))
    assert torch.isfinite(logits).all()
    assert torch.isfinite(solved_scale_logits(torch.ones(3, 3), torch.zeros(3, 8), merge)).all()
