"""Compiled loops of both hash grids at once: from points to the inputs of both networks, and back.

means           [V, 3]     float32  scene units
center          [3]        float32  of the camera
box             [2, 3]     float32  centre of the contraction box, and two over its size
grid            scales [L] float32, strides and rows [2, L] uint32, geometry first
geometry_table  [L, T / 2], radiance_table [L, T]  complex64: the two features of a row, read at once
places          [B, 3, 64] float32  contracted points, in blocks of 64
inputs          [B, I, 64] float32  of both networks, geometry first, each padded to a multiple of four
order           [L]        int64    levels as threads take them

Everything is laid out as the inner loops read it, 64 points side by side: nothing is transposed
between grids and networks. Both grids have the same resolutions, so cells, weights and hashes are
shared. The backward gives every level to one thread: the same numbers at any thread count.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange
from core.nn.encoding_kernels import contract_one, harmonics_of
from core.nn.hashgrid_kernels import PRIME_Y, PRIME_Z
from core.nn.mlp_kernels import BLOCK, PARTS, padded

RUNS = 4  # parts of the points that a level is encoded in

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_NONE, _NEXT = np.uint32(0), np.uint32(1)
_SHORTEST = np.float32(1e-12)


def input_rows(levels: int) -> int:
    """Return the rows of `inputs`: features of the geometry, features and harmonics of the radiance."""
    return int(padded(2 * levels) + padded(2 * levels + 9))


@kernel
def locate(place, scale, cells, weights):
    """Write the cell [3, 64] of every point and the weights [8, 64] of its corners, x fastest."""
    for point in range(BLOCK):
        px = place[0, point] * scale + _HALF
        py = place[1, point] * scale + _HALF
        pz = place[2, point] * scale + _HALF
        x, y, z = np.int32(px), np.int32(py), np.int32(pz)  # positive, so truncation is the floor
        fx, fy, fz = px - np.float32(x), py - np.float32(y), pz - np.float32(z)
        gx, gy, gz = _ONE - fx, _ONE - fy, _ONE - fz
        cells[0, point], cells[1, point], cells[2, point] = np.uint32(x), np.uint32(y), np.uint32(z)
        wa, wb, wc, wd = gy * gz, fy * gz, gy * fz, fy * fz
        weights[0, point], weights[1, point] = gx * wa, fx * wa
        weights[2, point], weights[3, point] = gx * wb, fx * wb
        weights[4, point], weights[5, point] = gx * wc, fx * wc
        weights[6, point], weights[7, point] = gx * wd, fx * wd


@kernel
def _wrapped(row, rows):
    """Return a row of a dense level: one beyond the last vertex wraps, and nothing leaves the table."""
    row = np.uint32(row - rows) if row >= rows else row
    return min(row, np.uint32(rows - _NEXT))


@kernel
def find_rows(cells, stride, rows, corners):
    """Write the table rows [8, 64] of the corners at one level, as `hashgrid_kernels.corner_rows` does."""
    if stride > 0:
        along_z = np.uint32(stride * stride)
        for point in range(BLOCK):
            x = min(cells[0, point], stride)
            y = min(cells[1, point], stride)
            z = min(cells[2, point], stride)
            a = np.uint32(x + np.uint32(y * stride) + np.uint32(z * along_z))
            b, c = np.uint32(a + stride), np.uint32(a + along_z)
            d = np.uint32(b + along_z)
            corners[0, point], corners[1, point] = (
                _wrapped(a, rows),
                _wrapped(np.uint32(a + _NEXT), rows),
            )
            corners[2, point], corners[3, point] = (
                _wrapped(b, rows),
                _wrapped(np.uint32(b + _NEXT), rows),
            )
            corners[4, point], corners[5, point] = (
                _wrapped(c, rows),
                _wrapped(np.uint32(c + _NEXT), rows),
            )
            corners[6, point], corners[7, point] = (
                _wrapped(d, rows),
                _wrapped(np.uint32(d + _NEXT), rows),
            )
        return
    mask = np.uint32(rows - _NEXT)
    for point in range(BLOCK):
        x = cells[0, point]
        x1 = np.uint32(x + _NEXT)
        y0, z0 = np.uint32(cells[1, point] * PRIME_Y), np.uint32(cells[2, point] * PRIME_Z)
        y1, z1 = np.uint32(y0 + PRIME_Y), np.uint32(z0 + PRIME_Z)
        a, b, c, d = y0 ^ z0, y1 ^ z0, y0 ^ z1, y1 ^ z1
        corners[0, point], corners[1, point] = (x ^ a) & mask, (x1 ^ a) & mask
        corners[2, point], corners[3, point] = (x ^ b) & mask, (x1 ^ b) & mask
        corners[4, point], corners[5, point] = (x ^ c) & mask, (x1 ^ c) & mask
        corners[6, point], corners[7, point] = (x ^ d) & mask, (x1 ^ d) & mask


@kernel
def blend(pairs, corners, weights, count, features):
    """Write the blended features [2, 64] of the first `count` points at one level."""
    for point in range(count):
        first, second = _ZERO, _ZERO
        for corner in range(8):
            pair, weight = pairs[corners[corner, point]], weights[corner, point]
            first += weight * pair.real
            second += weight * pair.imag
        features[0, point], features[1, point] = first, second


@kernel
def scatter(given, corners, weights, count, sums, marks):
    """Add the gradient [2, 64] of one block to the rows of one level and mark them."""
    for point in range(count):
        first, second = given[0, point], given[1, point]
        for corner in range(8):
            row, weight = corners[corner, point], weights[corner, point]
            pair = sums[row]
            sums[row] = complex(pair.real + weight * first, pair.imag + weight * second)
            marks[row] = 1


@kernel
def _place_block(points, center, box, place, bands, directions):
    """Write contracted points and the harmonics of the directions; beyond the last point some of both."""
    for axis in range(3):
        for point in range(points.shape[0]):
            place[axis, point] = points[point, axis]
        place[axis, points.shape[0] :] = _ZERO
    for point in range(BLOCK):
        x, y, z = (
            place[0, point] - center[0],
            place[1, point] - center[1],
            place[2, point] - center[2],
        )
        scale = _ONE / max(np.sqrt(x * x + y * y + z * z), _SHORTEST)
        directions[0, point], directions[1, point] = x * scale, y * scale
        directions[2, point] = z * scale
        place[0, point], place[1, point], place[2, point] = contract_one(
            place[0, point], place[1, point], place[2, point], box[0], box[1]
        )
    for point in range(BLOCK):
        b = harmonics_of(directions[0, point], directions[1, point], directions[2, point])
        bands[0, point], bands[1, point], bands[2, point] = b[0], b[1], b[2]
        bands[3, point], bands[4, point], bands[5, point] = b[3], b[4], b[5]
        bands[6, point], bands[7, point], bands[8, point] = b[6], b[7], b[8]


@parallel_kernel
def place_points(means, center, box, levels, places, inputs):
    """Fill `places`, and of `inputs` the harmonics and the zeros around them."""
    num, num_blocks = means.shape[0], places.shape[0]
    per_part = (num_blocks + PARTS - 1) // PARTS
    width = padded(2 * levels)
    for part in prange(PARTS):
        directions = np.empty((3, BLOCK), np.float32)
        for block in range(part * per_part, min((part + 1) * per_part, num_blocks)):
            start, rows = block * BLOCK, inputs[block]
            bands = rows[width + 2 * levels :]
            rows[2 * levels : width] = _ZERO
            bands[9:] = _ZERO
            _place_block(
                means[start : min(start + BLOCK, num)],
                center,
                box,
                places[block],
                bands,
                directions,
            )


@parallel_kernel
def encode_places(places, grid, order, geometry_table, radiance_table, inputs):
    """Fill the features of both grids; a thread stays with a level, whose tables then stay in its cache."""
    scales, strides, rows = grid
    num_blocks = places.shape[0]
    per_run = (num_blocks + RUNS - 1) // RUNS
    width = padded(2 * scales.shape[0])
    for entry in prange(order.shape[0] * RUNS):
        level, run = order[entry // RUNS], entry % RUNS
        cells = np.empty((3, BLOCK), np.uint32)
        corners, weights = np.empty((8, BLOCK), np.uint32), np.empty((8, BLOCK), np.float32)
        for block in range(run * per_run, min((run + 1) * per_run, num_blocks)):
            features = inputs[block]
            locate(places[block], scales[level], cells, weights)
            find_rows(cells, strides[1, level], rows[1, level], corners)
            blend(radiance_table[level], corners, weights, BLOCK, features[width + 2 * level :])
            _narrow(cells, strides[:, level], rows[0, level], corners)
            blend(geometry_table[level], corners, weights, BLOCK, features[2 * level :])


@kernel
def _narrow(cells, strides, rows, corners):
    """Turn the radiance table's rows into the geometry table's: the same where dense, fewer bits where hashed."""
    if strides[0] > 0:
        return
    if strides[1] > 0:
        find_rows(cells, _NONE, rows, corners)
        return
    mask = np.uint32(rows - _NEXT)
    for corner in range(8):
        for point in range(BLOCK):
            corners[corner, point] &= mask


@parallel_kernel
def scatter_features(places, to_inputs, grid, num, order, gradients, touched):
    """Sum the gradient of every blended row of both tables and mark the rows; one level to one thread."""
    scales, strides, rows = grid
    geometry_sums, radiance_sums = gradients
    geometry_marks, radiance_marks = touched
    width = padded(2 * scales.shape[0])
    for entry in prange(order.shape[0]):
        level = order[entry]
        cells = np.empty((3, BLOCK), np.uint32)
        corners, weights = np.empty((8, BLOCK), np.uint32), np.empty((8, BLOCK), np.float32)
        for block in range(places.shape[0]):
            count = min(BLOCK, num - block * BLOCK)
            locate(places[block], scales[level], cells, weights)
            find_rows(cells, strides[1, level], rows[1, level], corners)
            given = to_inputs[block, width + 2 * level :]
            scatter(given, corners, weights, count, radiance_sums[level], radiance_marks[level])
            _narrow(cells, strides[:, level], rows[0, level], corners)
            given = to_inputs[block, 2 * level :]
            scatter(given, corners, weights, count, geometry_sums[level], geometry_marks[level])


def warm_up() -> Iterator[str]:
    """Compile the kernels one by one, naming each when it is ready."""
    rows, marks = np.zeros((1, 3), np.float32), np.zeros((1, 64), np.uint8)
    grid = np.ones(1, np.float32), np.zeros((2, 1), np.uint32), np.full((2, 1), 64, np.uint32)
    order, table = np.zeros(1, np.int64), np.zeros((1, 64), np.complex64)
    places = np.zeros((1, 3, BLOCK), np.float32)
    inputs = np.zeros((1, input_rows(1), BLOCK), np.float32)
    place_points(rows, rows[0], np.ones((2, 3), np.float32), 1, places, inputs)
    encode_places(places, grid, order, table, table, inputs)
    yield "both hash grids"
    scatter_features(places, inputs, grid, 1, order, (table, table.copy()), (marks, marks.copy()))
    yield "gradient of both hash grids"
