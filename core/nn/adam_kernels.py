"""Compiled loops of Adam on single rows of a parameter.

values, first, second  [N, C]  float32  parameter and its two moments
grads                  [V, C]  float32  one row per entry of `rows`, or [N, C]
rows                   [V]     int64    rows to update, no row twice
marks                  [N]     uint8    rows to update where not zero; cleared, and their gradient too
numbers                7 float32        as `settings` returns them

Kingma and Ba 2015, algorithm 1, with the order of operations of torch.optim.Adam.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

CHUNK = 4096  # rows a thread takes at a time
GROUP = 32  # rows skipped at once when none is marked

_ZERO = np.float32(0)


def settings(
    rate: float, betas: tuple[float, float], eps: float, count: int
) -> tuple[np.float32, ...]:
    """Return the numbers of step `count`: both corrections, each beta with its complement, epsilon."""
    beta1, beta2 = betas
    # the complements are taken here, in double precision: 1 - 0.999 is off by 1e-5 in float32
    numbers = (
        rate / (1 - beta1**count),
        1 / np.sqrt(1 - beta2**count),
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        eps,
    )
    return tuple(np.float32(number) for number in numbers)


@kernel
def _next_moments(first, second, grad, numbers):
    """Return both moments after a gradient, and by how much the value falls."""
    moment = numbers[2] * first + numbers[3] * grad
    square = numbers[4] * second + numbers[5] * grad * grad
    return moment, square, numbers[0] * moment / (np.sqrt(square) * numbers[1] + numbers[6])


@kernel
def _update(values, first, second, grads, numbers):
    """Step one row."""
    for column in range(values.shape[0]):
        moment, square, change = _next_moments(
            first[column], second[column], grads[column], numbers
        )
        first[column], second[column] = moment, square
        values[column] -= change


@parallel_kernel
def update_rows(values, first, second, grads, rows, numbers):
    """Step the given rows; `grads` has one row for each of them."""
    count = rows.shape[0]
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        for entry in range(chunk * CHUNK, min((chunk + 1) * CHUNK, count)):
            row = rows[entry]
            _update(values[row], first[row], second[row], grads[entry], numbers)


@parallel_kernel
def update_all(values, first, second, grads, numbers):
    """Step every number of flat arrays."""
    count = values.shape[0]
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, count)
        _update(
            values[start:stop], first[start:stop], second[start:stop], grads[start:stop], numbers
        )


@kernel
def _update_marked_group(values, first, second, grads, marks, width, numbers):
    """Step the marked rows of a few neighbours, by selection instead of branches so that it vectorises."""
    for row in range(marks.shape[0]):
        is_marked = marks[row] > 0
        for column in range(width):
            moment, square, change = _next_moments(
                first[row, column], second[row, column], grads[row, column], numbers
            )
            first[row, column] = moment if is_marked else first[row, column]
            second[row, column] = square if is_marked else second[row, column]
            values[row, column] -= change if is_marked else _ZERO
            grads[row, column] = _ZERO
        marks[row] = 0


@parallel_kernel
def update_marked(values, first, second, grads, marks, numbers):
    """Step the marked rows, then clear their marks and gradients for the next step."""
    count, width = values.shape
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        for start in range(chunk * CHUNK, min((chunk + 1) * CHUNK, count), GROUP):
            stop = min(start + GROUP, count)
            any_marked = False
            for row in range(start, stop):
                any_marked |= marks[row] > 0
            if not any_marked:
                continue
            part = (values[start:stop], first[start:stop], second[start:stop], grads[start:stop])
            if width == 2:  # a constant lets the compiler vectorise the common case
                _update_marked_group(*part, marks[start:stop], 2, numbers)
            else:
                _update_marked_group(*part, marks[start:stop], width, numbers)


def warm_up() -> Iterator[str]:
    """Compile the kernels one by one, naming each when it is ready."""
    values, first, second, grads = (np.zeros((2, 2), np.float32) for _ in range(4))
    numbers = settings(0.1, (0.9, 0.999), 1e-15, 1)
    update_rows(values, first, second, grads, np.arange(2), numbers)
    yield "optimizer of rows"
    update_all(*(array.reshape(-1) for array in (values, first, second, grads)), numbers)
    yield "optimizer"
    update_marked(values, first, second, grads, np.zeros(2, np.uint8), numbers)
    yield "optimizer of marked rows"
