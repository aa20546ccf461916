"""Compiled loops of both networks of a hybrid scene: from their inputs to activated Gaussians, and back.

inputs          [B, I, 64] float32  as `grids_kernels` fills them, B blocks of 64 points
color_logits    [V, 3], scale_logits [V], opacity_logits [V]  float32
networks        packed weights and widths of the geometry network, then of the radiance network
quats [V, 4], scales [V, 3], opacities [V], colors [V, 3]  float32
to_inputs       [B, I, 64] float32  gradient of the features
sums            [PARTS, layers, P, P] of either network: gradient of its weights, in parts

The networks run on a block in the nearest cache. Gradients of weights are added in a fixed number
of parts: the same numbers at any thread count.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange
from core.nn.mlp_kernels import BLOCK, PARTS, padded, propagate, pull_back

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_LOWEST, _LOG2E = np.float32(-87), np.float32(1.4426950408889634)
# 2^f on -0.5 .. 0.5: the Taylor series, relative error 2e-7
_E1, _E2, _E3 = np.float32(0.69314718), np.float32(0.24022651), np.float32(0.05550411)
_E4, _E5, _E6 = np.float32(0.00961813), np.float32(0.00133336), np.float32(0.00015404)
_EXPONENT_ZERO = np.int32(127)


@kernel
def sigmoid(logits, powers, values):
    """Write 1 / (1 + exp(-logits)) of one block; `powers` is scratch, int32. No library call: it vectorises."""
    as_float = powers.view(np.float32)
    for point in range(BLOCK):
        exponent = min(max(-logits[point], _LOWEST), -_LOWEST) * _LOG2E
        whole = np.floor(exponent + _HALF)
        f = exponent - whole
        powers[point] = (np.int32(whole) + _EXPONENT_ZERO) << 23
        values[point] = _ONE + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    for point in range(BLOCK):
        values[point] = _ONE / (_ONE + values[point] * as_float[point])


@kernel
def _merge_block(
    geometry,
    radiance,
    colors_in,
    scales_in,
    opacities_in,
    is_product,
    quats,
    scales,
    opacities,
    colors,
):
    """Activate one block: offsets [8, 64] and [3, 64] with the explicit logits."""
    count = scales_in.shape[0]
    logits, values = np.zeros((8, BLOCK), np.float32), np.empty((8, BLOCK), np.float32)
    powers = np.empty(BLOCK, np.int32)
    own = logits[7]
    for point in range(count):
        own[point] = scales_in[point]
        logits[3, point] = geometry[7, point] + opacities_in[point]
        for axis in range(3):
            logits[axis, point] = geometry[axis, point] + (_ZERO if is_product else own[point])
            logits[4 + axis, point] = radiance[axis, point] + colors_in[point, axis]
    for channel in range(8 if is_product else 7):
        sigmoid(logits[channel], powers, values[channel])
    if is_product:
        for axis in range(3):
            for point in range(BLOCK):
                values[axis, point] *= values[7, point]
    for point in range(count):
        opacities[point] = values[3, point]
        quats[point, 0] = geometry[3, point] + _ONE
        for axis in range(3):
            quats[point, 1 + axis] = geometry[4 + axis, point]
            scales[point, axis] = values[axis, point]
            colors[point, axis] = values[4 + axis, point]


@parallel_kernel
def decode(leaves, inputs, networks, is_product, outputs):
    """Run both networks and fill quats, scales, opacities and colors."""
    colors_in, scales_in, opacities_in = leaves
    geometry_packed, geometry_widths, radiance_packed, radiance_widths = networks
    quats, scales, opacities, colors = outputs
    num, num_blocks = scales_in.shape[0], inputs.shape[0]
    per_part = (num_blocks + PARTS - 1) // PARTS
    width, layers = padded(geometry_widths[0]), geometry_packed.shape[0]
    for part in prange(PARTS):
        geometry = np.empty((layers, geometry_packed.shape[1], BLOCK), np.float32)
        radiance = np.empty((layers, radiance_packed.shape[1], BLOCK), np.float32)
        for block in range(part * per_part, min((part + 1) * per_part, num_blocks)):
            start, rows = block * BLOCK, inputs[block]
            stop = min(start + BLOCK, num)
            propagate(rows[:width], geometry_packed, geometry_widths, layers, False, geometry)
            propagate(rows[width:], radiance_packed, radiance_widths, layers, False, radiance)
            _merge_block(
                geometry[layers - 1], radiance[layers - 1],
                colors_in[start:stop], scales_in[start:stop], opacities_in[start:stop], is_product,
                quats[start:stop], scales[start:stop], opacities[start:stop], colors[start:stop],
            )  # fmt: skip


@kernel
def _unmerge_block(
    upstream, outputs, scales_in, is_product, start, stop, to_explicit, to_geometry, to_radiance
):
    """Take the gradients of one block from the activated values to the offsets and the explicit logits."""
    to_quats, to_scales, to_opacities, to_colors = upstream
    _, scales, opacities, colors = outputs
    color_gradients, scale_gradients, opacity_gradients = to_explicit
    to_geometry[:8], to_radiance[: padded(3)] = _ZERO, _ZERO
    for point in range(stop - start):
        row = start + point
        opacity = opacities[row]
        given = to_opacities[row] * opacity * (_ONE - opacity)
        to_geometry[7, point] = opacity_gradients[row] = given
        total = _ZERO
        own = _ONE / (_ONE + np.exp(-scales_in[row])) if is_product else _ONE
        for axis in range(3):
            scale = scales[row, axis]
            neural = scale / max(own, np.float32(1e-30))  # the other factor of a product
            given = to_scales[row, axis] * scale
            to_geometry[axis, point] = given * (_ONE - neural)
            total += given * (_ONE - (own if is_product else scale))
            color = colors[row, axis]
            given = to_colors[row, axis] * color * (_ONE - color)
            to_radiance[axis, point] = color_gradients[row, axis] = given
        scale_gradients[row] = total
        to_geometry[3, point] = to_quats[row, 0]
        for axis in range(3):
            to_geometry[4 + axis, point] = to_quats[row, 1 + axis]


@parallel_kernel
def decode_backward(
    upstream,
    outputs,
    scales_in,
    networks,
    transposed,
    is_product,
    inputs,
    to_inputs,
    to_explicit,
    sums,
):
    """Fill the gradients of the explicit logits, of the weights in parts, and of both grids' features.

    The harmonics' rows of `to_inputs` are left as they are: nobody asks for them.
    """
    geometry_packed, geometry_widths, radiance_packed, radiance_widths = networks
    geometry_transposed, radiance_transposed = transposed
    geometry_sums, radiance_sums = sums
    num, num_blocks = scales_in.shape[0], inputs.shape[0]
    per_part = (num_blocks + PARTS - 1) // PARTS
    width, layers = padded(geometry_widths[0]), geometry_packed.shape[0]
    for part in prange(PARTS):
        geometry_sums[part], radiance_sums[part] = _ZERO, _ZERO
        geometry = np.empty((layers, geometry_packed.shape[1], BLOCK), np.float32)
        radiance = np.empty((layers, radiance_packed.shape[1], BLOCK), np.float32)
        given = np.empty((2, geometry_packed.shape[1], BLOCK), np.float32)
        given_colors = np.empty((2, radiance_packed.shape[1], BLOCK), np.float32)
        for block in range(part * per_part, min((part + 1) * per_part, num_blocks)):
            start, rows, below = block * BLOCK, inputs[block], to_inputs[block]
            stop = min(start + BLOCK, num)
            _unmerge_block(
                upstream, outputs, scales_in, is_product, start, stop, to_explicit,
                given[layers & 1], given_colors[layers & 1],
            )  # fmt: skip
            propagate(rows[:width], geometry_packed, geometry_widths, layers - 1, False, geometry)
            pull_back(
                rows[:width], geometry, given, geometry_transposed, geometry_widths,
                geometry_sums[part], below[:width],
            )  # fmt: skip
            propagate(rows[width:], radiance_packed, radiance_widths, layers - 1, False, radiance)
            pull_back(
                rows[width:], radiance, given_colors, radiance_transposed, radiance_widths,
                radiance_sums[part], below[width : 2 * width],
            )  # fmt: skip


def warm_up() -> Iterator[str]:
    """Compile the kernels one by one, naming each when it is ready."""
    rows, one = np.zeros((1, 3), np.float32), np.zeros(1, np.float32)
    packed, inputs = np.zeros((2, 12, 12), np.float32), np.zeros((1, 16, BLOCK), np.float32)
    networks = packed, np.array([2, 4, 8]), packed, np.array([11, 4, 3])
    outputs = np.zeros((1, 4), np.float32), rows.copy(), one.copy(), rows.copy()
    decode((rows, one, one), inputs, networks, False, outputs)
    yield "Gaussians from fields"
    sums = np.empty((PARTS, 2, 12, 12), np.float32)
    decode_backward(
        outputs, outputs, one, networks, (packed, packed), False, inputs, inputs.copy(),
        (rows.copy(), one.copy(), one.copy()), (sums, sums.copy()),
    )  # fmt: skip
    yield "gradient of the Gaussians"
