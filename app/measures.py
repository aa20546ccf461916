"""Numbers over training: curves that stay short, and what the gallery's studies measure of themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping

from app.panels.words import named, three_digits
from app.store import Store

MOST_POINTS = 600  # of a curve: the longer the training, the more steps one point averages
MOST_CURVES = 4


class Measures:
    """Keeps a curve for every metric, and the newest number of each beside the held-out one.

    measures.curves  tuple of (label, key of its curves), the first few in the order they came
    measures.rows    rows of (name, last step, held out)
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._curves: dict[str, dict[str, Curve]] = {}
        self._newest: dict[str, list[str]] = {}
        self._store.update(measures__curves=(), measures__rows=())

    def trained(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take in the metrics of a step."""
        self._take(step, metrics, "Training", 0)

    def held_out(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take in an evaluation."""
        self._take(step, metrics, "Held out", 1)

    def _take(self, step: int, metrics: Mapping[str, float], kind: str, column: int) -> None:
        for name, value in metrics.items():
            if name in ("step", "elapsed_s"):
                continue
            curves = self._curves.setdefault(name, {})
            curves.setdefault(kind, Curve()).add(step, float(value))
            self._newest.setdefault(name, ["", ""])[column] = three_digits(float(value))
            shown = {kind: curve.points() for kind, curve in curves.items() if len(curve)}
            self._store.set(f"measures.curve.{name}", shown)
        found = tuple((named(name), f"measures.curve.{name}") for name in self._curves)
        rows = tuple((named(name), *cells) for name, cells in self._newest.items())
        self._store.update(measures__curves=found[:MOST_CURVES], measures__rows=rows)


class Curve:
    """Points (step, value), at most `MOST_POINTS`; each is the mean of as many samples as the next."""

    def __init__(self, memory: int = 1) -> None:
        """Show the moving average over about `memory` samples; 1 shows the samples themselves."""
        self._kept = 1 - 1 / memory
        self._sum = self._weight = 0.0  # of past samples, each counting less than the next
        self._steps: list[float] = []
        self._values: list[float] = []
        self._per_point = 1
        self._open: list[tuple[float, float]] = []

    def add(self, step: int, value: float) -> None:
        """Take in a sample; one that is not finite is left out."""
        if not math.isfinite(value):
            return
        self._sum = self._kept * self._sum + value
        self._weight = self._kept * self._weight + 1
        self._open.append((step, self._sum / self._weight))
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
