"""Compiled loops of a small fully connected network without biases (ReLU inside, linear at the end).

inputs   [V, I]        float32
extra    [V, E]        float32  further inputs beside them; no columns when there are none
base     [V, H]        float32  added before the first ReLU; no rows when there is nothing to add
packed   [layers, P, P] float32 weights [in, out] of every layer, padded with zeros
widths   [layers + 1]  int64    I + E, hidden widths, O

P is the largest width rounded up to four, the size of the register tiles below. Points go through
the whole network in blocks of 64, stored [channel, point] so that every inner loop runs over points
whatever the widths are. The backward computes the hidden values again, which is cheaper than
writing and reading them. Weight gradients are summed in a fixed number of parts, added in order at
the end: the result does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

BLOCK = 64
PARTS = 32
TILE = 4

_ZERO = np.float32(0)


@kernel
def multiply(weights, source, target, num_in, num_out):
    """Add weights^T source to target: [I, O]^T [I, block] -> [O, block]; sizes are multiples of four."""
    for o in range(0, num_out, TILE):
        for i in range(0, num_in, TILE):
            a0, a1, a2, a3 = weights[i, o], weights[i + 1, o], weights[i + 2, o], weights[i + 3, o]
            b0, b1 = weights[i, o + 1], weights[i + 1, o + 1]
            b2, b3 = weights[i + 2, o + 1], weights[i + 3, o + 1]
            c0, c1 = weights[i, o + 2], weights[i + 1, o + 2]
            c2, c3 = weights[i + 2, o + 2], weights[i + 3, o + 2]
            d0, d1 = weights[i, o + 3], weights[i + 1, o + 3]
            d2, d3 = weights[i + 2, o + 3], weights[i + 3, o + 3]
            for point in range(BLOCK):
                s0, s1 = source[i, point], source[i + 1, point]
                s2, s3 = source[i + 2, point], source[i + 3, point]
                target[o, point] += a0 * s0 + a1 * s1 + a2 * s2 + a3 * s3
                target[o + 1, point] += b0 * s0 + b1 * s1 + b2 * s2 + b3 * s3
                target[o + 2, point] += c0 * s0 + c1 * s1 + c2 * s2 + c3 * s3
                target[o + 3, point] += d0 * s0 + d1 * s1 + d2 * s2 + d3 * s3


@kernel
def outer_product(source, upstream, sums, num_in, num_out):
    """Add source upstream^T to sums: [I, block] [O, block]^T -> [I, O]."""
    for i in range(0, num_in, 2):
        for o in range(0, num_out, TILE):
            a0, a1, a2, a3 = _ZERO, _ZERO, _ZERO, _ZERO
            b0, b1, b2, b3 = _ZERO, _ZERO, _ZERO, _ZERO
            for point in range(BLOCK):
                first, second = source[i, point], source[i + 1, point]
                u0, u1 = upstream[o, point], upstream[o + 1, point]
                u2, u3 = upstream[o + 2, point], upstream[o + 3, point]
                a0, a1 = a0 + first * u0, a1 + first * u1
                a2, a3 = a2 + first * u2, a3 + first * u3
                b0, b1 = b0 + second * u0, b1 + second * u1
                b2, b3 = b2 + second * u2, b3 + second * u3
            sums[i, o] += a0
            sums[i, o + 1] += a1
            sums[i, o + 2] += a2
            sums[i, o + 3] += a3
            sums[i + 1, o] += b0
            sums[i + 1, o + 1] += b1
            sums[i + 1, o + 2] += b2
            sums[i + 1, o + 3] += b3


@kernel
def padded(width):
    """Return a width rounded up to whole register tiles."""
    return (width + TILE - 1) // TILE * TILE


@kernel
def _load(values, start, stop, block):
    """Transpose rows `start` to `stop` into [channel, point]; points that are missing become zero."""
    rows, num_points = values[start:stop], stop - start
    for channel in range(values.shape[1]):
        for point in range(num_points):
            block[channel, point] = rows[point, channel]
        for point in range(num_points, BLOCK):
            block[channel, point] = _ZERO


@kernel
def _load_inputs(inputs, extra, start, stop, block):
    """Load both kinds of input one below the other, and zeros up to the next multiple of four."""
    _load(inputs, start, stop, block)
    if extra.shape[1] > 0:
        _load(extra, start, stop, block[inputs.shape[1] :])
    width = inputs.shape[1] + extra.shape[1]
    block[width : padded(width)] = _ZERO


@kernel
def _store(block, start, stop, values):
    """Transpose back into rows `start` to `stop`."""
    rows = values[start:stop]
    for point in range(stop - start):
        for channel in range(values.shape[1]):
            rows[point, channel] = block[channel, point]


@kernel
def propagate(inputs, packed, widths, layers, is_started, values):
    """Run the first `layers` layers on one block; values[l] is what layer l puts out, after its ReLU.

    With `is_started` values[0] already holds what is to be added to the first layer.
    """
    for layer in range(layers):
        num_in, num_out = padded(widths[layer]), padded(widths[layer + 1])
        target = values[layer]
        if layer > 0 or not is_started:
            target[:num_out] = _ZERO
        multiply(
            packed[layer], inputs if layer == 0 else values[layer - 1], target, num_in, num_out
        )
        if layer < packed.shape[0] - 1:
            for channel in range(num_out):
                for point in range(BLOCK):
                    target[channel, point] = max(target[channel, point], _ZERO)


@kernel
def pull_back(inputs, values, given, transposed, widths, sums, to_inputs):
    """Take the gradient of one block from the outputs, in given[layers & 1], to the inputs.

    Adds to the weights' `sums`; fills as many rows of the inputs' gradient as `to_inputs` has.
    """
    for layer in range(transposed.shape[0] - 1, -1, -1):
        num_in, num_out = padded(widths[layer]), padded(widths[layer + 1])
        above = given[(layer + 1) & 1]
        if layer == 0:
            outer_product(inputs, above, sums[0], num_in, num_out)
            to_inputs[:] = _ZERO
            multiply(transposed[0], above, to_inputs, num_out, to_inputs.shape[0])
            return
        hidden, below = values[layer - 1], given[layer & 1]
        outer_product(hidden, above, sums[layer], num_in, num_out)
        below[:num_in] = _ZERO
        multiply(transposed[layer], above, below, num_out, num_in)
        for channel in range(num_in):
            for point in range(BLOCK):
                if hidden[channel, point] <= _ZERO:
                    below[channel, point] = _ZERO


@parallel_kernel
def forward(inputs, extra, base, packed, widths, outputs):
    """Run the network on every point."""
    num_points, layers = inputs.shape[0], packed.shape[0]
    num_blocks = (num_points + BLOCK - 1) // BLOCK
    per_part = (num_blocks + PARTS - 1) // PARTS
    for part in prange(PARTS):
        loaded = np.empty((packed.shape[1], BLOCK), np.float32)
        values = np.empty((layers, packed.shape[1], BLOCK), np.float32)
        for block in range(part * per_part, min((part + 1) * per_part, num_blocks)):
            start = block * BLOCK
            stop = min(start + BLOCK, num_points)
            _load_inputs(inputs, extra, start, stop, loaded)
            if base.shape[0] > 0:
                _load(base, start, stop, values[0])
                values[0, base.shape[1] : padded(base.shape[1])] = _ZERO
            propagate(loaded, packed, widths, layers, base.shape[0] > 0, values)
            _store(values[layers - 1], start, stop, outputs)


@parallel_kernel
def backward(inputs, extra, packed, transposed, widths, upstream, sums, input_gradient):
    """Write weight gradients [PARTS, layers, P, P], and the inputs' gradient unless it has no rows."""
    num_points, layers = inputs.shape[0], packed.shape[0]
    num_blocks = (num_points + BLOCK - 1) // BLOCK
    per_part = (num_blocks + PARTS - 1) // PARTS
    wanted = padded(inputs.shape[1]) if input_gradient.shape[0] > 0 else 0
    for part in prange(PARTS):
        sums[part] = _ZERO
        loaded = np.empty((packed.shape[1], BLOCK), np.float32)
        values = np.empty((layers, packed.shape[1], BLOCK), np.float32)
        given = np.empty((2, packed.shape[1], BLOCK), np.float32)
        below = np.empty((wanted, BLOCK), np.float32)
        for block in range(part * per_part, min((part + 1) * per_part, num_blocks)):
            start = block * BLOCK
            stop = min(start + BLOCK, num_points)
            _load_inputs(inputs, extra, start, stop, loaded)
            propagate(loaded, packed, widths, layers - 1, False, values)
            _load(upstream, start, stop, given[layers & 1])
            given[layers & 1, upstream.shape[1] : padded(upstream.shape[1])] = _ZERO
            pull_back(loaded, values, given, transposed, widths, sums[part], below)
            if wanted > 0:
                _store(below, start, stop, input_gradient)


def warm_up() -> Iterator[str]:
    """Compile the kernels one by one, naming each when it is ready."""
    widths = np.array([4, 4, 4])
    packed, rows = np.zeros((2, 4, 4), np.float32), np.zeros((1, 4), np.float32)
    nothing = np.zeros((0, 0), np.float32)
    forward(rows, nothing, nothing, packed, widths, np.zeros_like(rows))
    yield "network"
    sums = np.zeros((PARTS, 2, 4, 4), np.float32)
    backward(rows, nothing, packed, packed, widths, rows, sums, np.zeros_like(rows))
    yield "network gradient"
