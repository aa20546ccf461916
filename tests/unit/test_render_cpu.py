"""The compiled renderer: the same bits at any number of threads, lists of tiles, exactness of culling."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch
from render_scenes import Scene, intrinsics, one, random_scene

from core.base.errors import RenderError
from core.capture.camera import Camera
from core.radiance.splats import Splats
from core.radiance.visible import visible_rows
from core.render import cpu_project, cpu_sort, cpu_tiles
from core.render.cpu import CpuRenderer


def _everything(scene: Scene) -> list[torch.Tensor]:
    leaves = scene.leaves()
    layers = scene.draw(CpuRenderer(), leaves)
    (layers.rgb.sin().sum() + layers.alpha.square().sum() + layers.depth.sum()).backward()
    pictures = [layers.rgb, layers.alpha, layers.depth, layers.stats.absgrad]
    return [*pictures, *(leaf.grad for leaf in leaves)]


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core")
def test_one_and_two_threads_give_the_same_bits():
    scene = random_scene(3000, 150, 90, seed=1, size=0.05)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = _everything(scene)
        numba.set_num_threads(2)
        together = _everything(scene)
    finally:
        numba.set_num_threads(before)
    for one_thread, two_threads in zip(alone, together, strict=True):
        assert torch.equal(one_thread, two_threads)


def test_the_same_frame_twice_gives_the_same_bits():
    scene = random_scene(500)
    for first, second in zip(_everything(scene), _everything(scene), strict=True):
        assert torch.equal(first, second)


def _bin(scene: Scene):
    arrays = [value.numpy() for value in scene.values]
    num = len(arrays[0])
    camera = cpu_project.camera_numbers(
        scene.viewmats[0].double().numpy(), scene.Ks[0].double().numpy(), scene.width, scene.height
    )
    features, depths = cpu_project.empty_features(num), np.empty(num, np.float32)
    cpu_project.project(
        *arrays, camera, scene.width, scene.height, False,
        features, depths, np.empty(num, np.int32), np.empty((num, 2), np.float32),
    )  # fmt: skip
    return features, depths, cpu_tiles.bin_gaussians(features, depths, scene.width, scene.height)


def test_lists_of_tiles_run_front_to_back_and_hold_nobody_twice():
    _, depths, tiles = _bin(random_scene(400, 70, 50, size=0.3))
    for first, last in zip(tiles.first[:-1], tiles.first[1:], strict=True):
        rows = tiles.rows[first:last]
        assert len(set(rows)) == len(rows)
        order = list(zip(depths[rows], rows, strict=True))
        assert order == sorted(order)


def test_every_pair_has_its_own_slot_among_those_of_its_gaussian():
    _, _, tiles = _bin(random_scene(400, 70, 50, size=0.3))
    assert sorted(tiles.slots) == list(range(len(tiles.rows)))
    assert (tiles.slots >= tiles.slot_first[tiles.rows]).all()
    assert (tiles.slots < tiles.slot_first[tiles.rows + 1]).all()


@pytest.mark.parametrize("is_small", [True, False], ids=["alone", "side by side"])
def test_sorting_by_depth_is_stable_and_leaves_out_what_is_not_drawn(monkeypatch, is_small):
    random = np.random.default_rng(0)
    monkeypatch.setattr(cpu_sort, "SMALL", 10**9 if is_small else 0)
    for low, high in ((0.01, 1e6), (2.0, 2.001), (3.0, 3.0)):
        depths = random.uniform(low, high, 5000).astype(np.float32)
        depths[random.integers(0, 5000, 1000)] = depths[7]
        depths[random.integers(0, 5000, 700)] = 0
        wanted = np.argsort(depths, kind="stable")
        wanted = wanted[depths[wanted] > 0]
        np.testing.assert_array_equal(cpu_sort.depth_order(depths), wanted)


def test_sorting_nothing_gives_nothing():
    assert len(cpu_sort.depth_order(np.zeros(3, np.float32))) == 0


@pytest.mark.parametrize("size", [0.03, 0.3, 2.0], ids=["small", "wide", "wider than a window"])
def test_every_pixel_a_gaussian_colours_lies_in_a_tile_that_lists_it(size):
    scene = random_scene(60, 400, 150, seed=3, size=size)
    features, _, tiles = _bin(scene)
    f = features.astype(np.float64)
    y, x = np.mgrid[0 : scene.height, 0 : scene.width] + 0.5
    where = (y.astype(int) // cpu_tiles.TILE) * tiles.tiles_x + x.astype(int) // cpu_tiles.TILE
    listed = np.repeat(np.arange(len(tiles.order)), np.diff(tiles.first))
    for row in np.unique(tiles.rows):
        dx, dy = x - f[row, cpu_project.X], y - f[row, cpu_project.Y]
        xx, xy, yy = f[row, cpu_project.CONIC_XX : cpu_project.CONIC_YY + 1]
        alpha = f[row, cpu_project.OPACITY] * np.exp(
            -0.5 * (xx * dx**2 + yy * dy**2) - xy * dx * dy
        )
        # the last digits of the conic, float32, decide the pixels exactly at the cut
        coloured = np.unique(where[alpha > 1.001 / 255])
        assert set(coloured) <= set(listed[tiles.rows == row])


def test_a_picture_without_depth_has_the_same_colors_and_gradients():
    scene = random_scene(200, seed=4)
    with_depth, without = scene.leaves(), scene.leaves()
    layers = scene.draw(CpuRenderer(), with_depth)
    plain = CpuRenderer().rasterize(
        Splats(*without), scene.viewmats, scene.Ks, scene.width, scene.height
    )
    assert plain.depth is None
    assert torch.equal(plain.rgb, layers.rgb)
    (layers.rgb.sin().sum() + 0 * layers.depth.sum()).backward()
    plain.rgb.sin().sum().backward()
    for one_leaf, other in zip(without, with_depth, strict=True):
        torch.testing.assert_close(one_leaf.grad, other.grad, rtol=1e-5, atol=1e-5)


def test_a_thin_diagonal_gaussian_is_listed_only_where_it_passes():
    # 45 degrees across 8 x 8 tiles: its rectangle holds 64, the line itself about 22
    half = float(np.pi / 8)
    quat = (float(np.cos(half)), 0.0, 0.0, float(np.sin(half)))
    K = intrinsics(64.0, 64.0, 64.0, 64.0)
    scene = one((0.0, 0.0, 1.0), (2.0, 1e-3, 1e-3), quat=quat, width=128, height=128, K=K)
    _, _, tiles = _bin(scene)
    assert 8 <= len(tiles.rows) <= 24


def test_leaving_out_what_the_camera_cannot_see_changes_no_pixel():
    scene = random_scene(2000, 64, 48, seed=9, size=0.4)
    values = list(scene.values)
    values[0] = torch.randn(2000, 3, generator=torch.Generator().manual_seed(1)) * 4
    K, width, height = scene.Ks[0], scene.width, scene.height
    camera_to_world = torch.linalg.inv(scene.viewmats[0].double()).numpy()
    camera = Camera(
        width=width, height=height, fx=float(K[0, 0]), fy=float(K[1, 1]), cx=float(K[0, 2]), cy=float(K[1, 2]),
        camera_to_world=camera_to_world,
    )  # fmt: skip
    rows = visible_rows(values[0], camera, values[2].amax(1))
    assert 50 < len(rows) < 1500
    whole = scene.draw(CpuRenderer(), values)
    culled = scene.draw(CpuRenderer(), [value[rows] for value in values])
    for name in ("rgb", "alpha"):
        torch.testing.assert_close(getattr(culled, name), getattr(whole, name), rtol=0, atol=1e-5)


def test_inputs_of_another_precision_are_converted_and_keep_their_gradients():
    scene = random_scene(10)
    leaves = scene.leaves(torch.float64)
    scene.draw(CpuRenderer(), leaves).rgb.sum().backward()
    assert leaves[0].grad.dtype == torch.float64
    assert leaves[0].grad.abs().sum() > 0


def test_inputs_of_the_wrong_shape_are_named():
    values = list(random_scene(10).values)
    values[3] = values[3][:, None]
    with pytest.raises(ValueError, match="opacities"):
        random_scene(10).draw(CpuRenderer(), values)


def test_a_camera_that_is_not_finite_is_refused():
    scene = random_scene(3)
    viewmats = scene.viewmats.clone()
    viewmats[0, 0, 3] = float("nan")
    with pytest.raises(RenderError, match="not finite"):
        CpuRenderer().rasterize(Splats(*scene.values), viewmats, scene.Ks, 8, 8)


def test_a_picture_changed_in_place_is_not_differentiated_silently():
    scene = random_scene(10)
    layers = scene.draw(CpuRenderer(), scene.leaves())
    total = layers.rgb.sum()
    with torch.no_grad():
        layers.rgb.mul_(2)
    with pytest.raises(RuntimeError, match="inplace"):
        total.backward()


def test_a_camera_without_focal_length_is_refused():
    scene = random_scene(3)
    with pytest.raises(RenderError, match="focal length"):
        CpuRenderer().rasterize(Splats(*scene.values), scene.viewmats, 0 * scene.Ks, 8, 8)


def test_more_overlaps_than_memory_holds_are_refused_with_their_number(monkeypatch):
    monkeypatch.setattr(cpu_tiles, "_MOST_PAIRS", 5)
    scene = random_scene(30, size=0.5)
    with pytest.raises(RenderError, match=r"\d+ overlaps.*smaller picture"):
        scene.draw(CpuRenderer(), scene.values)


def test_warming_up_names_every_stage():
    from core.render import cpu_kernels

    names = list(cpu_kernels.warm_up())
    assert names[0] == "project"
    assert "blend backward" in names


@pytest.mark.slow
def test_a_million_gaussians_are_drawn():
    scene = random_scene(1_000_000, 640, 360, size=0.004)
    layers = scene.draw(CpuRenderer(), scene.values)
    assert torch.isfinite(layers.rgb).all()
    assert float(layers.alpha.mean()) > 0.2
