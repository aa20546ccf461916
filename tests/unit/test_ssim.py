"""The picture loss: SSIM by its definition, compiled loops against plain torch, gradients."""

import numba
import numpy as np
import pytest
import torch

from core.nn import ssim_kernels as kernels
from core.nn.ssim import TargetStatistics, l1_ssim_loss, psnr, ssim, ssim_reference


def picture(height, width, channels=3, seed=0):
    """Return smooth colours with a little noise, as photographs have."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    noise = 0.1 * torch.rand(height, width, channels, generator=generator)
    return (smooth[0].permute(1, 2, 0) * 0.8 + noise).contiguous()


def reference_loss(rendered, target, weight):
    absolute = (rendered - target).abs().mean()
    return (1 - weight) * absolute + weight * (1 - ssim_reference(rendered, target))


SIZES = [(1, 1), (5, 5), (11, 11), (17, 40), (40, 17)]


def test_the_reference_equals_ssim_written_out_for_one_pixel():
    one, two = picture(23, 23, 1).double()[..., 0], picture(23, 23, 1, seed=1).double()[..., 0]
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights = torch.as_tensor(weights / weights.sum())

    def at(row, column):
        window = [x[row - 5 : row + 6, column - 5 : column + 6] for x in (one, two)]
        means = [(weights * x).sum() for x in window]
        variances = [
            (weights * (x - mean) ** 2).sum() for x, mean in zip(window, means, strict=True)
        ]
        covariance = (weights * (window[0] - means[0]) * (window[1] - means[1])).sum()
        light = (2 * means[0] * means[1] + 1e-4) / (means[0] ** 2 + means[1] ** 2 + 1e-4)
        return light * (2 * covariance + 9e-4) / (variances[0] + variances[1] + 9e-4)

    # the mean over a frame of zeros and a picture isolates the pixels whose windows lie inside
    padded = [torch.nn.functional.pad(x, (5, 5, 5, 5)) for x in (one, two)]
    one, two = padded
    expected = torch.stack([at(row, col) for row in range(5, 28) for col in range(5, 28)]).mean()
    actual = ssim_reference(one[5:28, 5:28, None], two[5:28, 5:28, None])
    assert actual == pytest.approx(expected.item(), abs=1e-6)  # the window is stored in float32


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_loss_and_gradient_equal_plain_torch(size, channels):
    rendered = picture(*size, channels).requires_grad_()
    target = picture(*size, channels, seed=1)
    loss = l1_ssim_loss(rendered, target, 0.2)
    loss.backward()
    exact = rendered.detach().double().requires_grad_()
    expected = reference_loss(exact, target.double(), 0.2)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    # variances lose five digits to cancellation; slopes are divided by at least 9e-4
    scale = exact.grad.abs().max().item()
    torch.testing.assert_close(rendered.grad.double(), exact.grad, atol=2e-3 * scale, rtol=0)


def test_the_reference_gradient_equals_finite_differences():
    target = picture(6, 7).double()
    rendered = picture(6, 7, seed=3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: reference_loss(x, target, 0.2), (rendered,))


def test_an_upstream_factor_scales_the_gradient():
    target = picture(12, 12)
    gradients = []
    for factor in (1.0, 2.5):
        rendered = picture(12, 12, seed=4).requires_grad_()
        (factor * l1_ssim_loss(rendered, target)).backward()
        gradients.append(rendered.grad)
    torch.testing.assert_close(2.5 * gradients[0], gradients[1])


def test_kept_statistics_change_nothing():
    rendered, target = picture(20, 30), picture(20, 30, seed=5)
    kept = TargetStatistics(target)
    l1_ssim_loss(picture(9, 9), picture(9, 9, seed=1))  # another size in between
    assert l1_ssim_loss(rendered, target, statistics=kept) == l1_ssim_loss(rendered, target)


def test_a_picture_equals_itself():
    image = picture(30, 20).requires_grad_()
    loss = l1_ssim_loss(image, image.detach())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert image.grad.abs().max() < 1e-6
    assert ssim(image, image).item() == pytest.approx(1, abs=1e-6)
    assert psnr(image, image) == float("inf")


def test_similarity_falls_with_noise():
    image = picture(40, 40)
    noise = torch.randn(40, 40, 3, generator=torch.Generator().manual_seed(0))
    values = [ssim(image + strength * noise, image).item() for strength in (0, 0.02, 0.1, 0.5)]
    assert values == sorted(values, reverse=True)


def test_psnr_of_a_constant_error_is_known():
    image = torch.zeros(4, 4, 3)
    assert psnr(image + 0.1, image).item() == pytest.approx(20.0, abs=1e-4)


def test_a_picture_that_is_no_contiguous_block_is_read_correctly():
    rendered, target = picture(20, 30).transpose(0, 1), picture(30, 20, seed=1)
    expected = ssim_reference(rendered, target)
    assert ssim(rendered, target).item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_loss_does_not_depend_on_the_number_of_threads():
    results = []
    before = numba.get_num_threads()
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        rendered = picture(64, 48).requires_grad_()
        loss = l1_ssim_loss(rendered, picture(64, 48, seed=1))
        loss.backward()
        results.append((loss.detach(), rendered.grad))
    numba.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_pictures_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"target: expected shape \[8, 8, 3\], got \[8, 9, 3\]"):
        l1_ssim_loss(torch.zeros(8, 8, 3), torch.zeros(8, 9, 3))


def test_warming_up_names_every_kernel():
    assert list(kernels.warm_up()) == ["picture statistics", "picture loss"]
