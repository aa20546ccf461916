"""Compiled blending of tiles, forward and backward.

A tile keeps its 16 x 16 pixels in small arrays; the outer loop walks its Gaussians front to back, the
middle one the rows an ellipse reaches, the inner one 16 pixels with selects instead of branches so
that it becomes vector instructions. A finished pixel is marked by a negative transmittance.

The backward pass walks front to back as well: `behind` starts as gradient . finished pixel and loses
what has been passed, which leaves exactly what lies behind a Gaussian:

    dL/dalpha = transmittance (gradient . color) - behind / (1 - alpha)

It writes one row of gradients per pair, so nothing is ever added by two threads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange
from core.render import backend, cpu_project, cpu_tiles
from core.render.composite import to_uint8
from core.render.cpu_project import (
    BLUE,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    DEPTH,
    G_ABS_X,
    G_ABS_Y,
    G_BLUE,
    G_DEPTH,
    G_GREEN,
    G_OPACITY,
    G_RED,
    G_X,
    G_XX,
    G_XY,
    G_Y,
    G_YY,
    GREEN,
    HALF_WIDTH,
    NUM_GRADIENTS,
    OPACITY,
    REACH_Y,
    RED,
    SLOPE,
    X,
    Y,
)  # fmt: skip
from core.render.cpu_tiles import TILE

# float32 constants: a plain number would turn the inner loops into double precision
_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_CUT, _MOST = np.float32(backend.ALPHA_CUT), np.float32(backend.ALPHA_MAX)
_STOP = np.float32(backend.TRANSMITTANCE_STOP)
_MARGIN = np.float32(1e-3)  # pixels, against rounding at the border of an ellipse
_FARTHEST = np.float32(5.75)  # ln 255 = 5.54: beyond, alpha is below the cut whatever the opacity
# exp(-t) on 0 .. 0.72, relative error 1e-7 (weighted least squares)
_E0, _E1, _E2 = np.float32(0.99999991), np.float32(-0.99999144), np.float32(0.49986917)
_E3, _E4, _E5 = np.float32(-0.16591692), np.float32(0.03967379), np.float32(-0.00578712)
_EIGHTH = np.float32(0.125)
_CHECK_EVERY = 32  # Gaussians between two tests for a saturated tile


@kernel
def _falloff(squared):
    """Return exp(-squared) for 0 .. _FARTHEST with a relative error of about 1e-6."""
    t = squared * _EIGHTH
    e = _E0 + t * (_E1 + t * (_E2 + t * (_E3 + t * (_E4 + t * _E5))))
    e = e * e
    e = e * e
    return e * e


@kernel
def _pass_light(opacity, squared, transmittance):
    """Return, for one pixel, alpha without and with its bound and cut, the weight, and the transmittance after."""
    free = opacity * _falloff(min(max(squared, _ZERO), _FARTHEST))
    alpha = min(free, _MOST)
    alpha = alpha if alpha >= _CUT else _ZERO
    live = max(transmittance, _ZERO)
    weight = alpha * live
    stops = live - weight <= _STOP
    after = -abs(transmittance) if stops else live - weight
    return free, alpha, _ZERO if stops else weight, after


@kernel
def _is_finished(state, rows, columns):
    """Whether no pixel of the tile takes light any more."""
    for y in range(rows):
        for x in range(columns):
            if state[y, 0, x] > _ZERO:
                return False
    return True


@kernel
def _row_range(f, row, top, rows):
    """Return the rows of the tile [first, last) that the ellipse can reach."""
    middle = f[row, Y] - np.float32(top) - _HALF
    reach = f[row, REACH_Y] + _MARGIN
    # cutting decimals off is enough: `_misses` refuses the row that this may add
    return int(max(middle - reach, _ZERO)), int(min(middle + reach, np.float32(rows - 1))) + 1


@kernel
def _store_tile(state, left, top, rows, columns, rgb, alpha, depth):
    """Write a finished tile to the three pictures."""
    for y in range(rows):
        for x in range(columns):
            covered = _ONE - abs(state[y, 0, x])
            for channel in range(3):
                rgb[top + y, left + x, channel] = state[y, 1 + channel, x]
            alpha[top + y, left + x] = covered
            depth[top + y, left + x] = state[y, 4, x] / covered if covered > _ZERO else _ZERO


@kernel
def _blend_tile(f, members, first, last, left, top, rows, columns, rgb, alpha, depth):
    """Blend one tile and write its pixels."""
    # one array made here: its strides are constants and nothing can alias, which the inner loop needs
    state = np.empty((TILE, 6, TILE), np.float32)  # transmittance, red, green, blue, depth, lane
    state[:, 0] = _ONE
    state[:, 1:5] = _ZERO
    for x in range(TILE):
        state[:, 5, x] = np.float32(x)
    for pair in range(first, last):
        if (pair - first) % _CHECK_EVERY == 0 and _is_finished(state, rows, columns):
            break
        g = members[pair]
        offset, opacity = np.float32(left) + _HALF - f[g, X], f[g, OPACITY]
        r, gr, b, z = f[g, RED], f[g, GREEN], f[g, BLUE], f[g, DEPTH]
        half_xx, xy, half_yy = _HALF * f[g, CONIC_XX], f[g, CONIC_XY], _HALF * f[g, CONIC_YY]
        wide, flat, slope = _ellipse(f, g)
        start, end = _row_range(f, g, top, rows)
        for y in range(start, end):
            dy = np.float32(top + y) + _HALF - f[g, Y]
            if _misses(offset - slope * dy, wide - flat * dy * dy):
                continue
            slant, height = xy * dy, half_yy * dy * dy
            for x in range(TILE):
                dx = offset + state[y, 5, x]
                squared = dx * (half_xx * dx + slant) + height
                _, _, weight, after = _pass_light(opacity, squared, state[y, 0, x])
                state[y, 0, x] = after
                state[y, 1, x] += weight * r
                state[y, 2, x] += weight * gr
                state[y, 3, x] += weight * b
                state[y, 4, x] += weight * z
    _store_tile(state, left, top, rows, columns, rgb, alpha, depth)


@kernel
def _ellipse(f, g):
    """Return (half width)^2 in its middle row, how it shrinks with dy^2, and how the middle moves with dy."""
    wide = f[g, HALF_WIDTH] + _MARGIN
    high = f[g, REACH_Y] + _MARGIN
    return wide * wide, (wide * wide) / (high * high), f[g, SLOPE]


@kernel
def _misses(to_first, half_squared):
    """Whether a row of the ellipse lies beside the tile; `to_first`: first pixel centre minus its middle."""
    beside = max(max(to_first, -to_first - np.float32(TILE - 1)), _ZERO)
    return beside * beside > half_squared


@parallel_kernel
def blend(f, members, tile_first, tiles, tiles_x, width, height, workers, rgb, alpha, depth):
    """Fill rgb [H, W, 3], alpha [H, W] and expected depth [H, W] of the listed tiles."""
    for worker in prange(workers):
        for place in range(worker, len(tiles), workers):
            tile = tiles[place]
            left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
            rows, columns = min(TILE, height - top), min(TILE, width - left)
            first, last = tile_first[tile], tile_first[tile + 1]
            _blend_tile(f, members, first, last, left, top, rows, columns, rgb, alpha, depth)


@kernel
def _start_backward(pictures, gradients, left, top, rows, columns, state):
    """Load a tile: state [16, 7, 16] = transmittance, gradient of r, g, b, summed depth, `behind`, lane."""
    rgb, alpha, depth = pictures
    g_rgb, g_alpha, g_depth = gradients
    state[:, 0] = _ONE
    state[:, 1:6] = _ZERO
    for x in range(TILE):
        state[:, 6, x] = np.float32(x)
    for y in range(rows):
        for x in range(columns):
            py, px = top + y, left + x
            covered = alpha[py, px]
            to_sum = g_depth[py, px] / covered if covered > _ZERO else _ZERO
            # expected depth = sum / alpha: its gradient reaches alpha as well
            to_alpha = g_alpha[py, px] - to_sum * depth[py, px]
            behind = to_sum * depth[py, px] * covered - to_alpha * (_ONE - covered)
            for channel in range(3):
                state[y, 1 + channel, x] = g_rgb[py, px, channel]
                behind += g_rgb[py, px, channel] * rgb[py, px, channel]
            state[y, 4, x] = to_sum
            state[y, 5, x] = behind


@kernel
def _finish_pair(lanes, f, g, offset, out):
    """Add up the lanes [9, 16] of one pair into its gradients [12] and empty them."""
    q_sum = q_x = q_y = q_xx = q_xy = q_yy = _ZERO
    to_red = to_green = to_blue = to_depth = abs_x = abs_y = _ZERO
    for x in range(TILE):
        dx = offset + np.float32(x)
        q_sum += lanes[0, x]
        q_x += lanes[0, x] * dx
        q_xx += lanes[0, x] * dx * dx
        q_y += lanes[1, x]
        q_xy += lanes[1, x] * dx
        q_yy += lanes[2, x]
        to_red += lanes[3, x]
        to_green += lanes[4, x]
        to_blue += lanes[5, x]
        to_depth += lanes[6, x]
        abs_x += lanes[7, x]
        abs_y += lanes[8, x]
    lanes[:] = _ZERO
    xx, xy, yy = f[g, CONIC_XX], f[g, CONIC_XY], f[g, CONIC_YY]
    out[G_X], out[G_Y] = -(xx * q_x + xy * q_y), -(xy * q_x + yy * q_y)
    out[G_XX], out[G_XY], out[G_YY] = _HALF * q_xx, q_xy, _HALF * q_yy
    out[G_OPACITY] = -q_sum / f[g, OPACITY]
    out[G_RED], out[G_GREEN], out[G_BLUE], out[G_DEPTH] = to_red, to_green, to_blue, to_depth
    out[G_ABS_X], out[G_ABS_Y] = abs_x, abs_y


@kernel
def _blend_tile_backward(
    f, members, slots, first, last, left, top, rows, columns, pictures, gradients, pair_gradients
):
    """Retrace one tile and write the gradients of its pairs."""
    state = np.empty((TILE, 7, TILE), np.float32)
    lanes = np.zeros((9, TILE), np.float32)
    _start_backward(pictures, gradients, left, top, rows, columns, state)
    for pair in range(first, last):
        if (pair - first) % _CHECK_EVERY == 0 and _is_finished(state, rows, columns):
            for rest in range(pair, last):
                pair_gradients[slots[rest]] = _ZERO
            break
        g = members[pair]
        offset, opacity = np.float32(left) + _HALF - f[g, X], f[g, OPACITY]
        r, gr, b, z = f[g, RED], f[g, GREEN], f[g, BLUE], f[g, DEPTH]
        xx, xy, yy = f[g, CONIC_XX], f[g, CONIC_XY], f[g, CONIC_YY]
        half_xx = _HALF * xx
        wide, flat, slope = _ellipse(f, g)
        start, end = _row_range(f, g, top, rows)
        for y in range(start, end):
            dy = np.float32(top + y) + _HALF - f[g, Y]
            if _misses(offset - slope * dy, wide - flat * dy * dy):
                continue
            # gradient of half the squared distance: (xx dx + slant, xy dx + drop)
            slant, drop = xy * dy, yy * dy
            height = _HALF * drop * dy
            for x in range(TILE):
                dx = offset + state[y, 6, x]
                squared = dx * (half_xx * dx + slant) + height
                free, a, weight, after = _pass_light(opacity, squared, state[y, 0, x])
                state[y, 0, x] = after
                to_r, to_g = state[y, 1, x], state[y, 2, x]
                to_b, to_z = state[y, 3, x], state[y, 4, x]
                passed = weight * (r * to_r + gr * to_g + b * to_b + z * to_z)
                rest = state[y, 5, x] - passed
                state[y, 5, x] = rest
                # q = dL/d(squared distance); none where the bound of alpha holds or nothing was added
                q = rest * a / (_ONE - a) - passed
                q = q if weight > _ZERO else _ZERO
                q = q if free <= _MOST else _ZERO
                lanes[0, x] += q
                lanes[1, x] += q * dy
                lanes[2, x] += q * dy * dy
                lanes[3, x] += weight * to_r
                lanes[4, x] += weight * to_g
                lanes[5, x] += weight * to_b
                lanes[6, x] += weight * to_z
                lanes[7, x] += abs(q * (xx * dx + slant))
                lanes[8, x] += abs(q * (xy * dx + drop))
        _finish_pair(lanes, f, g, offset, pair_gradients[slots[pair]])


@parallel_kernel
def blend_backward(
    f, members, slots, tile_first, tiles, tiles_x, width, height, workers,
    rgb, alpha, depth, g_rgb, g_alpha, g_depth, pair_gradients,
):  # fmt: skip
    """Fill `pair_gradients` [pairs, 12] from the gradients of the three pictures."""
    for worker in prange(workers):
        for place in range(worker, len(tiles), workers):
            tile = tiles[place]
            left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
            rows, columns = min(TILE, height - top), min(TILE, width - left)
            first, last = tile_first[tile], tile_first[tile + 1]
            _blend_tile_backward(
                f, members, slots, first, last, left, top, rows, columns,
                (rgb, alpha, depth), (g_rgb, g_alpha, g_depth), pair_gradients,
            )  # fmt: skip


def warm_up() -> Iterator[str]:
    """Compile or load every kernel of the CPU renderer on one Gaussian, yielding each name."""
    size = TILE
    one = [np.ones((1, *tail), np.float32) for tail in ((3,), (4,), (3,), (), (3,))]
    camera = cpu_project.camera_numbers(np.eye(4), np.diag([8.0, 8.0, 1.0]), size, size)
    features, depths = cpu_project.empty_features(1), np.empty(1, np.float32)
    radii, means2d = np.empty(1, np.int32), np.empty((1, 2), np.float32)
    cpu_project.project(*one, camera, size, size, False, features, depths, radii, means2d)
    yield "project"
    tiles = cpu_tiles.bin_gaussians(features, depths, size, size)
    yield "sort and list per tile"
    pictures = [np.zeros((size, size, *tail), np.float32) for tail in ((3,), (), ())]
    lists = (tiles.first, tiles.order, tiles.tiles_x, size, size, 1)
    blend(features, tiles.rows, *lists, *pictures)
    yield "blend"
    pair_gradients = np.empty((len(tiles.rows), NUM_GRADIENTS), np.float32)
    blend_backward(features, tiles.rows, tiles.slots, *lists, *pictures, *pictures, pair_gradients)
    yield "blend backward"
    gradients = [np.zeros_like(array) for array in one]
    cpu_project.project_backward(
        *one[:4], camera, False, tiles.slot_first, pair_gradients, *gradients, means2d
    )
    yield "project backward"
    to_uint8(pictures[0])
    yield "picture to bytes"
