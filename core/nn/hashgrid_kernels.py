"""Compiled loops of the hash grid: gather with eight corners, and scatter of its gradient.

u          [V, 3]     float32  points, 0..1
table      [L, T, F]  float32  rows of every level
scales     [L]        float32  position = u * scale + 0.5, in cells
strides    [L]        uint32   vertices per axis of a dense level, 0 where the level is hashed
rows       [L]        uint32   rows in use; indices are taken modulo this number
encoded    [V, L * F] float32  blended rows, levels side by side
gradient   [L, T, F]  float32  summed into, never cleared here
touched    [L, T]     uint8    set to 1 where a row received a gradient

The index of a vertex is x + y * stride + z * stride^2 on a dense level and
x ^ (y * 2654435761) ^ (z * 805459861) in 32 bits on a hashed one (Mueller et al. 2022, eq. 4).
The backward gives every level to one thread, so sums have one order whatever the thread count.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

PRIME_Y = np.uint32(2654435761)
PRIME_Z = np.uint32(805459861)
CHUNK = 512  # points a thread encodes at all levels before it takes the next ones

_ONE = np.float32(1)
_HALF = np.float32(0.5)
_NEXT = np.uint32(1)


@kernel
def corner_rows(x, y, z, stride, rows):
    """Return the table rows of a cell's eight corners: x varies fastest, then y, then z."""
    if stride > 0:
        # a point outside 0..1, or not a number, must not leave the table
        x, y, z = min(x, stride), min(y, stride), min(z, stride)
        along_z = np.uint32(stride * stride)
        a = np.uint32(x + np.uint32(y * stride) + np.uint32(z * along_z))
        b, c = np.uint32(a + stride), np.uint32(a + along_z)
        d = np.uint32(b + along_z)
        a1, b1, c1, d1 = (
            np.uint32(a + _NEXT),
            np.uint32(b + _NEXT),
            np.uint32(c + _NEXT),
            np.uint32(d + _NEXT),
        )
        if d1 >= rows:  # a corner beyond the last vertex wraps, as in tiny-cuda-nn
            return (
                a % rows,
                a1 % rows,
                b % rows,
                b1 % rows,
                c % rows,
                c1 % rows,
                d % rows,
                d1 % rows,
            )
        return a, a1, b, b1, c, c1, d, d1
    mask = np.uint32(rows - _NEXT)
    x1 = np.uint32(x + _NEXT)
    y0, z0 = np.uint32(y * PRIME_Y), np.uint32(z * PRIME_Z)
    y1, z1 = np.uint32(y0 + PRIME_Y), np.uint32(z0 + PRIME_Z)
    a, b, c, d = y0 ^ z0, y1 ^ z0, y0 ^ z1, y1 ^ z1
    return (
        (x ^ a) & mask,
        (x1 ^ a) & mask,
        (x ^ b) & mask,
        (x1 ^ b) & mask,
        (x ^ c) & mask,
        (x1 ^ c) & mask,
        (x ^ d) & mask,
        (x1 ^ d) & mask,
    )


@kernel
def _locate(u, point, scale):
    """Return the cell of a point (integers) and the place inside it (0..1)."""
    px, py, pz = u[point, 0] * scale, u[point, 1] * scale, u[point, 2] * scale
    px, py, pz = px + _HALF, py + _HALF, pz + _HALF
    x, y, z = np.int32(px), np.int32(py), np.int32(pz)  # positive, so truncation is the floor
    fractions = px - np.float32(x), py - np.float32(y), pz - np.float32(z)
    return np.uint32(x), np.uint32(y), np.uint32(z), fractions


@kernel
def _encode_level(u, table, scale, stride, rows, features, start, stop, column, encoded):
    """Encode points `start` to `stop` at one level."""
    for point in range(start, stop):
        x, y, z, (fx, fy, fz) = _locate(u, point, scale)
        a, a1, b, b1, c, c1, d, d1 = corner_rows(x, y, z, stride, rows)
        gx, gy, gz = _ONE - fx, _ONE - fy, _ONE - fz
        wa, wb, wc, wd = gy * gz, fy * gz, gy * fz, fy * fz
        for feature in range(features):
            encoded[point, column + feature] = (
                wa * (gx * table[a, feature] + fx * table[a1, feature])
                + wb * (gx * table[b, feature] + fx * table[b1, feature])
                + wc * (gx * table[c, feature] + fx * table[c1, feature])
                + wd * (gx * table[d, feature] + fx * table[d1, feature])
            )


@parallel_kernel
def encode(u, table, scales, strides, rows, encoded):
    """Blend the rows around every point at every level."""
    num_points, levels, features = u.shape[0], table.shape[0], table.shape[2]
    for chunk in prange((num_points + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        stop = min(start + CHUNK, num_points)
        for level in range(levels):
            column = level * features
            scale, stride, used = scales[level], strides[level], rows[level]
            if features == 2:  # a constant lets the compiler unroll the common case
                _encode_level(u, table[level], scale, stride, used, 2, start, stop, column, encoded)
            else:
                _encode_level(
                    u, table[level], scale, stride, used, features, start, stop, column, encoded
                )


@kernel
def _scatter_level(u, upstream, scale, stride, rows, features, column, sums, marks):
    """Add the gradient of all points to the rows of one level."""
    for point in range(u.shape[0]):
        x, y, z, (fx, fy, fz) = _locate(u, point, scale)
        a, a1, b, b1, c, c1, d, d1 = corner_rows(x, y, z, stride, rows)
        gx, gy, gz = _ONE - fx, _ONE - fy, _ONE - fz
        wa, wb, wc, wd = gy * gz, fy * gz, gy * fz, fy * fz
        for feature in range(features):
            given = upstream[point, column + feature]
            sums[a, feature] += gx * wa * given
            sums[a1, feature] += fx * wa * given
            sums[b, feature] += gx * wb * given
            sums[b1, feature] += fx * wb * given
            sums[c, feature] += gx * wc * given
            sums[c1, feature] += fx * wc * given
            sums[d, feature] += gx * wd * given
            sums[d1, feature] += fx * wd * given
        marks[a] = marks[a1] = marks[b] = marks[b1] = 1
        marks[c] = marks[c1] = marks[d] = marks[d1] = 1


@parallel_kernel
def encode_backward(u, upstream, scales, strides, rows, gradient, touched):
    """Sum the gradient of every blended row and mark the rows that received one."""
    levels, features = gradient.shape[0], gradient.shape[2]
    for level in prange(levels):
        sums, marks, column = gradient[level], touched[level], level * features
        scale, stride, used = scales[level], strides[level], rows[level]
        if features == 2:
            _scatter_level(u, upstream, scale, stride, used, 2, column, sums, marks)
        else:
            _scatter_level(u, upstream, scale, stride, used, features, column, sums, marks)


def warm_up() -> Iterator[str]:
    """Compile the kernels one by one, naming each when it is ready."""
    u = np.full((1, 3), 0.5, np.float32)
    table = np.zeros((2, 64, 2), np.float32)
    scales = np.array([3, 7], np.float32)
    strides, rows = np.array([4, 0], np.uint32), np.array([64, 64], np.uint32)
    encoded = np.zeros((1, 4), np.float32)
    encode(u, table, scales, strides, rows, encoded)
    yield "hash grid"
    encode_backward(
        u, encoded, scales, strides, rows, np.zeros_like(table), np.zeros((2, 64), np.uint8)
    )
    yield "hash grid gradient"
