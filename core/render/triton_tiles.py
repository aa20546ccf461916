"""Which Gaussians touch which 16 x 16 tile, front to back, listed on the device.

Rows (one per camera and Gaussian) are sorted by depth, every row's tiles are counted, and a running sum
gives each pair of row and tile its slot: the slots of one row are neighbours, rows run front to back. A
stable sort of the slots by tile then leaves every tile's list front to back. The host learns one number,
how many pairs there are. Nothing depends on the order in which programs run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from core.base.errors import RenderError
from core.render.triton_project import HALF_WIDTH, NUM_FEATURES, REACH_X, REACH_Y, SLOPE, X, Y

TILE = 16
_SIDE = tl.constexpr(TILE)
_MOST_PAIRS = 2**28  # 16 GB of lists and gradients
_BLOCK = 128
# Rounding must never lose a pixel at the border of an ellipse.
_MARGIN = tl.constexpr(1e-3)  # pixels
_ROUNDING = tl.constexpr(1e-6)  # of the numbers that are added


@dataclass(eq=False)
class Tiles:
    """The rows of every tile, front to back.

    members    [pairs]          rows, tile after tile
    slots      [pairs]          where the backward pass writes a pair
    tile_first [C * tiles + 1]  start of every tile's list; tiles row by row from the top, camera by camera
    row_first  [C * N]          first slot of every row
    counts     [C * N]          slots of every row
    """

    members: torch.Tensor
    slots: torch.Tensor
    tile_first: torch.Tensor
    row_first: torch.Tensor
    counts: torch.Tensor
    tiles_x: int
    tiles_y: int


def list_tiles(
    features: torch.Tensor,
    depths: torch.Tensor,
    radii: torch.Tensor,
    num_cameras: int,
    width: int,
    height: int,
) -> Tiles:
    """Sort what is drawn by depth and list it per tile."""
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    num_rows, num_tiles = len(depths), tiles_x * tiles_y * num_cameras
    counts = torch.empty_like(radii)
    if num_rows:
        grid = (triton.cdiv(num_rows, _BLOCK),)
        count[grid](features, radii, num_rows, width, height, counts, BLOCK=_BLOCK)
    order = torch.sort(depths, stable=True).indices  # [C * N]
    ordered = counts[order]
    ends = torch.cumsum(ordered, 0)  # int64
    pairs = int(ends[-1]) if num_rows else 0  # the one number that the host waits for
    if pairs > _MOST_PAIRS:
        raise RenderError(
            f"{pairs} overlaps of Gaussians and tiles are more than the GPU renderer can hold; "
            "draw a smaller picture or prune the largest Gaussians."
        )
    row_first = torch.empty_like(ends)
    row_first[order] = ends - ordered
    rows = torch.repeat_interleave(order, ordered, output_size=pairs).to(torch.int32)
    tile_of = torch.empty_like(rows)
    if pairs:
        fill[(triton.cdiv(pairs, _BLOCK),)](
            features, rows, row_first, pairs, num_rows // num_cameras, num_tiles, tiles_x, tiles_y,
            width, height, tile_of, BLOCK=_BLOCK,
        )  # fmt: skip
    tile_of, slots = torch.sort(tile_of, stable=True)
    borders = torch.arange(num_tiles + 1, device=tile_of.device, dtype=torch.int32)
    tile_first = torch.searchsorted(tile_of, borders, out_int32=True)
    return Tiles(rows[slots], slots, tile_first, row_first, counts, tiles_x, tiles_y)


@triton.jit
def _pixels(low, high, size):
    """Return the first and last pixel whose centre lies between two positions, inside 0 .. size - 1."""
    margin = _MARGIN + _ROUNDING * (tl.abs(low) + tl.abs(high))
    first = tl.ceil(tl.maximum(low - 0.5 - margin, 0.0))
    last = tl.floor(tl.minimum(high - 0.5 + margin, size - 1.0))
    return first, last


@triton.jit
def _tile_rows(y, reach_y, height):
    """Return the first row of tiles that an ellipse can touch and their number."""
    first, last = _pixels(y - reach_y, y + reach_y, height)
    some = first <= last
    top = tl.where(some, first, 0.0).to(tl.int32) // _SIDE
    bottom = tl.where(some, last, -1.0).to(tl.int32) // _SIDE
    return top, tl.where(some, bottom - top + 1, 0)


@triton.jit
def _tile_columns(ellipse, tile_row, width):
    """Return the first tile of a row of tiles that an ellipse touches and their number.

    The ellipse at the alpha cut has its rightmost point at dy = slope * reach_y^2 / reach_x; within a band of
    rows its rightmost point lies at the dy nearest to that one.
    """
    x, y, reach_x, reach_y, slope, half = ellipse
    top = (tile_row * _SIDE).to(tl.float32)
    low = tl.maximum(top + 0.5 - y, -reach_y)
    high = tl.minimum(top + (_SIDE - 0.5) - y, reach_y)
    extreme = slope * reach_y * (reach_y / reach_x)
    right_dy = tl.minimum(tl.maximum(extreme, low), high)
    left_dy = tl.minimum(tl.maximum(-extreme, low), high)
    right = x + slope * right_dy + _half_chord(half, right_dy / reach_y)
    left = x + slope * left_dy - _half_chord(half, left_dy / reach_y)
    first, last = _pixels(left, right, width)
    some = first <= last
    start = tl.where(some, first, 0.0).to(tl.int32) // _SIDE
    end = tl.where(some, last, -1.0).to(tl.int32) // _SIDE
    return start, tl.where(some, end - start + 1, 0)


@triton.jit
def _half_chord(half, share):
    """Return half the ellipse's width at a share of its height, a little more where rounding could lose it."""
    return half * tl.sqrt(tl.maximum(1.0 - share * share, 0.0) + _ROUNDING)


