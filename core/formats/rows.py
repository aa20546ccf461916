"""The arrays of a scene as whole numbers in few bytes, and back (version 2 of the scene file).

    Positions  sorted along the Morton curve; the gaps between their codes are coded
    Columns    per Gaussian, in the same order from coarse to fine along the curve, each number less
               what its neighbours in space and the columns before it make expect
    Tables     level by level, in the context of the entries before
    Weights    of networks, one after another

Every array has one step (precision.py); all go through one kind of range coder (entropy.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.formats import entropy_kernels as kernels
from core.formats.entropy import code, decode
from core.formats.morton import interleave, separate

_FIT_ROWS = 50_000  # are enough to find what is expected from what
_FIT_LIMIT = (1 << 31) - 1
_LEVELS = 32  # finer ones share their contexts
MOST_COLUMNS = 256
_FIT_BYTES = 4 * (kernels.WINDOW + 2)


@dataclass
class Known:
    """What is known of the Gaussians so far: their places [N, 3] along the curve, and columns [N, C] of numbers."""

    places: np.ndarray
    codes: np.ndarray

    @staticmethod
    def nothing(count: int) -> Known:
        """Return the state before the first column of so many Gaussians."""
        return Known(np.zeros((count, 3), np.int64), np.zeros((count, 0), np.int32))

    def extended(self, codes: np.ndarray) -> Known:
        """Return the state after columns [N, C]: as many are kept as later ones are expected from."""
        return Known(self.places, self.with_more(codes)[:, -kernels.WINDOW :])

    def with_more(self, codes: np.ndarray) -> np.ndarray:
        """Return the columns that new ones are expected from, and the new ones."""
        return np.concatenate((self.codes[:, -kernels.WINDOW :], codes), axis=1)


def curve_order(places: np.ndarray) -> np.ndarray:
    """Return the order of places [N, 3] along the curve."""
    low = places.min(axis=0) if len(places) else 0
    return np.argsort(interleave((places - low).astype(np.uint64)), kind="stable")


def code_places(places: np.ndarray) -> bytes:
    """Code places [N, 3] that stand in their order along the curve."""
    low = places.min(axis=0) if len(places) else np.zeros(3, np.int64)
    curve = interleave((places - low).astype(np.uint64))
    gaps = np.diff(curve, prepend=np.uint64(0))
    content = code(kernels.code_gaps, kernels.POSITION_CONTEXTS, 4 * len(gaps), gaps)
    return low.astype("<i8").tobytes() + content


def decode_places(content: bytes, count: int) -> np.ndarray:
    """Return the places [count, 3] that were coded."""
    if len(content) < 24:
        raise ValueError("is shorter than its beginning")
    low = np.frombuffer(content, "<i8", 3).astype(np.int64)
    if (np.abs(low) > 1 << 40).any():
        raise ValueError("begins too far away")
    gaps = np.zeros(count, np.uint64)
    decode(kernels.code_gaps, kernels.POSITION_CONTEXTS, content[24:], gaps)
    return separate(np.cumsum(gaps, dtype=np.uint64)).astype(np.int64) + low


def code_columns(codes: np.ndarray, known: Known) -> bytes:
    """Code columns [N, C] of Gaussians of which something is known."""
    every, order = known.with_more(codes), _coarse_to_fine(len(codes))
    fits = _fits(every, every.shape[1] - codes.shape[1], known.places, order)
    contexts = codes.shape[1] * kernels.GROUPS * kernels.MAGNITUDES
    given = known.places, every, *order, every.shape[1] - codes.shape[1], fits
    return fits.astype("<i4").tobytes() + code(kernels.code_columns, contexts, codes.size, *given)


def decode_columns(content: bytes, columns: int, known: Known) -> np.ndarray:
    """Return so many columns of Gaussians of which something is known."""
    head = columns * _FIT_BYTES
    if len(content) < head:
        raise ValueError("is shorter than its beginning")
    fits = np.frombuffer(content[:head], "<i4").reshape(columns, -1).astype(np.int64)
    every = known.with_more(np.zeros((len(known.places), columns), np.int32))
    first = every.shape[1] - columns
    contexts = columns * kernels.GROUPS * kernels.MAGNITUDES
    given = known.places, every, *_coarse_to_fine(len(every)), first, fits
    decode(kernels.code_columns, contexts, content[head:], *given)
    return every[:, first:]


def code_table(codes: np.ndarray) -> bytes:
    """Code a table [L, T, F]."""
    return code(_code_levels, _contexts(codes), codes.size, codes)


def decode_table(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Return a table [L, T, F]."""
    codes = np.zeros(shape, np.int32)
    decode(_code_levels, _contexts(codes), content, codes)
    return codes


def code_weights(codes: np.ndarray) -> bytes:
    """Code numbers [N]."""
    return code(kernels.code_plain, kernels.MAGNITUDES, codes.size, codes)


def decode_weights(content: bytes, count: int) -> np.ndarray:
    """Return numbers [count]."""
    codes = np.zeros(count, np.int32)
    decode(kernels.code_plain, kernels.MAGNITUDES, content, codes)
    return codes


def table_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return levels, rows and features of a table of any shape."""
    features = shape[-1] if len(shape) > 2 else 1
    return shape[0], math.prod(shape[1:-1]) if len(shape) > 2 else math.prod(shape[1:]), features


def _code_levels(
    numbers: np.ndarray,
    content: np.ndarray,
    chances: np.ndarray,
    counts: np.ndarray,
    codes: np.ndarray,
) -> None:
    for level in range(len(codes)):
        kernels.code_table(numbers, content, chances, counts, codes[level], min(level, _LEVELS - 1))


def _contexts(codes: np.ndarray) -> int:
    return min(len(codes), _LEVELS) * kernels.TABLE_GROUPS * kernels.MAGNITUDES


def _coarse_to_fine(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows [N] in the order of coding, and how far off their known neighbours stand [N]."""
    span = 1 << max(count - 1, 1).bit_length()
    rows, halves = [np.arange(min(count, 1))], [np.full(min(count, 1), 1 << 40)]
    while span > 1:
        found = np.arange(span // 2, count, span)
        rows.append(found)
        halves.append(np.full(len(found), span // 2))
        span //= 2
    return np.concatenate(rows).astype(np.int64), np.concatenate(halves).astype(np.int64)


def _fits(
    codes: np.ndarray, known: int, places: np.ndarray, order: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return, by least squares, how each new column follows from its neighbours and the columns before it."""
    window = kernels.WINDOW
    fits = np.zeros((codes.shape[1] - known, window + 2), np.int64)
    if len(codes) < 2 * window:
        fits[:, window] = 4096
        return fits
    found = np.zeros(codes.shape, np.int64)
    kernels.expectations(places, codes, *order, found)
    rows = order[0][-_FIT_ROWS:]  # the last ones have the nearest neighbours
    expected, actual = found[rows] / 4096, codes[rows].astype(np.float64)
    surprises = actual - expected
    for column in range(known, codes.shape[1]):
        before = surprises[:, max(column - window, 0) : column][:, ::-1]
        given = np.column_stack((before, expected[:, column], np.ones(len(rows))))
        solved = np.linalg.lstsq(given, actual[:, column], rcond=None)[0]
        solved = np.clip(np.rint(solved * 4096), -_FIT_LIMIT, _FIT_LIMIT).astype(np.int64)
        fit = fits[column - known]
        fit[: before.shape[1]], fit[window:] = solved[:-2], solved[-2:]
    return fits
