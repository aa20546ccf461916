"""How many processor cores there are, and who gets how many.

Thread counts of torch and numba belong to the thread that sets them, so every worker calls
`use_cores` first thing. The trainer's count is fixed for a run and saved with it: sums change
with it, and a resumed run must give the same numbers.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BACKGROUND = 3  # niceness of training beside a window: half of a drawing thread's weight
CPU_QUOTA = Path(
    "/sys/fs/cgroup/cpu.max"
)  # containers: "<microseconds> <period>" or "max <period>"


@dataclass(frozen=True)
class CoreShares:
    """Threads for the trainer and for the render service."""

    trainer: int
    render: int


def cores_available(environment: Mapping[str, str] | None = None) -> int:
    """Count the cores this process may use: its affinity, its container's quota, `OMP_NUM_THREADS`."""
    variables = os.environ if environment is None else environment
    limits = [_affinity()]
    quota = _quota(CPU_QUOTA)
    if quota is not None:
        limits.append(quota)
    wanted = variables.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if wanted.isdigit() and int(wanted) > 0:
        limits.append(int(wanted))
    return max(1, min(limits))


def core_shares(total: int, *, has_viewer: bool = True) -> CoreShares:
    """Divide `total` cores: a quarter draws, the rest trains; without a viewer all of them train."""
    if not has_viewer:
        return CoreShares(trainer=max(1, total), render=1)
    render = max(1, total // 4)
    return CoreShares(trainer=max(1, total - render), render=render)


def use_cores(count: int) -> None:
    """Give the calling thread `count` threads for torch and for compiled kernels."""
    import numba
    import torch

    import core.nn.compiled  # noqa: F401 - chooses the threading layer before any pool starts

    # the first use in a thread adopts the number set last in any thread: get that over with before
    torch.get_num_threads()
    torch.set_num_threads(max(1, count))
    numba.set_num_threads(max(1, min(count, numba.config.NUMBA_NUM_THREADS)))


def stand_back() -> None:
    """Let the other threads of this process go first where cores are short: windows and pictures before training.

    Belongs to the calling thread and the pool it starts afterwards. Only Linux keeps such a number
    for each thread.
    """
    if sys.platform.startswith("linux"):
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, max(os.getpriority(os.PRIO_PROCESS, own), BACKGROUND))


def quiet_libraries(environment: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Keep other libraries' threads out of the way; call before importing numpy or torch.

    numpy's linear algebra needs no pool here, and torch's idle threads would spin beside the
    kernels' instead of sleeping. What the user has set already holds.
    """
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        environment.setdefault(name, "1")
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(path: Path) -> int | None:
    """Return the whole cores a container's quota allows, None when there is no quota."""
    try:
        used, period = path.read_text().split()[:2]
        return max(1, round(int(used) / int(period)))
    except (OSError, ValueError):  # no container, or "max": no limit
        return None
