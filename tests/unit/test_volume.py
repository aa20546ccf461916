"""Volume rendering along rays: values and gradients against the slow sum, sampling, occupancy."""

import numpy as np
import pytest
import torch

from core.capture.camera import Camera, look_at
from core.radiance import volume
from core.radiance.occupancy import OccupancyGrid

BOX = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def samples(seed=0, rays=5, count=9):
    rng = np.random.default_rng(seed)
    distances = np.sort(rng.uniform(0.5, 3.0, (rays, count)), axis=1)
    lengths = rng.uniform(0.01, 0.4, (rays, count))
    return distances, lengths, rng.gamma(1.0, 3.0, (rays, count)), rng.random((rays, count, 3))


def forward_rays(count=4, near=1.0, far=3.0):
    origins = torch.zeros(count, 3)
    directions = torch.tensor([0.0, 0.0, 1.0]).expand(count, 3)
    return volume.Rays(origins, directions, torch.full((count,), near), torch.full((count,), far))


def ball(points, _directions):
    """A dense red ball of radius 0.5."""
    density = torch.where(points.norm(dim=-1) < 0.5, 200.0, 0.0)
    return density, torch.tensor([1.0, 0.0, 0.0]).expand(len(points), 3)


def test_values_are_those_of_the_papers_sum():
    given = samples()
    made = volume.composited(*(torch.from_numpy(part) for part in given))
    rgb, alpha, depth = volume.composited_reference(*given)
    np.testing.assert_allclose(made.rgb, rgb, atol=1e-12)
    np.testing.assert_allclose(made.alpha, alpha, atol=1e-12)
    np.testing.assert_allclose(made.depth, depth, atol=1e-12)


def test_gradients_are_those_of_the_papers_sum():
    distances, lengths, density, colors = samples()
    leaves = [torch.from_numpy(part).requires_grad_() for part in (density, colors)]
    made = volume.composited(torch.from_numpy(distances), torch.from_numpy(lengths), *leaves)
    (made.rgb.sum() + 2 * made.depth.sum() - made.alpha.sum()).backward()

    def value(density, colors):
        rgb, alpha, depth = volume.composited_reference(distances, lengths, density, colors)
        return rgb.sum() + 2 * depth.sum() - alpha.sum()

    step = 1e-6
    for leaf, which in zip(leaves, (0, 1), strict=True):
        for flat in range(0, leaf.numel(), 7):
            parts = [density.copy(), colors.copy()]
            parts[which].reshape(-1)[flat] += step
            up = value(*parts)
            parts[which].reshape(-1)[flat] -= 2 * step
            slope = (up - value(*parts)) / (2 * step)
            # central differences of a smooth function: error of the order of step^2 / round-off
            np.testing.assert_allclose(leaf.grad.reshape(-1)[flat], slope, rtol=2e-5, atol=1e-6)


def test_weights_never_exceed_one_and_an_opaque_sample_hides_the_rest():
    density = torch.tensor([[0.0, 1e6, 5.0]])
    weights = volume.weights_of(density, torch.ones(1, 3))
    torch.testing.assert_close(weights, torch.tensor([[0.0, 1.0, 0.0]]))


def test_an_open_end_catches_what_is_left_of_the_light():
    distances = torch.tensor([[1.0, 2.0, 3.0]])
    lengths = volume.lengths_of(distances, torch.tensor([4.0]), is_open=True)
    weights = volume.weights_of(torch.tensor([[0.0, 0.1, 0.2]]), lengths)
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
    closed = volume.lengths_of(distances, torch.tensor([4.0]))
    torch.testing.assert_close(closed, torch.ones(1, 3))


def test_empty_space_has_the_colour_of_the_background_and_finite_gradients():
    density = torch.zeros(2, 4, requires_grad=True)
    distances = torch.linspace(1, 2, 4).expand(2, 4)
    made = volume.composited(distances, torch.full((2, 4), 0.3), density, torch.rand(2, 4, 3))
    torch.testing.assert_close(made.over(0.7), torch.full((2, 3), 0.7))
    (made.over(0.7).sum() + made.depth.sum()).backward()
    assert density.grad.isfinite().all()


def test_stratified_samples_lie_one_in_each_bin_and_in_order():
    rays = forward_rays(64)
    found = volume.stratified(rays, 16, torch.Generator().manual_seed(0))
    bins = ((found - 1.0) / 2.0 * 16).floor()
    torch.testing.assert_close(bins, torch.arange(16.0).expand(64, 16))
    assert (volume.stratified(rays, 16).diff(dim=1) > 0).all()


