"""CARE: implicit attention is what the layer computes, memory passes untouched, costs are the published ones."""

import math

import numpy as np
import pytest
import torch

from core.base.config import resolve
from core.base.errors import ConfigError
from core.nn import macs
from core.nn.attention import Changes, Trace
from core.nn.seeded import seeded
from core.studies.vision.care import cost
from core.studies.vision.care.config import CAREConfig
from core.studies.vision.care.layers import (
    Decoupled,
    LinearAttention,
    Stacked,
    key_values,
    linear_attention,
)
from core.studies.vision.care.network import CARE, PAPER, TABLES, Block, Interaction, Sizes, Stage
from core.studies.vision.care.study import CAREStudy, sizes_of
from core.study import Setup

STAGE = Stage(depth=1, width=12, memory=4, ratios=(2, 2), head_width=4)
TINY = Sizes(TABLES["tiny"], channels=1, classes=5, stem=2, first_gamma=0.1)


def picture(channels=12, side=5, seed=0, count=2):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, side, side, generator=rng)


def study_of(variant="care", **settings):
    study = CAREStudy(resolve(CAREConfig, "quick", settings), Setup(variant))
    study.prepare()
    return study


def test_linear_attention_is_its_implicit_rows_times_values():
    q, k, v = (
        torch.rand(2, 3, 25, 4, generator=torch.Generator().manual_seed(s)) for s in range(3)
    )
    rows = q @ k.transpose(2, 3)
    rows = rows / (rows.sum(dim=-1, keepdim=True) + 25 * 1e-6)
    torch.testing.assert_close(linear_attention(q, k, v), rows @ v, rtol=0, atol=1e-5)
    assert float(rows.min()) >= 0
    torch.testing.assert_close(rows.sum(dim=-1), torch.ones(2, 3, 25), rtol=0, atol=1e-4)


def test_the_scale_of_the_output_does_not_depend_on_the_number_of_tokens():
    q, k = torch.ones(1, 1, 400, 4), torch.ones(1, 1, 400, 4)
    found = linear_attention(q, k, torch.full((1, 1, 400, 4), 2.0))
    torch.testing.assert_close(found, torch.full_like(found, 2.0))
    assert key_values(k, q).shape == (1, 1, 4, 4)


def test_values_are_the_channels_themselves():
    with seeded(0):
        made = LinearAttention(8, 4)
    x = picture(8)
    q, k, v = made.projected(x)
    torch.testing.assert_close(v.transpose(2, 3).reshape(x.shape), x)
    assert float(torch.minimum(q, k).detach().min()) > 0
    assert sum(one.numel() for one in made.parameters()) == 8 * 16 + 16


def test_very_negative_keys_give_finite_rows_in_half_precision():
    q = (torch.nn.functional.elu(torch.full((1, 1, 9, 4), -30.0)) + 1).half()
    v = torch.ones(1, 1, 9, 4).half()
    assert torch.isfinite(linear_attention(q, q, v)).all()


