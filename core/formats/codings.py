"""Arrays to bytes and back: quantise, lay out so that neighbours are alike, pack with zstd.

    POSITION16  [N, 3]     symmetric logarithm, 16 bit between the smallest and largest value of each axis
    UNIFORM8    [N, ...]   8 bit between the smallest and largest value of each column in 4096 rows
    TABLE8      [L, ...]   at most 8 bit, symmetric around zero, one step per level
    FLOAT16     any        half precision
    RAW         any        as it is

What was decoded once encodes to the same values: decode(encode(decode(encode(x)))) equals
decode(encode(x)) bit by bit. Extremes are therefore kept exactly, the nearest code is searched
among what decodes to float32, and a table that already lies on one of its grids stays there.
Chosen on trained scenes: per Gaussian 4.0 bytes of positions as differences of Morton codes
against 4.6 as differences per axis; larger chunks save more bits than their coarser steps cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.formats.morton import interleave, separate
from core.formats.packing import (
    LAYOUTS,
    byte_planes,
    from_byte_planes,
    laid_out,
    put_back,
    squeeze,
    unsqueeze,
)
from core.radiance.parts import Coding

CHUNK_ROWS = 4096  # rows that share the bounds of an 8-bit column
# steps between zero and the largest value of a level
LEVEL_STEPS = (5, 7, 11, 15, 21, 31, 45, 63, 90, 127)
# a level's step is at most its root mean square over this; a scene of fox (20k Gaussians) against itself
# unquantised: 8 gives 522 kB and 59.8 dB, 4 gives 455 kB and 55.5 dB, 2 gives 393 kB and 50.2 dB
STEPS_PER_RMS = 4.0
RAW_DTYPES = ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8")
_POSITION_TOP, _MORTON_BYTES, _MORTON_MASK = 65535, 6, np.uint64(0xFFFFFFFFFFFF)


@dataclass(frozen=True)
class Packed:
    """One array on its way into a file."""

    payload: bytes
    layout: str


def pack(values: np.ndarray, coding: Coding) -> Packed:
    """Encode an array; of the possible layouts the one that packs best is taken."""
    values = np.ascontiguousarray(values)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("holds values that are not finite numbers")
    if coding is Coding.POSITION16:
        return Packed(squeeze(_positions_to_bytes(_as_float32(values))), "planes")
    if coding is Coding.RAW:
        stored = values.astype(values.dtype.newbyteorder("<"), copy=False)
        if stored.dtype.str not in RAW_DTYPES:
            raise ValueError(f"has the type {values.dtype}, which cannot be stored")
        return Packed(squeeze(byte_planes(stored)), "planes")
    if coding is Coding.FLOAT16:
        if values.size and np.abs(values).max() > 65504:
            raise ValueError("holds values beyond 65504, too large for half precision")
        return Packed(squeeze(byte_planes(values.astype("<f2"))), "planes")
    encode = _columns_to_codes if coding is Coding.UNIFORM8 else _levels_to_codes
    head, codes = encode(_as_float32(values))
    return min(
        (Packed(squeeze(head + laid_out(codes, layout)), layout) for layout in LAYOUTS),
        key=lambda packed: len(packed.payload),
    )


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


def position_codes(positions: np.ndarray) -> np.ndarray:
    """Return the 48-bit Morton code [N] of every position as a file will store it."""
    positions = _as_float32(positions)
    low, high = _bounds(positions)
    return interleave(_position_grid(positions, low, high))


def _as_float32(values: np.ndarray) -> np.ndarray:
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


def _bounds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(values):
        return np.zeros(values.shape[1:], np.float32), np.zeros(values.shape[1:], np.float32)
    return values.min(0), values.max(0)


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


def _position_grid(positions: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return codes [N, 3] that stay the same when what they decode to is encoded again."""
    first, last = _symmetric_log(low), _symmetric_log(high)
    span = np.where(last > first, last - first, 1.0)

    def nearest(values: np.ndarray) -> np.ndarray:
        codes = np.rint((_symmetric_log(values) - first) / span * _POSITION_TOP)
        return _best_code(
            values, codes, _POSITION_TOP, lambda code: _position_values(code, low, high)
        )

    return nearest(_position_values(nearest(positions), low, high)).astype(np.uint64)


def _best_code(values: np.ndarray, codes: np.ndarray, top: int, decode) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Return the code or neighbour that decodes nearest: rounding to float32 can favour a neighbour."""
    codes = np.clip(codes, 0, top)
    best, wide = codes, values.astype(np.float64)
    error = np.abs(decode(codes) - wide)
    for shift in (-1, 1):
        other = np.clip(codes + shift, 0, top)
        distance = np.abs(decode(other) - wide)
        best, error = np.where(distance < error, other, best), np.minimum(distance, error)
    return best


def _positions_to_bytes(positions: np.ndarray) -> bytes:
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f"has the shape {list(positions.shape)}; positions are [N, 3]")
    low, high = _bounds(positions)
    morton = interleave(_position_grid(positions, low, high))
    steps = np.diff(morton, prepend=np.uint64(0)) & _MORTON_MASK
    planes = steps.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :_MORTON_BYTES]
    return np.stack((low, high)).astype("<f4").tobytes() + planes.T.tobytes()


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


def _columns_to_codes(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    rows = len(values)
    columns = values.reshape(rows, math.prod(values.shape[1:]))
    codes = np.empty(columns.shape, np.uint8)
    bounds = np.empty((2, _num_chunks(rows), columns.shape[1]), "<f4")
    for chunk in range(_num_chunks(rows)):
        part = slice(chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS)
        low, high = _bounds(columns[part])
        bounds[:, chunk] = low, high
        low, high = low.astype(np.float64), high.astype(np.float64)
        span = np.where(high > low, high - low, 1.0)
        rounded = np.rint((columns[part] - low) / span * 255)
        decode = lambda code, low=low, high=high: _column_values(code, low, high)  # noqa: E731
        codes[part] = _best_code(columns[part], rounded, 255, decode)
    return bounds.tobytes(), codes


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


def _level_codes(level: np.ndarray, largest: float, steps: int) -> np.ndarray:
    return np.rint(level.astype(np.float64) * steps / (largest or 1.0)).astype(np.int8)


def _level_steps(level: np.ndarray, largest: float) -> int:
    """Return the coarsest grid this level lies on already, else one fine enough for its spread."""
    for steps in LEVEL_STEPS:
        for part in (level[:512], level):  # a look at the beginning rules most grids out
            if not np.array_equal(
                _level_values(_level_codes(part, largest, steps), largest, steps), part
            ):
                break
        else:
            return steps
    spread = math.sqrt(np.mean(level.astype(np.float64) ** 2))
    wanted = STEPS_PER_RMS * largest / spread
    return next((steps for steps in LEVEL_STEPS if steps >= wanted), LEVEL_STEPS[-1])


def _levels_to_codes(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    levels = values.reshape(len(values), math.prod(values.shape[1:]))
    codes = np.zeros(levels.shape, np.int8)
    largest, steps = np.zeros(len(levels), "<f4"), np.ones(len(levels), np.uint8)
    for number, level in enumerate(levels):
        largest[number] = np.abs(level).max(initial=0.0)
        if largest[number] > 0:
            steps[number] = _level_steps(level, float(largest[number]))
            codes[number] = _level_codes(level, float(largest[number]), int(steps[number]))
    width = _width(values.shape)
    return largest.tobytes() + steps.tobytes(), codes.view(np.uint8).reshape(
        codes.size // width, width
    )


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
