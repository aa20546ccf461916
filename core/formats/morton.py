"""Morton codes: three coordinates interleaved to one number; near codes are near in space.

grid    [N, 3]  0..2^21 - 1
codes   [N]     uint64, bit 3k + axis is bit k of that axis
"""

from __future__ import annotations

import numpy as np

# shift, and the mask of bit groups (16, 8, 4, 2, 1 wide) that then stand three group widths apart
_ROUNDS = tuple(
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in (
        (32, 0x001F_0000_0000_FFFF),
        (16, 0x001F_0000_FF00_00FF),
        (8, 0x100F_00F0_0F00_F00F),
        (4, 0x10C3_0C30_C30C_30C3),
        (2, 0x1249_2492_4924_9249),
    )
)
_LOW_21_BITS = np.uint64(0x1F_FFFF)


def interleave(grid: np.ndarray) -> np.ndarray:
    """Return the Morton codes [N] of grid coordinates [N, 3]."""
    codes = np.zeros(len(grid), np.uint64)
    for axis in range(3):
        spread = grid[:, axis].astype(np.uint64)
        for shift, mask in _ROUNDS:
            spread = (spread | spread << shift) & mask
        codes |= spread << np.uint64(axis)
    return codes


def separate(codes: np.ndarray) -> np.ndarray:
    """Return the grid coordinates [N, 3] of Morton codes [N]."""
    masks = [mask for _, mask in _ROUNDS]
    grid = np.empty((len(codes), 3), np.uint64)
    for axis in range(3):
        packed = (codes >> np.uint64(axis)) & masks[-1]
        for (shift, _), mask in zip(
            reversed(_ROUNDS), [*reversed(masks[:-1]), _LOW_21_BITS], strict=True
        ):
            packed = (packed | packed >> shift) & mask
        grid[:, axis] = packed
    return grid
