"""Triton kernels that blend tiles, forward and backward, and add up gradients per Gaussian.

One program is one tile: its 256 pixels are a vector, its list is walked front to back, and the numbers of a
Gaussian are scalars that every lane shares. A finished pixel is marked by a negative transmittance; a tile
of finished pixels is noticed every few Gaussians.

The backward pass walks front to back as well: `behind` starts as gradient . finished pixel and loses
what has been passed, which leaves exactly what lies behind a Gaussian:

    dL/dalpha = transmittance (gradient . color) - behind / (1 - alpha)

It writes one row of gradients per pair into that pair's slot, and `add_pairs` adds up the slots of a row
in their order: no atomics, the same bits every time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from core.render import backend
from core.render.triton_project import (
    BLUE,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    DEPTH,
    GREEN,
    NUM_FEATURES,
    OPACITY,
    RED,
    X,
    Y,
)
from core.render.triton_project_backward import (
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
    NUM_GRADIENTS,
)
from core.render.triton_tiles import TILE

_SIDE = tl.constexpr(TILE)
_PIXELS = tl.constexpr(TILE * TILE)
_CUT = tl.constexpr(backend.ALPHA_CUT)
_MOST = tl.constexpr(backend.ALPHA_MAX)
_STOP = tl.constexpr(backend.TRANSMITTANCE_STOP)
_CHECK_EVERY = tl.constexpr(16)
_COLUMNS = tl.constexpr(16)  # lanes that hold the gradients of a pair: the next power of two


@triton.jit
def _place(tiles_x, tiles_y, width, height):
    """Return a program's pixels: which exist, their index over all cameras, and their centres."""
    tile = tl.program_id(0)
    camera = tile // (tiles_x * tiles_y)
    place = tile % (tiles_x * tiles_y)
    lane = tl.arange(0, _PIXELS)
    column = (place % tiles_x) * _SIDE + lane % _SIDE
    line = (place // tiles_x) * _SIDE + lane // _SIDE
    pixel = (camera.to(tl.int64) * height + line) * width + column
    inside = (column < width) & (line < height)
    return inside, pixel, column.to(tl.float32) + 0.5, line.to(tl.float32) + 0.5


@triton.jit
def _pass_light(opacity, squared, transmittance):
    """Return, per pixel, alpha without and with its bound and cut, the weight, and the transmittance after."""
    free = opacity * tl.exp(-tl.maximum(squared, 0.0))
    alpha = tl.minimum(free, _MOST)
    alpha = tl.where(alpha >= _CUT, alpha, 0.0)
    live = tl.maximum(transmittance, 0.0)
    weight = alpha * live
    stops = live - weight <= _STOP
    after = tl.where(stops, -tl.abs(transmittance), live - weight)
    return free, alpha, tl.where(stops, 0.0, weight), after


@triton.jit(do_not_specialize=["tiles_x", "tiles_y", "width", "height"])
def blend(
    features, members, tile_first, tiles_x, tiles_y, width, height, rgb, alpha, depth
):  # fmt: skip
    """Fill rgb [C, H, W, 3], alpha [C, H, W] and expected depth [C, H, W]; the grid is (tiles of all cameras)."""
    inside, pixel, x, y = _place(tiles_x, tiles_y, width, height)
    transmittance = tl.where(inside, 1.0, 0.0)
    covered = tl.zeros([_PIXELS], tl.float32)
    red, green, blue, far = covered, covered, covered, covered
    start = tl.load(tile_first + tl.program_id(0))
    last = tl.load(tile_first + tl.program_id(0) + 1)
    light = tl.max(transmittance, 0)
    while (start < last) & (light > 0.0):
        for pair in range(start, tl.minimum(start + _CHECK_EVERY, last)):
            f = features + NUM_FEATURES * tl.load(members + pair).to(tl.int64)
            dx, dy = x - tl.load(f + X), y - tl.load(f + Y)
            xy = tl.load(f + CONIC_XY)
            # formed as in the backward pass, so that both find the same pixels above the cut
            along = tl.load(f + CONIC_XX) * dx + xy * dy
            down = xy * dx + tl.load(f + CONIC_YY) * dy
            _, _, weight, transmittance = _pass_light(
                tl.load(f + OPACITY), 0.5 * (along * dx + down * dy), transmittance
            )
            red += weight * tl.load(f + RED)
            green += weight * tl.load(f + GREEN)
            blue += weight * tl.load(f + BLUE)
            far += weight * tl.load(f + DEPTH)
        start += _CHECK_EVERY
        light = tl.max(transmittance, 0)
    covered = 1.0 - tl.abs(transmittance)
    tl.store(rgb + 3 * pixel, red, inside)
    tl.store(rgb + 3 * pixel + 1, green, inside)
    tl.store(rgb + 3 * pixel + 2, blue, inside)
    tl.store(alpha + pixel, covered, inside)
    tl.store(depth + pixel, far / tl.where(covered > 0.0, covered, 1.0), inside)


@triton.jit
def _to_pixels(pixel, inside, rgb, alpha, depth, g_rgb, g_alpha, g_depth):
    """Return the gradients of red, green, blue and summed depth per pixel, and gradient . finished pixel."""
    to_red = tl.load(g_rgb + 3 * pixel, inside, other=0.0)
    to_green = tl.load(g_rgb + 3 * pixel + 1, inside, other=0.0)
    to_blue = tl.load(g_rgb + 3 * pixel + 2, inside, other=0.0)
    covered = tl.load(alpha + pixel, inside, other=0.0)
    far = tl.load(depth + pixel, inside, other=0.0)
    to_far = tl.load(g_depth + pixel, inside, other=0.0)
    to_sum = tl.where(covered > 0.0, to_far / tl.where(covered > 0.0, covered, 1.0), 0.0)
    # expected depth = sum / alpha: its gradient reaches alpha as well
    to_alpha = tl.load(g_alpha + pixel, inside, other=0.0) - to_sum * far
    behind = to_sum * far * covered - to_alpha * (1.0 - covered)
    behind += to_red * tl.load(rgb + 3 * pixel, inside, other=0.0)
    behind += to_green * tl.load(rgb + 3 * pixel + 1, inside, other=0.0)
    behind += to_blue * tl.load(rgb + 3 * pixel + 2, inside, other=0.0)
    return to_red, to_green, to_blue, to_sum, behind


@triton.jit
def _sums(columns, q, dx, dy, along, down, opacity):
    """Return a pair's row of gradients as far as they come from q = dL/d(half the squared distance)."""
    row = tl.zeros([_COLUMNS], tl.float32)
    row = tl.where(columns == G_X, tl.sum(-q * along, 0), row)
    row = tl.where(columns == G_Y, tl.sum(-q * down, 0), row)
    row = tl.where(columns == G_XX, tl.sum(0.5 * q * dx * dx, 0), row)
    row = tl.where(columns == G_XY, tl.sum(q * dx * dy, 0), row)
    row = tl.where(columns == G_YY, tl.sum(0.5 * q * dy * dy, 0), row)
    row = tl.where(columns == G_OPACITY, tl.sum(-q / opacity, 0), row)
    row = tl.where(columns == G_ABS_X, tl.sum(tl.abs(q * along), 0), row)
    return tl.where(columns == G_ABS_Y, tl.sum(tl.abs(q * down), 0), row)


@triton.jit(do_not_specialize=["tiles_x", "tiles_y", "width", "height"])
def blend_backward(
    features, members, slots, tile_first, tiles_x, tiles_y, width, height,
    rgb, alpha, depth, g_rgb, g_alpha, g_depth, pair_gradients,
):  # fmt: skip
    """Fill the rows of `pair_gradients` [pairs, 12], zero before, whose Gaussian a pixel of the tile shows."""
    inside, pixel, x, y = _place(tiles_x, tiles_y, width, height)
    to_red, to_green, to_blue, to_far, behind = _to_pixels(
        pixel, inside, rgb, alpha, depth, g_rgb, g_alpha, g_depth
    )
    columns = tl.arange(0, _COLUMNS)
    transmittance = tl.where(inside, 1.0, 0.0)
    start = tl.load(tile_first + tl.program_id(0))
    last = tl.load(tile_first + tl.program_id(0) + 1)
    light = tl.max(transmittance, 0)
    while (start < last) & (light > 0.0):
        for pair in range(start, tl.minimum(start + _CHECK_EVERY, last)):
            f = features + NUM_FEATURES * tl.load(members + pair).to(tl.int64)
            dx, dy = x - tl.load(f + X), y - tl.load(f + Y)
            xy = tl.load(f + CONIC_XY)
            # gradient of half the squared distance
            along = tl.load(f + CONIC_XX) * dx + xy * dy
            down = xy * dx + tl.load(f + CONIC_YY) * dy
            opacity = tl.load(f + OPACITY)
            free, a, weight, transmittance = _pass_light(
                opacity, 0.5 * (along * dx + down * dy), transmittance
            )
            if tl.max(weight, 0) > 0.0:
                passed = tl.load(f + RED) * to_red + tl.load(f + GREEN) * to_green
                passed += tl.load(f + BLUE) * to_blue + tl.load(f + DEPTH) * to_far
                passed *= weight
                behind -= passed
                # dL/d(half the squared distance); none where the bound of alpha holds or nothing was added
                q = behind * a / (1.0 - a) - passed
                q = tl.where((weight > 0.0) & (free <= _MOST), q, 0.0)
                row = _sums(columns, q, dx, dy, along, down, opacity)
                row = tl.where(columns == G_RED, tl.sum(weight * to_red, 0), row)
                row = tl.where(columns == G_GREEN, tl.sum(weight * to_green, 0), row)
                row = tl.where(columns == G_BLUE, tl.sum(weight * to_blue, 0), row)
                row = tl.where(columns == G_DEPTH, tl.sum(weight * to_far, 0), row)
                slot = tl.load(slots + pair).to(tl.int64)
                tl.store(
                    pair_gradients + NUM_GRADIENTS * slot + columns, row, columns < NUM_GRADIENTS
                )
        start += _CHECK_EVERY
        light = tl.max(transmittance, 0)


@triton.jit
def add_pairs(row_first, counts, pair_gradients, gradients, BLOCK: tl.constexpr):
    """Add up the slots of one row into `gradients` [C * N, 12]; rows without slots stay as they are."""
    row = tl.program_id(0).to(tl.int64)
    slots = tl.load(counts + row)
    if slots > 0:
        first = tl.load(row_first + row).to(tl.int64)
        columns = tl.arange(0, _COLUMNS)[None, :]
        some = columns < NUM_GRADIENTS
        total = tl.zeros([BLOCK, _COLUMNS], tl.float32)
        for start in range(0, slots, BLOCK):
            slot = start + tl.arange(0, BLOCK)[:, None]
            place = pair_gradients + NUM_GRADIENTS * (first + slot) + columns
            total += tl.load(place, (slot < slots) & some, other=0.0)
        summed = tl.sum(total, 0)
        column = tl.arange(0, _COLUMNS)
        tl.store(gradients + NUM_GRADIENTS * row + column, summed, column < NUM_GRADIENTS)
