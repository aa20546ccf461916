"""Tri-plane processing: the planes' orientation, fits that leave each other alone, readers without positions."""

import math

import pytest
import torch

from core.base.config import resolve
from core.base.errors import ConfigError, RunError
from core.nn.attention import Trace
from core.nn.seeded import seeded
from core.studies.fields.triplane import drawing
from core.studies.fields.triplane.board import Board
from core.studies.fields.triplane.config import TriplaneConfig
from core.studies.fields.triplane.fields import (
    Codes,
    Layers,
    TriPlanes,
    Weights,
    encoded,
    num_encoded,
    num_weights,
    sampled,
)
from core.studies.fields.triplane.fitting import Fit, field_of, fitted, objects_of, volume
from core.studies.fields.triplane.readers import ChannelTransformer, PartDecoder, normalised
from core.studies.fields.triplane.reading import (
    Reading,
    one_cycle,
    reader_of,
    shuffled,
    split_of,
    windowed,
)
from core.studies.fields.triplane.shapes import PARTS, Digits, Solids, surfaces
from core.studies.fields.triplane.study import TriplaneStudy
from core.study import Renderable, Setup

QUICK = resolve(TriplaneConfig, "quick")
TINY = Layers(hidden=8, layers=2, frequencies=2)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def points_in(count, objects=1):
    return 2 * random(objects, count, 3, seed=5) - 1


def prepared(variant, **settings):
    study = TriplaneStudy(resolve(TriplaneConfig, "quick", settings), Setup(variant))
    study.prepare()
    return study


def numbers(module):
    return sum(one.numel() for one in module.parameters())


def test_every_plane_is_read_at_its_two_coordinates():
    planes = torch.zeros(1, 3, 1, 5, 5)
    line = torch.linspace(-1, 1, 5)
    planes[0, 0, 0] = line[None, :]  # XY: along columns is x
    planes[0, 1, 0] = 10 * line[:, None]  # XZ: along rows is z
    planes[0, 2, 0] = 100 * line[None, :]  # YZ: along columns is y
    points = points_in(20)
    x, y, z = points[0].unbind(dim=-1)
    torch.testing.assert_close(sampled(planes, points)[0, :, 0], x + 10 * z + 100 * y)


def test_an_object_that_is_turned_by_90_degrees_permutes_its_planes():
    planes = random(1, 3, 4, 6, 6)
    xy, xz, yz = planes[0]
    points = points_in(50)
    x, y, z = points.unbind(dim=-1)
    before = torch.stack((y, -x, z), dim=-1)  # where a point was before the turn about z
    # XY'(x, y) = XY(y, -x); XZ'(x, z) = YZ(-x, z); YZ'(y, z) = XZ(y, z)
    turned = torch.stack((xy.transpose(-1, -2).flip(-1), yz.flip(-1), xz))
    torch.testing.assert_close(sampled(turned[None], points), sampled(planes, before))


def test_planes_are_added_and_an_empty_one_adds_nothing():
    planes, points = random(2, 3, 4, 6, 6), points_in(9, 2)
    parts = [torch.zeros_like(planes) for _ in range(3)]
    for at, part in enumerate(parts):
        part[:, at] = planes[:, at]
    torch.testing.assert_close(
        sum(sampled(part, points) for part in parts), sampled(planes, points)
    )


def test_the_encoding_has_63_numbers_at_ten_frequencies():
    assert encoded(points_in(4), 10).shape[-1] == num_encoded(10) == 63
    torch.testing.assert_close(
        encoded(points_in(4), 1)[..., 3:6], torch.sin(math.pi * points_in(4))
    )


def test_objects_of_a_batch_do_not_disturb_each_other():
    with seeded(0):
        field = TriPlanes(3, 6, 2, TINY)
    points = points_in(7, 3)
    together = field(points)
    for slot in range(3):
        alone = field(points[[slot]], torch.tensor([slot]))
        torch.testing.assert_close(alone[0], together[slot])
    (gradient,) = torch.autograd.grad(together[0].sum(), field.planes)
    assert gradient[0].abs().max() > 0
    assert gradient[1:].abs().max() == 0


def test_starts_are_their_own_or_shared_as_the_variant_says():
    with seeded(0):
        own, shared = Weights(3, TINY), Weights(3, TINY, is_shared_start=True)
        planes = TriPlanes(3, 6, 2, TINY)
    assert not torch.equal(own.network.flat()[0], own.network.flat()[1])
    assert torch.equal(shared.network.flat()[0], shared.network.flat()[1])
    assert not torch.equal(planes.network.flat()[0], planes.network.flat()[1])
    assert 5e-4 < planes.planes.std() < 2e-3


