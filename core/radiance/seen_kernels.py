"""Compiled loops from a frozen scene to the Gaussians of one view: leave out, gather, colour.

means       [N, 3]        float32  scene units
reach       [N]           float32  scene units beyond which a Gaussian adds nothing, negative where it never does
camera      [20]          float32  see `core.radiance.seen.camera_numbers`
found       [N]           int64    rows kept, chunk by chunk, each chunk's from its own beginning
counts      [chunks]      int64    how many of each chunk
ids         [V]           int64    rows kept, in order
partial     [N, H]        float32  the colour network's first layer, as far as position decides it
packed      [layers, P, P] float32 the rest of the network, padded with zeros
widths      [layers + 1]  int64    9 harmonics, hidden widths, 3
logits      [N, 3]        float32  explicit colours before the sigmoid; no rows when there are none
sh_coeffs   [N, K, 3]     float32
colors      [V, 3]        float32  before the sigmoid (network) or finished (harmonics)

Rows are independent: the result does not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange
from core.nn.encoding_kernels import HARMONICS
from core.nn.mlp_kernels import BLOCK, multiply, padded
from core.radiance.sh_kernels import fill_bases

CHUNK = 2048
NUM_BASES = 9

_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_TINY = np.float32(1e-12)
_K0, _K1, _K2, _K3, _K4, _K5 = (np.float32(value) for value in HARMONICS)


@parallel_kernel
def cull(means, reach, camera, found, counts):
    """Note the rows that can touch the picture."""
    num = len(means)
    for chunk in prange(len(counts)):
        start, stop = chunk * CHUNK, min(num, (chunk + 1) * CHUNK)
        is_kept = np.empty(CHUNK, np.uint8)
        c = camera
        for n in range(start, stop):
            px, py, pz, r = means[n, 0], means[n, 1], means[n, 2], reach[n]
            x = c[0] * px + c[1] * py + c[2] * pz + c[9]
            y = c[3] * px + c[4] * py + c[5] * pz + c[10]
            z = c[6] * px + c[7] * py + c[8] * pz + c[11]
            across, down = c[12] * r, c[13] * r
            # every comparison fails for NaN
            is_kept[n - start] = (
                (z > c[18])
                & (r >= _ZERO)
                & (x + across + c[14] * z > _ZERO)
                & (x - across - c[15] * z < _ZERO)
                & (y + down + c[16] * z > _ZERO)
                & (y - down - c[17] * z < _ZERO)
            )
        place = start
        for n in range(start, stop):
            if is_kept[n - start]:
                found[place] = n
                place += 1
        counts[chunk] = place - start


@parallel_kernel
def gather(found, places, means, quats, scales, opacities, ids, seen):
    """Copy the rows kept, `places` [chunks + 1], into `seen` (means, quats, scales, opacities)."""
    for chunk in prange(len(places) - 1):
        first = places[chunk]
        for i in range(first, places[chunk + 1]):
            row = found[chunk * CHUNK + i - first]
            ids[i] = row
            for k in range(3):
                seen[0][i, k] = means[row, k]
                seen[2][i, k] = scales[row, k]
            for k in range(4):
                seen[1][i, k] = quats[row, k]
            seen[3][i] = opacities[row]


@kernel
def _load_bands(means, center, start, count, block):
    """Write the harmonics of the directions to points `start` on as [channel, point]."""
    x, y, z = block[9], block[10], block[11]
    for p in range(count):
        x[p] = means[start + p, 0] - center[0]
        y[p] = means[start + p, 1] - center[1]
        z[p] = means[start + p, 2] - center[2]
    for p in range(count, BLOCK):
        x[p], y[p], z[p] = _ZERO, _ZERO, _ONE
    for p in range(BLOCK):
        scale = _ONE / max(np.sqrt(x[p] * x[p] + y[p] * y[p] + z[p] * z[p]), _TINY)
        dx, dy, dz = x[p] * scale, y[p] * scale, z[p] * scale
        block[0, p] = _K0
        block[1, p] = -_K1 * dy
        block[2, p] = _K1 * dz
        block[3, p] = -_K1 * dx
        block[4, p] = _K2 * dx * dy
        block[5, p] = -_K2 * dy * dz
        block[6, p] = _K3 * dz * dz - _K4
        block[7, p] = -_K2 * dx * dz
        block[8, p] = _K5 * (dx * dx - dy * dy)
    block[9:12] = _ZERO


@kernel
def _load_rows(values, ids, start, count, block):
    """Transpose the rows `ids` names into [channel, point]."""
    width = values.shape[1]
    for p in range(count):
        row = values[ids[start + p]]
        for channel in range(width):
            block[channel, p] = row[channel]
    for channel in range(width, padded(width)):
        block[channel] = _ZERO


@kernel
def _through(packed, widths, values):
    """Take a block through the network: harmonics in values[0], `partial` in values[1]; return where it ends."""
    layers = packed.shape[0]
    for layer in range(layers):
        num_in = padded(widths[layer])
        num_out = padded(widths[layer + 1])
        source, target = values[layer & 1], values[1 - (layer & 1)]
        if layer > 0:
            target[:num_out] = _ZERO
        multiply(packed[layer], source, target, num_in, num_out)
        if layer < layers - 1:
            for channel in range(num_out):
                for p in range(BLOCK):
                    target[channel, p] = max(target[channel, p], _ZERO)
    return layers & 1


@parallel_kernel
def network_colors(ids, means, center, logits, partial, packed, widths, colors):
    """Write the colours before the sigmoid of Gaussians `ids` at `means` [V, 3] as seen from `center`."""
    num = len(ids)
    for chunk in prange((num + CHUNK - 1) // CHUNK):
        values = np.zeros((2, packed.shape[1], BLOCK), np.float32)
        for start in range(chunk * CHUNK, min(num, (chunk + 1) * CHUNK), BLOCK):
            count = min(BLOCK, num - start)
            _load_bands(means, center, start, count, values[0])
            _load_rows(partial, ids, start, count, values[1])
            end = values[_through(packed, widths, values)]
            for p in range(count):
                for channel in range(3):
                    colors[start + p, channel] = end[channel, p]
            if len(logits) > 0:
                for p in range(count):
                    row = ids[start + p]
                    for channel in range(3):
                        colors[start + p, channel] += logits[row, channel]


@parallel_kernel
def harmonic_colors(ids, means, center, sh_coeffs, colors):
    """Write the colours of Gaussians `ids` at `means` [V, 3] as seen from `center`."""
    num, num_bases = len(ids), sh_coeffs.shape[1]
    for chunk in prange((num + CHUNK - 1) // CHUNK):
        bases = np.empty((1, num_bases), np.float32)
        for i in range(chunk * CHUNK, min(num, (chunk + 1) * CHUNK)):
            dx, dy, dz = means[i, 0] - center[0], means[i, 1] - center[1], means[i, 2] - center[2]
            scale = _ONE / max(np.float32(math.sqrt(dx * dx + dy * dy + dz * dz)), _TINY)
            fill_bases(bases, 0, dx * scale, dy * scale, dz * scale)
            coeffs = sh_coeffs[ids[i]]
            red, green, blue = _HALF, _HALF, _HALF
            for k in range(num_bases):
                red += bases[0, k] * coeffs[k, 0]
                green += bases[0, k] * coeffs[k, 1]
                blue += bases[0, k] * coeffs[k, 2]
            colors[i, 0], colors[i, 1], colors[i, 2] = (
                max(red, _ZERO),
                max(green, _ZERO),
                max(blue, _ZERO),
            )


def warm_up() -> Iterator[str]:
    """Compile the kernels one by one, naming each when it is ready."""
    rows, one = np.zeros((1, 3), np.float32), np.zeros(1, np.float32)
    ids, counts = np.zeros(1, np.int64), np.zeros(1, np.int64)
    cull(rows, one, np.zeros(20, np.float32), ids, counts)
    quats = np.zeros((1, 4), np.float32)
    seen = (rows.copy(), quats.copy(), rows.copy(), one.copy())
    gather(ids, np.zeros(2, np.int64), rows, quats, rows, one, ids.copy(), seen)
    yield "choice of what a camera sees"
    widths, packed = np.array([NUM_BASES, 12, 3]), np.zeros((2, 12, 12), np.float32)
    partial = np.zeros((1, 12), np.float32)
    network_colors(ids, rows, one.repeat(3), rows, partial, packed, widths, rows.copy())
    yield "colours of a hybrid scene"
    harmonic_colors(ids, rows, one.repeat(3), np.zeros((1, 4, 3), np.float32), rows.copy())
    yield "colours of plain Gaussians"
