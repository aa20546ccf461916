"""Steps per second, smoothed; pauses are no part of them."""

from __future__ import annotations

import math

MEMORY_S = 2.0  # is smoothed over about this long


class Rate:
    """Keeps the smoothed time from one step to the next."""

    def __init__(self) -> None:
        self._interval_s = 0.0
        self._last_s: float | None = None

    @property
    def per_s(self) -> float:
        """Steps a second; 0 before the first."""
        return 1 / self._interval_s if self._interval_s > 0 else 0.0

    def note(self, step_s: float, now: float) -> None:
        """Take in a step that took so long and ended now."""
        interval = step_s if self._last_s is None else now - self._last_s
        weight = 1 - math.exp(-interval / MEMORY_S) if self._interval_s else 1.0
        self._interval_s += weight * (interval - self._interval_s)
        self._last_s = now

    def interrupt(self) -> None:
        """Forget when the last step was: what comes before the next one is a pause."""
        self._last_s = None
