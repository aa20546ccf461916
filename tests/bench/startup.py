"""From the command to the first answer, with compiled kernels on disk (warm) and without (cold).

    python -m tests.bench startup [--scene FILE.hyrf] [--repeats 5] [--cold 1]

`--help`                  until the process has ended
`first window`            until the window was drawn once
`first frame of a scene`  until a picture of the scene was drawn in it
`first training step`     until the demo has trained one step in an open window

Each is the program itself, in a process of its own with an empty home and, for cold starts, an
empty HYRF_CACHE. Windows need a display or Xvfb. Processor time includes child processes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.measure import Timing, WrongResult, print_table, spread

COLUMNS = ("what", "cache", "start_ms", "start_cpu_ms")
ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600
WAITED_FOR = {
    "first window": "window",
    "first frame of a scene": "frame",
    "first training step": "step",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--scene", type=Path, help="default: 50,000 random Gaussians")
    parser.add_argument("--repeats", type=int, default=5, help="of warm starts")
    parser.add_argument(
        "--cold", type=int, default=1, help="cold starts of each kind, minutes each"
    )


def shorten(options: argparse.Namespace) -> None:
    """Reduce the work to a check of the results."""
    options.repeats, options.cold, options.scene = 2, 0, None


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start the program again and again; return the rows."""
    rows = [_row("--help", "warm", _helps(options.repeats))]
    if options.short:
        return {"rows": rows}
    from tests.bench.live_desktop import display

    if not os.environ.get("DISPLAY") and shutil.which("Xvfb") is None:
        print("Left out: everything with a window (no display and no Xvfb).")
        return {"rows": rows}
    with display(), tempfile.TemporaryDirectory(prefix="hyrf-bench-") as folder:
        scene = options.scene or _random_scene(Path(folder))
        for what, event in WAITED_FOR.items():
            words = [] if event == "step" else [str(scene), "--no-train"]
            cold = Timing()
            for number in range(options.cold):
                _start(event, words, Path(folder) / f"cold {event} {number}", cold)
            if options.cold:
                rows.append(_row(what, "cold", cold))
            warm, cache = Timing(), Path(folder) / "warm"
            _start(event, words, cache, Timing())
            for _ in range(options.repeats):
                _start(event, words, cache, warm)
            rows.append(_row(what, "warm", warm))
    print_table(
        [[row["what"], row["cache"], *(row[key] for key in _FIGURES)] for row in rows],
        ["what", "kernels", "wall ms", "spread", "cpu ms", "spread", "times"],
    )
    return {"rows": rows}


_FIGURES = (
    "start_ms",
    "start_ms_spread",
    "start_cpu_ms",
    "start_cpu_ms_spread",
    "start_repeats",
)


def _row(what: str, cache: str, timing: Timing) -> dict[str, Any]:
    print(
        f"{what}, {cache}: {timing.wall:.0f} ms wall (spread {spread(timing.walls):.0f}), "
        f"{timing.cpu:.0f} ms cpu, {len(timing.walls)} times",
        flush=True,
    )
    return {"what": what, "cache": cache, **timing.row("start")}


def _helps(repeats: int) -> Timing:
    timing = Timing()
    for number in range(repeats + 1):
        began, cpu = time.monotonic(), _children_s()
        command = [sys.executable, "launch.py", "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
        if done.returncode != 0 or "usage" not in done.stdout.lower():
            raise WrongResult(f"--help ended with {done.returncode}: {done.stderr[-300:]}")
        if number:  # the first has read the files from disk
            timing.add(1e3 * (time.monotonic() - began), 1e3 * (_children_s() - cpu))
    return timing


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _start(event: str, words: list[str], cache: Path, timing: Timing) -> None:
    """Start the program once and note when an event has come."""
    home = cache / "home"
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "HYRF_CACHE": str(cache),
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "tests.bench.startup_child", repr(time.monotonic()), event]
    done = subprocess.run(
        [*command, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise WrongResult(f"{event}: the program ended without it. {done.stderr[-500:]}")
    found = json.loads(lines[-1])
    timing.add(1e3 * found["wall_s"], 1e3 * found["cpu_s"])


def _random_scene(folder: Path) -> Path:
    from core.formats import save_scene
    from tests.bench import scenes

    path = folder / "scene.hyrf"
    save_scene(scenes.prepared(scenes.Task("hyrf", 50_000, 270, 480)).snapshot(), path)
    return path
