"""NeuRBF: kernels by their equations, where they stand, and the pitfalls of fitting with them."""

import math

import numpy as np
import pytest
import torch

from core.base.config import resolve
from core.nn import kernel_places as placing
from core.nn.hash_levels import HashLevels
from core.nn.radial import RadialFeatures
from core.nn.seeded import seeded
from core.studies.fields.neurbf.network import HashNetwork, numbers
from core.studies.fields.neurbf.study import NeuRbfConfig, NeuRbfStudy
from core.study import Setup


def study(variant="neurbf", preset="quick", device="cpu", **settings):
    made = NeuRbfStudy(resolve(NeuRbfConfig, preset, settings), Setup(variant, device=device))
    if device == "cpu":
        made.prepare()
    return made


def kernels(**arguments):
    with seeded(0):
        made = RadialFeatures(3, 2, 4, neighbours=2, **arguments)
    centers = np.array([[0.2, 0.2], [0.5, 0.5], [0.9, 0.1]])
    shapes = np.tile(np.array([[9.0, 2.0], [2.0, 4.0]]), (3, 1, 1))
    made.place(centers, np.array([2.0, 2.0, 2.0]) if made.shapes.ndim == 1 else shapes)
    return made


def test_a_kernel_is_the_inverse_quadratic_of_its_own_ellipse():
    radial = kernels(is_normalised=False)
    place = torch.tensor([[0.3, 0.4]])
    near = radial.nearest(place)
    assert near.tolist() == [[1, 0]]
    dx, dy = 0.1, 0.2
    squared = 9 * dx * dx + 2 * 2 * dx * dy + 4 * dy * dy
    assert float(radial.kernels(place, near)[0, 1]) == pytest.approx(1 / (1 + squared), rel=1e-5)


def test_a_hat_is_the_product_of_its_axes_and_ends():
    radial = kernels(shape="hat", is_normalised=False)
    place = torch.tensor([[0.3, 0.4], [0.95, 0.95]])
    phi = radial.kernels(place, torch.tensor([[0], [0]]))
    assert float(phi[0]) == pytest.approx((1 - 0.2) * (1 - 0.4), rel=1e-5)
    assert float(phi[1]) == 0


def test_features_are_sums_of_sines_of_kernel_values():
    radial, places = kernels(), torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    near = radial.nearest(places)
    phi = radial.kernels(places, near)
    torch.testing.assert_close(phi.sum(dim=1), torch.ones(20), rtol=0, atol=1e-6)
    expected = torch.zeros(20, 4)
    for j in range(2):
        for q in range(4):
            w = 2 ** (-3 + 15 * q / 3)
            expected[:, q] += radial.weights[near[:, j], q] * torch.sin(phi[:, j] * w)
    # frequencies reach 4096: a value rounded in its last place turns the sine by 5e-4
    torch.testing.assert_close(radial(places), expected, rtol=0, atol=1e-6)


def test_steep_sines_are_never_taken_of_half_precision():
    radial = kernels()
    phi = torch.tensor([[0.5004]])
    in_half = radial.composed(phi.half())
    assert in_half.dtype == torch.float32
    assert abs(math.sin(0.5004 * 4096) - float(radial.composed(phi)[..., -1])) < 1e-2


def test_only_features_learn_and_their_gradient_is_that_of_autograd():
    radial, places = kernels(), torch.rand(30, 2, generator=torch.Generator().manual_seed(2))
    radial(places).square().sum().backward()
    near = radial.nearest(places)
    plain = radial.weights.detach().clone().requires_grad_()
    psi = radial.composed(radial.kernels(places, near))
    (plain[near] * psi).sum(dim=1).square().sum().backward()
    torch.testing.assert_close(radial.weights.grad, plain.grad)
    assert [name for name, _ in radial.named_parameters()] == ["weights"]


def test_training_moves_no_kernel():
    made = study()
    before = made.module.radial.centers.clone(), made.module.radial.shapes.clone()
    for _ in range(5):
        made.step()
    assert torch.equal(made.module.radial.centers, before[0])
    assert torch.equal(made.module.radial.shapes, before[1])


def test_kernels_stand_where_the_picture_is_steep():
    made = study()
    size, weights = made.config.size, made.signal.weights
    centers = made.module.radial.centers.numpy()
    rows = (centers * size).astype(int).clip(0, size - 1)
    at_kernels = weights.reshape(size, size)[rows[:, 0], rows[:, 1]].mean()
    assert at_kernels > 1.3 * weights.mean()


def test_the_first_coordinate_is_down():
    rows = (np.indices((16, 16)).reshape(2, -1).T + 0.5) / 16
    weights = (rows[:, 0] < 0.25).astype(float)  # the upper quarter
    start = placing.drawn(rows, weights, 12, np.random.default_rng(0))
    assert placing.clustered(rows, weights, start)[:, 0].max() < 0.3


