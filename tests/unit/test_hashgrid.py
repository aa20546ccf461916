"""The hash grid: its layout, its compiled loops against plain torch, and its persistent gradient."""

import numba
import numpy as np
import pytest
import torch

from core.base.config import validated
from core.base.errors import ConfigError
from core.nn import hashgrid_kernels as kernels
from core.nn.hashgrid import HashGrid, HashGridConfig, encode_reference


def small(**settings):
    values = {"levels": 5, "log2_table": 9, "base_resolution": 4, "max_resolution": 50} | settings
    return HashGridConfig(**values)


def grid_with_large_features(config, seed=0):
    grid = HashGrid(config, torch.Generator().manual_seed(seed))
    grid.table.data.normal_(generator=torch.Generator().manual_seed(seed))
    return grid


def points(count, seed=1):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))


def test_levels_grow_geometrically_from_base_to_maximum():
    config = HashGridConfig(
        levels=3, log2_table=12, base_resolution=16, max_resolution=64, features=2
    )
    # scale_l = 16 * 2^l - 1 by hand; vertices are one more than the cells rounded up
    assert config.scales().tolist() == [15.0, 31.0, 63.0]
    assert config.resolutions().tolist() == [16, 32, 64]
    assert config.strides().tolist() == [16, 0, 0]  # 16^3 = 2^12 just fits
    assert config.width == 6


def test_a_single_level_has_the_base_resolution():
    assert small(levels=1).resolutions().tolist() == [4]


def test_a_dense_level_uses_its_vertices_rounded_up_to_eight_rows():
    assert small(base_resolution=5).used_rows()[0] == 128  # 5^3 = 125


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ((0, 0, 0), [0, 1, 5, 6, 25, 26, 30, 31]),
        ((3, 2, 1), [38, 39, 43, 44, 63, 64, 68, 69]),  # 3 + 2 * 5 + 1 * 25
        ((4, 4, 4), [124, 125, 1, 2, 21, 22, 26, 27]),  # 129 and more wrap at 128 rows
    ],
)
def test_a_dense_level_counts_vertices_row_by_row(cell, expected):
    rows = kernels.corner_rows(*np.uint32(cell), np.uint32(5), np.uint32(128))
    assert list(rows) == expected


@pytest.mark.parametrize("cell", [(0, 0, 0), (1, 1, 1), (700, 33, 1023), (8191, 8191, 8191)])
@pytest.mark.parametrize("log2_rows", [6, 15, 22])
def test_a_hashed_level_agrees_with_the_formula_in_exact_integers(cell, log2_rows):
    rows = kernels.corner_rows(*np.uint32(cell), np.uint32(0), np.uint32(1 << log2_rows))
    expected = []
    for corner in range(8):
        x, y, z = (cell[axis] + (corner >> axis & 1) for axis in range(3))
        expected.append((x ^ (y * 2654435761) ^ (z * 805459861)) % 2**32 % 2**log2_rows)
    assert list(rows) == expected


@pytest.mark.parametrize("features", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [0, 1, 700])
def test_the_compiled_encoding_equals_plain_torch(features, count):
    grid = grid_with_large_features(small(features=features))
    u = points(count)
    expected = encode_reference(grid.table.double(), u.double(), grid.layout)
    # positions in float32 are off by 50 cells * 6e-8, times slopes of a few units per cell
    torch.testing.assert_close(grid(u).double(), expected, atol=5e-5, rtol=0)


def test_the_faces_and_corners_of_the_cube_are_encoded():
    grid = grid_with_large_features(small())
    ends = torch.tensor([0.0, 0.5, 1.0])
    u = torch.cartesian_prod(ends, ends, ends)
    expected = encode_reference(grid.table.double(), u.double(), grid.layout)
    torch.testing.assert_close(grid(u).double(), expected, atol=5e-5, rtol=0)


def test_points_that_are_no_numbers_stay_inside_the_table():
    grid = grid_with_large_features(small())
    u = torch.tensor([[float("nan")] * 3, [-5.0, 7.0, 1e30], [0.5, 0.5, 0.5]])
    encoded = grid(u)
    encoded[2].sum().backward()  # would crash the process if a row left the table
    torch.testing.assert_close(encoded[2], grid(u[2:])[0])


