"""The Axial Transformer: nothing leaks from the future, likelihoods sum to one, samplers agree."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.base.config import resolve
from core.nn.attention import Changes, Trace
from core.nn.attention_measures import rollout
from core.nn.seeded import seeded
from core.studies.vision.axial import network as networks
from core.studies.vision.axial.cost import HEADS, costs
from core.studies.vision.axial.layers import Attention, Block
from core.studies.vision.axial.network import AxialTransformer, Sizes
from core.studies.vision.axial.pictures import marginal_bits, pictures
from core.studies.vision.axial.sampling import draw, gumbel, influence
from core.studies.vision.axial.shown import two_hops
from core.studies.vision.axial.study import AxialConfig, AxialStudy, sizes_of
from core.study import Setup

GREY = Sizes(height=4, width=5, levels=6, features=8, heads=2, outer=2, inner=1)
DIGITS = replace(GREY, height=8, width=8, levels=17, outer=4, inner=2)
COLOR = replace(GREY, height=3, width=4, channels=3, exterior=2)
KINDS = ("axial", "full", "row_only")


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are slower on two threads, much slower where others compute too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(sizes, seed=0, **changes):
    """Return a network in float64 whose weights are all far from zero."""
    with seeded(seed):
        made = AxialTransformer(replace(sizes, **changes)).double()
        for parameter in made.parameters():
            parameter.data = torch.randn(parameter.shape, dtype=torch.float64) * 0.5
    return made


def picture(sizes, count=1, seed=1):
    rng = torch.Generator().manual_seed(seed)
    shape = (count, sizes.height, sizes.width, sizes.channels)
    return torch.randint(sizes.levels, shape, generator=rng)


def all_logits(made, x):
    """Return [B, C * H * W, levels] in the order of the values."""
    channels = range(x.shape[-1])
    slices = [made(x, torch.full((len(x),), channel)) for channel in channels]
    return torch.cat([one.flatten(1, 2) for one in slices], dim=1)


def places(sizes):
    """Return every (channel, row, column) in order."""
    return itertools.product(*map(range, (sizes.channels, sizes.height, sizes.width)))


def reached(made, sizes, place):
    """Return which values [C * H * W] have a gradient to the logits at a place."""
    return influence(made, picture(sizes), [place]).flatten() != 0


@pytest.mark.parametrize("kind", ["axial", "full"])
@pytest.mark.parametrize("sizes", [GREY, DIGITS, COLOR], ids=["grey", "digits", "color"])
def test_logits_depend_on_every_earlier_value_and_on_no_other(sizes, kind):
    where = list(places(sizes))
    found = influence(network(sizes, kind=kind), picture(sizes), where).flatten(1) != 0
    is_earlier = torch.ones(len(where), len(where), dtype=torch.bool).tril(-1)
    assert torch.equal(found, is_earlier)  # [logits, value]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [GREY, COLOR], ids=["grey", "color"])
def test_changing_a_value_changes_no_logits_up_to_it(sizes, kind):
    made, x = network(sizes, kind=kind), picture(sizes)
    where = list(places(sizes))
    changed = x.repeat(len(where), 1, 1, 1)
    for at, (channel, r, c) in enumerate(where):
        changed[at, r, c, channel] = (x[0, r, c, channel] + 1) % sizes.levels
    with torch.no_grad():
        difference = (all_logits(made, changed) - all_logits(made, x)).abs().amax(dim=-1)
    is_later = torch.ones(len(where), len(where), dtype=torch.bool).triu(1)  # [value, logits]
    assert difference[~is_later].max() < 1e-12  # sums of batches differ in their last digits
    if kind != "row_only":
        assert difference[is_later].min() > 1e-12
        assert difference[is_later].median() > 1e-3


def test_rows_alone_see_one_row_above():
    made = network(GREY, kind="row_only")
    is_reached = reached(made, GREY, (0, 3, 2)).reshape(4, 5)
    assert is_reached[2].all()
    assert is_reached[3, :2].all()
    assert not is_reached[:2].any()


def test_without_the_shift_down_the_audit_finds_a_leak(monkeypatch):
    monkeypatch.setattr(networks, "shift_down", lambda u: u)
    assert reached(network(GREY), GREY, (0, 1, 2))[5 + 2 :].any()


def test_a_column_in_the_inner_stack_leaks():
    made = network(GREY)
    made.inner[0].attention.axis = "column"
    made.inner[0].attention.is_causal = False
    assert reached(made, GREY, (0, 1, 2))[5 + 2 :].any()


def test_a_masked_row_in_the_outer_stack_would_lose_what_stands_above_to_the_right():
    made = network(GREY)
    made.outer[0].attention.is_causal = True
    is_reached = reached(made, GREY, (0, 2, 1)).reshape(4, 5)
    assert not is_reached[:2, 2:].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sizes",
    [
        replace(GREY, height=2, width=2, levels=3),
        replace(COLOR, height=2, width=1, channels=3, levels=2),
    ],
    ids=["grey", "color"],
)
def test_the_probabilities_of_all_pictures_sum_to_one(sizes, kind):
    made = network(sizes, kind=kind)
    count = sizes.height * sizes.width * sizes.channels
    every = torch.tensor(list(itertools.product(range(sizes.levels), repeat=count)))  # in order
    x = every.reshape(-1, sizes.channels, sizes.height, sizes.width).permute(0, 2, 3, 1)
    logs = torch.log_softmax(all_logits(made, x.contiguous()), dim=-1)
    total = logs.gather(-1, every[..., None])[..., 0].sum(dim=1).exp().sum()
    assert float(total.detach()) == pytest.approx(1.0, abs=1e-12)


def test_pictures_are_drawn_as_often_as_they_are_likely():
    sizes = replace(GREY, height=2, width=2, levels=2)
    made = network(sizes)
    every = torch.tensor(list(itertools.product(range(2), repeat=4)))
    logs = torch.log_softmax(all_logits(made, every.reshape(-1, 2, 2, 1)), dim=-1)
    likely = logs.gather(-1, every[..., None])[..., 0].sum(dim=1).exp()
    noise = gumbel((4000, 2, 2, 1, 2), torch.Generator().manual_seed(0))
    drawn = draw(made, noise).x.flatten(1)
    counts = torch.bincount((drawn * torch.tensor([8, 4, 2, 1])).sum(dim=1), minlength=16)
    deviation = (4000 * likely * (1 - likely)).sqrt().clamp_min(1.0)
    assert ((counts - 4000 * likely).abs() < 5 * deviation).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [0, 17])
def test_the_quick_sampler_draws_what_the_slow_one_draws(kind, keep):
    made, known = network(COLOR, kind=kind), picture(COLOR, 5)
    shape = (5, COLOR.height, COLOR.width, COLOR.channels, COLOR.levels)
    noise = gumbel(shape, torch.Generator().manual_seed(2))
    quick, slow = (draw(made, noise, known, keep, is_quick=flag) for flag in (True, False))
    assert torch.equal(quick.x, slow.x)
    torch.testing.assert_close(quick.entropy, slow.entropy)
    ordered = quick.x.permute(0, 3, 1, 2).flatten(1)
    assert torch.equal(ordered[:, :keep], known.permute(0, 3, 1, 2).flatten(1)[:, :keep])
    assert ordered[:, keep:].unique().numel() > 1


def test_the_quick_sampler_repeats_the_inner_stack_alone():
    made, calls = network(COLOR), {"exterior": 0, "outer": 0, "inner": 0}
    for name in calls:

        def count(*_, name=name):
            calls[name] += 1

        getattr(made, name)[0].register_forward_hook(count)
    noise = gumbel((1, 3, 4, 3, COLOR.levels), torch.Generator().manual_seed(0))
    draw(made, noise)
    assert calls == {"exterior": 3, "outer": 3 * 3, "inner": 3 * 3 * 4}


def test_an_untrained_network_is_uniform():
    study = prepared("axial")
    assert study.step()["loss"] == pytest.approx(math.log2(17), abs=1e-3)


def test_the_inspector_is_given_what_two_hops_reach_and_leaves_it_out_of_rollout():
    study, trace = prepared("axial"), Trace()
    study.attend(3, trace)
    names = [layer.name for layer in trace.layers]
    assert names == ["outer 1, row", "outer 2, column", "inner 1, row", "outer 1 and then outer 2"]
    row, column, inner, both = trace.layers
    rows = torch.tensor([27])
    expected = two_hops(row, column, 27)
    torch.testing.assert_close(both.weights(rows).mean(dim=0)[0], expected)
    torch.testing.assert_close(rollout(trace.layers), rollout([row, column, inner]))


@pytest.mark.parametrize("axis", ["row", "column", "all"])
def test_attention_along_an_axis_is_attention_over_its_lines(axis):
    with seeded(0):
        block = Attention(6, 2, axis, is_causal=False).double()
    u = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    lines = {
        "row": u.reshape(6, 4, 6),
        "column": u.transpose(1, 2).reshape(8, 3, 6),
        "all": u.reshape(2, 12, 6),
    }[axis]
    parts = [part(lines).reshape(*lines.shape[:2], 2, 3) for part in _maps(block)]
    weights = torch.softmax(torch.einsum("nthd,nshd->nhts", *parts[:2]) / 3**0.5, dim=-1)
    found = block.out(torch.einsum("nhts,nshd->nthd", weights, parts[2]).reshape(lines.shape))
    shapes = {"row": (2, 3, 4, 6), "column": (2, 4, 3, 6), "all": (2, 3, 4, 6)}
    expected = found.reshape(shapes[axis])
    expected = expected.transpose(1, 2) if axis == "column" else expected
    torch.testing.assert_close(block(u), expected)


def _maps(attention):
    return attention.query, attention.key, attention.value


def test_blocks_start_close_to_the_identity():
    with seeded(0):
        block = Block(16, 2, "row", is_causal=True, factor=1, dropout=0.0)
    u = torch.randn(2, 3, 4, 16)
    torch.testing.assert_close(block(u), u, rtol=0, atol=1e-3)
    assert 0 < float(block.attention.out.weight.detach().std()) < 1e-5


@pytest.mark.parametrize("preset", ["quick", "full", "paper"])
def test_the_baselines_have_as_many_parameters(preset):
    config = resolve(AxialConfig, preset)
    counts = set()
    for variant in AxialStudy.variants:
        with torch.device("meta"):
            made = AxialTransformer(sizes_of(config, variant))
        counts.add(sum(one.numel() for one in made.parameters()))
    assert len(counts) == 1
    if preset == "full":
        assert counts == {154_641}
    if preset == "paper":  # the paper states no number: 24 blocks of 6 D^2 + 10 D, and the rest
        width = 1536
        blocks = 24 * (6 * width**2 + 10 * width)
        inputs = (9 * 6 + 1) * width + 2 * (32 + 32) * width + 256 * width
        assert counts == {blocks + inputs + 2 * width + 256 * width + 256}


def test_the_marginal_model_counts_the_values_of_each_pixel():
    learned = np.zeros((2, 1, 2, 1), dtype=np.int64)
    learned[:, 0, 1, 0] = (0, 1)
    held = np.zeros((1, 1, 2, 1), dtype=np.int64)
    # of 2 levels: 3 of 4 and 2 of 4 counts, one of them added
    expected = -(math.log2(3 / 4) + math.log2(2 / 4)) / 2
    assert marginal_bits(learned, held, 2) == pytest.approx(expected)


def test_digits_keep_their_seventeen_levels_and_none_is_in_both_parts():
    learned, held = pictures("digits", 8, 17, seed=0, most=5000)
    assert len(held) == 360
    assert len(learned) == 1797 - 360
    assert {int(learned.min()), int(learned.max())} == {0, 16}
    seen = {one.tobytes() for one in learned}
    assert sum(one.tobytes() in seen for one in held) <= 1  # two scans may be alike


def test_squares_of_photographs_use_their_levels():
    learned, held = pictures("crops", 16, 16, seed=0, most=90)
    assert learned.shape == (90, 16, 16, 3)
    assert held.shape[1:] == (16, 16, 3)
    assert learned.min() >= 0
    assert {int(learned.max()), int(held.max())} <= set(range(16))
    assert learned.max() > 10


def prepared(variant, **settings):
    study = AxialStudy(resolve(AxialConfig, "quick", settings), Setup(variant))
    study.prepare()
    return study


def test_pictures_are_measured_with_the_averaged_weights():
    study = prepared("axial")
    for _ in range(4):
        study.step()
    before = study.evaluate()["bits"]
    with torch.no_grad():
        for mean in study.mean.parameters():
            mean.zero_()
    assert study.evaluate()["bits"] == pytest.approx(math.log2(17), abs=1e-5)
    assert before < math.log2(17)
    assert study.num_parameters == sum(one.numel() for one in study.module.parameters())


def test_the_mean_of_the_weights_follows_at_the_rate_that_was_set():
    study = prepared("axial", average=0.5)
    before = [one.detach().clone() for one in study.mean.parameters()]
    for _ in range(10):
        study.step()
        parts = zip(before, study.module.parameters(), strict=True)
        decay = min(0.5, (1 + study.steps_done) / (10 + study.steps_done))
        before = [decay * mean + (1 - decay) * own.detach() for mean, own in parts]
    for expected, mean in zip(before, study.mean.parameters(), strict=True):
        torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sizes", [GREY, COLOR], ids=["grey", "color"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_is_traced_and_a_trace_changes_nothing(kind, sizes):
    made, x, trace = network(sizes, kind=kind).float(), picture(sizes), Trace()
    channel = torch.tensor([sizes.channels - 1])
    torch.testing.assert_close(made(x, channel, trace=trace), made(x, channel))
    assert len(trace.layers) == sizes.outer + sizes.inner + (sizes.channels > 1) * sizes.exterior
    for layer in trace.layers:
        assert layer.grid == (sizes.height, sizes.width)
        torch.testing.assert_close(layer.output(), layer.made, rtol=1e-4, atol=1e-4)
        assert float(layer.weights().sum(dim=-1).sub(1).abs().max()) < 1e-5


def test_a_muted_head_and_a_hidden_pixel_reach_the_logits():
    made, x = network(GREY).float(), picture(GREY)
    channel = torch.tensor([0])
    plain = made(x, channel)
    for changes in (
        Changes("outer 2, column", muted=(0,)),
        Changes("inner 1, row", hidden=(6,)),
        Changes("outer 1, row", beta=3.0),
    ):
        changed = made(x, channel, trace=Trace(changes))
        assert float((changed - plain).detach().abs().max()) > 1e-3
    hidden = made(x, channel, trace=Trace(Changes("inner 1, row", hidden=(6,))))
    torch.testing.assert_close(hidden[0, 2:], plain[0, 2:])  # pixel 6 is in the second row


def test_two_hops_are_a_column_step_after_a_row_step():
    made, x, trace = network(GREY).float(), picture(GREY), Trace()
    made(x, torch.tensor([0]), trace=trace)
    layers = {layer.name: layer for layer in trace.layers}
    row, column = layers["outer 1, row"], layers["outer 2, column"]
    reach = two_hops(row, column, 2 * 5 + 3, head=1).unflatten(0, (4, 5))
    down, across = (layer.weights()[1].unflatten(1, (4, 5)) for layer in (column, row))
    for r, c in itertools.product(range(4), range(5)):
        expected = down[2 * 5 + 3, r, 3] * across[r * 5 + 3, r, c]
        assert float(reach[r, c]) == pytest.approx(float(expected), abs=1e-6)
    assert float(reach.sum()) == pytest.approx(1.0, abs=1e-5)
    assert (reach[:3] > 0).all()
    assert not reach[3].any()


def test_training_beats_the_marginal_model_of_each_pixel():
    study = prepared("axial", steps=60, pictures=1500, features=32, warm_up=10)
    for _ in range(60):
        study.step()
    measured = study.evaluate()
    assert measured["bits"] < measured["bits_marginal"] < measured["bits_uniform"]


def test_colors_are_learned_with_their_exterior():
    study = prepared("axial", source="crops", size=8, levels=4, exterior=2, batch=4)
    for _ in range(3):
        assert math.isfinite(study.step()["loss"])
    names = {probe.name for probe in study.probes()}
    assert {"Drawn", "Audit of the mask", "Filling row by row", "Where a pixel looks"} <= names
    audit, maps = study.inspect({"y": 2, "x": 3, "channel": 1, "head": 1})
    assert maps.values.shape == (3, 8, 8)
    flat = audit.values.reshape(-1)
    at = 64 + 2 * 8 + 3
    assert not flat[at:].any()
    assert flat[:at].any()


def test_maps_along_axes_grow_with_the_root_of_the_pixels():
    axial, full = costs("axial", (4, 8)), costs("full", (4, 8))
    assert axial["map_bytes_8"] == 2 * HEADS * 64 * 8 * 4
    assert full["map_bytes_8"] == 2 * HEADS * 64 * 64 * 4
    assert axial["map_exponent"] == pytest.approx(1.5)
    assert full["map_exponent"] == pytest.approx(2.0)
