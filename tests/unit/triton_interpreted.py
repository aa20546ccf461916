"""The Triton renderer through Triton's interpreter: the kernels' own lines, run by numpy on the CPU.

Collected only by a child process of `test_render_triton.py`, which sets TRITON_INTERPRET before Triton is
imported. The interpreter takes milliseconds per line, so the scenes are smaller than those for the CPU kernels.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from render_agreement import PICTURES, assert_agrees, assert_close, drawn
from render_scenes import EDGE_CASES, NAMES, Scene, intrinsics, one, random_scene

from core.base.errors import RenderError
from core.radiance.splats import Splats
from core.render import triton_renderer, triton_tiles
from core.render.reference import ReferenceRenderer
from core.render.trial import disagreement
from core.render.triton_renderer import TritonRenderer

CASES = EDGE_CASES | {
    "random": lambda: random_scene(20, 32, 32),
    "another random": lambda: random_scene(12, 32, 20, seed=5, size=0.4),
    "one tile and a pixel": lambda: random_scene(14, 17, 33, seed=2),
    "whole tiles": lambda: random_scene(14, 32, 16, seed=3),
    "two cameras": lambda: random_scene(12, 32, 16, cameras=2, seed=4),
    "beyond the bounds of x/z and y/z": lambda: one((1.6, 1.2, 1.0), (0.8, 0.6, 0.5)),
}
# antialiasing changes the projection alone: the cases where that differs
ANTIALIASED = (
    "random", "beside the camera, long", "tiny", "flat", "needle", "nearly invisible", "two cameras",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_pictures_and_gradients_agree_with_the_double_precision_reference(case):
    assert_agrees(TritonRenderer(), CASES[case]())


@pytest.mark.parametrize("case", ANTIALIASED)
def test_antialiased_pictures_and_gradients_agree_too(case):
    assert_agrees(TritonRenderer(), CASES[case](), antialiased=True)


@pytest.mark.parametrize("name", PICTURES)
def test_every_output_alone_sends_its_gradient(name):
    scene = random_scene(8, 16, 16)
    truth, leaves = scene.leaves(torch.float64), scene.leaves()
    getattr(scene.draw(ReferenceRenderer(), truth), name).square().sum().backward()
    getattr(scene.draw(TritonRenderer(), leaves), name).square().sum().backward()
    for label, leaf, exact in zip(NAMES, leaves, truth, strict=True):
        wanted = torch.zeros_like(exact) if exact.grad is None else exact.grad
        assert_close(leaf.grad, wanted, 2e-4, f"{label} from {name}")


def test_the_same_frame_twice_gives_the_same_bits():
    scene = random_scene(8, 32, 16)
    (first, first_gradients), (second, second_gradients) = (
        drawn(TritonRenderer(), scene) for _ in range(2)
    )
    assert torch.equal(first.rgb, second.rgb)
    assert torch.equal(first.stats.absgrad, second.stats.absgrad)
    for one_time, other_time in zip(first_gradients, second_gradients, strict=True):
        assert torch.equal(one_time, other_time)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_gaussians_with_impossible_numbers_are_left_out(name, number):
    scene = random_scene(6, 16, 16)
    values = [value.clone() for value in scene.values]
    values[NAMES.index(name)][3] = number
    kept = [torch.cat([value[:3], value[4:]]) for value in scene.values]
    layers, wanted = (scene.draw(TritonRenderer(), drawn) for drawn in (values, kept))
    assert torch.equal(layers.rgb, wanted.rgb)
    assert layers.stats.radii[0, 3] == 0


def test_a_rotation_of_length_zero_is_left_out_and_has_no_gradient():
    scene = random_scene(6, 16, 16)
    scene.values[1][3] = 0
    layers, gradients = drawn(TritonRenderer(), scene)
    assert layers.stats.radii[0, 3] == 0
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert not gradients[1][3].any()


def test_balls_send_no_gradient_to_their_rotation_not_even_rounding():
    # an optimiser that divides by the gradient's size would turn rounding into full steps
    scene = random_scene(8, 32, 16)
    scene.values[2][:] = scene.values[2][:, :1]
    _, gradients = drawn(TritonRenderer(), scene)
    assert not gradients[1].any()
    assert gradients[2].any()


def test_gaussians_at_the_same_depth_are_drawn_in_their_order():
    values = [torch.cat([value, value]) for value in one((0.0, 0.0, 2.0), 0.5, 0.9).values]
    values[4] = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    pixel = one((0.0, 0.0, 2.0)).draw(TritonRenderer(), values).rgb[0, 10, 16]
    assert pixel[0] > pixel[1]


def test_a_frame_is_given_up_before_and_after_its_lists():
    scene = random_scene(4, 16, 16)
    for looks in (0, 1):
        answers = iter([False] * looks + [True])
        assert scene.draw(TritonRenderer(), scene.values, cancelled=lambda: next(answers)) is None  # noqa: B023


def test_a_frame_that_nobody_cancels_is_the_same_picture_without_gradients():
    scene = random_scene(8, 16, 16)
    plain = scene.draw(TritonRenderer(), scene.values)
    patient = scene.draw(TritonRenderer(), scene.leaves(), cancelled=lambda: False)
    assert torch.equal(plain.depth, patient.depth)
    assert not patient.rgb.requires_grad


def test_contributors_of_a_pixel_add_up_to_its_color():
    scene = random_scene(12, 16, 16)
    K = intrinsics(15.0, 14.0, 8.0, 8.0)  # where the pixel inspector assumes the principal point
    scene = Scene(scene.values, scene.viewmats, K[None], 16, 16)
    rgb = scene.draw(TritonRenderer(), scene.values).rgb
    rows, weights, depths = TritonRenderer().contributors(
        Splats(*scene.values), scene.viewmats[0], K, (7, 9)
    )
    color = (weights[:, None] * scene.values[4][rows]).sum(0)
    torch.testing.assert_close(color, rgb[0, 9, 7], rtol=0, atol=1e-5)
    assert (depths.diff() >= 0).all()


def test_a_picture_changed_in_place_is_not_differentiated_silently():
    scene = random_scene(4, 16, 16)
    layers = scene.draw(TritonRenderer(), scene.leaves())
    total = layers.rgb.sum()
    with torch.no_grad():
        layers.rgb.mul_(2)
    with pytest.raises(RuntimeError, match="inplace"):
        total.backward()


def test_inputs_of_another_precision_are_converted_and_keep_their_gradients():
    scene = random_scene(4, 16, 16)
    leaves = scene.leaves(torch.float64)
    scene.draw(TritonRenderer(), leaves).rgb.sum().backward()
    assert leaves[0].grad.dtype == torch.float64
    assert leaves[0].grad.abs().sum() > 0


def test_cameras_and_pictures_that_cannot_be_are_refused():
    scene = random_scene(3, 16, 16)
    splats, lost = Splats(*scene.values), scene.viewmats.clone()
    lost[0, 0, 3] = float("nan")
    for words, viewmats, Ks, width in (
        ("0 x 16", scene.viewmats, scene.Ks, 0),
        ("not finite", lost, scene.Ks, 16),
        ("focal length", scene.viewmats, 0 * scene.Ks, 16),
    ):
        with pytest.raises(RenderError, match=words):
            TritonRenderer().rasterize(splats, viewmats, Ks, width, 16)


def listed(monkeypatch, scene: Scene):
    """Return what the renderer hands to the lists, and the lists."""
    seen = []

    def list_tiles(features, depths, *rest):
        seen.append((depths, list_of(features, depths, *rest)))
        return seen[0][1]

    list_of = triton_tiles.list_tiles
    monkeypatch.setattr(triton_tiles, "list_tiles", list_tiles)
    scene.draw(TritonRenderer(), scene.values)
    return seen[0]


def test_lists_of_tiles_run_front_to_back_and_hold_every_counted_pair_once(monkeypatch):
    scene = random_scene(40, 32, 32, size=0.3, cameras=2)
    depths, tiles = listed(monkeypatch, scene)
    borders = tiles.tile_first.tolist()
    assert borders[0] == 0
    assert borders[-1] == len(tiles.members) == int(tiles.counts.sum())
    for tile, (first, last) in enumerate(pairwise(borders)):
        rows = tiles.members[first:last]
        assert len(rows.unique()) == len(rows)
        assert (rows // 40 == tile // 4).all()  # four tiles for each of two cameras
        order = list(zip(depths[rows].tolist(), rows.tolist(), strict=True))
        assert order == sorted(order)


def test_every_pair_has_its_own_slot_among_those_of_its_row(monkeypatch):
    _, tiles = listed(monkeypatch, random_scene(40, 32, 32, size=0.3))
    assert sorted(tiles.slots.tolist()) == list(range(len(tiles.members)))
    first = tiles.row_first[tiles.members]
    assert (tiles.slots >= first).all()
    assert (tiles.slots < first + tiles.counts[tiles.members]).all()


def test_a_thin_diagonal_gaussian_is_listed_only_where_it_passes(monkeypatch):
    # 45 degrees across 4 x 4 tiles: its rectangle holds 16, the line itself about 10
    quat = (0.92388, 0.0, 0.0, 0.38268)
    K = intrinsics(64.0, 64.0, 32.0, 32.0)
    _, tiles = listed(
        monkeypatch,
        one((0.0, 0.0, 1.0), (2.0, 1e-3, 1e-3), quat=quat, width=64, height=64, K=K),
    )
    assert 4 <= len(tiles.members) <= 12


def test_more_overlaps_than_memory_holds_are_refused_with_their_number(monkeypatch):
    monkeypatch.setattr(triton_tiles, "_MOST_PAIRS", 5)
    scene = random_scene(10, 16, 16, size=0.5)
    with pytest.raises(RenderError, match=r"\d+ overlaps.*smaller picture"):
        scene.draw(TritonRenderer(), scene.values)


def test_the_trial_trusts_these_kernels_and_no_wrong_ones(monkeypatch):
    assert disagreement(TritonRenderer(), "Triton", with_gradients=True) is None
    backward = triton_renderer._Job.backward

    def wrong(*arguments):
        means, *others = backward(*arguments)
        return [1.1 * means, *others]

    monkeypatch.setattr(triton_renderer._Job, "backward", wrong)
    reason = disagreement(TritonRenderer(), "Triton", with_gradients=True)
    assert reason.startswith("Triton makes wrong gradients here (means")
