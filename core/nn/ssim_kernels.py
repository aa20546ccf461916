"""Compiled loops of the picture loss: L1 and SSIM with their gradient in three passes over the rows.

rendered, target   [H, W * C]  float32  pictures, channels interleaved
means, variances   [H, W * C]  float32  of the target under the window
taps               [11]        float32  the window along one axis
workspace       [6, H, W * C]  float32  overwritten
gradient           [H, W * C]  float32  of the loss

The window is separable, so a row is blurred along x from a zero-padded copy, then along y from the
rows around it. Row sums are added in order at the end: the result is the same at any thread count.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

REACH = 5  # pixels to each side; the window is 11 wide
BAND = 8  # rows a thread takes at a time
C1 = np.float32(0.01**2)
C2 = np.float32(0.03**2)

_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)


def window() -> np.ndarray:
    """Return the Gaussian window along one axis [11], standard deviation 1.5, sum one."""
    weights = np.exp(-0.5 * (np.arange(-REACH, REACH + 1) / 1.5) ** 2)
    return (weights / weights.sum()).astype(np.float32)


@kernel
def _along_x(padded, taps, channels, blurred):
    """Blur one row; `padded` carries REACH pixels of zeros at both ends."""
    size = blurred.shape[0]
    # shifted views: an index that is a sum would be checked for being negative, which stops vectorisation
    n5, n4, n3 = padded, padded[channels:], padded[2 * channels :]
    n2, n1, middle = padded[3 * channels :], padded[4 * channels :], padded[5 * channels :]
    p1, p2, p3 = padded[6 * channels :], padded[7 * channels :], padded[8 * channels :]
    p4, p5 = padded[9 * channels :], padded[10 * channels :]
    t5, t4, t3, t2, t1, t0 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    for column in range(size):
        blurred[column] = (
            t0 * middle[column]
            + t1 * (n1[column] + p1[column])
            + t2 * (n2[column] + p2[column])
            + t3 * (n3[column] + p3[column])
            + t4 * (n4[column] + p4[column])
            + t5 * (n5[column] + p5[column])
        )


@kernel
def _along_y(values, row, taps, blurred):
    """Blur one row from the rows around it; rows outside the picture count as zero."""
    last = values.shape[0] - 1
    for column in range(blurred.shape[0]):
        blurred[column] = taps[REACH] * values[row, column]
    for tap in range(REACH):
        above, below = row - REACH + tap, row + REACH - tap
        weight_above = taps[tap] if above >= 0 else _ZERO
        weight_below = taps[tap] if below <= last else _ZERO
        above, below = max(above, 0), min(below, last)
        for column in range(blurred.shape[0]):
            blurred[column] += (
                weight_above * values[above, column] + weight_below * values[below, column]
            )


@parallel_kernel
def statistics(picture, taps, channels, workspace, means, variances):
    """Write the mean and variance of a picture under the window."""
    height, size = picture.shape
    blurred = workspace[:2]
    for band in prange((height + BAND - 1) // BAND):
        padded = np.zeros((2, size + 2 * REACH * channels), np.float32)
        for row in range(band * BAND, min((band + 1) * BAND, height)):
            values, squares = padded[0, REACH * channels :], padded[1, REACH * channels :]
            for column in range(size):
                value = picture[row, column]
                values[column] = value
                squares[column] = value * value
            _along_x(padded[0], taps, channels, blurred[0, row])
            _along_x(padded[1], taps, channels, blurred[1, row])
    for band in prange((height + BAND - 1) // BAND):
        for row in range(band * BAND, min((band + 1) * BAND, height)):
            _along_y(blurred[0], row, taps, means[row])
            _along_y(blurred[1], row, taps, variances[row])
            for column in range(size):
                variances[row, column] -= means[row, column] * means[row, column]


@kernel
def _ssim_row(sums, means, variances, by_mean, by_square, by_product):
    """Return the sum of SSIM along a row; write its slopes by blurred mean, square and product."""
    total = _ZERO
    for column in range(means.shape[0]):
        mean, other = sums[0, column], means[column]
        variance = sums[1, column] - mean * mean
        covariance = sums[2, column] - mean * other
        light, contrast = _TWO * mean * other + C1, _TWO * covariance + C2
        light_norm = mean * mean + other * other + C1
        contrast_norm = variance + variances[column] + C2
        scale = _ONE / (light_norm * contrast_norm)
        value = light * contrast * scale
        slope = -value / contrast_norm
        by_mean[column] = _TWO * (
            other * (contrast - light) * scale - mean * (value / light_norm + slope)
        )
        by_square[column] = slope
        by_product[column] = _TWO * light * scale
        total += value
    return total


@kernel
def _gradient_row(rendered, target, slopes, l1_scale, ssim_scale, gradient):
    """Write the gradient along a row; return the sum of absolute differences."""
    total = _ZERO
    for column in range(rendered.shape[0]):
        value, wanted = rendered[column], target[column]
        difference = value - wanted
        total += abs(difference)
        sign = _ONE if difference > _ZERO else (-_ONE if difference < _ZERO else _ZERO)
        slope = slopes[0, column] + _TWO * value * slopes[1, column] + wanted * slopes[2, column]
        gradient[column] = l1_scale * sign - ssim_scale * slope
    return total


@parallel_kernel
def l1_and_ssim(
    rendered, target, means, variances, taps, channels, l1_scale, ssim_scale, workspace, gradient
):
    """Return the sums of absolute differences and of SSIM.

    Write the gradient of l1_scale * (first sum) - ssim_scale * (second sum).
    """
    height, size = rendered.shape
    offset = REACH * channels
    num_bands = (height + BAND - 1) // BAND
    blurred, slopes = workspace[:3], workspace[3:]
    row_sums = np.empty((2, height))
    for band in prange(num_bands):
        padded = np.zeros((3, size + 2 * offset), np.float32)
        for row in range(band * BAND, min((band + 1) * BAND, height)):
            values, squares = padded[0, offset:], padded[1, offset:]
            products = padded[2, offset:]
            for column in range(size):
                value = rendered[row, column]
                values[column] = value
                squares[column] = value * value
                products[column] = value * target[row, column]
            for plane in range(3):
                _along_x(padded[plane], taps, channels, blurred[plane, row])
    for band in prange(num_bands):
        padded = np.zeros((3, size + 2 * offset), np.float32)
        sums = np.empty((3, size), np.float32)
        for row in range(band * BAND, min((band + 1) * BAND, height)):
            for plane in range(3):
                _along_y(blurred[plane], row, taps, sums[plane])
            row_sums[1, row] = _ssim_row(
                sums,
                means[row],
                variances[row],
                padded[0, offset:],
                padded[1, offset:],
                padded[2, offset:],
            )
            for plane in range(3):
                _along_x(padded[plane], taps, channels, slopes[plane, row])
    for band in prange(num_bands):
        sums = np.empty((3, size), np.float32)
        for row in range(band * BAND, min((band + 1) * BAND, height)):
            for plane in range(3):
                _along_y(slopes[plane], row, taps, sums[plane])
            row_sums[0, row] = _gradient_row(
                rendered[row], target[row], sums, l1_scale, ssim_scale, gradient[row]
            )
    absolute, similarity = 0.0, 0.0
    for row in range(height):
        absolute += row_sums[0, row]
        similarity += row_sums[1, row]
    return absolute, similarity


def warm_up() -> Iterator[str]:
    """Compile the kernels one by one, naming each when it is ready."""
    picture, workspace = np.zeros((2, 6), np.float32), np.empty((6, 2, 6), np.float32)
    taps, scale = window(), np.float32(1)
    means, variances, gradient = (np.empty_like(picture) for _ in range(3))
    statistics(picture, taps, 3, workspace, means, variances)
    yield "picture statistics"
    l1_and_ssim(picture, picture, means, variances, taps, 3, scale, scale, workspace, gradient)
    yield "picture loss"
