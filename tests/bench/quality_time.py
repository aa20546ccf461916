"""Held-out PSNR against training time: wall seconds and processor seconds of the process.

    python -m tests.bench quality-time CAPTURE ... --marks 120 300 900
    python -m tests.bench quality-time CAPTURE --tune --versus "more noise" density.noise=1e6

Every mark is a training of its own whose schedule (resolution, growth, rates) ends at that mark;
marks on the way are measured too. Only steps and the placing of the first Gaussians are timed:
opening the capture, with its seed points, is stated apart, compiled kernels are warm, measuring is
not counted. Trainings of one capture take turns, a second each, so that a disturbance meets all.

--clock cpu measures the marks in processor seconds: the only honest way on a busy machine.
--tune holds out every eighth training picture instead of the test pictures: settings are chosen
there, never on test pictures.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Any

from core.base import discover
from core.base.config import parse_settings, resolve
from core.base.errors import CaptureError
from core.capture.capture import TEST_EVERY, Capture
from core.capture.opening import open_capture
from core.engine.cores import cores_available
from core.engine.kernels import warm_up
from core.study import Setup
from tests.bench.measure import Machine, WrongResult, print_table, with_threads, write_json
from tests.bench.scenes import VARIANTS

COLUMNS = ("capture", "study", "mark_s", "wall_s", "cpu_s", "steps", "psnr", "ssim")
TURN_S = 1.0


@dataclass(frozen=True)
class Case:
    """What is trained, under which name."""

    label: str
    study: str
    settings: dict[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("captures", nargs="*", metavar="CAPTURE", help="default: the demo")
    parser.add_argument("--studies", nargs="+", choices=tuple(VARIANTS), default=tuple(VARIANTS))
    parser.add_argument("--marks", type=float, nargs="+", default=[120, 300, 900], metavar="S")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--tune", action="store_true", help="hold out training pictures instead")
    parser.add_argument("--preset", default="full")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of every case")
    parser.add_argument(
        "--versus",
        nargs="+",
        action="append",
        default=[],
        metavar=("LABEL", "KEY=VALUE"),
        help="train each study with these settings as well",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--max-size", type=int, default=480, help="longer side in pixels")
    parser.add_argument("--threads", type=int, default=cores_available())
    parser.add_argument(
        "--make-seeds", action="store_true", help="time seed points, ignoring kept ones"
    )


def shorten(options: argparse.Namespace) -> None:
    """Reduce the work to a check of the results."""
    options.marks, options.max_size, options.preset = [0.5, 1.5], 48, "quick"


class Training:
    """One case on its way to one mark."""

    def __init__(
        self, case: Case, capture: Capture, options: argparse.Namespace, seed: int
    ) -> None:
        self.case, self.seed, self._clock = case, seed, options.clock
        self.wall_s = self.cpu_s = 0.0
        self._preset = options.preset
        self._setup = Setup(variant=VARIANTS[case.study], seed=seed, capture=capture)
        self._study: Any = None

    @property
    def spent_s(self) -> float:
        """Training time so far by the chosen clock."""
        return self.wall_s if self._clock == "wall" else self.cpu_s

    def advance(self, until_s: float, end_s: float) -> None:
        """Train until the clock shows `until_s`; the schedule ends at `end_s`."""
        while self.spent_s < until_s:
            wall, cpu = time.perf_counter(), time.process_time()
            if self._study is None:
                self._begin()
            else:
                self._follow_the_clock(end_s)
                self._study.step()
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.process_time() - cpu

    def rehearse(self) -> None:
        """Take two steps that are thrown away: libraries are loaded and kernels ready before the clock runs."""
        self._begin()
        for _ in range(2):
            self._study.step()
        self._study = None

    def _begin(self) -> None:
        study_class = discover.load(self.case.study)
        config = resolve(study_class.Config, self._preset, self.case.settings)
        self._study = study_class(config, self._setup)
        self._study.prepare()

    def _follow_the_clock(self, end_s: float) -> None:
        """Set the number of steps so that the share of steps done is the share of time spent."""
        done = self._study.steps_done
        total = max(done + 1, round(done * end_s / max(self.spent_s, 1e-6)))
        if done and total != self._study.config.steps:
            self._study.configure(self._study.config.model_copy(update={"steps": total}))

    def figures(self) -> dict[str, Any]:
        """Measure the held-out photographs; not counted as training."""
        return {
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "steps": self._study.steps_done,
            "num_gaussians": len(self._study.model.explicit["means"]),
            **{name: float(value) for name, value in self._study.evaluate().items()},
        }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train every case on every capture to every mark and return the rows."""
    with_threads(options.threads)
    warm_up(lambda _event: None)
    machine, rows, opened = Machine(), [], []
    for path in options.captures or [None]:
        capture, facts = _opened(path, options)
        opened.append(facts)
        for case in _cases(options):
            Training(case, capture, options, 0).rehearse()
        print_opened(capture, facts, options)
        for mark in sorted(options.marks):
            for seed in options.seeds:
                rows += _race(_cases(options), capture, options, mark, seed)
                if options.json is not None:  # hours of work are kept as they come
                    write_json(options.json, "quality-time", machine, {"rows": rows})
    print_means(rows)
    return {"captures": opened, "rows": rows}


