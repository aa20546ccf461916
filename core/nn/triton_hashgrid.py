"""Triton kernels of the hash grid: gather with eight corners, and scatter of its gradient.

    u          [V, 3]      float32  points, 0..1
    table      [L, T, F]   float32, or float16 for reading
    upstream   [V, L * F]  float32  any strides
    ->
    encoded    [V, L * F]  float32  stored channel by channel, so that neighbouring threads write
                                    neighbouring numbers; `core.nn.triton_mlp` reads it that way
    gradient   [L, T, F]   float32  summed into, never cleared here
    touched    [L, T]      uint8    set to 1 where a row received a gradient

One program encodes a block of points at one level; all blocks of a level run before the next level,
so one level's rows stay in the cache. Sums are float32 whatever the table is. Products and sums are
not fused into one rounding: every row index is then the one plain torch computes.

The gradient is summed with atomic additions, in whatever order the programs run: two runs agree to
rounding, not bit for bit.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import triton
import triton.language as tl

from core.nn import hashgrid_kernels

Layout = tuple[np.ndarray, np.ndarray, np.ndarray]  # scales, strides, rows in use: each [L]

BLOCK = 256
HASHED_CELLS = tl.constexpr(1 << 20)  # more than any hashed level has along an axis


@triton.jit
def _cell(coordinate, scale, last):
    """Return the cell of a coordinate, at most `last`, and the place inside it (0..1)."""
    position = coordinate * scale + 0.5
    lower = tl.floor(position)
    # a point outside 0..1, or not a number, must not leave the table
    cell = tl.where(lower > 0, tl.minimum(lower, last.to(tl.float32)), 0.0)
    return cell.to(tl.int32), position - lower


@triton.jit
def _locate(u, points, is_inside, level, scales, strides, used_rows):
    """Return the cells and places of a block of points, and the level's integers."""
    scale = tl.load(scales + level)
    stride = tl.load(strides + level)
    used = tl.load(used_rows + level)
    last = tl.where(stride > 0, stride - 1, HASHED_CELLS)
    x, fx = _cell(tl.load(u + points * 3, mask=is_inside, other=0.0), scale, last)
    y, fy = _cell(tl.load(u + points * 3 + 1, mask=is_inside, other=0.0), scale, last)
    z, fz = _cell(tl.load(u + points * 3 + 2, mask=is_inside, other=0.0), scale, last)
    return x, y, z, fx, fy, fz, stride, used


@triton.jit
def _corner(
    x, y, z, fx, fy, fz, stride, used, CORNER: tl.constexpr, PRIME_Y: tl.constexpr, PRIME_Z: tl.constexpr
):  # fmt: skip
    """Return the table rows and weights of one of the eight corners; x varies fastest.

    Signed 32-bit products wrap to the same bits as unsigned ones.
    """
    cx, cy, cz = x + (CORNER & 1), y + (CORNER >> 1 & 1), z + (CORNER >> 2 & 1)
    dense = cx + cy * stride + cz * stride * stride
    dense = tl.where(dense >= used, dense - used, dense)  # beyond the last vertex it wraps
    hashed = (cx ^ (cy * PRIME_Y) ^ (cz * PRIME_Z)) & (used - 1)
    wx = fx if CORNER & 1 else 1.0 - fx
    wy = fy if CORNER >> 1 & 1 else 1.0 - fy
    wz = fz if CORNER >> 2 & 1 else 1.0 - fz
    return tl.where(stride > 0, dense, hashed), wx * wy * wz


@triton.jit(do_not_specialize=["num_points"])
def _encode(
    u, table, scales, strides, used_rows, encoded, num_points, rows,
    FEATURES: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
    PRIME_Y: tl.constexpr, PRIME_Z: tl.constexpr,
):  # fmt: skip
    level = tl.program_id(1)
    points = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    feature = tl.arange(0, PADDED)
    is_inside = points < num_points
    mask = is_inside[:, None] & (feature < FEATURES)[None, :]
    x, y, z, fx, fy, fz, stride, used = _locate(
        u, points, is_inside, level, scales, strides, used_rows
    )
    table += level.to(tl.int64) * rows * FEATURES
    total = tl.zeros((BLOCK, PADDED), tl.float32)
    for corner in tl.static_range(8):
        row, weight = _corner(x, y, z, fx, fy, fz, stride, used, corner, PRIME_Y, PRIME_Z)
        values = tl.load(table + row[:, None] * FEATURES + feature[None, :], mask=mask, other=0.0)
        total += weight[:, None] * values.to(tl.float32)
    channel = (level * FEATURES + feature).to(tl.int64)
    tl.store(encoded + channel[None, :] * num_points + points[:, None], total, mask=mask)


