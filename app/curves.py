"""Curves of bounded length: the longer the training, the more steps one point averages."""

from __future__ import annotations

import math

MOST_POINTS = 600


class Curve:
    """Points (step, value), at most `MOST_POINTS`; each is the mean of as many samples as the next."""

    def __init__(self) -> None:
        self._steps: list[float] = []
        self._values: list[float] = []
        self._per_point = 1
        self._open: list[tuple[float, float]] = []

    def add(self, step: int, value: float) -> None:
        """Take in a sample; one that is not finite is left out."""
        if not math.isfinite(value):
            return
        self._open.append((step, value))
        if len(self._open) < self._per_point:
            return
        steps, values = zip(*self._open, strict=True)
        self._steps.append(steps[-1])
        self._values.append(sum(values) / len(values))
        self._open.clear()
        if len(self._steps) > MOST_POINTS:
            self._thin()

    def points(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return (steps, values)."""
        return tuple(self._steps), tuple(self._values)

    def __len__(self) -> int:
        return len(self._steps)

    def _thin(self) -> None:
        """Join neighbours; an odd last point stays open for the next sample."""
        pairs = len(self._steps) // 2
        rest = (
            list(zip(self._steps[2 * pairs :], self._values[2 * pairs :], strict=True))
            * self._per_point
        )
        values = self._values
        self._values = [(values[2 * i] + values[2 * i + 1]) / 2 for i in range(pairs)]
        self._steps = [self._steps[2 * i + 1] for i in range(pairs)]
        self._per_point *= 2
        self._open = rest
