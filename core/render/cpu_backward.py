"""Compiled blending of tiles, backward.

The pass walks front to back as the forward one does: `behind` starts as gradient . finished pixel and loses
what has been passed, which leaves exactly what lies behind a Gaussian:

    dL/dalpha = transmittance (gradient . color) - behind / (1 - alpha)

Sums over the pixels of a Gaussian stay in registers and are written as one row per pair (Q .. G_DEPTH of
core/render/cpu_project.py), so nothing is ever added by two threads. What they mean for the Gaussian's
centre, conic and opacity is worked out once per Gaussian, in `project_backward`.
"""

from __future__ import annotations

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange
from core.render.cpu_ellipse import (
    AHEAD,
    BLOCKS,
    CHECK_EVERY,
    EIGHTH,
    ONE,
    ROWS,
    SIXTEENTH,
    STRIP,
    STRIPS,
    ZERO,
    column,
    reached_rows,
    row,
    take_light,
    takes_light,
    where_unbounded,
    whose_turn,
)
from core.render.cpu_lanes import (
    WIDTH,
    fetch,
    magnitude,
    read,
    spread,
    write,
    write_four_sums,
    write_sums,
)
from core.render.cpu_project import (
    BLUE,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    DEPTH,
    GREEN,
    LOG_OPACITY,
    NUM_GRADIENTS,
    RED,
    X,
    Y,
)
from core.render.cpu_tiles import TILE

_BLOCK = 6 * WIDTH  # transmittance, `behind`, gradients of red, green, blue, summed depth
_STRIP = BLOCKS * _BLOCK


@kernel
def _start_tile(rgb, alpha, depth, g_rgb, g_alpha, g_depth, left, top, rows, columns, state):
    """Load the gradients of one tile and what `behind` begins with."""
    for place in range(0, STRIPS * _STRIP, WIDTH):
        write(state, place, spread(-ONE))
    for y in range(rows):
        for x in range(columns):
            place = x // STRIP * _STRIP + y // ROWS * _BLOCK + y % ROWS * STRIP + x % STRIP
            py, px = top + y, left + x
            covered = alpha[py, px]
            to_alpha, behind = g_alpha[py, px], ZERO
            if g_depth is not None:
                # expected depth = sum / alpha: its gradient reaches alpha as well
                to_sum = g_depth[py, px] / covered if covered > ZERO else ZERO
                to_alpha -= to_sum * depth[py, px]
                behind += to_sum * depth[py, px] * covered
                state[place + 5 * WIDTH] = to_sum
            behind -= to_alpha * (ONE - covered)
            for channel in range(3):
                state[place + (2 + channel) * WIDTH] = g_rgb[py, px, channel]
                behind += g_rgb[py, px, channel] * rgb[py, px, channel]
            state[place] = ONE
            state[place + WIDTH] = behind


