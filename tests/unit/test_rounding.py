"""Training that sees its parameters as the scene file will round them."""

from __future__ import annotations

import torch

from core.formats import precision
from core.formats.quality import Quality
from core.formats.rounding import Rounding, RoundingConfig
from core.radiance.parts import Coding

CONFIG = RoundingConfig(start=0.5, quality=Quality.SMALL, draw_to_zero=0.01)


def tensors() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        "means": torch.randn(400, 3, generator=rng),
        "color_logits": torch.randn(400, 3, generator=rng),
        "weights 0": torch.nn.Parameter(torch.randn(8, 4, generator=rng)),
        "table 0": torch.nn.Parameter(torch.randn(2, 64, 2, generator=rng)),
        "table 1": torch.nn.Parameter(torch.randn(2, 64, 2, generator=rng)),
    }


def test_nothing_is_rounded_before_its_time():
    held, rounding = tensors(), Rounding()
    before = {name: tensor.detach().clone() for name, tensor in held.items()}
    for config, progress in ((CONFIG, 0.49), (RoundingConfig(), 1.0)):
        rounding.follow(config, progress, held)
        with rounding.shown_in(held):
            assert all(torch.equal(held[name], before[name]) for name in held)


def test_rounded_values_are_seen_and_the_parameters_come_back():
    held, rounding = tensors(), Rounding()
    rounding.follow(CONFIG, 0.5, held)
    before = {name: tensor.detach().clone() for name, tensor in held.items()}
    with rounding.shown_in(held):
        seen = {name: tensor.detach().clone() for name, tensor in held.items()}
        assert torch.is_grad_enabled()
    for name, tensor in held.items():
        assert torch.equal(tensor, before[name])
        assert not torch.equal(seen[name], before[name])
    # a quarter octave of steps is rounded to the nearest: 0.2 becomes 2^(-9/4)
    step = 2.0**-2.25
    torch.testing.assert_close(
        seen["color_logits"] / step, torch.round(before["color_logits"] / step)
    )


def test_a_file_keeps_the_steps_that_were_learnt_for():
    held, rounding = tensors(), Rounding()
    rounding.follow(CONFIG, 0.5, held)
    with rounding.shown_in(held):
        seen = {name: tensor.detach().clone().numpy() for name, tensor in held.items()}
    finest = Quality.FINEST.coarseness
    assert precision.position_grid(seen["means"], finest) == (
        rounding.unit,
        rounding.numbers["means"],
    )
    for name, kept_as in (("color_logits", "color_logits"), ("table 0", "geometry_grid")):
        found = precision.grid_of(kept_as, Coding.TABLE8, seen[name], finest)
        assert found == rounding.numbers[name]


def test_gradients_pass_as_if_nothing_had_been_rounded():
    held, rounding = tensors(), Rounding()
    rounding.follow(CONFIG, 0.5, held)
    weight = held["weights 0"]
    with rounding.shown_in(held):
        seen = weight.detach().clone()
        (weight**2).sum().backward()
    torch.testing.assert_close(weight.grad, 2 * seen)


def test_tables_shrink_and_stop_at_zero():
    held, rounding = tensors(), Rounding()
    rounding.follow(CONFIG, 0.5, held)
    step = precision.step_of(rounding.numbers["table 0"])
    with torch.no_grad():
        held["table 0"].fill_(0.025 * step)
    sizes = []
    for _ in range(4):
        rounding.follow(CONFIG, 0.6, held)
        sizes.append(float(held["table 0"].detach().abs().max()) / step)
    torch.testing.assert_close(sizes, [0.015, 0.005, 0.0, 0.0], atol=1e-6, rtol=0)


def test_the_geometry_keeps_finer_steps_than_the_radiance():
    held, rounding = tensors(), Rounding()
    held["table 1"].data.copy_(held["table 0"].data)
    rounding.follow(CONFIG, 0.5, held)
    assert rounding.numbers["table 1"] == rounding.numbers["table 0"] + 4


def test_a_resumed_run_rounds_as_the_first_one():
    held, rounding, again = tensors(), Rounding(), Rounding()
    rounding.follow(CONFIG, 0.5, held)
    again.load(rounding.state())
    held["means"] *= 3.0
    again.follow(CONFIG, 0.9, held)
    assert (again.numbers, again.unit) == (rounding.numbers, rounding.unit)
    again.load({})  # a checkpoint made before there was rounding
    assert not again.numbers
