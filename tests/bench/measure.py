"""What every benchmark shares: repeated timings, alternation, the machine's load, one table, one JSON file.

    wall  milliseconds that passed
    cpu   milliseconds of processor time of the whole process, all threads

Figures are medians; the spread beside them is the distance between the quartiles. Wall time is
worth little while other programs use the cores: `Machine` measures how much they did.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from core.engine.cores import cores_available, use_cores

Action = Callable[[], object]
TOO_BUSY = 0.15  # of the cores: others' share from which wall times are called worthless


class WrongResult(Exception):
    """A benchmark found something that cannot be true: numbers that are not finite, parts above the whole."""


@dataclass
class Timing:
    """Wall and processor milliseconds of the repetitions of one thing."""

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    def add(self, wall: float, cpu: float) -> None:
        """Note one repetition."""
        self.walls.append(wall)
        self.cpus.append(cpu)

    @property
    def wall(self) -> float:
        """Median wall time."""
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        """Median processor time."""
        return statistics.median(self.cpus)

    def row(self, name: str) -> dict[str, Any]:
        """Return the medians, spreads and the number of repetitions, each under `name`_..."""
        return {
            f"{name}_ms": self.wall,
            f"{name}_ms_spread": spread(self.walls),
            f"{name}_cpu_ms": self.cpu,
            f"{name}_cpu_ms_spread": spread(self.cpus),
            f"{name}_repeats": len(self.walls),
        }


def spread(values: Sequence[float]) -> float:
    """Return the distance between the quartiles."""
    low, high = np.percentile(values, (25, 75))
    return float(high - low)


def once(action: Action, timing: Timing) -> None:
    """Time one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    timing.add(1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu))


@dataclass(frozen=True)
class Patience:
    """How often something is repeated: `times`, ended early after `seconds`, but at least `least`."""

    times: int = 15
    seconds: float = 20.0
    least: int = 3

    def rounds(self) -> Any:
        """Yield the number of each repetition."""
        end = time.monotonic() + self.seconds
        for number in range(max(self.times, self.least)):
            if number >= self.least and time.monotonic() > end:
                return
            yield number


def repeat(action: Action, patience: Patience) -> Timing:
    """Time an action again and again, after one call that is not counted."""
    action()
    timing = Timing()
    for _ in patience.rounds():
        once(action, timing)
    return timing


def alternate(actions: Mapping[str, Action], patience: Patience) -> dict[str, Timing]:
    """Time several actions in turn, so that a disturbance meets all of them; each round starts with another."""
    names = list(actions)
    for name in names:
        actions[name]()
    timings = {name: Timing() for name in names}
    for number in patience.rounds():
        first = number % len(names)
        for name in names[first:] + names[:first]:
            once(actions[name], timings[name])
    return timings


def ratio(numerator: Timing, denominator: Timing) -> tuple[float, float, float]:
    """Return the median ratio of processor times of two alternated actions, round by round, and its quartiles."""
    ratios = np.divide(numerator.cpus, np.maximum(denominator.cpus, 1e-6))
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return float(middle), float(low), float(high)


class Machine:
    """What the figures were measured on, and how busy others kept it meanwhile."""

    def __init__(self) -> None:
        self._wall, self._busy, self._own = time.monotonic(), _busy_s(), _own_s()

    def others(self) -> float:
        """Return how many cores other programs used on average since the making of this object."""
        busy, own = _busy_s() - self._busy, _own_s() - self._own
        return max(0.0, busy - own) / max(time.monotonic() - self._wall, 1e-3)

    def facts(self) -> dict[str, Any]:
        """Return what JSON rows are to be read with."""
        return {
            "processor": _processor(),
            "cores": cores_available(),
            "cores_used_by_others": round(self.others(), 2),
            "load_average": os.getloadavg()[0],
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numba", "numpy")},
        }

    def sentence(self) -> str:
        """Say what machine this is and whether its wall times mean anything."""
        facts = self.facts()
        words = (
            f"{facts['processor']}, {facts['cores']} cores; others used "
            f"{facts['cores_used_by_others']:.1f} of them, load {facts['load_average']:.1f}"
        )
        if facts["cores_used_by_others"] > TOO_BUSY * facts["cores"]:
            words += (
                "\nWARNING: the machine was busy. Wall times are worthless; compare processor times, "
                "or run again on a quiet machine."
            )
        return words


