"""Order what is visible by depth: compiled radix sort.

depths  [N] float32  above zero where a Gaussian is drawn
->
order   [V] int32    rows with a depth above zero, front to back; equal depths stay in the order of rows

Positive floats sort like their bits. Only the bits in which depths differ are sorted, in as few digits
as they need; key and row travel in one number, so that every pass reads memory in order. Few Gaussians
are sorted by one thread, with keys that stay in its cache. Both ways give the same order, at any number of
threads.
"""

from __future__ import annotations

import numba
import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

_DIGIT_BITS = 12  # at most; the places of more leave the fast cache
SMALL = 1 << 17  # below, waking other threads costs more than they save
_ROW = 0xFFFFFFFF


def depth_order(depths: np.ndarray) -> np.ndarray:
    """Return the visible rows by rising depth."""
    keys = depths.view(np.int32)
    if len(keys) < SMALL:
        return _sort_alone(keys)
    parts = numba.get_num_threads()
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


@kernel
def _sort_alone(keys):
    """Sort in one thread and one call: three passes that move rows and look their keys up."""
    mask = (1 << _DIGIT_BITS) - 1
    starts = np.zeros((3, mask + 2), np.int64)
    order, moved = np.empty(len(keys), np.int32), np.empty(len(keys), np.int32)
    visible = 0
    for row in range(len(keys)):
        key = np.int64(keys[row])
        if key > 0:
            order[visible] = row
            visible += 1
            for digit in range(3):
                starts[digit, ((key >> (_DIGIT_BITS * digit)) & mask) + 1] += 1
    for digit in range(3):
        for place in range(mask + 1):
            starts[digit, place + 1] += starts[digit, place]
        for i in range(visible):
            row = order[i]
            value = (np.int64(keys[row]) >> (_DIGIT_BITS * digit)) & mask
            moved[starts[digit, value]] = row
            starts[digit, value] += 1
        order, moved = moved, order
    return order[:visible]


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