def test_weights_in_a_row_are_all_of_them():
    field = Weights(2, TINY)
    assert field.network.flat().shape == (2, num_weights(num_encoded(2), TINY))
    assert field.network.flat().numel() == numbers(field)


def test_codes_share_one_network():
    field = Codes(5, 4, TINY)
    points = points_in(6, 2)
    found = field(points, torch.tensor([3, 1]))
    torch.testing.assert_close(found[1], field(points[[1]], torch.tensor([1]))[0])
    assert numbers(field) == 5 * 4 + num_weights(4 + num_encoded(2), TINY)


@pytest.mark.parametrize("kind", [Digits, Solids])
def test_points_of_a_surface_lie_between_inside_and_outside(kind):
    shapes = kind(6, 0)
    rows = torch.arange(6)
    found = surfaces(shapes, 64, 0)
    near = found[:, :, None] + 0.01 * torch.randn(
        6, 64, 40, 3, generator=torch.Generator().manual_seed(0)
    )
    inside = shapes.occupied(rows, near.flatten(1, 2)).view(6, 64, 40)
    is_edge = inside.any(dim=2) & ~inside.all(dim=2)
    assert is_edge.double().mean() > 0.97  # but for corners that 40 steps of a hundredth miss


def test_a_digit_stands_upright_and_is_thick():
    shapes = Digits(4, 0)
    shapes.pictures[:], shapes.angles[:], shapes.scales[:] = 0, 0, 1
    shapes.pictures[:, 0, :2] = 1  # ink in the top rows alone
    places = torch.tensor([[0.0, 0.7, 0.0], [0.0, -0.7, 0.0], [0.0, 0.7, 0.25], [0.0, 0.7, 0.4]])
    inside = shapes.occupied(torch.tensor([0]), places[None])
    assert inside.tolist() == [[True, False, True, False]]


def test_a_solid_knows_its_parts():
    shapes = Solids(10, 0)
    row = int((shapes.labels == shapes.classes.index("lamp")).nonzero()[0])
    shapes.angles[row] = 0
    heights = shapes.centers[row, :3, 1]
    points = torch.stack((0 * heights, heights, 0 * heights), dim=-1)[None]
    names = [PARTS[part] for part in shapes.part_of(torch.tensor([row]), points)[0]]
    assert names == ["base", "pole", "shade"]
    assert shapes.occupied(torch.tensor([row]), points).all()


def test_no_object_stands_on_both_sides_of_the_split():
    train, test = split_of(30, 1 / 3, 4)
    assert len(test) == 10
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(30))
    shapes = Digits(200, 0)
    assert len(torch.unique(shapes.originals.flatten(1), dim=0)) == 200


def test_fitting_brings_field_and_object_together_and_the_planes_carry_it():
    settings = {"objects": 12, "fields.steps": 60, "fields.points": 256}
    config = resolve(TriplaneConfig, "quick", settings)
    objects = objects_of(config, 0)
    with seeded(0):
        field = field_of("planes", 12, config.fields)
    fit = Fit(field, objects, torch.arange(12), config.fields, 0)
    first = float(fit.iou().mean())
    for _ in range(60):
        fit.step(60)
    assert float(fit.iou().mean()) > max(0.6, 2 * first)
    assert float(fit.iou(has_planes=False).mean()) < float(fit.iou().mean()) - 0.2
    assert fit.optimizer.rate < 0.01 * config.fields.rate


def test_fields_are_fitted_once_and_kept_under_everything_they_depend_on():
    kept, built = {}, []

    def artifact(key, build):
        if key not in kept:
            built.append(key)
            kept[key] = build()
        return kept[key]

    objects = objects_of(QUICK, 3)
    for seed, kind in ((3, "planes"), (3, "planes"), (4, "planes"), (3, "weights")):
        fitted(kind, QUICK, objects, Setup(kind, seed=seed, artifact=artifact))
    assert len(built) == 3
    assert {"features", "iou", "iou_without_planes"} == set(kept[built[0]])
    assert kept[built[0]]["features"].shape == (24, 12, 16, 16)


def test_a_run_that_is_stopped_leaves_no_half_fitted_fields():
    setup = Setup("planes", cancelled=lambda: True)
    with pytest.raises(RunError, match="stopped"):
        fitted("planes", QUICK, objects_of(QUICK, 0), setup)


def test_planes_are_normalised_along_the_channels_of_each_cell():
    lengths = normalised(random(2, 12, 5, 5) - 0.5).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(2, 5, 5))