@pytest.mark.parametrize("features", [2, 3])
def test_the_compiled_gradient_equals_automatic_differentiation(features):
    grid = grid_with_large_features(small(features=features))
    u = points(300)
    upstream = torch.randn(300, grid.config.width, generator=torch.Generator().manual_seed(2))
    grid(u).backward(upstream)
    table = grid.table.detach().double().requires_grad_()
    encode_reference(table, u.double(), grid.layout).backward(upstream.double())
    torch.testing.assert_close(grid.table.grad.double(), table.grad, atol=1e-4, rtol=0)


def test_the_reference_gradient_equals_finite_differences():
    config = small(levels=3, log2_table=6)
    layout = HashGrid(config).layout
    table = torch.randn(3, 64, 2, dtype=torch.double, requires_grad=True)
    u = points(6).double()
    assert torch.autograd.gradcheck(lambda table: encode_reference(table, u, layout), (table,))


def test_double_precision_takes_the_torch_path_with_the_same_gradient():
    grid = grid_with_large_features(small())
    u = points(50)
    upstream = torch.randn(50, grid.config.width)
    grid(u).backward(upstream)
    exact = grid_with_large_features(small()).double()
    exact(u.double()).backward(upstream.double())
    torch.testing.assert_close(grid.table.grad.double(), exact.table.grad, atol=1e-4, rtol=0)
    assert torch.equal(grid.touched(), exact.touched())


def test_positions_receive_no_gradient():
    u = points(5).requires_grad_()
    HashGrid(small())(u).sum().backward()
    assert u.grad is None


def test_only_rows_with_a_gradient_are_marked():
    grid = grid_with_large_features(small(levels=2))
    grid(points(3)).sum().backward()
    touched = grid.touched().bool()
    assert 0 < touched.sum() <= 2 * 3 * 8
    assert (grid.gradient()[~touched] == 0).all()
    assert (grid.gradient()[touched].abs().sum(-1) > 0).all()


def test_two_queries_in_one_step_add_up():
    grid = grid_with_large_features(small())
    first, second = points(20, seed=3), points(30, seed=4)
    (grid(first).sum() + grid(second).sum()).backward()
    together = grid.table.grad.clone()
    other = grid_with_large_features(small())
    other(torch.cat((first, second))).sum().backward()
    torch.testing.assert_close(together, other.table.grad)


def test_a_gradient_dropped_by_an_optimizer_starts_from_zero():
    grid = grid_with_large_features(small())
    grid(points(20)).sum().backward()
    once = grid.table.grad.clone()
    grid.table.grad = None
    grid(points(20)).sum().backward()
    torch.testing.assert_close(grid.table.grad, once)


def test_without_gradients_nothing_is_recorded():
    grid = HashGrid(small())
    with torch.no_grad():
        grid(points(4))
    assert grid.table.grad is None


def test_the_gradient_does_not_depend_on_the_number_of_threads():
    u = points(2000)
    gradients = []
    before = numba.get_num_threads()
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        grid = grid_with_large_features(small())
        (grid(u) ** 2).sum().backward()
        gradients.append(grid.table.grad)
    numba.set_num_threads(before)
    assert torch.equal(gradients[0], gradients[1])


def test_the_table_starts_small_and_follows_its_generator():
    tables = [HashGrid(small(), torch.Generator().manual_seed(7)).table for _ in range(2)]
    assert torch.equal(tables[0], tables[1])
    assert 0.9e-4 < tables[0].abs().max() <= 1e-4


def test_levels_that_become_coarser_are_refused_in_one_sentence():
    with pytest.raises(ConfigError, match="max_resolution is 4, below base_resolution 64"):
        validated(HashGridConfig, {"max_resolution": 4})


def test_points_without_three_coordinates_are_refused():
    with pytest.raises(ValueError, match=r"u: expected shape \[\*, 3\]"):
        HashGrid(small())(torch.rand(5, 2))


def test_warming_up_names_every_kernel():
    assert list(kernels.warm_up()) == ["hash grid", "hash grid gradient"]
