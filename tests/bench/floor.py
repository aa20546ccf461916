"""The floor of a training step: the least work of every stage against this machine's measured ceilings.

    python -m tests.bench floor --gaussians 50000 --sizes 270x480 --threads 1 2

A stage's floor is the longest of: its bytes at the bandwidth measured for arrays of that size, its
operations at the measured peak of multiply-and-add, its random reads at the rate measured for a
table of that size (tests/bench/work.py counts, tests/bench/ceilings.py measures). Reads of neighbours share
cache lines, so a grid can come out below the last of these. `times` is what was
measured over the floor. One thread is measured in processor time, several in wall time.
"""

from __future__ import annotations

import argparse
from typing import Any

from tests.bench import scenes
from tests.bench.ceilings import SIZES_MIB, TABLES_MIB, Ceilings, measured
from tests.bench.measure import Patience, print_table, usable_threads, with_threads
from tests.bench.stages import Breakdown, breakdown
from tests.bench.work import Work, counted, least_work

COLUMNS = ("study", "num_gaussians", "width", "height", "threads", "step_ms", "floor_ms", "stages")
# stages of a step that are one piece of work
_TOGETHER = {
    "cull, gather": ("cull", "gather"),
    "activate": ("activate", "harmonics"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument(
        "--studies", nargs="+", choices=tuple(scenes.VARIANTS), default=tuple(scenes.VARIANTS)
    )
    parser.add_argument("--gaussians", type=int, nargs="+", default=[50_000])
    parser.add_argument("--sizes", nargs="+", default=["270x480"], help="width x height in pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--capture", help="a folder of photographs; default: a random scene")
    parser.add_argument("--runs", type=int, default=15, help="of each ceiling; the best counts")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20.0, help="at most, for each row")


def shorten(options: argparse.Namespace) -> None:
    """Reduce the work to a check of the results."""
    options.gaussians, options.sizes, options.repeats, options.runs = [2000], ["48x64"], 3, 1


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure ceilings and steps and return the rows."""
    rows, ceilings = [], []
    capture = None
    if options.capture is not None:
        from core.capture.opening import open_capture

        capture = open_capture(options.capture)
    for threads in usable_threads(options.threads):
        with_threads(threads)
        limits = measured(threads, options.runs)
        ceilings.append(limits.row())
        print_ceilings(limits)
        for study in options.studies:
            for size in options.sizes:
                for num in options.gaussians:
                    task = scenes.Task(study, num, *scenes.parsed_size(size), capture=capture)
                    patience = Patience(options.repeats, options.seconds)
                    rows.append(_row(task, limits, patience))
    return {"ceilings": ceilings, "rows": rows}


def print_ceilings(limits: Ceilings) -> None:
    """Print what the machine can do."""
    print(f"\nceilings, {limits.threads} threads: {limits.peak / 1e9:,.0f} Gflop/s")
    pairs = zip(SIZES_MIB, limits.bandwidth.values(), strict=True)
    print("  GB/s by MiB:              " + ", ".join(f"{m:g}: {r / 1e9:.1f}" for m, r in pairs))
    pairs = zip(TABLES_MIB, limits.gathers.values(), strict=True)
    print("  random reads, M/s by MiB: " + ", ".join(f"{m:g}: {r / 1e6:.0f}" for m, r in pairs))


def _row(task: scenes.Task, limits: Ceilings, patience: Patience) -> dict[str, Any]:
    study = scenes.prepared(task)
    step = breakdown(study.step, patience)
    counts = counted(study)
    work = least_work(study.model, counts)
    stages = _against_floor(step, work, limits)
    camera = study.capture.train[0].camera
    row = {
        "study": task.study,
        "scene": study.capture.name,
        "num_gaussians": counts.gaussians,
        "width": camera.width,
        "height": camera.height,
        "threads": limits.threads,
        "counts": vars(counts),
        **step.whole.row("step"),
        "floor_ms": sum(stage["floor_ms"] for stage in stages.values()),
        "stages": stages,
    }
    _print(row)
    return row


def _against_floor(
    step: Breakdown, work: dict[str, Work], limits: Ceilings
) -> dict[str, dict[str, Any]]:
    """Return work, floor and measured time of each stage; stages without least work have a floor of 0."""
    taken = {
        name: timing.cpu if limits.threads == 1 else timing.wall
        for name, timing in step.stages.items()
    }
    result: dict[str, dict[str, Any]] = {}
    for name, least in work.items():
        measured_ms = sum(taken.pop(part, 0.0) for part in {name, *_TOGETHER.get(name, ())})
        times = limits.milliseconds(least.num_bytes, least.operations, least.gathers, least.table)
        bound = max(times, key=lambda kind: times[kind])
        result[name] = {
            "bytes": least.num_bytes,
            "operations": least.operations,
            "gathers": least.gathers,
            "floor_ms": times[bound],
            "bound_by": bound,
            "measured_ms": measured_ms,
        }
    for name, left in taken.items():
        result[name] = {"floor_ms": 0.0, "bound_by": "not needed", "measured_ms": left}
    return result


def _print(row: dict[str, Any]) -> None:
    counts = row["counts"]
    print(
        f"\n{row['study']}, {row['scene']}, {row['width']}x{row['height']}, {row['threads']} threads: "
        f"{counts['gaussians']:,} Gaussians, {counts['visible']:,} in view, {counts['drawn']:,} drawn, "
        f"{counts['pairs']:,} pairs, {counts['lanes'] / 1e6:.2f} M pixels taken, "
        f"{counts['cells']:,} background cells, {counts['updated']:,} table rows"
    )
    lines = [_line(name, stage) for name, stage in row["stages"].items()]
    total = sum(stage["measured_ms"] for stage in row["stages"].values())
    lines.append(["step", None, None, None, row["floor_ms"], "", total, total / row["floor_ms"]])
    head = ["stage", "MB", "Mflop", "M reads", "floor ms", "bound by", "measured ms", "times"]
    print_table(lines, head)


def _line(name: str, stage: dict[str, Any]) -> list[Any]:
    amounts = [
        stage[key] / 1e6 if stage.get(key) else None for key in ("bytes", "operations", "gathers")
    ]
    floor, taken = stage["floor_ms"], stage["measured_ms"]
    return [name, *amounts, floor, stage["bound_by"], taken, taken / floor if floor else None]
