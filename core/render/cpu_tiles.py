"""Which Gaussians touch which 16 x 16 tile, front to back: compiled sorting and binning.

A chunk of the depth order is one unit of work: it counts the tiles its Gaussians touch, a running sum
over (tile, chunk) gives every chunk its place in every list, and a second pass fills the lists. The
result does not depend on the number of threads. A "pair" is one Gaussian in one tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from core.base.errors import RenderError
from core.nn.compiled import kernel, parallel_kernel, prange
from core.render.cpu_project import HALF_WIDTH, NUM_ELLIPSE, REACH_X, REACH_Y, SLOPE, X, Y

TILE = 16
_NUM_CHUNKS = 48
_MOST_PAIRS = 2**28  # 2 GB of lists
_DIGIT_BITS = 11
_MARGIN = 1e-3  # pixels; rounding must never lose a pixel at the border of an ellipse


@dataclass(eq=False)
class Tiles:
    """The Gaussians of every tile, front to back.

    first       [tiles + 1]  start of every tile's list; tiles row by row from the top
    rows        [pairs]      the lists
    slots       [pairs]      where the backward pass writes a pair, so that a Gaussian's pairs are neighbours
    slot_first  [N + 1]      start of every Gaussian's slots
    order       [tiles]      tiles with the longest list first, so that threads finish together
    """

    first: np.ndarray
    rows: np.ndarray
    slots: np.ndarray
    slot_first: np.ndarray
    order: np.ndarray
    tiles_x: int
    tiles_y: int


def bin_gaussians(features: np.ndarray, depths: np.ndarray, width: int, height: int) -> Tiles:
    """Sort what is visible by depth and list it per tile."""
    order = _depth_order(depths.view(np.uint32))
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    places = np.zeros((_NUM_CHUNKS, tiles_x * tiles_y), np.int64)
    slot_first = np.zeros(len(depths) + 1, np.int64)
    workers = numba.get_num_threads()
    _count(features, order, tiles_x, width, height, workers, places, slot_first)
    np.cumsum(slot_first, out=slot_first)
    pairs = int(slot_first[-1])
    if pairs > _MOST_PAIRS:
        raise RenderError(
            f"{pairs} overlaps of Gaussians and tiles are more than the CPU renderer can hold; "
            "draw a smaller picture or prune the largest Gaussians."
        )
    first = _running_sum(places)
    rows, slots = np.empty(pairs, np.int32), np.empty(pairs, np.int32)
    _fill(features, order, tiles_x, width, height, workers, places, slot_first, rows, slots)
    heaviest_first = np.argsort(-np.diff(first), kind="stable")
    return Tiles(first, rows, slots, slot_first, heaviest_first, tiles_x, tiles_y)


@kernel
def _depth_order(keys):
    """Return rows with a key above zero by rising key; equal keys stay in order (radix sort)."""
    size = 1 << _DIGIT_BITS
    starts = np.zeros((3, size + 1), np.int64)
    visible = 0
    for key in keys:
        if key:
            visible += 1
            for digit in range(3):
                starts[digit, ((np.int64(key) >> (_DIGIT_BITS * digit)) & (size - 1)) + 1] += 1
    for digit in range(3):
        for place in range(size):
            starts[digit, place + 1] += starts[digit, place]
    order, moved = np.empty(visible, np.int32), np.empty(visible, np.int32)
    place = 0
    for row in range(len(keys)):
        if keys[row]:
            order[place] = row
            place += 1
    for digit in range(3):
        for i in range(visible):
            row = order[i]
            value = (np.int64(keys[row]) >> (_DIGIT_BITS * digit)) & (size - 1)
            moved[starts[digit, value]] = row
            starts[digit, value] += 1
        order, moved = moved, order
    return order


@kernel
def _pixels(low, high, size):
    """Return the first and last pixel whose centre lies between two positions, inside 0 .. size - 1."""
    low, high = max(low - 0.5 - _MARGIN, 0.0), min(high - 0.5 + _MARGIN, size - 1.0)
    if low > high:
        return 0, -1
    first = int(low)  # rounding up by hand: the library's ceil is a call
    return first + (1 if first < low else 0), int(high)


@kernel
def _tile_rows(f, row, height):
    """Return the first and last row of tiles that Gaussian `row` can touch."""
    first, last = _pixels(f[row, Y] - f[row, REACH_Y], f[row, Y] + f[row, REACH_Y], height)
    return (first // TILE, last // TILE) if first <= last else (0, -1)


@kernel
def _tile_columns(f, row, tile_row, width):
    """Return the first and last tile of a row of tiles that the ellipse touches (last < first: none).

    The ellipse at the alpha cut has its rightmost point at dy = slope * reach_y^2 / reach_x; within a band of
    rows its rightmost point lies at the dy nearest to that one.
    """
    x, reach_x, reach_y = (
        np.float64(f[row, X]),
        np.float64(f[row, REACH_X]),
        np.float64(f[row, REACH_Y]),
    )
    slope, half = np.float64(f[row, SLOPE]), np.float64(f[row, HALF_WIDTH])
    low = max(tile_row * TILE + 0.5 - f[row, Y], -reach_y)
    high = min(tile_row * TILE + TILE - 0.5 - f[row, Y], reach_y)
    extreme = slope * reach_y * reach_y / reach_x
    dy = min(max(extreme, low), high)
    right = x + slope * dy + half * math.sqrt(max(0.0, 1.0 - (dy / reach_y) ** 2))
    dy = min(max(-extreme, low), high)
    left = x + slope * dy - half * math.sqrt(max(0.0, 1.0 - (dy / reach_y) ** 2))
    first, last = _pixels(left, right, width)
    return (first // TILE, last // TILE) if first <= last else (0, -1)


@kernel
def _gather(features, order, start, end, ellipses):
    """Copy what binning needs of a chunk: a loop without branches, so that memory is read ahead."""
    for i in range(start, end):
        row = order[i]
        for k in range(NUM_ELLIPSE):
            ellipses[i - start, k] = features[row, k]


@parallel_kernel
def _count(features, order, tiles_x, width, height, workers, counts, slot_first):
    """Count pairs per chunk and tile, and per Gaussian (into the place after its own)."""
    num = len(order)
    for worker in prange(workers):
        ellipses = np.empty((num // _NUM_CHUNKS + 1, NUM_ELLIPSE), np.float32)
        for chunk in range(worker, _NUM_CHUNKS, workers):
            start, end = num * chunk // _NUM_CHUNKS, num * (chunk + 1) // _NUM_CHUNKS
            _gather(features, order, start, end, ellipses)
            for i in range(end - start):
                pairs = 0
                top, bottom = _tile_rows(ellipses, i, height)
                for tile_row in range(top, bottom + 1):
                    first, last = _tile_columns(ellipses, i, tile_row, width)
                    for tile in range(tile_row * tiles_x + first, tile_row * tiles_x + last + 1):
                        counts[chunk, tile] += 1
                    pairs += last - first + 1
                slot_first[order[start + i] + 1] = pairs


@kernel
def _running_sum(counts):
    """Turn counts [chunks, tiles] into places, in place; return the start of each tile's list."""
    chunks, tiles = counts.shape
    tile_first = np.empty(tiles + 1, np.int64)
    total = 0
    for tile in range(tiles):
        tile_first[tile] = total
        for chunk in range(chunks):
            here = counts[chunk, tile]
            counts[chunk, tile] = total
            total += here
    tile_first[tiles] = total
    return tile_first


@parallel_kernel
def _fill(features, order, tiles_x, width, height, workers, places, slot_first, rows, slots):
    """Write every pair into its tile's list."""
    num = len(order)
    for worker in prange(workers):
        ellipses = np.empty((num // _NUM_CHUNKS + 1, NUM_ELLIPSE), np.float32)
        for chunk in range(worker, _NUM_CHUNKS, workers):
            start, end = num * chunk // _NUM_CHUNKS, num * (chunk + 1) // _NUM_CHUNKS
            _gather(features, order, start, end, ellipses)
            for i in range(end - start):
                row = order[start + i]
                slot = slot_first[row]
                top, bottom = _tile_rows(ellipses, i, height)
                for tile_row in range(top, bottom + 1):
                    first, last = _tile_columns(ellipses, i, tile_row, width)
                    for tile in range(tile_row * tiles_x + first, tile_row * tiles_x + last + 1):
                        place = places[chunk, tile]
                        places[chunk, tile] = place + 1
                        rows[place] = row
                        slots[place] = slot
                        slot += 1
