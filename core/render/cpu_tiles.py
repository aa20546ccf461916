"""Which Gaussians touch which 16 x 16 tile, front to back: compiled binning.

The tiles of every Gaussian are found in the order of memory (core/render/cpu_windows.py), the Gaussians
sorted by depth (core/render/cpu_sort.py). A chunk of the depth order is one unit of work: it counts what its
Gaussians touch, a running sum over (tile, chunk) gives every chunk its place in every list, and a second
pass fills the lists. The result does not depend on the number of chunks or threads. A "pair" is one
Gaussian in one tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from core.base.errors import RenderError
from core.nn.compiled import kernel, parallel_kernel, prange
from core.render.cpu_lanes import WIDTH, fetch
from core.render.cpu_sort import depth_order
from core.render.cpu_windows import (
    BANDS,
    SLOT,
    TILE,
    TOO_LARGE,
    WINDOW,
    bands,
    find_windows,
    tile_columns,
    tile_rows,
    window_columns,
    window_start,
)

_CHUNKS_PER_THREAD = 4  # near Gaussians touch more tiles than far ones
_AHEAD = 24  # Gaussians that memory is asked for before they are needed
_MOST_PAIRS = 2**28  # 2 GB of lists


@dataclass(eq=False)
class Tiles:
    """The Gaussians of every tile, front to back.

    first       [tiles + 1]  start of every tile's list; tiles row by row from the top
    pairs       [pairs, 2]   the lists: row of the Gaussian, and the slot where the backward pass writes the pair,
                             so that a Gaussian's pairs are neighbours; [pairs, 1] where nothing flows back
    slot_first  [N + 1]      start of every Gaussian's slots
    order       [tiles]      tiles with the longest list first, so that threads finish together
    """

    first: np.ndarray
    pairs: np.ndarray
    slot_first: np.ndarray
    order: np.ndarray
    tiles_x: int
    tiles_y: int

    @property
    def rows(self) -> np.ndarray:
        """Return the Gaussians of the lists."""
        return self.pairs[:, 0]

    @property
    def slots(self) -> np.ndarray:
        """Return the slots of the lists."""
        return self.pairs[:, 1]


def bin_gaussians(
    features: np.ndarray, depths: np.ndarray, width: int, height: int, with_slots: bool = True
) -> Tiles:
    """Sort what is visible by depth and list it per tile."""
    windows = np.empty((len(depths) + 1, 2), np.int64)
    find_windows(features, depths, width, height, windows)
    order = depth_order(depths)
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    chunks = max(1, min(_CHUNKS_PER_THREAD * numba.get_num_threads(), len(order) // TILE))
    places = np.zeros((chunks, tiles_x * tiles_y), np.int64)
    sizes = tiles_x, width, height
    _count(features, windows, order, sizes, places)
    first = _running_sum(places)
    num_pairs = int(first[-1])
    if num_pairs > _MOST_PAIRS:
        raise RenderError(
            f"{num_pairs} overlaps of Gaussians and tiles are more than the CPU renderer can hold; "
            "draw a smaller picture or prune the largest Gaussians."
        )
    pairs = np.empty((num_pairs, 2 if with_slots else 1), np.int32)
    if with_slots:
        _number_slots(windows)
    _fill(features, windows, order, sizes, places, pairs)
    heaviest_first = np.argsort(-np.diff(first), kind="stable")
    return Tiles(first, pairs, windows[:, SLOT], heaviest_first, tiles_x, tiles_y)


@parallel_kernel
def _count(features, windows, order, sizes, counts):
    """Count pairs per chunk and tile."""
    tiles_x, width, height = sizes
    chunks, num = len(counts), len(order)
    for chunk in prange(chunks):
        out = np.empty(WIDTH, np.float32)
        for i in range(num * chunk // chunks, num * (chunk + 1) // chunks):
            row = order[i]
            fetch(windows, order[min(i + _AHEAD, num - 1)])
            window = windows[row, WINDOW]
            if window != TOO_LARGE:
                tile_row, left, lines = window_start(window)
                while lines:
                    first, last = window_columns(left, lines)
                    for tile in range(tile_row * tiles_x + first, tile_row * tiles_x + last):
                        counts[chunk, tile] += 1
                    tile_row += 1
                    lines >>= 8
                continue
            top, bottom = tile_rows(features, row, height)
            for tile_row in range(top, bottom):
                if (tile_row - top) % BANDS == 0:
                    bands(features, row, tile_row, width, out)
                first, last = tile_columns(out, (tile_row - top) % BANDS)
                for tile in range(tile_row * tiles_x + first, tile_row * tiles_x + last):
                    counts[chunk, tile] += 1


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


@kernel
def _number_slots(windows):
    """Turn numbers of tiles into where the slots of every Gaussian start."""
    total = 0
    for n in range(len(windows)):
        here = windows[n, SLOT]
        windows[n, SLOT] = total
        total += here


@kernel
def _list(row, first, last, places, slot, pairs):
    """Append one Gaussian to the lists of neighbouring tiles."""
    for tile in range(first, last):
        place = places[tile]
        places[tile] = place + 1
        pairs[place, 0] = row
        if pairs.shape[1] > 1:
            pairs[place, 1] = slot + tile - first


@parallel_kernel
def _fill(features, windows, order, sizes, places, pairs):
    """Write every pair into its tile's list."""
    tiles_x, width, height = sizes
    chunks, num = len(places), len(order)
    for chunk in prange(chunks):
        out = np.empty(WIDTH, np.float32)
        for i in range(num * chunk // chunks, num * (chunk + 1) // chunks):
            row = order[i]
            fetch(windows, order[min(i + _AHEAD, num - 1)])
            window = windows[row, WINDOW]
            slot = windows[row, SLOT]
            if window != TOO_LARGE:
                tile_row, left, lines = window_start(window)
                while lines:
                    first, last = window_columns(left, lines)
                    start = tile_row * tiles_x
                    _list(row, start + first, start + last, places[chunk], slot, pairs)
                    slot += last - first
                    tile_row += 1
                    lines >>= 8
                continue
            top, bottom = tile_rows(features, row, height)
            for tile_row in range(top, bottom):
                if (tile_row - top) % BANDS == 0:
                    bands(features, row, tile_row, width, out)
                first, last = tile_columns(out, (tile_row - top) % BANDS)
                start = tile_row * tiles_x
                _list(row, start + first, start + last, places[chunk], slot, pairs)
                slot += last - first
