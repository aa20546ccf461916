"""Check a capture before training: everything that opening finds, and what looks wrong once it is open.

check_capture(path) -> Checked     never raises a CaptureError: a refusal is a row that stops
examined(capture)   -> Checked     for a capture that is open already
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.base.errors import CaptureError
from core.base.events import Event, Notice
from core.capture.capture import Capture
from core.capture.doubts import OWN_POINTS, doubts
from core.capture.opening import open_capture
from core.capture.problems import Problem, Severity, from_notice, from_refusal, worst_first

MOST_WORKERS = 8


@dataclass(frozen=True, eq=False)
class Checked:
    """The rows, worst first; `capture` is None where it cannot be opened."""

    name: str
    problems: tuple[Problem, ...]
    capture: Capture | None = None

    @property
    def stops(self) -> bool:
        """Whether training cannot begin."""
        return any(problem.severity is Severity.STOPS for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        capture = self.capture
        return {
            "capture": self.name,
            "photographs": len(capture.photos) if capture else 0,
            "train": len(capture.train) if capture else 0,
            "held_out": len(capture.test) if capture else 0,
            "problems": [problem.to_json() for problem in self.problems],
        }


def check_capture(
    path: str | Path,
    *,
    report: Callable[[Event], None] = lambda _event: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Checked:
    """Open a capture without triangulating and look at every picture."""
    sentences: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            sentences.append(event.text)
        else:
            report(event)

    name = Path(path).resolve().name
    try:
        capture, has_own_points = _opened(path, listen, cancelled)
    except CaptureError as error:
        rows = [*map(from_notice, sentences), from_refusal(str(error))]
        return Checked(name, worst_first(rows))
    rows = list(map(from_notice, (*sentences, *capture.notices)))
    rows += doubts(
        capture,
        has_own_points=has_own_points,
        report=report,
        cancelled=cancelled,
        workers=max(1, min(MOST_WORKERS, os.cpu_count() or 1)),
    )
    return Checked(capture.name, worst_first(rows), capture)


def examined(
    capture: Capture,
    *,
    report: Callable[[Event], None] = lambda _event: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Checked:
    """Check a capture that is open, with one thread, beside whatever else runs."""
    has_own_points = "from the capture" in capture.seeds
    rows = list(map(from_notice, capture.notices))
    rows += doubts(capture, has_own_points=has_own_points, report=report, cancelled=cancelled)
    return Checked(capture.name, worst_first(rows), capture)


def _opened(
    path: str | Path, report: Callable[[Event], None], cancelled: Callable[[], bool]
) -> tuple[Capture, bool]:
    """Return the capture and whether it brings enough seed points of its own."""
    try:
        capture = open_capture(path, seeds="capture", report=report, cancelled=cancelled)
    except CaptureError:
        # either it lacks only seed points, or the same refusal comes again
        return open_capture(path, seeds="random", report=report, cancelled=cancelled), False
    return capture, len(capture.points) >= OWN_POINTS