@triton.jit
def _load_ellipse(features, row, mask):
    """Return x, y, both reaches, slope and half width of rows; ones where the mask is off."""
    f = features + NUM_FEATURES * row.to(tl.int64)
    return (
        tl.load(f + X, mask, other=1.0),
        tl.load(f + Y, mask, other=1.0),
        tl.load(f + REACH_X, mask, other=1.0),
        tl.load(f + REACH_Y, mask, other=1.0),
        tl.load(f + SLOPE, mask, other=1.0),
        tl.load(f + HALF_WIDTH, mask, other=1.0),
    )


@triton.jit(do_not_specialize=["num_rows", "width", "height"])
def count(features, radii, num_rows, width, height, counts, BLOCK: tl.constexpr):
    """Count the tiles of BLOCK rows."""
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    drawn = tl.load(radii + row, row < num_rows, other=0) > 0
    ellipse = _load_ellipse(features, row, drawn)
    top, tall = _tile_rows(ellipse[1], ellipse[3], height)
    tall = tl.where(drawn, tall, 0)
    pairs = tl.zeros([BLOCK], tl.int32)
    for step in range(0, tl.max(tall, 0)):
        _, wide = _tile_columns(ellipse, top + step, width)
        pairs += tl.where(step < tall, wide, 0)
    tl.store(counts + row, pairs, row < num_rows)


@triton.jit(
    do_not_specialize=["pairs", "num", "num_tiles", "tiles_x", "tiles_y", "width", "height"]
)
def fill(
    features, rows, row_first, pairs, num, num_tiles, tiles_x, tiles_y, width, height, tile_of,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Find the tile of BLOCK pairs; one that rounding took since it was counted goes behind the last tile."""
    pair = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pair < pairs
    row = tl.load(rows + pair, inside, other=0)
    left = (pair - tl.load(row_first + row, inside, other=0)).to(tl.int32)
    ellipse = _load_ellipse(features, row, inside)
    top, tall = _tile_rows(ellipse[1], ellipse[3], height)
    tall = tl.where(inside, tall, 0)
    first_tile = (row // num) * (tiles_x * tiles_y)
    tile = tl.zeros([BLOCK], tl.int32) + num_tiles
    for step in range(0, tl.max(tall, 0)):
        start, wide = _tile_columns(ellipse, top + step, width)
        wide = tl.where(step < tall, wide, 0)
        here = (left >= 0) & (left < wide)
        tile = tl.where(here, first_tile + (top + step) * tiles_x + start + left, tile)
        left -= wide
    tl.store(tile_of + pair, tile, inside)
