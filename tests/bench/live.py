"""Distinct pictures a second and lag in a window and in a browser while training runs, by window size.

    python -m tests.bench live [CAPTURE] --fronts desktop web --sizes 960x600 1280x800 1920x1080

Every measurement is a process of its own: tests/bench/live_desktop.py and tests/bench/live_web.py, which say
how they count. Here is what they share as well: a session that trains, its counters, one table.

Rates are per second of wall time; latencies are milliseconds from an input to its picture.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.actions import OpenDemo, OpenPath
from app.session import Session
from app.training import TrainingPlan
from core.engine.cores import cores_available, quiet_libraries
from tests.bench.measure import WrongResult, print_table

KINDS = ("MainThread", "training", "drawing", "llvmpipe")  # every other thread is "other"
LONG = 1_000_000  # steps: the training must not end while it is measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("capture", nargs="?", help="default: the demo")
    parser.add_argument("--fronts", nargs="+", choices=("desktop", "web"), default=["desktop"])
    parser.add_argument("--sizes", nargs="+", default=["960x600", "1280x800", "1920x1080"])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--gaussians", type=int, default=20_000, help="wait for so many")
    parser.add_argument("--set", nargs="*", default=["seed_gaussians=20000"], metavar="KEY=VALUE")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every front end and size in a process of its own; return the rows."""
    rows = [_measured(front, size, options) for front in options.fronts for size in options.sizes]
    lines = [
        [row["front"], row["size"], row["gaussians"], row["distinct_pictures_per_s"],
         _delay(row)["median"], _delay(row)["worst"], row["moving"]["steps_per_s"],
         row["training_share"]]
        for row in rows
    ]  # fmt: skip
    head = ["front", "size", "Gaussians", "pictures/s", "lag ms", "worst ms", "steps/s", "of rest"]
    print_table(lines, head)
    return {"rows": rows}


def _measured(front: str, size: str, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hyrf-bench-") as folder:
        path = Path(folder) / "figures.json"
        words = [*([options.capture] if options.capture else []), "--size", size]
        words += ["--seconds", str(options.seconds), "--gaussians", str(options.gaussians)]
        words += ["--json", str(path), "--set", *options.set]
        done = subprocess.run([sys.executable, "-m", f"tests.bench.live_{front}", *words])
        if done.returncode != 0:
            raise WrongResult(f"live_{front} at {size} ended with {done.returncode}.")
        return {"front": front, "size": size, **json.loads(path.read_text())}


def _delay(row: dict[str, Any]) -> dict[str, float]:
    """Return the lag while moving, or after a rest where only that is measured."""
    return dict(row.get("delay_ms", row["delay_after_rest_ms"]))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what one measurement asks for."""
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
    snapshot = session._scene.snapshots.peek()
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
