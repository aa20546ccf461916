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

from math import ceil, floor

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange
from core.render import backend
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
def _is_finished(transmittance, rows, columns):
    """Whether no pixel of the tile takes light any more."""
    for y in range(rows):
        for x in range(columns):
            if transmittance[y, x] > _ZERO:
                return False
    return True


@kernel
def _row_range(f, rank, top, rows):
    """Return the rows of the tile [first, last) that the ellipse can reach."""
    middle = f[rank, Y] - np.float32(top) - _HALF
    reach = f[rank, REACH_Y] + _MARGIN
    first = max(ceil(max(middle - reach, _ZERO)), 0)
    last = floor(min(middle + reach, np.float32(rows - 1)))
    return int(first), int(last) + 1


@kernel
def _misses(f, rank, dy, left):
    """Whether the ellipse leaves this row of the tile empty."""
    share = dy / f[rank, REACH_Y]
    half = f[rank, HALF_WIDTH] * np.sqrt(max(_ZERO, _ONE - share * share)) + _MARGIN
    middle = f[rank, X] + f[rank, SLOPE] * dy - left
    return middle + half < _HALF or middle - half > np.float32(TILE - 0.5)


@kernel
def _blend_tile(f, ranks, first, last, left, top, rows, columns, state, centres):
    """Blend one tile into `state` [5, 16, 16]: transmittance (negative: finished), red, green, blue, depth."""
    transmittance, red, green, blue, depth = state[0], state[1], state[2], state[3], state[4]
    transmittance[:] = _ONE
    state[1:] = _ZERO
    for x in range(TILE):
        centres[x] = np.float32(left + x) + _HALF
    for pair in range(first, last):
        if (pair - first) % _CHECK_EVERY == 0 and _is_finished(transmittance, rows, columns):
            break
        g = ranks[pair]
        mean_x, opacity = f[g, X], f[g, OPACITY]
        r, gr, b, z = f[g, RED], f[g, GREEN], f[g, BLUE], f[g, DEPTH]
        half_xx, xy, half_yy = _HALF * f[g, CONIC_XX], f[g, CONIC_XY], _HALF * f[g, CONIC_YY]
        start, end = _row_range(f, g, top, rows)
        for y in range(start, end):
            dy = np.float32(top + y) + _HALF - f[g, Y]
            if _misses(f, g, dy, np.float32(left)):
                continue
            slant, height = xy * dy, half_yy * dy * dy
            for x in range(TILE):
                dx = centres[x] - mean_x
                squared = min(max(dx * (half_xx * dx + slant) + height, _ZERO), _FARTHEST)
                alpha = min(opacity * _falloff(squared), _MOST)
                t = transmittance[y, x]
                alpha = alpha if alpha >= _CUT else _ZERO
                alpha = alpha if t > _ZERO else _ZERO
                weight = alpha * t
                left_over = t - weight
                stops = (t > _ZERO) & (left_over <= _STOP)
                weight = _ZERO if stops else weight
                transmittance[y, x] = -t if stops else left_over
                red[y, x] += weight * r
                green[y, x] += weight * gr
                blue[y, x] += weight * b
                depth[y, x] += weight * z


@parallel_kernel
def blend(f, ranks, tile_first, tiles, tiles_x, width, height, workers, rgb, alpha, depth):
    """Fill rgb [H, W, 3], alpha [H, W] and expected depth [H, W] of the listed tiles."""
    for worker in prange(workers):
        state = np.empty((5, TILE, TILE), np.float32)
        centres = np.empty(TILE, np.float32)
        for place in range(worker, len(tiles), workers):
            tile = tiles[place]
            left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
            rows, columns = min(TILE, height - top), min(TILE, width - left)
            first, last = tile_first[tile], tile_first[tile + 1]
            _blend_tile(f, ranks, first, last, left, top, rows, columns, state, centres)
            for y in range(rows):
                for x in range(columns):
                    covered = _ONE - abs(state[0, y, x])
                    for channel in range(3):
                        rgb[top + y, left + x, channel] = state[1 + channel, y, x]
                    alpha[top + y, left + x] = covered
                    depth[top + y, left + x] = (
                        state[4, y, x] / covered if covered > _ZERO else _ZERO
                    )


@kernel
def _start_backward(g_rgb, g_alpha, g_depth, rgb, alpha, depth, left, top, rows, columns, state):
    """Load a tile: state [6, 16, 16] = transmittance, gradient of r, g, b, summed depth, and `behind`."""
    state[0] = _ONE
    state[1:] = _ZERO
    for y in range(rows):
        for x in range(columns):
            py, px = top + y, left + x
            covered = alpha[py, px]
            to_sum = g_depth[py, px] / covered if covered > _ZERO else _ZERO
            # expected depth = sum / alpha: its gradient reaches alpha as well
            to_alpha = g_alpha[py, px] - to_sum * depth[py, px]
            behind = to_sum * depth[py, px] * covered - to_alpha * (_ONE - covered)
            for channel in range(3):
                state[1 + channel, y, x] = g_rgb[py, px, channel]
                behind += g_rgb[py, px, channel] * rgb[py, px, channel]
            state[4, y, x] = to_sum
            state[5, y, x] = behind


