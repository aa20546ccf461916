"""Learning-rate schedules."""

from __future__ import annotations


def decayed(first: float, last: float, progress: float) -> float:
    """Return the exponential blend of two rates at a share of training 0..1."""
    if first <= 0 or last <= 0:
        return first
    return float(first * (last / first) ** min(1.0, progress))