def test_samples_in_disparity_are_dense_near_the_camera():
    gaps = volume.stratified(forward_rays(1, 1.0, 100.0), 32, in_disparity=True).diff(dim=1)
    assert (gaps.diff(dim=1) > 0).all()
    assert gaps[0, 0] < 0.1


def test_importance_samples_follow_the_weights():
    distances = volume.stratified(forward_rays(1), 65)
    weights = torch.zeros_like(distances)
    weights[:, 40:44] = 1.0
    for rng in (None, torch.Generator().manual_seed(1)):
        found = volume.importance(distances, weights, 2000, rng)
        edges = (
            0.5 * (distances[0, 39] + distances[0, 40]),
            0.5 * (distances[0, 43] + distances[0, 44]),
        )
        inside = ((found >= edges[0]) & (found <= edges[1])).float().mean()
        assert inside > 0.99  # the rest of the bins keep 1e-5 of a weight of one each


def test_importance_without_any_weight_is_spread_over_the_ray():
    distances = volume.stratified(forward_rays(1), 32)
    found = volume.importance(distances, torch.zeros_like(distances), 100)
    assert found.diff(dim=1).max() < 2 * float(found.diff(dim=1).mean())


def test_a_ray_that_misses_the_box_is_empty():
    origins = torch.tensor([[0.0, 0.0, -3.0], [5.0, 0.0, -3.0], [0.0, 0.0, 0.0]])
    rays = volume.rays_in_box(origins, torch.tensor([0.0, 0.0, 1.0]).expand(3, 3), BOX)
    torch.testing.assert_close(rays.near, torch.tensor([2.0, rays.near[1].item(), 0.0]))
    torch.testing.assert_close(rays.far[[0, 2]], torch.tensor([4.0, 1.0]))
    assert rays.near[1] == rays.far[1]


def test_a_ball_is_drawn_where_the_camera_sees_it():
    camera = Camera(
        look_at(np.array([0.0, -3.0, 0.0]), np.zeros(3), np.array([0.0, 0, 1.0])),
        40,
        40,
        16,
        12,
        32,
        24,
    )
    rays = volume.rays_in_box(*volume.camera_rays(camera), BOX)
    made = volume.march(ball, rays, volume.stratified(rays, 128))
    alpha = made.alpha.reshape(24, 32)
    assert alpha[12, 16] > 0.99
    assert alpha[0, 0] == 0
    # radius 0.5 seen from 3: asin(1 / 6) covers pi (40 tan)^2 pixels
    assert float(alpha.sum()) == pytest.approx(
        np.pi * (40 * np.tan(np.arcsin(0.5 / 3))) ** 2, rel=0.05
    )
    middle = made.depth.reshape(24, 32)[12, 16]
    assert float(middle) == pytest.approx(2.5, abs=0.03)  # a sample's spacing


def test_pixels_chosen_by_row_are_those_of_the_whole_picture():
    camera = Camera(np.eye(4), 10, 10, 4, 3, 8, 6)
    _, whole = volume.camera_rays(camera)
    _, some = volume.camera_rays(camera, np.array([3, 17]))
    torch.testing.assert_close(some, whole[[3, 17]])


def test_an_occupancy_grid_changes_no_picture_and_spares_most_questions():
    asked = []

    def counted(points, directions):
        asked.append(len(points))
        return ball(points, directions)

    grid = OccupancyGrid(BOX, 16)
    rays = volume.rays_in_box(
        torch.tensor([[0.1, 0.2, -3.0]]).expand(8, 3),
        torch.tensor([0.0, 0.0, 1.0]).expand(8, 3),
        BOX,
    )
    distances = volume.stratified(rays, 64)
    plain = volume.march(ball, rays, distances)
    grid.update(lambda points: ball(points, points)[0])
    spared = volume.march(counted, rays, distances, occupied=grid.grown())
    torch.testing.assert_close(spared.rgb, plain.rgb)
    assert sum(asked) < 0.7 * distances.numel()
    assert 0.03 < grid.share < 0.12  # a ball of radius 0.5 fills 6.5 % of the box


def test_what_was_never_asked_counts_as_occupied_and_outside_the_box_nothing_does():
    grid = OccupancyGrid(BOX, 4)
    assert grid(torch.zeros(1, 3)).all()
    assert not grid(torch.full((1, 3), 1.5)).any()


def test_gradients_reach_a_field_through_the_occupancy_grid():
    scale = torch.tensor(1.0, requires_grad=True)
    grid = OccupancyGrid(BOX, 8)
    rays = forward_rays(2, 0.0, 0.9)
    made = volume.march(
        lambda points, _: (scale * 2.0 * torch.ones(len(points)), torch.ones_like(points)),
        rays,
        volume.stratified(rays, 16),
        occupied=grid,
    )
    made.rgb.sum().backward()
    assert scale.grad > 0