def _busy_s() -> float:
    """Return the seconds that all cores of the machine have worked so far; 0 where the system does not say."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, soft = (int(word) for word in first[:7])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def usable_threads(wanted: Sequence[int], say: Callable[[str], None] = print) -> list[int]:
    """Return the thread counts this machine has cores for, and say which are left out."""
    have = cores_available()
    beyond = [count for count in wanted if count > have]
    if beyond:
        say(f"Left out: {', '.join(map(str, beyond))} threads (this machine has {have} cores).")
    return [count for count in wanted if count <= have] or [have]


def with_threads(count: int) -> None:
    """Give the calling thread so many threads."""
    use_cores(count)


def resident_mib() -> float:
    """Give unused memory back to the system, start its high-water mark again and return what is left, in MiB."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone keeps much of what was freed
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):  # elsewhere the mark covers the whole process
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory_mib()


def peak_memory_mib() -> float:
    """Return the high-water mark of resident memory since `resident_mib` was asked, in MiB."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def fitted_exponents(rows: Sequence[Mapping[str, Any]], value: str) -> dict[str, float]:
    """Fit value = c * Gaussians^a * pixels^b over rows by least squares in logarithms; return what can be told."""
    columns = {
        "gaussians": np.log([row["num_gaussians"] for row in rows]),
        "pixels": np.log([row["width"] * row["height"] for row in rows]),
    }
    columns = {name: column for name, column in columns.items() if np.ptp(column) > 0.1}
    if not columns:
        return {}
    matrix = np.column_stack([*columns.values(), np.ones(len(rows))])
    values = np.log([max(float(row[value]), 1e-6) for row in rows])
    solved, *_ = np.linalg.lstsq(matrix, values, rcond=None)
    return {name: float(exponent) for name, exponent in zip(columns, solved, strict=False)}


def print_table(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> None:
    """Print rows under a head, words to the left and numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    is_number = [
        all(isinstance(row[i], (int, float, type(None))) for row in rows) for i in range(len(head))
    ]
    for line in (list(head), *cells):
        words = (
            word.rjust(width) if number else word.ljust(width)
            for word, width, number in zip(line, widths, is_number, strict=True)
        )
        print("  ".join(words).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return (
            f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{2 if abs(value) < 100 else 1}f}"
        )
    return f"{value:,}" if isinstance(value, int) else str(value)


def check_finite(value: Any, where: str) -> None:
    """Refuse a result that holds a number that is not finite."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            check_finite(part, f"{where}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            check_finite(part, f"{where}[{index}]")
    elif isinstance(value, float) and not np.isfinite(value):
        raise WrongResult(f"{where} is {value}.")


def check_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], where: str) -> None:
    """Refuse results without rows, or a row that lacks a column which others read."""
    if columns and not rows:
        raise WrongResult(f"{where} gave no rows.")
    for row in rows:
        missing = [column for column in columns if row.get(column) is None]
        if missing:
            raise WrongResult(f"A row of {where} lacks {', '.join(missing)}.")
    json.dumps(rows, allow_nan=False, default=str)


def write_json(path: Path, name: str, machine: Machine, results: Mapping[str, Any]) -> None:
    """Write one file that holds the benchmark's name, its command, the machine and its rows."""
    content = {
        "bench": name,
        "command": " ".join(sys.argv[1:]),
        "machine": machine.facts(),
        **results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False, default=str) + "\n")
