"""Compiled loops of the encodings: one pass over the points where torch would make several.

points      [V, 3]  float32  scene units
center      [3]     float32  of the box
scale       [3]     float32  two over its size
u           [V, 3]  float32  contracted points
directions  [V, 3]  float32  unit vectors
bands       [V, 9]  float32  spherical harmonics
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

OPEN_END = np.float32(6e-8)  # half a float32 step below one: u never reaches 0 or 1
CHUNK = 4096

# 1 / (2 sqrt(pi)), sqrt(3 / (4 pi)), sqrt(15 / (4 pi)), sqrt(5 / (16 pi)) times 3 and 1, sqrt(15 / (16 pi))
HARMONICS = (
    0.28209479177387814,
    0.48860251190291987,
    1.0925484305920792,
    0.94617469575755997,
    0.31539156525251999,
    0.54627421529603959,
)

_K0, _K1, _K2, _K3, _K4, _K5 = (np.float32(value) for value in HARMONICS)
_QUARTER, _HALF, _ONE, _TWO = np.float32(0.25), np.float32(0.5), np.float32(1), np.float32(2)
_LAST = _ONE - OPEN_END


@kernel
def _into_cube(value):
    return min(max(value * _QUARTER + _HALF, OPEN_END), _LAST)


@kernel
def contract_one(x, y, z, center, scale):
    """Map one point into the unit cube."""
    x, y, z = (x - center[0]) * scale[0], (y - center[1]) * scale[1], (z - center[2]) * scale[2]
    largest = max(max(abs(x), abs(y)), max(abs(z), _ONE))
    # divided by the largest first: squares of far points would overflow
    nx, ny, nz = x / largest, y / largest, z / largest
    distance = max(np.sqrt(nx * nx + ny * ny + nz * nz) * largest, _ONE)
    shrink = (_TWO - _ONE / distance) / distance
    return _into_cube(x * shrink), _into_cube(y * shrink), _into_cube(z * shrink)


@kernel
def harmonics_of(x, y, z):
    """Return the nine harmonics of one direction."""
    return (
        _K0,
        -_K1 * y,
        _K1 * z,
        -_K1 * x,
        _K2 * x * y,
        -_K2 * y * z,
        _K3 * z * z - _K4,
        -_K2 * x * z,
        _K5 * (x * x - y * y),
    )


@parallel_kernel
def contract(points, center, scale, u):
    """Map points into the unit cube."""
    count = points.shape[0]
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        for point in range(chunk * CHUNK, min((chunk + 1) * CHUNK, count)):
            u[point, 0], u[point, 1], u[point, 2] = contract_one(
                points[point, 0], points[point, 1], points[point, 2], center, scale
            )


@parallel_kernel
def sh_bands3(directions, bands):
    """Write the nine harmonics of every direction."""
    count = directions.shape[0]
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, count)):
            values = harmonics_of(directions[row, 0], directions[row, 1], directions[row, 2])
            for band in range(9):
                bands[row, band] = values[band]


def warm_up() -> Iterator[str]:
    """Compile the kernels one by one, naming each when it is ready."""
    rows, ones = np.zeros((1, 3), np.float32), np.ones(3, np.float32)
    contract(rows, ones, ones, rows.copy())
    yield "contraction of space"
    sh_bands3(rows, np.zeros((1, 9), np.float32))
    yield "direction harmonics"
