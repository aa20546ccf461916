"""What the two live measurements share: a session that trains, its counters, one table.

Rates are per second of wall time; latencies are milliseconds from an input to its picture.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.actions import OpenDemo, OpenPath
from app.session import Session
from app.training import TrainingPlan
from core.engine.cores import cores_available, quiet_libraries

KINDS = ("MainThread", "training", "drawing", "llvmpipe")  # every other thread is "other"
LONG = 1_000_000  # steps: the training must not end while it is measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what both measurements ask for."""
    parser.add_argument("capture", nargs="?", help="default: the demo")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", default="1280x800", help="of the window or page")
    parser.add_argument("--gaussians", type=int, default=20_000, help="wait for so many")
    parser.add_argument("--set", nargs="*", default=["seed_gaussians=20000"], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)


def training_session(settings: dict[str, str], home: Path) -> Session:
    """Return a session whose next capture trains with the preset `full` and these settings."""
    quiet_libraries()
    plan = TrainingPlan(preset="full", settings={"steps": str(LONG), **settings})
    return Session(home=home, plan=plan)


def opening(capture: str | None) -> OpenPath | OpenDemo:
    """Return the action that opens a capture, or the demo."""
    return OpenDemo() if capture is None else OpenPath(capture)


def wait_until(
    ready: Callable[[], object], turn: Callable[[], object], limit_s: float, what: str
) -> None:
    """Turn a loop until something has happened."""
    end = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < end, f"waited {limit_s:.0f} s for {what} in vain"
        turn()


def step_of(session: Session) -> int:
    """Return the training's step."""
    trainer = session._training.trainer
    return 0 if trainer is None else trainer.step


def gaussians_of(session: Session) -> int:
    """Return how many Gaussians the newest snapshot holds."""
    snapshot = session._scene._snapshots.peek()
    return 0 if snapshot is None else snapshot.num_gaussians


class Span:
    """Counts steps and processor time between its making and `figures`."""

    def __init__(self, session: Session) -> None:
        self.session, self.step = session, step_of(session)
        self.cpu_s = cpu_by_thread()
        self.began = time.monotonic()

    def figures(self) -> dict[str, float]:
        """Return the rates since the beginning; `cores_*` are processor seconds per second."""
        seconds = time.monotonic() - self.began
        used = cpu_by_thread()
        cores = {
            name: (value - self.cpu_s.get(name, 0.0)) / seconds for name, value in used.items()
        }
        return {
            "seconds": seconds,
            "steps_per_s": (step_of(self.session) - self.step) / seconds,
            **{f"cores_{name}": value for name, value in sorted(cores.items()) if value > 0.005},
            "load_average": os.getloadavg()[0],
        }


def cpu_by_thread() -> dict[str, float]:
    """Return the processor seconds this process has used so far, by kind of thread."""
    named = {thread.native_id: thread.name for thread in threading.enumerate()}
    used: dict[str, float] = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            command, _, rest = (task / "stat").read_text().rpartition(")")
            fields = rest.split()
            seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            name = named.get(int(task.name), command.partition("(")[2].rstrip("-0123456789"))
            kind = name if name in KINDS else "other"
            used[kind] = used.get(kind, 0.0) + seconds
    return used


def latencies(values_s: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and worst of delays, in milliseconds."""
    if not values_s:
        return {"median": float("nan"), "p95": float("nan"), "worst": float("nan")}
    ordered = sorted(1000 * value for value in values_s)
    return {
        "median": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "worst": ordered[-1],
    }


def report(rows: dict[str, Any], path: Path | None) -> None:
    """Print one line for each figure and write them all as JSON where asked."""
    rows = {"cores": cores_available(), **rows}
    for name, value in rows.items():
        if isinstance(value, dict):
            text = ", ".join(f"{key} {_short(part)}" for key, part in value.items())
        else:
            text = _short(value)
        print(f"{name.replace('_', ' '):<26} {text}")
    if path is not None:
        path.write_text(json.dumps(rows, indent=2) + "\n")


def _short(value: Any) -> str:
    return (
        f"{value:.1f}"
        if isinstance(value, float) and abs(value) >= 10
        else (f"{value:.2f}" if isinstance(value, float) else str(value))
    )
