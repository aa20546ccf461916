"""Compiled twins of the spherical harmonics in core/radiance/sh.py: forward and analytic backward.

    sh_coeffs   [N, K, 3] float32
    directions  [N, 3]    float32, unit
    bases       [N, K]    float32, kept for the backward pass
    colors      [N, 3]    float32, before +0.5 and the clamp

Rows are independent, so every output row has one writer and the result does not depend on threads.
"""

from __future__ import annotations

import math

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

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
