"""Whole training steps and their stages, by Gaussians, pixels and threads.

    python -m tests.bench step --studies hyrf splats_3dgs --gaussians 10000 50000 --sizes 270x480 --threads 1 2
    python -m tests.bench step --capture FOLDER      photographs and seed points instead of a random scene

Full-resolution steps with every part on (background, all harmonics) and no growth. `density control`
is one round at the end, timed by itself and not part of a step. Hash grids and networks going back
include the background's share. Memory is the high-water mark of the process, and what was there before.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from core.base.config import parse_settings
from tests.bench import scenes
from tests.bench.measure import (
    Patience,
    WrongResult,
    fitted_exponents,
    peak_memory_mib,
    print_table,
    resident_mib,
    usable_threads,
    with_threads,
)
from tests.bench.stages import REST, Breakdown, breakdown

STUDIES = tuple(scenes.VARIANTS)
COLUMNS = ("study", "num_gaussians", "width", "height", "threads", "step_ms", "stages")
_MUCH = 0.25
_LEAST = {"own_memory_mib": 32}  # below, what is kept between rows hides how it grows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=STUDIES)
    parser.add_argument("--gaussians", type=int, nargs="+", default=scenes.GAUSSIANS)
    parser.add_argument("--sizes", nargs="+", default=scenes.SIZES, help="width x height in pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--capture", help="a folder of photographs; default: a random scene")
    parser.add_argument("--preset", default="full")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20.0, help="at most, for each row")


def shorten(options: argparse.Namespace) -> None:
    """Reduce the work to a check of the results."""
    options.gaussians, options.sizes, options.threads = [500, 2000], ["48x64"], [1]
    options.repeats = 3


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time every study, size and thread count; return the rows and the fitted exponents."""
    rows: list[dict[str, Any]] = []
    threads = usable_threads(options.threads) if options.device == "cpu" else options.threads[:1]
    capture = _opened(options.capture)
    for study in options.studies:
        for size in options.sizes:
            for num in sorted(options.gaussians):
                task = scenes.Task(
                    study,
                    num,
                    *scenes.parsed_size(size),
                    device=options.device,
                    preset=options.preset,
                    settings=tuple(parse_settings(options.set).items()),
                    capture=capture,
                )
                rows += measured(task, threads, Patience(options.repeats, options.seconds))
    exponents = _exponents(rows)
    return {"rows": rows, "exponents": exponents}


def _opened(path: str | None) -> Any:
    if path is None:
        return None
    from core.capture.opening import open_capture

    return open_capture(path)


def measured(task: scenes.Task, threads: list[int], patience: Patience) -> list[dict[str, Any]]:
    """Time one task with every thread count, print its table and return its rows."""
    before = resident_mib()
    study = scenes.prepared(task)
    num = len(study.sizes)
    losses: list[float] = []
    results = {}
    for count in threads:
        with_threads(count)
        results[count] = breakdown(
            lambda: losses.append(study.step()["loss"]), patience, task.device
        )
    memory = peak_memory_mib()
    if not all(loss == loss and abs(loss) < 1e6 for loss in losses):
        raise WrongResult(f"{task.study}: the loss of a step is {losses[-1]}.")
    control = _density_control_ms(study)
    camera = study.capture.train[0].camera
    facts = {
        "study": task.study,
        "scene": study.capture.name,
        "num_gaussians": num,
        "width": camera.width,
        "height": camera.height,
        "device": task.device,
        "density_control_ms": control,
        "peak_memory_mib": memory,
        "memory_before_mib": before,
        "own_memory_mib": max(memory - before, 1.0),
    }
    if task.device == "cuda":
        facts["peak_device_memory_mib"] = torch.cuda.max_memory_allocated() / 2**20
    _print(facts, results)
    return [{**facts, "threads": count, **result.row("step")} for count, result in results.items()]


def _density_control_ms(study: Any) -> float:
    """Time one round of density control, with growth allowed."""
    config = study.density.config
    study.density.config = config.model_copy(update={"method": "paper", "cap": 2 * config.cap})
    began = time.perf_counter()
    study.density.refine(study.model, study.optimizer)
    taken = 1e3 * (time.perf_counter() - began)
    study._measure_sizes()
    return taken


def _print(facts: dict[str, Any], results: dict[int, Breakdown]) -> None:
    print(
        f"\n{facts['study']}, {facts['scene']}, {facts['num_gaussians']:,} Gaussians, "
        f"{facts['width']}x{facts['height']}, {facts['device']}, "
        f"memory {facts['memory_before_mib']:.0f} -> {facts['peak_memory_mib']:.0f} MiB, "
        f"one round of density control {facts['density_control_ms']:.1f} ms"
    )
    names = list(dict.fromkeys(name for result in results.values() for name in result.stages))
    head = ["stage"]
    for count in results:
        head += [f"wall ms, {count} thr.", "cpu ms"]
    unclaimed = max(result.stages[REST].cpu / result.whole.cpu for result in results.values())
    if unclaimed > _MUCH:
        print(
            f"NOTE: {unclaimed:.0%} are in no stage: STAGES of tests/bench/stages.py may lack a name."
        )
    rows: list[list[Any]] = [[name] for name in [*names, "step", "spread (quartiles)"]]
    for result in results.values():
        for row, name in zip(rows, names, strict=False):
            timing = result.stages.get(name)
            row += [timing.wall, timing.cpu] if timing else [None, None]
        figures = result.row("step")
        rows[-2] += [figures["step_ms"], figures["step_cpu_ms"]]
        rows[-1] += [figures["step_ms_spread"], figures["step_cpu_ms_spread"]]
    print_table(rows, head)


def _exponents(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fit and print how wall and processor time grow, by study and threads."""
    fitted = []
    for study, threads in dict.fromkeys((row["study"], row["threads"]) for row in rows):
        mine = [row for row in rows if (row["study"], row["threads"]) == (study, threads)]
        for value in ("step_ms", "step_cpu_ms", "own_memory_mib"):
            if min(row[value] for row in mine) < _LEAST.get(value, 0):
                continue
            found = fitted_exponents(mine, value)
            if found:
                fitted.append({"study": study, "threads": threads, "of": value, **found})
    if fitted:
        print("\nscaling exponents (time = c * Gaussians^a * pixels^b)")
        lines = [
            [row["study"], row["threads"], row["of"], row.get("gaussians"), row.get("pixels")]
            for row in fitted
        ]
        print_table(lines, ["study", "threads", "of", "Gaussians", "pixels"])
    return fitted
