"""What this machine can do at most: bytes moved, float32 operations and random reads in a second.

bandwidth  GB/s      a = b + s * c over three arrays (12 bytes counted per element), by their size together
peak       Gflop/s   chains of multiply-and-add on data in the first cache, two operations each
gathers    M/s       reads of 8 bytes at random places, by the size of the table

The best of many short runs counts: disturbance only ever slows. One thread is timed by its
processor time, several by wall time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numba
import numpy as np
from numba import prange

import core.nn.compiled  # noqa: F401 - chooses the threading layer and where kernels are kept

SIZES_MIB = (1, 4, 16, 64, 256)
TABLES_MIB = (1 / 16, 1 / 2, 2, 8, 64)
_CHAIN = 512  # floats worked on at once: four kibibytes
_RUNS = 15

# "reassoc" must not be allowed here: it would shorten the chains
_exact = numba.njit(cache=True, nogil=True, parallel=True, fastmath={"contract"})
# a function of its own: only there is the loop turned into vector instructions
_inner = numba.njit(cache=True, nogil=True, fastmath={"contract"})


@dataclass(frozen=True)
class Ceilings:
    """Rates by size in bytes, for one number of threads."""

    threads: int
    bandwidth: dict[int, float]  # bytes a second
    peak: float  # operations a second
    gathers: dict[int, float]  # a second

    def milliseconds(
        self, num_bytes: float, operations: float, gathers: float, table: float
    ) -> dict[str, float]:
        """Return the least time of each kind of work, for arrays of `num_bytes` and a table of `table` bytes."""
        return {
            "bytes": 1e3 * num_bytes / nearest(self.bandwidth, num_bytes),
            "operations": 1e3 * operations / self.peak,
            "gathers": 1e3 * gathers / nearest(self.gathers, table),
        }

    def row(self) -> dict[str, object]:
        """Return the figures for JSON."""
        return asdict(self)


def nearest(rates: Mapping[int, float], size: float) -> float:
    """Return the best rate at this size or above: a smaller working set is never slower."""
    fitting = [rate for limit, rate in rates.items() if limit >= size]
    return max(fitting) if fitting else rates[max(rates)]


def measured(threads: int, runs: int = _RUNS) -> Ceilings:
    """Measure all three with this number of threads, which the calling thread has been given."""
    clock = time.process_time if threads == 1 else time.perf_counter
    bandwidth = {int(mib * 2**20): _bandwidth(mib, threads, runs, clock) for mib in SIZES_MIB}
    gathers = {int(mib * 2**20): _gathers(mib, threads, runs, clock) for mib in TABLES_MIB}
    return Ceilings(threads, bandwidth, _peak(threads, runs, clock), gathers)


def _best(action: Callable[[], object], runs: int, clock: Callable[[], float]) -> float:
    action()
    best = float("inf")
    for _ in range(runs):
        began = clock()
        action()
        best = min(best, clock() - began)
    return best


def _bandwidth(mib: float, threads: int, runs: int, clock: Callable[[], float]) -> float:
    count = int(mib * 2**20) // 12
    a, b, c = (np.ones(count, np.float32) for _ in range(3))
    rounds = max(1, round(32 / mib))
    taken = _best(lambda: _triad(a, b, c, rounds, threads), runs, clock)
    return 12.0 * count * rounds / taken


def _peak(threads: int, runs: int, clock: Callable[[], float]) -> float:
    numbers = np.linspace(0.5, 1.0, 2, dtype=np.float32)
    rounds, sums = 20_000, np.zeros(threads, np.float32)
    taken = _best(lambda: _multiply_and_add(numbers, rounds, sums), runs, clock)
    return 2.0 * 8 * _CHAIN * rounds * threads / taken


def _gathers(mib: float, threads: int, runs: int, clock: Callable[[], float]) -> float:
    rows = max(1, int(mib * 2**20) // 8)
    table = np.ones((rows, 2), np.float32)
    places = np.random.default_rng(0).integers(0, rows, 1 << 20, dtype=np.int32)
    sums = np.zeros((threads, 2), np.float32)
    return len(places) / _best(lambda: _read_places(table, places, sums), runs, clock)


@_inner
def _triad_part(a, b, c, s):
    for i in range(len(a)):
        a[i] = b[i] + s * c[i]


@_exact
def _triad(a, b, c, rounds, threads):
    for thread in prange(threads):
        start, end = len(a) * thread // threads, len(a) * (thread + 1) // threads
        for turn in range(rounds):
            _triad_part(a[start:end], b[start:end], c[start:end], np.float32(turn))


@_exact
def _multiply_and_add(numbers, rounds, sums):
    for thread in prange(len(sums)):
        a, b = numbers[0], numbers[1]
        values = np.ones(_CHAIN, np.float32)
        for _ in range(rounds):
            for i in range(_CHAIN):
                v = values[i]
                v = v * a + b
                v = v * a + b
                v = v * a + b
                v = v * a + b
                v = v * a + b
                v = v * a + b
                v = v * a + b
                values[i] = v * a + b
        sums[thread] = values.sum()


@_exact
def _read_places(table, places, sums):
    for thread in prange(len(sums)):
        start, end = (
            len(places) * thread // len(sums),
            len(places) * (thread + 1) // len(sums),
        )
        x, y = np.float32(0), np.float32(0)
        for i in range(start, end):
            row = places[i]
            x += table[row, 0]
            y += table[row, 1]
        sums[thread, 0], sums[thread, 1] = x, y
