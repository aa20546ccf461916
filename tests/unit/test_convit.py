"""ConViT: gates the right way round, a start that is a convolution, a class token that comes late."""

import math

import numpy as np
import pytest
import torch

from core.base.config import resolve
from core.base.errors import ConfigError
from core.nn.attention import Changes, Trace
from core.nn.seeded import paths_dropped, seeded
from core.studies.vision.convit import attention as attentions
from core.studies.vision.convit.attention import (
    FIRST_GATE,
    GatedAttention,
    PlainAttention,
    convolution_offsets,
    non_locality,
    offsets,
)
from core.studies.vision.convit.config import ConViTConfig
from core.studies.vision.convit.network import ConViT, Sizes
from core.studies.vision.convit.study import ConViTStudy, sizes_of
from core.study import Setup


def gated(width=12, heads=4, seed=0, strength=1.0):
    with seeded(seed):
        made = GatedAttention(width, heads)
        made.start_local(strength)
    return made


def tokens(count, width=12, seed=1):
    return torch.randn(2, count, width, generator=torch.Generator().manual_seed(seed))


def study_of(variant="convit", **settings):
    study = ConViTStudy(resolve(ConViTConfig, "quick", settings), Setup(variant))
    study.prepare()
    return study


def test_offsets_go_from_the_query_to_the_key_row_by_row():
    found = offsets((2, 3))
    assert found.shape == (6, 6, 3)
    assert found[0, 5].tolist() == [
        2,
        1,
        5,
    ]  # from (y 0, x 0) to (y 1, x 2): dx, dy, squared length
    assert found[5, 0].tolist() == [-2, -1, 5]


def test_a_head_starts_as_a_bump_around_its_offset():
    made, grid = gated(width=9, heads=9, strength=1.5), (5, 5)
    places = torch.softmax(made.position_logits(grid), dim=-1)  # [9, N, N]
    middle = 12
    for head, (dx, dy) in enumerate(convolution_offsets(9)):
        assert divmod(int(places[head, middle].argmax()), 5) == (2 + dy, 2 + dx)
        delta = offsets(grid)[middle][:, :2] - torch.tensor([dx, dy])
        expected = torch.softmax(-1.5 * delta.square().sum(dim=-1), dim=0)
        torch.testing.assert_close(places[head, middle], expected, rtol=0, atol=1e-5)


def test_an_even_square_of_heads_starts_half_a_patch_off():
    assert convolution_offsets(4) == [(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)]
    places = torch.softmax(gated().position_logits((4, 4)), dim=-1)[0, 5]  # from (1, 1)
    best = places.topk(4)
    assert sorted(best.indices.tolist()) == [0, 1, 4, 5]  # four patches share the bump
    torch.testing.assert_close(best.values, best.values[:1].expand(4))


def test_heads_beyond_the_square_have_no_place_to_start_at():
    with seeded(0):
        made = GatedAttention(12, 6)
        before = made.position.weight.detach().clone()
        made.start_local(2.0)
    assert len(convolution_offsets(6)) == 4
    torch.testing.assert_close(made.position.weight[4:], 2 * before[4:])


def test_a_gate_of_one_is_position_alone_and_of_zero_content_alone():
    made, x, grid = gated(), tokens(16), (4, 4)
    maps = made.maps(x, grid)
    for gate, expected in ((1.0, maps.places.expand(2, -1, -1, -1)), (0.0, maps.content)):
        made.forced = gate
        torch.testing.assert_close(made.maps(x, grid).mix, expected)
    made.forced = None
    assert (
        float(made.share[0].detach()) == pytest.approx(FIRST_GATE) == pytest.approx(0.731, abs=1e-3)
    )


def test_both_softmaxes_are_taken_before_mixing_and_rows_sum_to_one():
    made, x = gated(), 3 * tokens(16)
    maps = made.maps(x, (4, 4))
    mixed = (1 - FIRST_GATE) * maps.content + FIRST_GATE * maps.places
    torch.testing.assert_close(maps.mix, mixed, rtol=0, atol=1e-6)
    torch.testing.assert_close(maps.mix.sum(dim=-1), torch.ones(2, 4, 16), rtol=0, atol=1e-5)