def test_the_order_of_channels_changes_nothing_but_for_rounding():
    with seeded(0):
        module = ChannelTransformer(8, 10, QUICK.reader).double()
    planes = random(4, 12, 8, 8).double()
    moved = module(shuffled(planes, 0)) - module(planes)
    assert moved.abs().max() < 1e-12
    with seeded(0):
        cnn = reader_of("planes_cnn", QUICK).double().eval()
    assert (cnn(shuffled(planes, 0)) - cnn(planes)).abs().max() > 1e-3


def test_shuffling_gives_every_object_an_order_of_its_own_and_loses_no_channel():
    planes = torch.arange(12.0).view(1, 12, 1, 1).expand(3, 12, 2, 2)
    mixed = shuffled(planes, 0)[..., 0, 0]
    assert all(sorted(row.tolist()) == list(range(12)) for row in mixed)
    assert not torch.equal(mixed[0], mixed[1])


def test_attention_weighs_every_channel_and_gives_what_the_module_gives():
    with seeded(0):
        module = ChannelTransformer(8, 10, QUICK.reader)
    planes, trace = normalised(random(1, 12, 8, 8)), Trace()
    out = module(planes, trace)
    assert [layer.name for layer in trace.layers] == ["channels, layer 1", "channels, layer 2"]
    weights = trace.layers[0].weights()
    assert weights.shape == (2, 12, 12)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 12))
    torch.testing.assert_close(trace.layers[0].output(), trace.layers[0].made)
    torch.testing.assert_close(module(planes), out)


def test_points_attend_to_the_channels_of_their_object():
    study, trace = prepared("parts"), Trace()
    attended = study.attend(2, trace)
    crossing = [layer for layer in trace.layers if layer.kind == "cross"]
    assert [layer.num_keys for layer in crossing] == [12, 12]
    assert attended.names == PARTS
    assert attended.key_picture.shape == (16, 12 * 16)
    assert prepared("points").attend(0, Trace()) is None


def test_windows_are_random_while_training_and_in_the_middle_otherwise():
    planes = torch.arange(64.0).view(1, 1, 8, 8)
    assert windowed(planes, 0, None) is planes
    torch.testing.assert_close(windowed(planes, 6, None), planes[..., 1:7, 1:7])
    rng = torch.Generator().manual_seed(0)
    found = [windowed(planes, 6, rng) for _ in range(8)]
    assert {tuple(one.shape) for one in found} == {(1, 1, 6, 6)}
    assert len({float(one.mean()) for one in found}) > 1
    with pytest.raises(ConfigError, match="does not fit planes of 16"):
        Reading(resolve(TriplaneConfig, "quick", {"reader.crop": 17}), Setup("planes"))


def test_the_rate_goes_through_one_cycle():
    rates = [one_cycle(at / 100) for at in range(101)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 30
    assert rates[0] == pytest.approx(0.04)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_the_papers_sizes_have_the_papers_shapes():
    config = resolve(TriplaneConfig, "paper")
    study = TriplaneStudy(config, Setup("planes", device="meta"))
    assert study.module.embed.weight.shape == (512, 900)  # a crop of 30 x 30
    whole = resolve(TriplaneConfig, "paper", {"reader.crop": 0})
    assert TriplaneStudy(whole, Setup("planes", device="meta")).module.embed.in_features == 1024
    assert len(study.module.layers) == 8
    with torch.device("meta"):
        field = field_of("planes", 1, config.fields)
    assert field.planes.numel() == 3 * 16 * 32 * 32
    assert field.network.weights[0].shape == (1, 79, 64)  # 16 features and 63 of the encoding
    assert numbers(field.network) == (79 + 1) * 64 + 2 * (64 + 1) * 64 + 65


def test_a_point_asked_by_itself_gets_the_answer_it_gets_among_many():
    with seeded(0):
        module = PartDecoder(8, 9, 5, len(PARTS), QUICK.reader)
    planes, queries = random(1, 12, 8, 8), random(1, 6, 14)
    torch.testing.assert_close(module(planes, queries)[:, :1], module(planes, queries[:, :1]))


@pytest.mark.parametrize("variant", ["planes", "weights", "points"])
def test_a_reader_learns_the_objects_it_sees(variant):
    study = prepared(variant, **{"reader.steps": 80})
    read = [study.step()["accuracy_learned"] for _ in range(80)]
    assert sum(read[:10]) / 10 < 0.4
    assert sum(read[-10:]) / 10 > 0.5


def test_parts_are_learned_from_planes():
    study = prepared("parts", **{"reader.steps": 60, "reader.rate": 5e-3})
    losses = [study.step()["loss"] for _ in range(60)]
    assert losses[-1] < 0.6 * losses[0]
    measured = study.evaluate()
    assert 0 <= measured["part_iou"] <= measured["accuracy"] <= 1
    task = study.task
    assert (task.kinds[task._others()] == task.kinds[task.test]).all()
    assert sorted(task._others().tolist()) == sorted(task.test.tolist())
    assert study.measure({"other": True}).keys() == measured.keys()
    probes = {probe.name: probe for probe in study.inspect({"x": 0.1, "y": 0.2, "z": 0.0})}
    rows = probes["Channels that the point reads"].values  # [2 layers x 2 heads, 12 channels]
    assert rows.shape == (4, 12)
    assert rows.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_what_the_winning_tokens_bring_adds_up_to_the_logits():
    study = prepared("planes")
    study.step()
    probes = {probe.name: probe for probe in study.probes()}
    bias = study.module.classify.bias.detach().numpy()
    brought = probes["What the winning tokens bring"].values.sum(axis=1) + bias
    assert brought == pytest.approx(probes["Logits"].values, abs=1e-5)


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="known: 'shuffle'"):
        prepared("planes").measure({"mix": True})
    with pytest.raises(ConfigError, match="Only planes"):
        prepared("points").measure({"shuffle": True})


