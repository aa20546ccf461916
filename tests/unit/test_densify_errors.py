"""Density control by badly drawn pixels."""

import torch

from core.radiance.densify import DensityConfig, DensityControl, DensityMethod
from core.radiance.densify_errors import covered_errors
from tests.unit.test_densify import build


def test_badly_drawn_pixels_are_counted_in_the_square_round_each_gaussian():
    generator = torch.Generator().manual_seed(5)
    errors = torch.rand(20, 30, generator=generator)
    means2d = torch.rand(40, 2, generator=generator) * torch.tensor([40.0, 30.0]) - 5
    radii = torch.randint(0, 7, (40,), generator=generator)
    bad = (errors - errors.min()) / (errors.max() - errors.min()) > 0.8
    counted = covered_errors(errors, means2d, radii, 0.8)
    for (x, y), radius, count in zip(
        means2d.tolist(), radii.tolist(), counted.tolist(), strict=True
    ):
        columns = (torch.arange(30) + 1 > x - radius) & (torch.arange(30) < x + radius)
        rows = (torch.arange(20) + 1 > y - radius) & (torch.arange(20) < y + radius)
        expected = int(bad[rows][:, columns].sum()) if radius else 0
        assert count == expected


def test_a_picture_without_any_error_has_no_bad_pixels():
    counted = covered_errors(torch.zeros(8, 8), torch.full((1, 2), 4.0), torch.tensor([3]), 0.1)
    assert counted.tolist() == [0.0]


def test_a_gaussian_over_more_bad_pixels_than_allowed_in_the_mean_view_is_grown():
    model, optimizer, control = build(3, method="errors", bad_pixels=5.0, worst=1.0)
    rows, once = torch.tensor([0, 1]), torch.ones(2)
    control.add(rows, torch.tensor([20.0, 6.0]), once)
    control.add(rows, torch.tensor([0.0, 2.0]), once)
    before = model.explicit["means"][0].clone()
    control.refine(model, optimizer)
    assert control.last_round["cloned"] == 1
    torch.testing.assert_close(model.explicit["means"][3], before)


def test_the_gaussian_over_most_bad_pixels_goes_before_it_has_children():
    model, optimizer, control = build(4, method="errors", bad_pixels=1000.0, worst=0.9)
    kept = model.explicit["means"][[0, 2, 3]].clone()
    control.add(torch.arange(4), torch.tensor([1.0, 50.0, 3.0, 0.0]), torch.ones(4))
    control.refine(model, optimizer)
    assert control.last_round["pruned"] == 1
    torch.testing.assert_close(model.explicit["means"], kept)


def test_opacities_are_left_alone_where_errors_decide():
    config = DensityConfig(method="errors", reset_every=0.1)
    control = DensityControl(config, 1, 1.0, torch.Generator())
    assert config.method is DensityMethod.ERRORS
    assert not control.is_reset_due(100, 1000)
