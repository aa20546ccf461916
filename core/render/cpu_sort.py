"""Order what is visible by depth: compiled radix sort.

depths  [N] float32  above zero where a Gaussian is drawn
->
order   [V] int32    rows with a depth above zero, front to back; equal depths stay in the order of rows

Positive floats sort like their bits. Only the bits in which depths differ are sorted, in as few digits
as they need; key and row travel in one number, so that every pass reads memory in order. The result does
not depend on the number of parts that work side by side.
"""

from __future__ import annotations

import numba
import numpy as np

from core.nn.compiled import parallel_kernel, prange

_DIGIT_BITS = 12  # at most; the places of more leave the fast cache
_SMALL = 1 << 17  # below, sharing the work costs more than it saves
_ROW = 0xFFFFFFFF


def depth_order(depths: np.ndarray) -> np.ndarray:
    """Return the visible rows by rising depth."""
    keys = depths.view(np.int32)
    parts = 1 if len(keys) < _SMALL else numba.get_num_threads()
    counts, lows, highs = _survey(keys, parts)
    visible = int(counts.sum())
    if visible == 0:
        return np.empty(0, np.int32)
    low = int(lows.min())
    bits = max(1, (int(highs.max()) - low).bit_length())
    passes = -(-bits // _DIGIT_BITS)
    digit = -(-bits // passes)
    current, spare = np.empty(visible, np.int64), np.empty(visible, np.int64)
    _pack(keys, parts, low, np.cumsum(counts) - counts, current)
    for index in range(passes):
        shift = 32 + index * digit
        places = _digits(current, parts, shift, digit)
        starts = np.cumsum(places.T.ravel()).reshape(places.T.shape).T - places
        _move(current, parts, shift, digit, np.ascontiguousarray(starts), spare)
        current, spare = spare, current
    return _rows(current, parts)


@parallel_kernel
def _survey(keys, parts):
    """Return, per part, how many keys are above zero, the least and the greatest of them."""
    num = len(keys)
    counts, lows, highs = (
        np.zeros(parts, np.int64),
        np.empty(parts, np.int64),
        np.empty(parts, np.int64),
    )
    for part in prange(parts):
        count, low, high = 0, 0x7FFFFFFF, 0
        for row in range(num * part // parts, num * (part + 1) // parts):
            key = np.int64(keys[row])
            if key > 0:
                count += 1
                low, high = min(low, key), max(high, key)
        counts[part], lows[part], highs[part] = count, low, high
    return counts, lows, highs


@parallel_kernel
def _pack(keys, parts, low, starts, packed):
    """Write key - low and row of everything visible as one number."""
    num = len(keys)
    for part in prange(parts):
        place = starts[part]
        for row in range(num * part // parts, num * (part + 1) // parts):
            key = np.int64(keys[row])
            if key > 0:
                packed[place] = ((key - low) << 32) | row
                place += 1


@parallel_kernel
def _digits(packed, parts, shift, bits):
    """Count the digits of every part: [parts, 2^bits]."""
    num, mask = len(packed), (1 << bits) - 1
    counts = np.zeros((parts, 1 << bits), np.int64)
    for part in prange(parts):
        for i in range(num * part // parts, num * (part + 1) // parts):
            counts[part, (packed[i] >> shift) & mask] += 1
    return counts


@parallel_kernel
def _move(packed, parts, shift, bits, places, moved):
    """Put every number where its digit belongs."""
    num, mask = len(packed), (1 << bits) - 1
    for part in prange(parts):
        for i in range(num * part // parts, num * (part + 1) // parts):
            value = packed[i]
            digit = (value >> shift) & mask
            place = places[part, digit]
            places[part, digit] = place + 1
            moved[place] = value


@parallel_kernel
def _rows(packed, parts):
    """Return the rows alone."""
    num = len(packed)
    rows = np.empty(num, np.int32)
    for part in prange(parts):
        for i in range(num * part // parts, num * (part + 1) // parts):
            rows[i] = np.int32(packed[i] & _ROW)
    return rows