def _cases(options: argparse.Namespace) -> list[Case]:
    common = parse_settings(options.set)
    versions = [("", common)]
    for label, *words in options.versus:
        versions.append((f", {label}", common | parse_settings(words)))
    return [
        Case(study + label, study, settings)
        for label, settings in versions
        for study in options.studies
    ]


def _opened(path: str | None, options: argparse.Namespace) -> tuple[Capture, dict[str, Any]]:
    """Open a capture; return it with what opening took, seed points included."""
    if path is None:
        from assets import DEMO

        path = str(DEMO)
    wall, cpu = time.perf_counter(), _process_and_children_s()
    kept = os.environ.get("HYRF_CACHE")
    with tempfile.TemporaryDirectory(prefix="hyrf-bench-") as folder:
        if options.make_seeds:
            os.environ["HYRF_CACHE"] = folder
        try:
            capture = open_capture(path)
        finally:
            if options.make_seeds:
                os.environ.pop("HYRF_CACHE")
                os.environ.update({"HYRF_CACHE": kept} if kept is not None else {})
        facts = {
            "capture": capture.name,
            "seeds": capture.seeds,
            "seeds_may_be_kept": not options.make_seeds,
            "opening_s": time.perf_counter() - wall,
            "opening_cpu_s": _process_and_children_s() - cpu,
        }
        capture = _in_memory(capture.limited(options.max_size))
    return (tuning_split(capture) if options.tune else capture), facts


def _process_and_children_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _in_memory(capture: Capture) -> Capture:
    """Decode every picture once, so that no training pays for another's reading."""
    photos = []
    for photo in capture.photos:
        picture = photo.image()
        photos.append(replace(photo, read=picture.copy))
    return replace(capture, photos=tuple(photos))


def tuning_split(capture: Capture) -> Capture:
    """Return the training photographs alone, every eighth of them held out."""
    photos = tuple(
        replace(photo, is_test=index % TEST_EVERY == 0) for index, photo in enumerate(capture.train)
    )
    if len(photos) < 2:
        raise CaptureError(f"{capture.name}: too few photographs to hold some of them out.")
    return replace(capture, photos=photos)


def _race(
    cases: list[Case], capture: Capture, options: argparse.Namespace, end_s: float, seed: int
) -> list[dict[str, Any]]:
    """Train all cases to one mark, taking turns; return a row for every mark on the way."""
    trainings = [Training(case, capture, options, seed) for case in cases]
    rows = []
    for mark in sorted(mark for mark in options.marks if mark <= end_s):
        while any(training.spent_s < mark for training in trainings):
            for training in trainings:
                training.advance(min(mark, training.spent_s + TURN_S), end_s)
        for training in trainings:
            row = {
                "capture": capture.name,
                "case": training.case.label,
                "study": training.case.study,
                "settings": training.case.settings,
                "seed": seed,
                "clock": options.clock,
                "threads": options.threads,
                "held_out": "training pictures" if options.tune else "test pictures",
                "end_s": end_s,
                "mark_s": mark,
                **training.figures(),
            }
            rows.append(row)
            print_row(row)
    return rows


def print_opened(capture: Capture, facts: dict[str, Any], options: argparse.Namespace) -> None:
    """Say what is trained on."""
    camera = capture.photos[0].camera
    made = "made now" if options.make_seeds else "kept from an earlier opening where there is one"
    print(
        f"\n{capture.name}: {len(capture.train)} photographs, {len(capture.test)} held out"
        f"{' of the training pictures' if options.tune else ''}, {camera.width}x{camera.height}; "
        f"{capture.seeds} ({made}); opening took {facts['opening_s']:.1f} s wall, "
        f"{facts['opening_cpu_s']:.1f} s cpu, not counted below; {options.threads} threads, "
        f"marks in {options.clock} seconds"
    )
    print(
        f"{'case':<30} {'seed':>4} {'to s':>5} {'at s':>5} {'PSNR':>6} {'SSIM':>6} {'steps':>6} "
        f"{'Gaussians':>9} {'wall s':>7} {'cpu s':>7}"
    )


def print_row(row: dict[str, Any]) -> None:
    """Print one measurement as it comes."""
    if not 0 < row["psnr"] < 100:
        raise WrongResult(f"{row['case']}: a PSNR of {row['psnr']} dB.")
    print(
        f"{row['case']:<30} {row['seed']:>4} {row['end_s']:>5g} {row['mark_s']:>5g} "
        f"{row['psnr']:>6.2f} {row['ssim']:>6.4f} {row['steps']:>6} {row['num_gaussians']:>9,} "
        f"{row['wall_s']:>7.1f} {row['cpu_s']:>7.1f}",
        flush=True,
    )


def print_means(rows: list[dict[str, Any]]) -> None:
    """Print the ends of all trainings, mean and spread over seeds."""
    ends = [row for row in rows if row["end_s"] == row["mark_s"]]
    groups: dict[tuple[Any, ...], list[float]] = {}
    for row in ends:
        groups.setdefault((row["capture"], row["case"], row["end_s"]), []).append(row["psnr"])
    print("\nPSNR at the end, mean over seeds (spread: largest minus smallest)")
    lines = [
        [*key, statistics.mean(values), max(values) - min(values)] for key, values in groups.items()
    ]
    print_table(lines, ["capture", "case", "seconds", "PSNR dB", "spread"])