@triton.jit(do_not_specialize=["num_points"], do_not_specialize_on_alignment=["channel_stride"])
def _scatter(
    u, upstream, point_stride, channel_stride, scales, strides, used_rows, gradient, touched,
    num_points, rows, FEATURES: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
    PRIME_Y: tl.constexpr, PRIME_Z: tl.constexpr,
):  # fmt: skip
    level = tl.program_id(1)
    points = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    feature = tl.arange(0, PADDED)
    is_inside = points < num_points
    mask = is_inside[:, None] & (feature < FEATURES)[None, :]
    x, y, z, fx, fy, fz, stride, used = _locate(
        u, points, is_inside, level, scales, strides, used_rows
    )
    channel = (level * FEATURES + feature).to(tl.int64)
    upstream += points[:, None] * point_stride + channel[None, :] * channel_stride
    given = tl.load(upstream, mask=mask, other=0.0)
    gradient += level.to(tl.int64) * rows * FEATURES
    touched += level.to(tl.int64) * rows
    for corner in tl.static_range(8):
        row, weight = _corner(x, y, z, fx, fy, fz, stride, used, corner, PRIME_Y, PRIME_Z)
        target = gradient + row[:, None] * FEATURES + feature[None, :]
        tl.atomic_add(target, weight[:, None] * given, mask=mask, sem="relaxed")
        tl.store(touched + row, 1, mask=is_inside)  # racing programs all write the same


def encode(
    u: torch.Tensor, table: torch.Tensor, layout: Layout, is_half: bool = False
) -> torch.Tensor:
    """Encode points [V, 3], [V, L * F]; with `is_half` the rows are read in float16."""
    levels, rows, features = table.shape
    encoded = u.new_empty(levels * features, len(u), dtype=torch.float32).t()
    if not len(u):
        return encoded
    source = table.detach()
    if is_half:
        source = source.half()
    with torch.cuda.device_of(table):
        _encode[_programs(u, levels)](
            u, source, *_settings(layout, u.device), encoded, len(u), rows, **_constants(features)
        )
    return encoded


def encode_backward(
    u: torch.Tensor,
    upstream: torch.Tensor,
    layout: Layout,
    gradient: torch.Tensor,
    touched: torch.Tensor,
) -> None:
    """Sum the gradient of every blended row and mark the rows that received one."""
    levels, rows, features = gradient.shape
    if not len(u):
        return
    with torch.cuda.device_of(gradient):
        _scatter[_programs(u, levels)](
            u, upstream, *upstream.stride(), *_settings(layout, u.device), gradient, touched,
            len(u), rows, **_constants(features),
        )  # fmt: skip


def _programs(u: torch.Tensor, levels: int) -> tuple[int, int]:
    return triton.cdiv(len(u), BLOCK), levels


def _constants(features: int) -> dict[str, int | bool]:
    return {
        "FEATURES": features,
        "PADDED": triton.next_power_of_2(features),
        "BLOCK": BLOCK,
        "PRIME_Y": _signed(hashgrid_kernels.PRIME_Y),
        "PRIME_Z": _signed(hashgrid_kernels.PRIME_Z),
        "enable_fp_fusion": False,
    }


def _signed(prime: np.uint32) -> int:
    return int(prime.astype(np.int32))


def _settings(layout: Layout, device: torch.device) -> tuple[torch.Tensor, ...]:
    scales, strides, used = layout
    return _on_device(scales.tobytes(), strides.tobytes(), used.tobytes(), device)


@lru_cache(maxsize=64)
def _on_device(
    scales: bytes, strides: bytes, used: bytes, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a grid's layout on the device; copying it for every query would stall the queue."""
    return (
        torch.from_numpy(np.frombuffer(scales, np.float32).copy()).to(device),
        torch.from_numpy(np.frombuffer(strides, np.int32).copy()).to(device),
        torch.from_numpy(np.frombuffer(used, np.int32).copy()).to(device),
    )
