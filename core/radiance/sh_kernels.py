"""Compiled twins of the spherical harmonics in core/radiance/sh.py: forward and analytic backward.

    sh_coeffs   [N, K, 3] float32
    directions  [N, 3]    float32, unit
    bases       [N, K]    float32, kept for the backward pass
    colors      [N, 3]    float32, before +0.5 and the clamp

Rows are independent, so every output row has one writer and the result does not depend on threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

CHUNK = 1024

_ZERO, _HALF, _SHORTEST = np.float32(0), np.float32(0.5), np.float32(1e-12)
_BASE = np.float32(0.5 / math.sqrt(math.pi))
_LINEAR = np.float32(math.sqrt(3 / (4 * math.pi)))
_PAIR = np.float32(math.sqrt(15 / math.pi) / 2)
_HALF_PAIR = np.float32(math.sqrt(15 / math.pi) / 4)
_AXIS = np.float32(math.sqrt(5 / math.pi) / 4)
_CUBIC = np.float32(math.sqrt(35 / (2 * math.pi)) / 4)
_CUBIC_SIDE = np.float32(math.sqrt(21 / (2 * math.pi)) / 4)
_CUBIC_AXIS = np.float32(math.sqrt(7 / math.pi) / 4)
_CUBIC_MIXED = np.float32(math.sqrt(105 / math.pi) / 4)
_TWO, _THREE, _FOUR, _SIX = np.float32(2), np.float32(3), np.float32(4), np.float32(6)


@kernel
def fill_bases(bases, n, x, y, z):  # type: ignore[no-untyped-def]
    """Fill row `n` of `bases` [N, K] for one unit direction."""
    num_bases = bases.shape[1]
    bases[n, 0] = _BASE
    if num_bases > 1:
        bases[n, 1], bases[n, 2], bases[n, 3] = -_LINEAR * y, _LINEAR * z, -_LINEAR * x
    if num_bases > 4:
        bases[n, 4] = _PAIR * x * y
        bases[n, 5] = -_PAIR * y * z
        bases[n, 6] = _AXIS * (_TWO * z * z - x * x - y * y)
        bases[n, 7] = -_PAIR * x * z
        bases[n, 8] = _HALF_PAIR * (x * x - y * y)
    if num_bases > 9:
        bases[n, 9] = -_CUBIC * y * (_THREE * x * x - y * y)
        bases[n, 10] = _TWO * _CUBIC_MIXED * x * y * z
        bases[n, 11] = -_CUBIC_SIDE * y * (_FOUR * z * z - x * x - y * y)
        bases[n, 12] = _CUBIC_AXIS * z * (_TWO * z * z - _THREE * x * x - _THREE * y * y)
        bases[n, 13] = -_CUBIC_SIDE * x * (_FOUR * z * z - x * x - y * y)
        bases[n, 14] = _CUBIC_MIXED * z * (x * x - y * y)
        bases[n, 15] = -_CUBIC * x * (x * x - _THREE * y * y)


@parallel_kernel
def sh_forward(sh_coeffs, directions, bases, colors):  # type: ignore[no-untyped-def]
    """Fill bases and colours."""
    num_bases = sh_coeffs.shape[1]
    for n in prange(sh_coeffs.shape[0]):
        fill_bases(bases, n, directions[n, 0], directions[n, 1], directions[n, 2])
        for c in range(3):
            total = np.float32(0)
            for k in range(num_bases):
                total += bases[n, k] * sh_coeffs[n, k, c]
            colors[n, c] = total


@parallel_kernel
def sh_backward_coeffs(bases, color_gradients, coeff_gradients):  # type: ignore[no-untyped-def]
    """Fill d loss / d sh_coeffs [N, K, 3]."""
    for n in prange(bases.shape[0]):
        for k in range(bases.shape[1]):
            for c in range(3):
                coeff_gradients[n, k, c] = bases[n, k] * color_gradients[n, c]


@parallel_kernel
def sh_backward_directions(  # type: ignore[no-untyped-def]
    sh_coeffs, directions, color_gradients, weights, direction_gradients
):
    """Fill d loss / d directions [N, 3]; `weights` [N, K] is scratch: d loss / d bases."""
    num_bases = sh_coeffs.shape[1]
    for n in prange(sh_coeffs.shape[0]):
        x, y, z = directions[n, 0], directions[n, 1], directions[n, 2]
        w = weights[n]
        for k in range(num_bases):
            w[k] = np.float32(0)
            for c in range(3):
                w[k] += sh_coeffs[n, k, c] * color_gradients[n, c]
        dx, dy, dz = np.float32(0), np.float32(0), np.float32(0)
        if num_bases > 1:
            dx, dy, dz = -_LINEAR * w[3], -_LINEAR * w[1], _LINEAR * w[2]
        if num_bases > 4:
            dx += _PAIR * (y * w[4] - z * w[7]) - _TWO * _AXIS * x * w[6] + _PAIR * x * w[8]
            dy += _PAIR * (x * w[4] - z * w[5]) - _TWO * _AXIS * y * w[6] - _PAIR * y * w[8]
            dz += -_PAIR * (y * w[5] + x * w[7]) + _FOUR * _AXIS * z * w[6]
        if num_bases > 9:
            flat, side = _THREE * (x * x - y * y), _FOUR * z * z
            dx += -_CUBIC * (_SIX * x * y * w[9] + flat * w[15])
            dy += -_CUBIC * (flat * w[9] - _SIX * x * y * w[15])
            dx += _TWO * _CUBIC_MIXED * (y * z * w[10] + x * z * w[14])
            dy += _TWO * _CUBIC_MIXED * (x * z * w[10] - y * z * w[14])
            dz += _CUBIC_MIXED * (_TWO * x * y * w[10] + (x * x - y * y) * w[14])
            dx += _CUBIC_SIDE * (_TWO * x * y * w[11] - (side - _THREE * x * x - y * y) * w[13])
            dy += _CUBIC_SIDE * (_TWO * x * y * w[13] - (side - x * x - _THREE * y * y) * w[11])
            dz += -_CUBIC_SIDE * _FOUR * _TWO * z * (y * w[11] + x * w[13])
            dx += -_CUBIC_AXIS * _SIX * x * z * w[12]
            dy += -_CUBIC_AXIS * _SIX * y * z * w[12]
            dz += _CUBIC_AXIS * (_SIX * z * z - _THREE * (x * x + y * y)) * w[12]
        direction_gradients[n, 0], direction_gradients[n, 1] = dx, dy
        direction_gradients[n, 2] = dz


@kernel
def _fill_seen(bases, means, n, center):  # type: ignore[no-untyped-def]
    """Fill row 0 of `bases` for the direction from `center` to one Gaussian."""
    x, y, z = means[n, 0] - center[0], means[n, 1] - center[1], means[n, 2] - center[2]
    scale = np.float32(1) / max(np.float32(math.sqrt(x * x + y * y + z * z)), _SHORTEST)
    fill_bases(bases, 0, x * scale, y * scale, z * scale)


@parallel_kernel
def seen_forward(means, center, constant, bands, num_bases, colors):  # type: ignore[no-untyped-def]
    """Fill the finished colours from the constant band [N, 1, 3] and the first of the others [N, K - 1, 3]."""
    num = means.shape[0]
    for chunk in prange((num + CHUNK - 1) // CHUNK):
        bases = np.empty((1, num_bases), np.float32)
        for n in range(chunk * CHUNK, min((chunk + 1) * CHUNK, num)):
            _fill_seen(bases, means, n, center)
            red = _HALF + bases[0, 0] * constant[n, 0, 0]
            green = _HALF + bases[0, 0] * constant[n, 0, 1]
            blue = _HALF + bases[0, 0] * constant[n, 0, 2]
            own = bands[n]
            for k in range(num_bases - 1):
                basis = bases[0, k + 1]
                red += basis * own[k, 0]
                green += basis * own[k, 1]
                blue += basis * own[k, 2]
            colors[n, 0] = max(red, _ZERO)
            colors[n, 1] = max(green, _ZERO)
            colors[n, 2] = max(blue, _ZERO)


@parallel_kernel
def seen_backward(means, center, colors, given, num_bases, to_constant, to_bands):  # type: ignore[no-untyped-def]
    """Fill the gradients of both kinds of coefficients; bands that take no part yet get zeros."""
    num = means.shape[0]
    for chunk in prange((num + CHUNK - 1) // CHUNK):
        bases = np.zeros((1, num_bases), np.float32)
        for n in range(chunk * CHUNK, min((chunk + 1) * CHUNK, num)):
            _fill_seen(bases, means, n, center)
            red = given[n, 0] if colors[n, 0] > _ZERO else _ZERO
            green = given[n, 1] if colors[n, 1] > _ZERO else _ZERO
            blue = given[n, 2] if colors[n, 2] > _ZERO else _ZERO
            to_constant[n, 0, 0] = bases[0, 0] * red
            to_constant[n, 0, 1] = bases[0, 0] * green
            to_constant[n, 0, 2] = bases[0, 0] * blue
            own = to_bands[n]
            for k in range(num_bases - 1):
                basis = bases[0, k + 1]
                own[k, 0], own[k, 1], own[k, 2] = basis * red, basis * green, basis * blue
            own[num_bases - 1 :] = _ZERO


def warm_up() -> Iterator[str]:
    """Compile the kernels of training one by one, naming each when it is ready."""
    rows, coefficients = np.zeros((1, 3), np.float32), np.zeros((1, 1, 3), np.float32)
    seen_forward(rows, rows[0], coefficients, coefficients, 2, rows.copy())
    seen_backward(rows, rows[0], rows, rows, 2, coefficients, coefficients.copy())
    yield "harmonics of what a photograph shows"
