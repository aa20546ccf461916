"""Density control, on plain Gaussians whose parameters are their activated values."""

import math

import pytest
import torch

from core.nn.adam import RowAdam
from core.radiance.densify import (
    DensityConfig,
    DensityControl,
    append,
    keep_rows,
    relocated,
    rotated,
)
from core.radiance.model import Placement


class PlainModel:
    """The smallest model density control can work on: every number is explicit and activated."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(3)
        self.explicit = {
            "means": torch.randn(count, 3, generator=generator),
            "scales": torch.full((count, 3), 0.005),
            "opacity_logits": torch.zeros(count),
        }

    def activated(self, rows):
        quats = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(len(rows), 4)
        return (
            self.explicit["scales"][rows],
            quats,
            torch.sigmoid(self.explicit["opacity_logits"][rows]),
        )

    def place(self, placement: Placement):
        return {
            "means": placement.means,
            "scales": placement.scales,
            "opacity_logits": torch.logit(placement.opacities, eps=1e-6),
        }

    def limit_opacity(self, highest: float) -> None:
        self.explicit["opacity_logits"].clamp_(max=math.log(highest / (1 - highest)))


def build(count: int, **settings) -> tuple[PlainModel, RowAdam, DensityControl]:
    model = PlainModel(count)
    optimizer = RowAdam(model.explicit, {"means": 0.1, "scales": 0.1, "opacity_logits": 0.1})
    generator = torch.Generator().manual_seed(0)
    return model, optimizer, DensityControl(DensityConfig(**settings), count, 1.0, generator)


def observe(control: DensityControl, rows: list[int], strength: float) -> None:
    gradient = torch.full((len(rows), 2), strength)
    control.observe(torch.tensor(rows), torch.ones(len(rows)), gradient, 2, 2)


def test_a_small_gaussian_with_a_large_gradient_is_cloned_in_place():
    model, optimizer, control = build(4)
    before = model.explicit["means"][2].clone()
    observe(control, [2], 1.0)
    control.refine(model, optimizer)
    assert control.last_round["cloned"] == 1
    assert len(model.explicit["means"]) == 5
    torch.testing.assert_close(model.explicit["means"][4], before)


def test_a_large_gaussian_is_split_into_two_smaller_ones_and_goes():
    model, optimizer, control = build(4)
    model.explicit["scales"][1] = 0.5
    optimizer.params = model.explicit
    observe(control, [1], 1.0)
    control.refine(model, optimizer)
    assert len(model.explicit["means"]) == 5
    torch.testing.assert_close(model.explicit["scales"][3:], torch.full((2, 3), 0.5 / 1.6))
    assert (model.explicit["scales"][:3] < 0.01).all()


def test_gradients_are_averaged_over_the_views_that_saw_the_gaussian():
    _, _, control = build(2)
    observe(control, [0], 1.0)  # 0.25 * (1 + 1) = 0.5
    observe(control, [0, 1], 0.2)  # 0.1
    mean = control.gradients / control.views
    assert mean.tolist() == pytest.approx([0.3, 0.1])


def test_gaussians_that_were_not_drawn_do_not_count():
    _, _, control = build(2)
    control.observe(torch.tensor([0, 1]), torch.tensor([0.0, 3.0]), torch.ones(2, 2), 2, 2)
    assert control.views.tolist() == [0, 1]


def test_growth_stops_at_the_cap_and_takes_the_largest_gradients_first():
    model, optimizer, control = build(4, cap=5)
    observe(control, [0, 1, 2, 3], 1.0)
    observe(control, [3], 9.0)
    control.refine(model, optimizer)
    assert len(model.explicit["means"]) == 5
    torch.testing.assert_close(model.explicit["means"][4], model.explicit["means"][3])


def test_transparent_gaussians_are_pruned_with_their_momentum():
    model, optimizer, control = build(4)
    model.explicit["opacity_logits"][1] = -10
    control.refine(model, optimizer)
    assert len(model.explicit["means"]) == 3
    gradients = {name: torch.ones_like(values) for name, values in model.explicit.items()}
    optimizer.step(gradients, torch.arange(3))  # would fail on moments of another length


def test_the_last_gaussian_is_never_pruned():
    model, optimizer, control = build(3)
    model.explicit["opacity_logits"][:] = -10
    control.refine(model, optimizer)
    assert len(model.explicit["means"]) == 3


def test_opacity_reset_lowers_only_what_is_above():
    model, optimizer, control = build(2)
    model.explicit["opacity_logits"][:] = torch.tensor([2.0, -9.0])
    control.reset_opacity(model, optimizer)
    assert torch.sigmoid(model.explicit["opacity_logits"]).tolist() == pytest.approx(
        [0.01, 1.2e-4], rel=0.05
    )


def test_mcmc_moves_the_dead_onto_the_living_and_respects_the_cap():
    model, optimizer, control = build(50, method="mcmc", cap=52, growth=0.5)
    model.explicit["opacity_logits"][:10] = -20
    control.refine(model, optimizer)
    assert control.last_round["moved"] == 10
    assert len(model.explicit["means"]) == 52
    assert (torch.sigmoid(model.explicit["opacity_logits"]) > 0.005).all()


def test_a_relocated_gaussian_covers_as_the_one_it_replaces():
    opacity, factor = relocated(torch.tensor([0.7]), torch.tensor([2]))
    assert 1 - (1 - opacity.item()) ** 2 == pytest.approx(0.7, abs=1e-5)
    # two copies at the centre: integral along a line through it equals the original's
    distance = torch.linspace(-8, 8, 4001)
    shape = torch.exp(-0.5 * (distance / factor) ** 2) * opacity
    together = (1 - (1 - shape) ** 2).sum()
    alone = (0.7 * torch.exp(-0.5 * distance**2)).sum()
    assert together / alone == pytest.approx(1.0, abs=1e-3)


def test_no_copy_leaves_a_gaussian_as_it_is():
    opacity, factor = relocated(torch.tensor([0.3, 0.9]), torch.tensor([1, 1]))
    assert opacity.tolist() == pytest.approx([0.3, 0.9])
    assert factor.tolist() == pytest.approx([1.0, 1.0])


def test_rotation_by_a_quarter_turn_about_z_takes_x_to_y():
    half = math.sqrt(0.5)
    turned = rotated(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[half, 0.0, 0.0, half]]))
    torch.testing.assert_close(turned, torch.tensor([[0.0, 1.0, 0.0]]), atol=1e-6, rtol=0)


def test_rows_added_and_kept_stay_aligned_in_every_tensor():
    model, optimizer, _ = build(3)
    rows = torch.tensor([1])
    append(
        model, optimizer, Placement(rows, torch.ones(1, 3), torch.ones(1, 3), torch.tensor([0.5]))
    )
    keep_rows(model, optimizer, torch.tensor([3, 0]))
    assert {len(values) for values in model.explicit.values()} == {2}
    assert model.explicit["means"][0].tolist() == [1, 1, 1]
