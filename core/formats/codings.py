"""Bytes to arrays as version 1 of the scene file keeps them, and arrays that are kept as they are.

    POSITION16  [N, 3]     symmetric logarithm, 16 bit between the smallest and largest value of each axis
    UNIFORM8    [N, ...]   8 bit between the smallest and largest value of each column in 4096 rows
    TABLE8      [L, ...]   at most 8 bit, symmetric around zero, one step per level
    FLOAT16     any        half precision
    RAW         any        as it is

Positions are differences of Morton codes. Version 2 (rows.py) keeps only RAW in this way.
"""

from __future__ import annotations

import math

import numpy as np

from core.formats.morton import separate
from core.formats.packing import (
    byte_planes,
    from_byte_planes,
    put_back,
    squeeze,
    unsqueeze,
)
from core.radiance.parts import Coding

CHUNK_ROWS = 4096  # rows that share the bounds of an 8-bit column
RAW_DTYPES = ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8")
_POSITION_TOP, _MORTON_BYTES, _MORTON_MASK = 65535, 6, np.uint64(0xFFFFFFFFFFFF)


def packed(values: np.ndarray) -> bytes:
    """Encode an array as it is."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("holds values that are not finite numbers")
    stored = np.ascontiguousarray(values)
    stored = stored.astype(values.dtype.newbyteorder("<"), copy=False)
    if stored.dtype.str not in RAW_DTYPES:
        raise ValueError(f"has the type {values.dtype}, which cannot be stored")
    return squeeze(byte_planes(stored))


def unpack(
    payload: bytes, shape: tuple[int, ...], coding: Coding, layout: str, dtype: str
) -> np.ndarray:
    """Decode an array of a known shape; nothing larger than the shape asks for is allocated."""
    content = unsqueeze(payload, content_bytes(shape, coding, dtype))
    if coding is Coding.POSITION16:
        values = _positions_from_bytes(content, shape[0])
    elif coding is Coding.RAW:
        values = from_byte_planes(content, shape, dtype)
    elif coding is Coding.FLOAT16:
        values = from_byte_planes(content, shape, "<f2").astype(np.float32)
    elif coding is Coding.UNIFORM8:
        values = _columns_from_bytes(content, shape, layout)
    else:
        values = _levels_from_bytes(content, shape, layout)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("holds values that are not finite numbers")
    return values.reshape(shape)


def content_bytes(shape: tuple[int, ...], coding: Coding, dtype: str) -> int:
    """Return the exact size of an array before it is packed."""
    count = math.prod(shape)
    if coding is Coding.POSITION16:
        return 24 + _MORTON_BYTES * shape[0]
    if coding is Coding.RAW:
        return count * np.dtype(dtype).itemsize
    if coding is Coding.FLOAT16:
        return count * 2
    if coding is Coding.UNIFORM8:
        return 8 * _num_chunks(shape[0]) * math.prod(shape[1:]) + count
    return 5 * shape[0] + count


def checked(values: np.ndarray) -> np.ndarray:
    """Return values as float32, or say why they cannot be."""
    if values.dtype.kind not in "fiu":
        raise ValueError(f"has the type {values.dtype}; numbers are expected")
    if not np.isfinite(values).all():
        raise ValueError("holds values that are not finite numbers")
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise ValueError("holds values too large for 32-bit numbers")
    return narrow


# --- positions ----------------------------------------------------------------------------------


def _symmetric_log(values: np.ndarray) -> np.ndarray:
    wide = values.astype(np.float64)
    return np.copysign(np.log1p(np.abs(wide)), wide)


def _position_values(codes: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return float32 positions of codes 0..65535; the extremes come back exactly."""
    first, last = _symmetric_log(low), _symmetric_log(high)
    share = codes / _POSITION_TOP
    logs = first * (1 - share) + last * share
    values = np.copysign(np.expm1(np.abs(logs)), logs).astype(np.float32)
    return np.where(codes <= 0, low, np.where(codes >= _POSITION_TOP, high, values))


def _positions_from_bytes(content: bytes, count: int) -> np.ndarray:
    low, high = _read_bounds(content[:24], (3,))
    planes = np.frombuffer(content, np.uint8, offset=24).reshape(_MORTON_BYTES, count)
    steps = np.zeros((count, 8), np.uint8)
    steps[:, :_MORTON_BYTES] = planes.T
    morton = np.cumsum(steps.reshape(-1).view("<u8"), dtype=np.uint64) & _MORTON_MASK
    return _position_values(separate(morton).astype(np.float64), low, high)


# --- columns ------------------------------------------------------------------------------------


def _num_chunks(rows: int) -> int:
    return -(-rows // CHUNK_ROWS)


def _read_bounds(content: bytes, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.frombuffer(content, "<f4").astype(np.float32).reshape(2, *shape)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        raise ValueError("has bounds that are no numbers or the wrong way round")
    return low, high


def _column_values(codes: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return float32 values of codes 0..255; weights in this form give both extremes exactly."""
    wide = codes.astype(np.float64)
    return ((low * (255 - wide) + high * wide) / 255).astype(np.float32)


def _columns_from_bytes(content: bytes, shape: tuple[int, ...], layout: str) -> np.ndarray:
    rows, columns, chunks = shape[0], math.prod(shape[1:]), _num_chunks(shape[0])
    head = 8 * chunks * columns
    low, high = _read_bounds(content[:head], (chunks, columns))
    codes = put_back(content[head:], rows, columns, layout)
    values = np.empty((rows, columns), np.float32)
    for chunk in range(chunks):
        part = slice(chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS)
        ends = low[chunk].astype(np.float64), high[chunk].astype(np.float64)
        values[part] = _column_values(codes[part], *ends)
    return values


# --- tables -------------------------------------------------------------------------------------


def _level_values(codes: np.ndarray, largest: float, steps: int) -> np.ndarray:
    return (codes.astype(np.float64) * largest / steps).astype(np.float32)


def _width(shape: tuple[int, ...]) -> int:
    """Return the features of a table's rows: its last axis where it has rows at all."""
    return max(shape[-1], 1) if len(shape) > 2 else 1


def _levels_from_bytes(content: bytes, shape: tuple[int, ...], layout: str) -> np.ndarray:
    count, head = shape[0], 5 * shape[0]
    largest = np.frombuffer(content, "<f4", count).astype(np.float64)
    steps = np.frombuffer(content, np.uint8, count, offset=4 * count)
    if not (np.isfinite(largest).all() and (largest >= 0).all() and (steps > 0).all()):
        raise ValueError("has levels whose steps are no positive numbers")
    codes = content[head:]
    width = _width(shape)
    levels = put_back(codes, len(codes) // width, width, layout)
    levels = levels.reshape(count, math.prod(shape[1:]))
    levels = np.ascontiguousarray(levels).view(np.int8)
    values = np.empty(levels.shape, np.float32)
    for number in range(count):
        values[number] = _level_values(levels[number], largest[number], int(steps[number]))
    return values
