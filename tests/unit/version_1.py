"""The writer of version 1 of the scene file, kept to make files of it: what it wrote must open for ever.

Extremes are kept exactly, the nearest code is searched among what decodes to float32, and a table
that already lies on one of its grids stays there: what was decoded once encodes to the same values.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.formats.archive import write_archive
from core.formats.codings import (
    _MORTON_BYTES,
    _MORTON_MASK,
    _POSITION_TOP,
    CHUNK_ROWS,
    _column_values,
    _level_values,
    _num_chunks,
    _position_values,
    _symmetric_log,
    _width,
    checked,
    packed,
)
from core.formats.hyrf_meta import to_json
from core.formats.morton import interleave
from core.formats.packing import byte_planes, squeeze
from core.radiance.parts import Coding, SceneParts

LAYOUTS = ("rows", "planes", "differences")
# steps between zero and the largest value of a level
LEVEL_STEPS = (5, 7, 11, 15, 21, 31, 45, 63, 90, 127)
# a level's step is at most its root mean square over this; a scene of fox (20k Gaussians) against itself
# unquantised: 8 gives 522 kB and 59.8 dB, 4 gives 455 kB and 55.5 dB, 2 gives 393 kB and 50.2 dB
STEPS_PER_RMS = 4.0


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
        return Packed(squeeze(_positions_to_bytes(checked(values))), "planes")
    if coding is Coding.RAW:
        return Packed(packed(values), "planes")
    if coding is Coding.FLOAT16:
        if values.size and np.abs(values).max() > 65504:
            raise ValueError("holds values beyond 65504, too large for half precision")
        return Packed(squeeze(byte_planes(values.astype("<f2"))), "planes")
    encode = _columns_to_codes if coding is Coding.UNIFORM8 else _levels_to_codes
    head, codes = encode(checked(values))
    return min(
        (Packed(squeeze(head + laid_out(codes, layout)), layout) for layout in LAYOUTS),
        key=lambda packed: len(packed.payload),
    )


def _positions_to_bytes(positions: np.ndarray) -> bytes:
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f"has the shape {list(positions.shape)}; positions are [N, 3]")
    low, high = _bounds(positions)
    morton = interleave(_position_grid(positions, low, high))
    steps = np.diff(morton, prepend=np.uint64(0)) & _MORTON_MASK
    planes = steps.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :_MORTON_BYTES]
    return np.stack((low, high)).astype("<f4").tobytes() + planes.T.tobytes()


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


def _bounds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(values):
        return np.zeros(values.shape[1:], np.float32), np.zeros(values.shape[1:], np.float32)
    return values.min(0), values.max(0)


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


def position_codes(positions: np.ndarray) -> np.ndarray:
    """Return the 48-bit Morton code [N] of every position as a file will store it."""
    positions = checked(positions)
    low, high = _bounds(positions)
    return interleave(_position_grid(positions, low, high))


def write(scene: SceneParts, path: Path) -> None:
    """Write a scene as version 1 did."""
    means = next(part for part in scene.parts.values() if part.coding is Coding.POSITION16)
    order = np.argsort(position_codes(means.values), kind="stable")
    entries, members = {}, {}
    for name, part in scene.parts.items():
        values = part.values[order] if part.per_gaussian else part.values
        coded = pack(values, part.coding)
        is_raw = part.coding is Coding.RAW
        entries[name] = {
            "member": f"{name}.zst",
            "component": part.component,
            "coding": part.coding.value,
            "layout": coded.layout,
            "shape": list(values.shape),
            "dtype": values.dtype.newbyteorder("<").str if is_raw else "<f4",
            "per_gaussian": part.per_gaussian,
            "crc32": zlib.crc32(coded.payload),
            "packed_bytes": len(coded.payload),
        }
        members[f"{name}.zst"] = coded.payload
    meta = {
        "format": "hyrf",
        "version": [1, 0],
        "kind": scene.kind,
        "step": int(scene.step),
        "num_gaussians": len(means.values),
        "bounds": np.asarray(scene.bounds, dtype=float).tolist(),
        "up": np.asarray(scene.up, dtype=float).tolist(),
        "to_original": scene.to_original.to_json(),
        "settings": scene.settings,
        "parts": entries,
    }
    summary = squeeze(to_json(scene.summary))
    described = {"meta.json": json.dumps(meta).encode(), "summary.json.zst": summary}
    write_archive(path, {**described, **members})


def laid_out(codes: np.ndarray, layout: str) -> bytes:
    """Order codes [R, C] by row or by column; differences are taken along columns, modulo 256."""
    if layout == "rows":
        return codes.tobytes()
    if layout == "differences":
        codes = np.diff(codes, axis=0, prepend=np.zeros_like(codes[:1]))
    return codes.T.tobytes()
