"""Curves with steps of their own as one chart: uPlot wants a common row of steps.

curves  {name: (steps [P], values [P])}
->
data    (steps [Q], values [Q] for each curve), float64, NaN where a curve has no value
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from app.web import html

MOST_POINTS = 400  # more than a chart has pixels; each update travels to every browser
SPARE = ("action", "good", "warning", "secondary")


def aligned(curves: Mapping[str, tuple[Any, Any]]) -> tuple[np.ndarray, ...]:
    """Return all curves over the union of their steps, thinned to `MOST_POINTS`."""
    steps = np.unique(np.concatenate([np.asarray(s, dtype=np.float64) for s, _ in curves.values()]))
    if len(steps) > MOST_POINTS:
        kept = np.linspace(0, len(steps) - 1, MOST_POINTS).round().astype(int)
        steps = steps[kept]
    rows = [steps]
    for own_steps, values in curves.values():
        own, row = np.asarray(own_steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
        inside = (steps >= own[0]) & (steps <= own[-1])
        rows.append(np.where(inside, np.interp(steps, own, row), np.nan))
    return tuple(rows)


def series(names: tuple[str, ...], tints: Mapping[str, str]) -> tuple[Any, ...]:
    """Return uPlot's description of the curves, in their palette colours."""
    spare = iter(SPARE * (1 + len(names) // len(SPARE)))
    lines = [
        {
            "label": name,
            "stroke": html.color(tints.get(name) or next(spare)),
            "width": 2,
            "spanGaps": True,
            "points": {"show": False},
        }
        for name in names
    ]
    return ({"label": "Step"}, *lines)