def test_the_first_object_of_the_board_is_fitted_twice_from_two_starts():
    study = prepared("fitting", **{"fields.steps": 60})
    board = study.task
    assert isinstance(board, Board)
    assert board.fit.rows[:3].tolist() == [0, 0, 1]
    for _ in range(60):
        study.step()
    first, second = board.fit.iou()[:2].tolist()
    assert abs(first - second) < 0.15
    planes = board.module.planes.detach()
    likeness = torch.corrcoef(torch.stack((planes[0].flatten(), planes[1].flatten())))[0, 1]
    assert likeness.abs() < 0.8


def test_the_board_can_be_orbited_and_a_reader_cannot():
    settings = {"objects": 11, "fields.steps": 80, "fields.points": 256}
    study = prepared("fitting", **settings, shown=1)
    for _ in range(80):
        study.step()
    assert isinstance(study, Renderable)
    assert not isinstance(prepared("points"), Renderable)
    scene = study.snapshot()
    line = torch.linspace(-0.9, 0.9, 24)
    y, x = torch.meshgrid(line, line, indexing="ij")
    origins = torch.stack((x, y, torch.full_like(x, 3.0)), dim=-1).reshape(-1, 3)
    toward = torch.tensor([0.0, 0.0, -1.0]).expand_as(origins)
    seen = scene.trace(origins, toward).alpha > 0.5
    depths = torch.linspace(-0.95, 0.95, 60)
    columns = origins[:, None] * torch.tensor([1.0, 1.0, 0.0]) + depths[:, None] * -toward[:, None]
    solid = study.task.fit.inside(columns.reshape(1, -1, 3), 1).view(-1, 60).any(dim=1)
    assert (
        seen == solid
    ).double().mean() > 0.97  # rays that graze an edge may be judged either way
    assert 0.05 < seen.double().mean() < 0.8
    study.step()
    assert torch.equal(scene.trace(origins, toward).alpha > 0.5, seen)


def test_morphing_changes_the_first_object_and_survives_an_interruption():
    study = prepared("fitting")
    before = study.task.fit.objects.surface.clone()
    study.configure(study.config.model_copy(update={"morph": 1.0}))
    after = study.task.fit.objects.surface
    assert not torch.equal(before[0], after[0])
    shapes = study.task.fit.objects.shapes
    assert torch.equal(shapes.pictures[0], shapes.originals[1])
    assert torch.equal(shapes.pictures[1], shapes.originals[1])
    resumed = prepared("fitting")
    resumed.load(study.state())
    assert resumed.step() == study.step()


def test_a_ball_is_brightest_towards_the_light_and_black_beside_it():
    ball = (volume(20).norm(dim=-1) < 0.8).view(20, 20, 20)
    picture = drawing.shaded(ball)
    assert picture[0, 0] == 0
    assert picture[7, 12] > picture[13, 6] > 0  # the light comes from above and from the right


def test_a_cube_shows_each_plane_on_its_own_face():
    colors = torch.zeros(3, 4, 4, 3)
    for plane in range(3):
        colors[plane, ..., plane] = 1  # XY red, XZ green, YZ blue
    picture = drawing.around_a_cube(colors.numpy())
    side = drawing.CUBE
    assert picture[side - 4, 4].argmax() == 0
    assert picture[4, side // 2].argmax() == 1
    assert picture[side // 2, side - 4].argmax() == 2