def test_the_output_is_the_mixed_weights_times_values():
    made, x = gated(), tokens(16)
    _, _, v = made.projected(x)
    expected = made.out((made.maps(x, (4, 4)).mix @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(made(x, (4, 4)), expected)
    plain = PlainAttention(12, 4)
    _, _, v = plain.projected(x)
    expected = plain.out((plain.maps(x, (4, 4)).mix @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(plain(x, (4, 4)), expected, rtol=0, atol=1e-5)


def test_queries_in_chunks_find_the_same(monkeypatch):
    made, x = gated(), tokens(16)
    whole = made(x, (4, 4))
    monkeypatch.setattr(attentions, "CHUNK", 5)
    torch.testing.assert_close(made(x, (4, 4)), whole)


def test_grids_of_as_many_tokens_are_told_apart():
    made, x = gated(), tokens(16)
    square, wide = made(x, (4, 4)), made(x, (2, 8))
    assert float((square - wide).detach().abs().max()) > 1e-3
    torch.testing.assert_close(
        made(x, (4, 4)), square
    )  # what was kept for one is not used for another


def test_a_class_token_among_gated_queries_is_refused():
    with pytest.raises(AssertionError, match="17 tokens"):
        gated()(tokens(17), (4, 4))


def test_the_convolutional_start_outlives_the_drawing_of_all_weights():
    made = study_of(width=64, heads=4).module
    for one in made.gated:
        assert torch.equal(one.value.weight, torch.eye(64))
        assert one.position.weight[3].tolist() == [1, 1, -1]
        assert one.gates.tolist() == [1] * 4
        assert float(one.query_key.weight.detach().std()) == pytest.approx(64**-0.5, rel=0.1)
    random = study_of("random_positions").module
    assert not torch.equal(random.gated[0].value.weight, torch.eye(16))
    assert float(random.gated[0].position.weight[:, 2].detach().max()) > -1


def test_the_class_token_joins_where_the_first_plain_block_is():
    seen = {}
    for variant in ConViTStudy.variants:
        study, counts = study_of(variant), []
        for block in study.module.blocks:
            block.register_forward_hook(
                lambda _m, inputs, _o, c=counts: c.append(inputs[0].shape[1])
            )
        study.module(torch.zeros(1, 1, 8, 8))
        seen[variant] = counts
    assert seen["convit"] == seen["random_positions"] == seen["late_token"] == [16, 16, 17]
    assert seen["plain"] == [17, 17, 17]


def test_the_baselines_lack_gates_and_positions_alone():
    counts = {name: study_of(name).num_parameters for name in ConViTStudy.variants}
    assert counts["convit"] == counts["random_positions"]
    assert counts["plain"] == counts["late_token"]
    assert counts["convit"] - counts["plain"] == 2 * (
        4 + 4 * 4
    )  # h gates, 3 h weights and h biases


@pytest.mark.parametrize(
    ("heads", "millions"), [(4, 5.71), (9, 27.8), (16, 86.5)], ids=["Ti", "S", "B"]
)
def test_the_papers_networks_have_the_published_number_of_parameters(heads, millions):
    settings = {"heads": heads, "width": 48 * heads}
    study = ConViTStudy(resolve(ConViTConfig, "paper", settings), Setup("convit", device="meta"))
    digits = 2 if heads == 4 else 1
    assert round(study.num_parameters / 1e6, digits) == millions


def test_non_locality_is_the_mean_distance_looked_at():
    grid = (3, 3)
    itself = torch.eye(9).expand(1, 2, 9, 9)
    assert non_locality(itself, grid).tolist() == [0, 0]
    right = torch.roll(torch.eye(9), 1, dims=1)[None, None]
    right[0, 0, [2, 5, 8]] = torch.eye(9)[[2, 5, 8]]  # the last column looks at itself
    assert float(non_locality(right, grid)) == pytest.approx(6 / 9)
    with_token = torch.nn.functional.pad(right, (1, 0, 1, 0))
    assert float(non_locality(with_token, grid)) == pytest.approx(6 / 9)


def test_every_gate_has_a_gradient_and_does_not_decay():
    study = study_of(rate=1e-2)
    for _ in range(3):
        study.step()
    for one in study.module.gated:
        assert (one.gates.grad != 0).all()
        assert (one.gates.detach() != 1).all()
    decayed, kept = study.module.decayed()
    assert {id(one.gates) for one in study.module.gated} <= {id(one) for one in kept}
    assert sum(map(torch.numel, decayed + kept)) == study.num_parameters


def test_branches_are_dropped_whole_and_keep_their_mean():
    branch = torch.ones(4000, 2, 3)
    found = paths_dropped(branch, 0.25, torch.Generator().manual_seed(0))
    assert set(found.flatten(1).amin(dim=1).tolist()) == {0.0, float(np.float32(1 / 0.75))}
    assert torch.equal(found.flatten(1).amin(dim=1), found.flatten(1).amax(dim=1))
    assert float(found.mean()) == pytest.approx(1, abs=0.04)  # five deviations of 4000 draws
    assert paths_dropped(branch, 0.25, None) is branch


def test_history_starts_at_the_first_gate_and_is_measured_over_all_blocks():
    study = study_of()
    for _ in range(3):
        study.step()
    steps, gates, distances = study.recorded()
    assert steps.tolist() == [0, 1, 2]
    assert gates.shape == (3, 2, 4)
    assert distances.shape == (3, 3, 4)
    assert gates[0].flatten().tolist() == pytest.approx([FIRST_GATE] * 8)
    measured = study.evaluate()
    assert measured["left_first_block"] == measured["left_last_block"] == 4  # not yet


def test_a_block_has_left_its_start_at_the_first_step_that_says_so():
    study = study_of()
    study.step()
    study.history = [
        [step, *[FIRST_GATE] * 4, *[gate] * 4, *[0.0] * 12]
        for step, gate in ((0, FIRST_GATE), (5, 0.725), (10, 0.72), (15, 0.73))
    ]
    measured = study.evaluate()
    assert measured["left_last_block"] == 10
    assert measured["last_block_leads"] == study.steps_done + 1 - 10


def test_forced_gates_change_the_measure_and_are_let_go_again():
    study = study_of(forced_gate=1.0)
    for one in study.module.gated:
        one.value.weight.data.mul_(4)
    measured = study.evaluate()
    assert measured["accuracy_forced"] == measured["accuracy_position"]
    assert all(one.forced is None for one in study.module.gated)
    logits = study.accuracy(study.test)["loss"], study.accuracy(study.test, 0.0)["loss"]
    assert logits[0] != pytest.approx(logits[1], abs=1e-6)


def test_the_inspector_is_given_content_position_and_gate_and_what_it_changes_reaches_the_output():
    study, trace = study_of(), Trace()
    with torch.no_grad():
        attended = study.attend(3, trace)
        plain = study.module(study.inputs(study.test.pictures[3:4]))[0]
    torch.testing.assert_close(attended.outputs, plain)
    assert [layer.kind for layer in trace.layers] == ["gated", "gated", "softmax"]
    assert [layer.prefix for layer in trace.layers] == [0, 0, 1]
    assert trace.layers[0].query_shape == trace.layers[2].query_shape == (4, 4)
    for layer in trace.layers:
        torch.testing.assert_close(layer.output(), layer.made, rtol=0, atol=1e-5)
    maps = study.module.maps(study.inputs(study.test.pictures[3:4]))
    rows = torch.arange(16)
    torch.testing.assert_close(trace.layers[1].weights(rows), maps[1].mix[0])
    torch.testing.assert_close(trace.layers[1].places(rows), maps[1].places)
    for changes in (
        Changes(layer="block 1", muted=(0,)),
        Changes(gate=0.0),
        Changes(layer="block 3", hidden=(0, 5)),
    ):
        with torch.no_grad():
            changed = study.attend(3, Trace(changes)).outputs
        assert float((changed - plain).abs().max()) > 1e-4, changes


def test_a_forced_gate_in_the_inspector_is_the_studys_own_forced_gate():
    study = study_of()
    with torch.no_grad():
        changed = study.attend(0, Trace(Changes(gate=0.0))).outputs
        with study._forced(0.0):
            own = study.module(study.inputs(study.test.pictures[:1]))[0]
    torch.testing.assert_close(changed, own, rtol=0, atol=1e-5)


def test_a_click_shows_one_query_by_content_by_position_and_mixed():
    study = study_of()
    shown, maps = study.inspect({"picture": 2, "block": 0, "y": 1, "x": 3})
    assert shown.values.shape == (8, 8)
    assert maps.values.shape == (3, 4, 4, 4)
    np.testing.assert_allclose(maps.values.sum(axis=(2, 3)), 1, atol=1e-5)
    (_, last) = study.inspect({"block": 2})
    assert last.ticks["part"] == ("content",)
    assert "class token" in last.note
    with pytest.raises(ConfigError, match="no patch"):
        study.inspect({"y": 4, "x": 0})


def test_arrows_point_where_positions_look():
    probes = {probe.name: probe for probe in study_of().probes()}
    table = probes["Offsets that positions like best"].values
    np.testing.assert_allclose(
        table, convolution_offsets(4) * 2
    )  # half a patch: four share the most
    arrow = probes["Where positions point"].values[0, 1]  # up and to the right
    assert arrow[16 - 8, 16 + 8] > arrow[16 + 8, 16 - 8]
    assert probes["Gates"].values.shape == (2, 4)
    np.testing.assert_allclose(probes["Gates"].values, FIRST_GATE, atol=1e-6)
    assert "Where positions point" not in {probe.name for probe in study_of("plain").probes()}


@pytest.mark.parametrize("settings", [{"gated": 3}, {"patch": 3}, {"heads": 3}])
def test_sizes_that_do_not_fit_are_refused(settings):
    with pytest.raises(ConfigError):
        sizes_of(resolve(ConViTConfig, "quick", settings), "convit")


def test_parts_of_photographs_are_read_in_patches_of_four():
    study = study_of(source="photographs", size=32, patch=4, channels=3)
    assert math.isfinite(study.step()["loss"])
    assert study.module.grid == (8, 8)
    assert study.probes()


def test_longer_trainings_are_as_many_times_as_long_and_end_at_a_rate_of_zero():
    study = study_of(times=3)
    assert study.total_steps == 120
    study.steps_done = 119
    assert 0 < study._schedule() < 1e-3


def test_digits_are_learned():
    study = study_of(width=32, steps=100, rate=3e-3)
    losses = [study.step()["loss"] for _ in range(100)]
    # from above chance, log 10, to below it; batches scatter by 0.1, means of ten by 0.03
    assert np.mean(losses[-10:]) < math.log(10) - 0.1


def test_a_network_without_a_gated_block_has_no_gates():
    sizes = Sizes(8, 2, 1, 10, 8, 2, depth=2, gated=0, late=0)
    assert ConViT(sizes).gates().shape == (0, 2)