def test_a_cluster_of_one_pixel_has_the_size_of_a_pixel():
    points = np.array([[0.1, 0.1], [0.8, 0.8], [0.9, 0.8], [0.8, 0.9]])
    centers = np.array([[0.1, 0.1], [0.83, 0.83], [0.5, 0.1]])  # the last owns nothing
    covariance = placing.covariances(points, np.ones(4), centers, 0.5)
    shapes = placing.inverted(covariance, 1 / 32)
    np.testing.assert_allclose(shapes[0], 32**2 * np.eye(2))
    np.testing.assert_allclose(shapes[2], 32**2 * np.eye(2))
    assert np.isfinite(shapes).all()
    assert np.linalg.eigvalsh(shapes).max() <= 32**2 * (1 + 1e-9)


def test_neighbours_are_searched_again_at_places_between_pixels():
    made = study()
    pixels = made.signal.places
    assert torch.equal(made.near, made.module.radial.nearest(pixels))
    rows = torch.arange(len(pixels))
    torch.testing.assert_close(made.predict(pixels, rows), made.predict(pixels))
    moved = (pixels + 0.4 / made.config.size).clamp(0, 1)
    assert not torch.equal(made.near, made.module.radial.nearest(moved))
    assert torch.equal(made.predict(moved), made.module(moved, made.module.radial.nearest(moved)))


def test_without_a_tree_the_same_neighbours_are_found():
    radial, places = kernels(), torch.rand(50, 2, generator=torch.Generator().manual_seed(3))
    found = torch.cdist(places, radial.centers).topk(2, largest=False).indices
    assert torch.equal(radial.nearest(places), found)


@pytest.mark.parametrize("signal", ["picture", "shape", "views"])
@pytest.mark.parametrize("preset", ["quick", "full", "paper"])
def test_as_many_numbers_as_the_hash_grid_within_one_percent(signal, preset):
    made = study(preset=preset, device="meta", signal=signal)
    with torch.device("meta"):
        reference = numbers(HashNetwork(made.sizes))
    assert made.num_parameters == pytest.approx(reference, rel=0.01)


def test_a_symmetric_shape_is_counted_once():
    assert RadialFeatures(10, 2, 4).num_geometry == 10 * (2 + 3)
    assert RadialFeatures(10, 3, 4).num_geometry == 10 * (3 + 6)
    assert RadialFeatures(10, 3, 4, shape="hat").num_geometry == 10 * (3 + 1)


def test_a_grid_reads_between_its_vertices():
    with seeded(0):
        levels = HashLevels.capped(2, [4, 8], 10_000, 1)
    with torch.no_grad():  # the coarse level holds its own y, the fine one its x
        y, x = torch.arange(25) % 5 / 4, torch.arange(81) // 9 / 8
        levels.table[:, 0] = torch.cat((y, x))
    places = torch.rand(40, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(levels(places), places, rtol=0, atol=1e-6)
    torch.testing.assert_close(levels(torch.ones(1, 2)), torch.ones(1, 2), rtol=0, atol=1e-6)


def test_a_grids_gradient_is_that_of_autograd():
    with seeded(0):
        levels = HashLevels(3, [4, 16], [40, 60], 2)
    places = torch.rand(50, 3, generator=torch.Generator().manual_seed(1))
    levels(places).square().sum().backward()
    rows, weights = levels.corners(places)
    plain = levels.table.detach().clone().requires_grad_()
    (plain[rows] * weights[..., None]).sum(dim=2).square().sum().backward()
    torch.testing.assert_close(levels.table.grad, plain.grad, rtol=1e-4, atol=1e-9)
    assert int(rows[:, 0].max()) < 40 <= int(rows[:, 1].min())


def test_a_picture_is_learned():
    made = study()
    before = made.evaluate()["psnr"]
    for _ in range(made.total_steps):
        made.step()
    assert made.evaluate()["psnr"] > before + 8


def test_a_pixel_shows_its_kernels_and_their_sines():
    weights, sines = study().inspect({"y": 3, "x": 5})
    assert weights.values.shape == (4,)
    assert weights.values.sum() == pytest.approx(1, abs=1e-5)
    assert sines.values.shape == (4, 16)


def test_a_scene_gets_kernels_where_a_grid_found_something():
    made = study(signal="views", pretraining=12)
    centers = made.module.radial.centers.numpy()
    assert made.signal.steps == 0
    assert made.signal.weights.std() > 0
    assert ((centers >= 0) & (centers <= 1)).all()
    assert all(math.isfinite(made.step()["loss"]) for _ in range(3))