@kernel
def _strip_backward(f, g, x, y, strip, start, end, state, g_depth, sums):
    """Retrace one Gaussian in one strip and return its sums with this strip's added."""
    q, q_x, q_y, q_xx, q_xy, q_yy, abs_x, abs_y, to_red, to_green, to_blue, to_depth = sums
    xx, xy, yy = f[g, CONIC_XX], f[g, CONIC_XY], f[g, CONIC_YY]
    half_yy, r, gr, b, z = SIXTEENTH * yy, f[g, RED], f[g, GREEN], f[g, BLUE], f[g, DEPTH]
    dx = column() + (np.float32(strip * STRIP) - x)
    fixed = dx * dx * (SIXTEENTH * xx) - EIGHTH * f[g, LOG_OPACITY]
    across, along_x, along_y = dx * (EIGHTH * xy), dx * xx, dx * xy
    p = p_y = p_yy = spread(ZERO)
    for block in range(start // ROWS, (end + ROWS - 1) // ROWS):
        dy = row() + (np.float32(block * ROWS) - y)
        place = strip * _STRIP + block * _BLOCK
        t = fixed + dy * (across + half_yy * dy)
        weight, after, kept = take_light(t, read(state, place))
        write(state, place, kept)
        g_red, g_green = read(state, place + 2 * WIDTH), read(state, place + 3 * WIDTH)
        g_blue = read(state, place + 4 * WIDTH)
        color = g_red * r + g_green * gr + g_blue * b
        if g_depth is not None:
            g_sum = read(state, place + 5 * WIDTH)
            color += g_sum * z
            to_depth += weight * g_sum
        passed = weight * color
        behind = read(state, place + WIDTH) - passed
        write(state, place + WIDTH, behind)
        # alpha / (1 - alpha) = weight / after; a finished pixel has no weight
        change = where_unbounded(t, behind * weight / after - passed)
        p += change
        p_y += change * dy
        p_yy += change * dy * dy
        to_red += weight * g_red
        to_green += weight * g_green
        to_blue += weight * g_blue
        size = magnitude(change)
        abs_x += size * magnitude(along_x + dy * xy)
        abs_y += size * magnitude(along_y + dy * yy)
    p_x = p * dx
    return (
        q + p, q_x + p_x, q_y + p_y, q_xx + p_x * dx, q_xy + p_y * dx, q_yy + p_yy,
        abs_x, abs_y, to_red, to_green, to_blue, to_depth,
    )  # fmt: skip


@kernel
def _blend_tile_backward(
    f, pairs, first, last, left, top, rows, columns,
    rgb, alpha, depth, g_rgb, g_alpha, g_depth, pair_gradients, out,
):  # fmt: skip
    """Retrace one tile and write the sums of its pairs."""
    state, reached = np.empty(STRIPS * _STRIP, np.float32), np.empty(WIDTH, np.float32)
    live = np.ones(STRIPS, np.bool_)
    _start_tile(rgb, alpha, depth, g_rgb, g_alpha, g_depth, left, top, rows, columns, state)
    for pair in range(first, last):
        if (pair - first) % CHECK_EVERY == 0:
            any_live = False
            for strip in range(STRIPS):
                live[strip] = live[strip] and takes_light(state, strip * _STRIP, _BLOCK)
                any_live = any_live or live[strip]
            if not any_live:
                for rest in range(pair, last):
                    place = np.int64(pairs[rest, 1]) * NUM_GRADIENTS
                    out[place : place + NUM_GRADIENTS] = ZERO
                break
        g = pairs[pair, 0]
        fetch(f, pairs[min(pair + AHEAD, last - 1), 0])
        fetch(pair_gradients, pairs[min(pair + AHEAD, last - 1), 1])
        reached_rows(f, g, np.float32(left), np.float32(top), rows, reached)
        x, y = f[g, X] - np.float32(left), f[g, Y] - np.float32(top)
        none = spread(ZERO)
        s = (none, none, none, none, none, none, none, none, none, none, none, none)
        for strip in range(STRIPS):
            start, end = int(reached[strip]), int(reached[strip + 4])
            if live[strip] and start < end:
                s = _strip_backward(f, g, x, y, strip, start, end, state, g_depth, s)
        place = np.int64(pairs[pair, 1]) * NUM_GRADIENTS
        write_sums(out, place, s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7])
        write_four_sums(out, place + 8, s[8], s[9], s[10], s[11])


@parallel_kernel
def blend_backward(
    f, pairs, tile_first, tiles, tiles_x, width, height, workers,
    rgb, alpha, depth, g_rgb, g_alpha, g_depth, pair_gradients,
):  # fmt: skip
    """Fill `pair_gradients` [pairs, 12] from the gradients of the pictures; depth may be None in both."""
    out = pair_gradients.reshape(-1)
    for worker in prange(workers):
        for turn in range((len(tiles) + workers - 1) // workers):
            place = whose_turn(turn, worker, workers)
            if place >= len(tiles):
                break
            tile = tiles[place]
            left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
            rows, columns = min(TILE, height - top), min(TILE, width - left)
            first, last = tile_first[tile], tile_first[tile + 1]
            _blend_tile_backward(
                f, pairs, first, last, left, top, rows, columns,
                rgb, alpha, depth, g_rgb, g_alpha, g_depth, pair_gradients, out,
            )  # fmt: skip