@kernel
def _pair_backward(f, g, left, top, rows, state, centres, out):
    """Write the gradients of one Gaussian in one tile to `out` [12] and advance `state`."""
    transmittance, behind = state[0], state[5]
    mean_x, opacity = f[g, X], f[g, OPACITY]
    r, gr, b, z = f[g, RED], f[g, GREEN], f[g, BLUE], f[g, DEPTH]
    xx, xy, yy = f[g, CONIC_XX], f[g, CONIC_XY], f[g, CONIC_YY]
    half_xx = _HALF * xx
    q_sum = q_x = q_y = q_xx = q_xy = q_yy = _ZERO
    to_red = to_green = to_blue = to_depth = abs_x = abs_y = _ZERO
    start, end = _row_range(f, g, top, rows)
    for y in range(start, end):
        dy = np.float32(top + y) + _HALF - f[g, Y]
        if _misses(f, g, dy, np.float32(left)):
            continue
        slant, height, drop = xy * dy, _HALF * yy * dy * dy, yy * dy
        row_q = row_qx = row_qxx = _ZERO
        for x in range(TILE):
            dx = centres[x] - mean_x
            squared = min(max(dx * (half_xx * dx + slant) + height, _ZERO), _FARTHEST)
            free = opacity * _falloff(squared)
            t = transmittance[y, x]
            alpha = min(free, _MOST)
            alpha = alpha if alpha >= _CUT else _ZERO
            alpha = alpha if t > _ZERO else _ZERO
            weight = alpha * t
            left_over = t - weight
            stops = (t > _ZERO) & (left_over <= _STOP)
            weight = _ZERO if stops else weight
            transmittance[y, x] = -t if stops else left_over
            toward = (
                r * state[1, y, x] + gr * state[2, y, x] + b * state[3, y, x] + z * state[4, y, x]
            )
            rest = behind[y, x] - weight * toward
            behind[y, x] = rest
            to_red += weight * state[1, y, x]
            to_green += weight * state[2, y, x]
            to_blue += weight * state[3, y, x]
            to_depth += weight * state[4, y, x]
            # q = dL/d(squared distance); none where the bound of alpha holds or nothing was added
            q = rest * alpha / (_ONE - alpha) - weight * toward
            q = q if (weight > _ZERO) & (free <= _MOST) else _ZERO
            row_q += q
            row_qx += q * dx
            row_qxx += q * dx * dx
            abs_x += abs(q * (xx * dx + slant))
            abs_y += abs(q * (xy * dx + drop))
        q_sum += row_q
        q_x += row_qx
        q_y += row_q * dy
        q_xx += row_qxx
        q_xy += row_qx * dy
        q_yy += row_q * dy * dy
    out[G_X], out[G_Y] = -(xx * q_x + xy * q_y), -(xy * q_x + yy * q_y)
    out[G_XX], out[G_XY], out[G_YY] = _HALF * q_xx, q_xy, _HALF * q_yy
    out[G_OPACITY] = -q_sum / opacity
    out[G_RED], out[G_GREEN], out[G_BLUE], out[G_DEPTH] = to_red, to_green, to_blue, to_depth
    out[G_ABS_X], out[G_ABS_Y] = abs_x, abs_y


@parallel_kernel
def blend_backward(
    f, ranks, slots, tile_first, tiles, tiles_x, width, height, workers,
    rgb, alpha, depth, g_rgb, g_alpha, g_depth, pair_gradients,
):  # fmt: skip
    """Fill `pair_gradients` [pairs, 12] from the gradients of the three pictures."""
    for worker in prange(workers):
        state = np.empty((6, TILE, TILE), np.float32)
        centres = np.empty(TILE, np.float32)
        for place in range(worker, len(tiles), workers):
            tile = tiles[place]
            left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
            rows, columns = min(TILE, height - top), min(TILE, width - left)
            first, last = tile_first[tile], tile_first[tile + 1]
            _start_backward(
                g_rgb, g_alpha, g_depth, rgb, alpha, depth, left, top, rows, columns, state
            )
            for x in range(TILE):
                centres[x] = np.float32(left + x) + _HALF
            finished = False
            for pair in range(first, last):
                if not finished and (pair - first) % _CHECK_EVERY == 0:
                    finished = _is_finished(state[0], rows, columns)
                out = pair_gradients[slots[pair]]
                if finished:
                    for k in range(NUM_GRADIENTS):
                        out[k] = _ZERO
                else:
                    _pair_backward(f, ranks[pair], left, top, rows, state, centres, out)
