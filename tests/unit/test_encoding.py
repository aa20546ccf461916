"""Directions as spherical harmonics, and the contraction of space into the unit cube."""

import numpy as np
import pytest
import torch

from core.nn import encoding_kernels as kernels
from core.nn.encoding import contract, contract_reference, sh_bands3, sh_bands3_reference

LOW, HIGH = np.array([-1.0, 2.0, -3.0]), np.array([3.0, 4.0, 5.0])
CENTER, HALF = (LOW + HIGH) / 2, (HIGH - LOW) / 2


def unit_directions(count, seed=0):
    directions = torch.randn(
        count, 3, dtype=torch.double, generator=torch.Generator().manual_seed(seed)
    )
    return directions / directions.norm(dim=-1, keepdim=True)


def from_ball(local):
    """Return scene points at places given in units of the box."""
    return torch.as_tensor(CENTER + np.asarray(local) * HALF)


def test_harmonics_along_the_axes_have_their_textbook_values():
    bands = sh_bands3(torch.eye(3, dtype=torch.double))
    c0, c1, c2 = 0.5 / np.sqrt(np.pi), np.sqrt(0.75 / np.pi), np.sqrt(5 / np.pi) / 4
    d2 = np.sqrt(15 / np.pi) / 4
    expected = [
        [c0, 0, 0, -c1, 0, 0, -c2, 0, d2],
        [c0, -c1, 0, 0, 0, 0, -c2, 0, -d2],
        [c0, 0, c1, 0, 0, 0, 2 * c2, 0, 0],
    ]
    torch.testing.assert_close(bands, torch.tensor(expected, dtype=torch.double))


def test_harmonics_are_orthonormal_over_the_sphere():
    # Gauss-Legendre in height and equal steps around integrate products of band 2 exactly
    heights, weights = np.polynomial.legendre.leggauss(4)
    angles = np.arange(8) * np.pi / 4
    z, angle = (grid.ravel() for grid in np.meshgrid(heights, angles, indexing="ij"))
    weight = np.repeat(weights, 8) * np.pi / 4
    radius = np.sqrt(1 - z**2)
    directions = np.stack((radius * np.cos(angle), radius * np.sin(angle), z), axis=-1)
    bands = sh_bands3(torch.as_tensor(directions)).numpy()
    np.testing.assert_allclose(bands.T @ (bands * weight[:, None]), np.eye(9), atol=1e-14)


def test_no_directions_give_no_bands():
    assert sh_bands3(torch.zeros(0, 3)).shape == (0, 9)


def test_the_unit_ball_lands_between_a_quarter_and_three_quarters():
    directions = unit_directions(500)
    radii = torch.rand(500, 1, dtype=torch.double)
    inside = contract(from_ball(directions * radii), LOW, HIGH)
    assert inside.min() >= 0.25
    assert inside.max() <= 0.75
    np.testing.assert_allclose(inside, 0.5 + directions * radii / 4, atol=1e-15)


def test_corners_of_the_box_are_already_compressed():
    corner = contract(torch.as_tensor(HIGH)[None], LOW, HIGH)
    reach = (2 - 1 / np.sqrt(3)) / np.sqrt(3)
    np.testing.assert_allclose(corner, np.full((1, 3), 0.5 + reach / 4), atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_farthest_points_stay_inside_the_open_cube(dtype):
    far = torch.tensor([[1e30, 0, 0], [-1e30, 0, 0], [1e9, 1e9, 1e9]], dtype=dtype)
    u = contract(far, LOW, HIGH)
    assert (u > 0).all()
    assert (u < 1).all()


def test_the_contraction_is_continuous_on_the_surface_of_the_ball():
    directions = unit_directions(100)
    inside = contract(from_ball(directions * (1 - 1e-9)), LOW, HIGH)
    outside = contract(from_ball(directions * (1 + 1e-9)), LOW, HIGH)
    assert (inside - outside).abs().max() < 1e-9


def test_the_contraction_is_monotone_along_rays():
    directions = unit_directions(50)
    radii = torch.logspace(-3, 4, 200, dtype=torch.double)
    u = torch.stack([contract(from_ball(directions * r), LOW, HIGH) for r in radii])
    reach = (u - 0.5).norm(dim=-1)  # [200, 50]
    assert (reach.diff(dim=0) > 0).all()
    assert (reach < 0.5).all()


def test_the_centre_of_the_box_is_the_centre_of_the_cube():
    assert contract(torch.as_tensor(CENTER)[None], LOW, HIGH).tolist() == [[0.5, 0.5, 0.5]]


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_compiled_encodings_equal_plain_torch(count):
    directions = unit_directions(count)
    radii = torch.logspace(-2, 5, count, dtype=torch.double)[:, None]
    points = from_ball(directions * radii)
    actual = contract(points.float(), LOW, HIGH).double()
    # positions far out are rounded to float32 first; u moves by less than that rounding
    torch.testing.assert_close(actual, contract_reference(points, LOW, HIGH), atol=3e-7, rtol=0)
    bands = sh_bands3(directions.float()).double()
    torch.testing.assert_close(bands, sh_bands3_reference(directions), atol=3e-7, rtol=0)


def test_places_that_need_a_gradient_keep_it():
    points = from_ball(unit_directions(3)).float().requires_grad_()
    contract(points, LOW, HIGH).sum().backward()
    assert points.grad is not None


def test_a_box_without_volume_is_refused():
    with pytest.raises(ValueError, match="has no volume"):
        contract(torch.zeros(1, 3), LOW, LOW)


def test_warming_up_names_every_kernel():
    assert list(kernels.warm_up()) == ["contraction of space", "direction harmonics"]
