"""A coarse background behind a picture: the same numbers as torch's enlargement and the plain formula."""

import pytest
import torch

from core.radiance.backdrop import enlarged, laid_over, seen_through


def layers(height: int, width: int, rows: int, columns: int) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(height)
    return tuple(
        torch.rand(shape, generator=draw).requires_grad_(True)
        for shape in ((height, width, 3), (height, width, 1), (rows, columns, 3))
    )


@pytest.mark.parametrize(
    "size", [(12, 16, 3, 4), (13, 17, 4, 5), (9, 7, 9, 7), (30, 5, 1, 1), (31, 8, 16, 2)]
)
def test_values_and_gradients_are_those_of_the_plain_formula(size):
    found, wanted = layers(*size), layers(*size)
    weight = torch.rand(found[0].shape, generator=torch.Generator().manual_seed(1))
    one = laid_over(*found)
    rgb, alpha, background = wanted
    two = rgb + (1 - alpha) * enlarged(background, size[0], size[1])
    torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-6)
    (one * weight).sum().backward()
    (two * weight).sum().backward()
    for mine, plain in zip(found, wanted, strict=True):
        # sums of up to 150 products in another order
        torch.testing.assert_close(mine.grad, plain.grad, atol=2e-5, rtol=1e-5)


def test_without_a_background_the_picture_is_the_gaussians():
    rgb, alpha, _ = layers(4, 5, 2, 2)
    assert laid_over(rgb, alpha, None) is rgb


@pytest.mark.parametrize("size", [(24, 36, 6, 9), (25, 37, 7, 10), (8, 8, 8, 8)])
def test_cells_where_light_passes_are_those_of_torch(size):
    height, width, rows, columns = size
    alpha = torch.ones(height, width, 1)
    alpha[2, 3] = 0.5
    alpha[-1, -1] = 0.98
    found = seen_through(alpha, rows, columns, 0.01)
    assert torch.equal(found, seen_through(alpha.double(), rows, columns, 0.01))
    assert 0 < len(found) < rows * columns
