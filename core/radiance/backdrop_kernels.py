"""Compiled loops of a coarse background behind a picture: where it shows, and the two laid over each other.

alpha     [H, W]     float32
cells     [h, w]     uint8    1 where the background may show
rgb       [H, W, 3]  float32  Gaussians over black
coarse    [h, w, 3]  float32  the background, enlarged bilinearly (pixel centres at .5, clamped borders)
picture   [H, W, 3]  float32  rgb + (1 - alpha) * enlarged
columns   [W], lines [H]      as `steps` returns them: (int64 first neighbour, float32 share of the next)

The backward writes one row of sums per picture row, then adds them up by coarse row in order: no
races, the same numbers at any thread count.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

_ZERO, _ONE = np.float32(0), np.float32(1)


def steps(fine: int, coarse: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first coarse neighbour of every fine pixel along an axis, and the share of the second."""
    place = np.maximum((np.arange(fine) + 0.5) * (coarse / fine) - 0.5, 0.0)
    first = np.minimum(place.astype(np.int64), coarse - 1)
    share = np.where(first < coarse - 1, place - first, 0.0)  # no neighbour behind the last
    return first, share.astype(np.float32)


@parallel_kernel
def shows_through(alpha, least, lets, cells):
    """Mark the cells near which some pixel lets more light than `least` through; `lets` [h, w] is scratch."""
    height, width = alpha.shape
    rows, columns = cells.shape
    for row in prange(rows):
        top, bottom = row * height // rows, -(-(row + 1) * height // rows)
        for column in range(columns):
            left, right = column * width // columns, -(-(column + 1) * width // columns)
            lowest = _ONE
            for y in range(top, bottom):
                for x in range(left, right):
                    lowest = min(lowest, alpha[y, x])
            lets[row, column] = _ONE - lowest > least
    for row in prange(rows):
        for column in range(columns):
            found = np.uint8(0)
            for y in range(max(row - 1, 0), min(row + 2, rows)):
                for x in range(max(column - 1, 0), min(column + 2, columns)):
                    found |= lets[y, x]
            cells[row, column] = found


@kernel
def _between(coarse, first, share, line):
    """Write one row [w, 3] between two coarse rows."""
    above, below = coarse[first], coarse[min(first + 1, coarse.shape[0] - 1)]
    for column in range(line.shape[0]):
        for c in range(3):
            line[column, c] = above[column, c] + share * (below[column, c] - above[column, c])


@parallel_kernel
def lay_over(rgb, alpha, coarse, lines, columns, picture):
    """Write the picture."""
    last = coarse.shape[1] - 1
    first_line, line_share = lines
    first_column, column_share = columns
    for y in prange(rgb.shape[0]):
        line = np.empty(coarse.shape[1:], np.float32)
        _between(coarse, first_line[y], line_share[y], line)
        for x in range(rgb.shape[1]):
            left, passing, share = first_column[x], _ONE - alpha[y, x], column_share[x]
            right = min(left + 1, last)
            for c in range(3):
                behind = line[left, c] + share * (line[right, c] - line[left, c])
                picture[y, x, c] = rgb[y, x, c] + passing * behind


@parallel_kernel
def lay_over_backward(given, alpha, coarse, lines, columns, row_sums, to_alpha, to_coarse):
    """Write the gradients of alpha and of the coarse background; `row_sums` [H, w, 3] is scratch."""
    last = coarse.shape[1] - 1
    first_line, line_share = lines
    first_column, column_share = columns
    for y in prange(given.shape[0]):
        line, sums = np.empty(coarse.shape[1:], np.float32), row_sums[y]
        _between(coarse, first_line[y], line_share[y], line)
        sums[:] = _ZERO
        for x in range(given.shape[1]):
            left, passing, share = first_column[x], _ONE - alpha[y, x], column_share[x]
            right, total = min(left + 1, last), _ZERO
            for c in range(3):
                behind = line[left, c] + share * (line[right, c] - line[left, c])
                total -= given[y, x, c] * behind
                reaching = passing * given[y, x, c]
                sums[left, c] += (_ONE - share) * reaching
                sums[right, c] += share * reaching
            to_alpha[y, x] = total
    for row in prange(coarse.shape[0]):
        target = to_coarse[row]
        target[:] = _ZERO
        for y in range(given.shape[0]):
            above = first_line[y]
            if above == row or above + 1 == row:
                weight = _ONE - line_share[y] if above == row else line_share[y]
                for column in range(target.shape[0]):
                    for c in range(3):
                        target[column, c] += weight * row_sums[y, column, c]


def warm_up() -> Iterator[str]:
    """Compile the kernels one by one, naming each when it is ready."""
    plane, picture = np.zeros((2, 2), np.float32), np.zeros((2, 2, 3), np.float32)
    cells = np.zeros((2, 2), np.uint8)
    shows_through(plane, np.float32(0), cells, cells.copy())
    yield "where the background shows"
    axis = steps(2, 2)
    lay_over(picture, plane, picture, axis, axis, picture.copy())
    lay_over_backward(
        picture, plane, picture, axis, axis, picture.copy(), plane.copy(), picture.copy()
    )
    yield "background behind a photograph"