def test_groups_keep_their_order_and_do_not_meet_before_they_interact():
    with seeded(0):
        made = Decoupled(12, 4)
    x = picture()
    found = made(x)
    torch.testing.assert_close(found[:, 4:8], made.narrow(x[:, 4:8]))
    torch.testing.assert_close(found[:, 8:], made.broad(x[:, 8:]))
    torch.testing.assert_close(found[:, :4], made.globally(x[:, :4]))
    for group in range(3):
        changed = x.clone()
        changed[:, 4 * group : 4 * group + 4] += 1
        moved = (made(changed) - found).abs().amax(dim=(0, 2, 3)) > 1e-6
        assert moved.tolist() == [at // 4 == group for at in range(12)]


def test_strips_see_eleven_places_along_both_axes():
    with seeded(0):
        made = Decoupled(3, 0).globally
    x = torch.zeros(1, 1, 15, 15, requires_grad=True)
    made(x)[0, 0, 7, 7].backward()
    seen = x.grad[0, 0] != 0
    assert seen[7].sum() == seen[:, 7].sum() == 11
    assert seen.sum() == 21


def test_stacked_blocks_add_every_step_to_its_input():
    made = Stacked(8, 4)
    for one in (made.narrow, made.broad):
        torch.nn.init.zeros_(one.weight)
        torch.nn.init.zeros_(one.bias)
    x = picture(8)
    torch.testing.assert_close(made(x), x + made.globally(x))


def test_memory_is_read_and_written_by_the_second_interaction_alone():
    with seeded(0):
        block = Block(STAGE, TINY, 0.0, is_last=False).eval()
    seen = {}
    block.locally.register_forward_pre_hook(lambda _m, inputs: seen.update(first=inputs[0]))
    block.recall.register_forward_pre_hook(lambda _m, inputs: seen.update(second=inputs[0]))
    x = picture(16)
    block(x)
    torch.testing.assert_close(seen["second"][:, :4], x[:, :4])
    changed = x.clone()
    changed[:, :4] += 1
    before = seen["first"]
    found = block(changed) - block(x)
    torch.testing.assert_close(seen["first"], before)
    assert float((found[:, 4:]).detach().abs().max()) > 1e-6  # through the second interaction


def test_a_block_is_close_to_the_identity_at_the_papers_gamma():
    sizes = Sizes((STAGE,), 1, 5, 2, first_gamma=1e-6)
    with seeded(0):
        block = Block(STAGE, sizes, 0.0, is_last=False).eval()
    x = picture(16)
    torch.testing.assert_close(block(x), x, rtol=0, atol=1e-4)


def test_the_last_block_keeps_its_wide_channels():
    with seeded(0):
        made = CARE(TINY).eval()
    last = [block for _, block in made.blocks()][-1]
    assert last.gamma is None
    assert last.recall.project is None
    assert made.features(torch.zeros(1, 1, 16, 16)).shape == (1, 2 * 32, 4, 4)
    assert Interaction(4, 3).project is not None


def test_both_heads_learn_and_their_mean_is_the_answer():
    study = study_of()
    study.step()
    for head in study.module.heads:
        assert float(head.classify.weight.grad.abs().max()) > 0
    with macs.measuring(study.module), torch.no_grad():
        x = study.inputs(study.test.pictures[:3])
        first, second = study.module.both(x)
        torch.testing.assert_close(study.module(x), (first + second) / 2)


def test_without_the_teachers_share_its_head_learns_nothing():
    study = study_of(alpha=0.0)
    study.step()
    assert not study.module.heads[1].classify.weight.grad.any()


@pytest.mark.parametrize(
    ("table", "millions", "billions"),
    [("S0", 7.340, 0.715), ("S1", 9.602, 1.025), ("S2", 19.481, 1.918)],
)
def test_the_papers_sizes_have_the_published_parameters_and_multiply_adds(
    table, millions, billions
):
    config = resolve(CAREConfig, "paper", {"table": table})
    study = CAREStudy(config, Setup("care", device="meta"))
    assert study.num_parameters / 1e6 == pytest.approx(millions, abs=6e-4)
    products = _products_of_attention(study.sizes, 224)  # the published count leaves them out
    assert (study.multiply_adds - products) / 1e9 == pytest.approx(billions, abs=6e-4)


def _products_of_attention(sizes, size):
    total, side = 0, size // sizes.stem
    for at, stage in enumerate(sizes.stages):
        side = side if at == 0 else side // 2
        total += (
            stage.depth
            * side**2
            * (2 * stage.head_width + 1)
            * stage.width
            // 3
            * bool(stage.head_width)
        )
    return total


@pytest.mark.parametrize("variant", CAREStudy.variants)
def test_the_closed_form_is_what_is_counted_while_running(variant):
    study = study_of(variant, table="small", size=32)
    counted = macs.multiply_adds(study.module, torch.zeros(1, 1, 32, 32))
    assert sum(counted.values()) == study.multiply_adds


@pytest.mark.parametrize("preset", ["quick", "full", "paper"])
def test_the_stacked_baseline_costs_as_much_as_care_within_three_percent(preset):
    config = resolve(CAREConfig, preset)
    ours, theirs = (sizes_of(config, variant) for variant in ("care", "stacked"))
    found, other = (sum(cost.multiply_adds(one, config.size).values()) for one in (ours, theirs))
    assert abs(other / found - 1) < 0.03
    for own, narrow in zip(ours.stages, theirs.stages, strict=True):
        assert narrow.depth == own.depth
        assert narrow.width <= own.width
        assert narrow.width % (narrow.head_width or 1) == 0


def test_stacked_at_equal_width_costs_more_because_all_channels_pass_every_filter():
    counts = {
        variant: CAREStudy(resolve(CAREConfig, "full"), Setup(variant)).num_parameters
        for variant in ("care", "stacked_wide", "softmax")
    }
    assert counts["care"] == counts["softmax"] == 217_632
    assert counts["stacked_wide"] == 255_520
    wide = sizes_of(resolve(CAREConfig, "paper"), "stacked_wide")
    with torch.device("meta"):
        made = CARE(wide)
    assert sum(one.numel() for one in made.parameters()) == pytest.approx(7.81e6, rel=1e-3)


def test_the_paper_table_is_three_working_groups_for_each_of_memory():
    for stages in PAPER.values():
        assert all(stage.width == 3 * stage.memory for stage in stages)
        assert stages[-1].ratios[1] * stages[-1].channels in (1024, 1536)


def test_growth_and_crossover_are_read_off_times():
    linear = {16: 4.0, 64: 16.0, 256: 64.0}
    softmax = {16: 1.0, 64: 16.0 / 2, 256: 64.0 * 2}
    assert cost.growth(linear) == pytest.approx(1.0)
    assert cost.growth(softmax) == pytest.approx(2.0)
    assert cost.crossover(linear, softmax) == pytest.approx(128.0)
    assert cost.crossover(softmax, {count: 2 * spent for count, spent in softmax.items()}) == 0
    assert cost.crossover(linear, {count: spent / 2 for count, spent in linear.items()}) == -1


def test_the_cost_of_attention_is_measured_for_both_kinds():
    for variant in ("care", "softmax"):
        measured = study_of(variant).measure({"cost": True})
        assert all(math.isfinite(value) for value in measured.values())
        assert {"tokens_64_ms", "tokens_256_ms", "exponent_s", "crossover_tokens_s"} <= set(
            measured
        )
    metered = study_of().measure({"latency": True})
    assert metered["latency_ms"] > 0
    assert metered["parameters_m"] == pytest.approx(study_of().num_parameters / 1e6)
    with pytest.raises(ConfigError, match="'cost'"):
        study_of().measure({"price": True})


@pytest.mark.parametrize("variant", CAREStudy.variants)
def test_the_inspector_is_given_rows_that_make_the_layers_output(variant):
    study, trace = study_of(variant, table="small", size=32), Trace()
    for _ in range(3):
        study.step()
    with torch.no_grad():
        attended = study.attend(1, trace)
    assert len(trace.layers) == 4  # two stages of two blocks
    assert [layer.query_shape for layer in trace.layers] == [(8, 8)] * 2 + [(4, 4)] * 2
    for layer in trace.layers:
        assert layer.kind == ("softmax" if variant == "softmax" else "linear")
        torch.testing.assert_close(layer.output(), layer.made, rtol=0, atol=1e-5)
    assert set(trace.maps) == {"stage 1", "stage 2", "stage 3"}
    with macs.measuring(study.module), torch.no_grad():
        plain = study.module(study.inputs(study.test.pictures[1:2]))[0]
        torch.testing.assert_close(attended.outputs, plain)
        name = trace.layers[0].name
        for changes in (Changes(layer=name, muted=(0,)), Changes(layer=name, hidden=(0, 9, 20))):
            changed = study.attend(1, Trace(changes)).outputs
            assert float((changed - plain).abs().max()) > 1e-6, changes


def test_the_inspector_leaves_running_means_and_mode_alone():
    study = study_of()
    study.step()
    before = {name: value.clone() for name, value in study.module.state_dict().items()}
    study.attend(0, Trace())
    study.probes()
    assert study.module.training
    assert all(
        torch.equal(value, before[name]) for name, value in study.module.state_dict().items()
    )


def test_a_click_draws_the_row_of_that_place():
    study = study_of(table="small", size=32)
    shown, first, *_ = study.inspect({"picture": 4, "y": 0.99, "x": 0.0})
    assert shown.values.shape == (32, 32)
    assert first.values.shape == (2, 8, 8)
    np.testing.assert_allclose(first.values.sum(axis=(1, 2)), 1, atol=1e-4)
    assert "(7, 0)" in first.note
    with pytest.raises(ConfigError, match="0 to 1"):
        study.inspect({"y": 3})


def test_groups_gamma_and_products_are_shown():
    study = study_of(table="small", size=32)
    study.step()
    probes = {probe.name: probe for probe in study.probes()}
    assert probes["Traffic of the groups"].values.shape == (4, 5)
    assert (probes["Traffic of the groups"].values > 0).all()
    gamma = probes["Gamma over steps"]
    assert gamma.values.shape == (4, 1)
    np.testing.assert_allclose(gamma.values, 0.1, atol=1e-7)
    assert probes["Keys times values of stage 2, block 2"].values.shape == (2, 8, 8)


def test_pictures_that_do_not_halve_are_refused():
    with pytest.raises(ConfigError, match="multiple of 8"):
        sizes_of(resolve(CAREConfig, "full", {"size": 36}), "care")


def test_textures_are_learned():
    study = study_of(size=32, examples=600, held=240, batch=32, steps=60)
    for _ in range(60):
        study.step()
    assert study.evaluate()["accuracy"] > 3 / 12  # three times chance
