"""Which 16 x 16 tiles one Gaussian touches, packed into one number.

features  [N, 16]  core/render/cpu_project.py
depths    [N]      above zero where a Gaussian is drawn
->
windows   [N + 1, 2] int64  WINDOW and the number of tiles; the last row is empty

A window holds the first row of tiles (8 bits), the first column (8), then for up to six rows of tiles
column - first column (4) and number of tiles (4). 0 touches none; where that does not suffice it is
TOO_LARGE, and `bands` is asked again.
"""

from __future__ import annotations

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange
from core.render.cpu_lanes import WIDTH, constant, least, most, root, spread, upwards, where, write
from core.render.cpu_project import BULGE, CORRELATION, REACH_X, REACH_Y, X, Y

TILE = 16
WINDOW, SLOT = (
    0,
    1,
)  # columns of `windows`; the numbers of tiles become where a Gaussian's slots start
TOO_LARGE = -1
BANDS = 4  # what `edges` looks at in one call
_MOST_ROWS, _MOST_COLUMNS, _MOST_START = 6, 15, 255
_CHUNK = 512  # Gaussians per unit of parallel work

# float32 constants: a plain number would turn the kernels into double precision
_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_MARGIN, _SHARE = np.float32(1e-3), np.float32(2e-6)  # pixels, share of the reach: against rounding
_lane_band = constant(lane % BANDS for lane in range(WIDTH))
_lane_edge = constant(1.0 if lane // BANDS % 2 else -1.0 for lane in range(WIDTH))


@kernel
def edges(first, band, along, reach_along, across, reach_across, correlation, bulge, size):
    """Return where an ellipse begins (lanes 0-3) and ends (4-7) in four bands of `band` pixels, as pixels 0 .. size.

    Bands follow each other from pixel `first` on, along one axis; begin (included) and end (not) are on the other. In
    units of its reach the ellipse is v = c u -+ bulge sqrt(1 - u^2), bulge = sqrt(1 - c^2); inside a band its edges are
    extreme at the u nearest to -+c. A band that is not reached ends where it begins.
    """
    shrink = _ONE / reach_along
    low = (_lane_band() * band + (first + _HALF - along)) * shrink
    high = least(low + (band - _ONE) * shrink, spread(_ONE))
    low = most(low, spread(-_ONE))
    u = most(least(_lane_edge() * correlation, high), low)
    v = correlation * u + _lane_edge() * (bulge * root(most(_ONE - u * u, spread(_ZERO))))
    v = (across - _HALF) + reach_across * v + _lane_edge() * (_MARGIN + _SHARE * reach_across)
    v = least(most(upwards(v), spread(_ZERO)), spread(size))
    return where(low <= high, v, spread(_ZERO))


@kernel
def tile_rows(f, n, height):
    """Return the rows of tiles [first, last) that Gaussian `n` may touch."""
    reach = f[n, REACH_Y] + _MARGIN
    low = max(f[n, Y] - _HALF - reach, _ZERO)
    high = min(f[n, Y] - _HALF + reach, np.float32(height - 1))
    return (int(low) // TILE, int(high) // TILE + 1) if low <= high else (0, 0)


@kernel
def bands(f, n, tile_row, width, out):
    """Write the pixels of four rows of tiles from `tile_row` on that Gaussian `n` reaches: begin 0-3, end 4-7."""
    first = np.float32(tile_row * TILE)
    lanes = edges(
        first, np.float32(TILE), f[n, Y], f[n, REACH_Y], f[n, X], f[n, REACH_X],
        f[n, CORRELATION], f[n, BULGE], np.float32(width),
    )  # fmt: skip
    write(out, 0, lanes)


@kernel
def tile_columns(out, band):
    """Return the tiles [first, last) of one row of tiles that `bands` has looked at."""
    begin, end = int(out[band]), int(out[band + BANDS])
    return (begin // TILE, (end - 1) // TILE + 1) if begin < end else (0, 0)


@kernel
def _window(f, n, width, height, out, firsts, lasts):
    """Return the window of one Gaussian and how many tiles it touches."""
    top, bottom = tile_rows(f, n, height)
    left, right, pairs = 1 << 30, 0, 0
    for tile_row in range(top, bottom):
        band = (tile_row - top) % BANDS
        if band == 0:
            bands(f, n, tile_row, width, out)
        first, last = tile_columns(out, band)
        pairs += last - first
        if first < last:
            left, right = min(left, first), max(right, last)
        if tile_row - top < _MOST_ROWS:
            firsts[tile_row - top], lasts[tile_row - top] = first, last
    if pairs == 0:
        return 0, 0
    if bottom - top > _MOST_ROWS or right - left > _MOST_COLUMNS or max(top, left) > _MOST_START:
        return TOO_LARGE, pairs
    window = (top << 8 | left) << 8 * _MOST_ROWS
    for k in range(bottom - top):
        if firsts[k] < lasts[k]:
            window |= ((firsts[k] - left) << 4 | (lasts[k] - firsts[k])) << 8 * k
    return window, pairs


@parallel_kernel
def find_windows(features, depths, width, height, windows):
    """Fill `windows` [N + 1, 2]."""
    num = len(depths)
    windows[num, WINDOW] = windows[num, SLOT] = 0
    for chunk in prange((num + _CHUNK - 1) // _CHUNK):
        out = np.empty(WIDTH, np.float32)
        firsts, lasts = np.empty(_MOST_ROWS, np.int64), np.empty(_MOST_ROWS, np.int64)
        for n in range(chunk * _CHUNK, min(num, (chunk + 1) * _CHUNK)):
            window = pairs = 0
            if depths[n] > 0:
                window, pairs = _window(features, n, width, height, out, firsts, lasts)
            windows[n, WINDOW], windows[n, SLOT] = window, pairs


@kernel
def window_start(window):
    """Return the first row and column of tiles, and the rows' bytes."""
    start = window >> 8 * _MOST_ROWS
    return (start >> 8) & 255, start & 255, window & ((1 << 8 * _MOST_ROWS) - 1)


@kernel
def window_columns(left, window_rows):
    """Return the tiles [first, last) of the first row of tiles in `window_rows`."""
    first = left + ((window_rows >> 4) & 15)
    return first, first + (window_rows & 15)
