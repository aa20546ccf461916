"""Compiled blending of tiles, forward.

A tile keeps its pixels in one small array [strip, block, number, WIDTH] (core/render/cpu_ellipse.py says
what a strip and a block are); the outer loop walks its Gaussians front to back, the middle one the strips,
the inner one the blocks an ellipse reaches, with selects instead of branches. A finished pixel is marked by
a negative transmittance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange
from core.render import cpu_project, cpu_sort, cpu_tiles
from core.render.composite import to_uint8
from core.render.cpu_backward import blend_backward
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
    whose_turn,
)
from core.render.cpu_lanes import WIDTH, fetch, read, spread, write
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

__all__ = ["blend", "blend_backward", "warm_up"]

_BLOCK = 5 * WIDTH  # transmittance, red, green, blue, depth
_STRIP = BLOCKS * _BLOCK


@kernel
def _start_tile(state, rows, columns):
    """Let every pixel of the picture take light."""
    for place in range(0, STRIPS * _STRIP, WIDTH):
        write(state, place, spread(ZERO))
    for y in range(TILE):
        for x in range(TILE):
            inside = y < rows and x < columns
            state[_place(y, x)] = ONE if inside else -ONE


@kernel
def _place(y, x):
    """Return where the transmittance of a pixel of the tile is kept."""
    block = x // STRIP * _STRIP + y // ROWS * _BLOCK
    return block + y % ROWS * STRIP + x % STRIP


@kernel
def _store_tile(state, left, top, rows, columns, rgb, alpha, depth):
    """Write a finished tile to the pictures."""
    for y in range(rows):
        for x in range(columns):
            place = _place(y, x)
            covered = ONE - abs(state[place])
            for channel in range(3):
                rgb[top + y, left + x, channel] = state[place + (1 + channel) * WIDTH]
            alpha[top + y, left + x] = covered
            if depth is not None:
                summed = state[place + 4 * WIDTH]
                depth[top + y, left + x] = summed / covered if covered > ZERO else ZERO


@kernel
def _blend_tile(f, pairs, first, last, left, top, rows, columns, rgb, alpha, depth):
    """Blend one tile and write its pixels."""
    state, reached = np.empty(STRIPS * _STRIP, np.float32), np.empty(WIDTH, np.float32)
    live = np.ones(STRIPS, np.bool_)
    _start_tile(state, rows, columns)
    for pair in range(first, last):
        if (pair - first) % CHECK_EVERY == 0:
            any_live = False
            for strip in range(STRIPS):
                live[strip] = live[strip] and takes_light(state, strip * _STRIP, _BLOCK)
                any_live = any_live or live[strip]
            if not any_live:
                break
        g = pairs[pair, 0]
        fetch(f, pairs[min(pair + AHEAD, last - 1), 0])
        reached_rows(f, g, np.float32(left), np.float32(top), rows, reached)
        x, y = f[g, X] - np.float32(left), f[g, Y] - np.float32(top)
        half_xx, xy = SIXTEENTH * f[g, CONIC_XX], EIGHTH * f[g, CONIC_XY]
        half_yy, base = SIXTEENTH * f[g, CONIC_YY], -EIGHTH * f[g, LOG_OPACITY]
        r, gr, b, z = f[g, RED], f[g, GREEN], f[g, BLUE], f[g, DEPTH]
        for strip in range(STRIPS):
            if not live[strip]:
                continue
            dx = column() + (np.float32(strip * STRIP) - x)
            fixed, across = dx * dx * half_xx + base, dx * xy
            start, end = int(reached[strip]), int(reached[strip + 4])
            for block in range(start // ROWS, (end + ROWS - 1) // ROWS):
                dy = row() + (np.float32(block * ROWS) - y)
                place = strip * _STRIP + block * _BLOCK
                t = fixed + dy * (across + half_yy * dy)
                weight, _, kept = take_light(t, read(state, place))
                write(state, place, kept)
                place += WIDTH
                write(state, place, read(state, place) + weight * r)
                place += WIDTH
                write(state, place, read(state, place) + weight * gr)
                place += WIDTH
                write(state, place, read(state, place) + weight * b)
                if depth is not None:
                    place += WIDTH
                    write(state, place, read(state, place) + weight * z)
    _store_tile(state, left, top, rows, columns, rgb, alpha, depth)


@parallel_kernel
def blend(f, pairs, tile_first, tiles, tiles_x, width, height, workers, rgb, alpha, depth):
    """Fill rgb [H, W, 3], alpha [H, W] and, unless it is None, expected depth [H, W] of the listed tiles."""
    for worker in prange(workers):
        for turn in range((len(tiles) + workers - 1) // workers):
            place = whose_turn(turn, worker, workers)
            if place >= len(tiles):
                break
            tile = tiles[place]
            left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
            rows, columns = min(TILE, height - top), min(TILE, width - left)
            first, last = tile_first[tile], tile_first[tile + 1]
            _blend_tile(f, pairs, first, last, left, top, rows, columns, rgb, alpha, depth)


def warm_up() -> Iterator[str]:
    """Compile or load every kernel of the CPU renderer on one Gaussian, yielding each name."""
    size = TILE
    one = [np.ones((1, *tail), np.float32) for tail in ((3,), (4,), (3,), (), (3,))]
    camera = cpu_project.camera_numbers(np.eye(4), np.diag([8.0, 8.0, 1.0]), size, size)
    features, depths = cpu_project.empty_features(1), np.empty(1, np.float32)
    radii, means2d = np.empty(1, np.int32), np.empty((1, 2), np.float32)
    cpu_project.project(*one, camera, size, size, False, features, depths, radii, means2d)
    yield "project"
    for with_slots in (False, True):
        tiles = cpu_tiles.bin_gaussians(features, depths, size, size, with_slots)
    cpu_sort.depth_order(np.ones(cpu_sort.SMALL, np.float32))
    yield "sort and list per tile"
    pictures = [np.zeros((size, size, *tail), np.float32) for tail in ((3,), (), ())]
    lists = (tiles.first, tiles.order, tiles.tiles_x, size, size, 1)
    pair_gradients = np.empty((len(tiles.pairs), NUM_GRADIENTS), np.float32)
    for depth, name in ((None, ""), (pictures[2], " with depth")):
        layers = (*pictures[:2], depth)
        blend(features, tiles.pairs, *lists, *layers)
        yield f"blend{name}"
        blend_backward(features, tiles.pairs, *lists, *layers, *layers, pair_gradients)
        yield f"blend backward{name}"
    gradients = [np.zeros_like(array) for array in one]
    cpu_project.project_backward(
        *one[:4], camera, False, tiles.slot_first, pair_gradients, *gradients, means2d
    )
    yield "project backward"
    to_uint8(pictures[0])
    yield "picture to bytes"
