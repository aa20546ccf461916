"""Make every compiled kernel ready before it is needed: half a minute on the first start, quick from the cache after.

A module with compiled kernels offers `warm_up()`, a generator that calls each kernel once on tiny
input and yields its name when it is ready.

Processes beside this one compile and fill the cache, then this one loads from there: compiling would
hold the interpreter's lock for seconds and the window with it, several modules are compiled at a
time, and the last bits of a kernel just compiled may differ from those of the same one loaded again,
which neither an exact resume nor ranks that train together may depend on.
"""

from __future__ import annotations

import importlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from core.base.events import Event, Notice, Progress

TASK = "Compiling kernels (first start only)"
MODULES = (  # what takes longest to compile first
    "core.render.cpu_kernels",
    "core.nn.mlp_kernels",
    "core.nn.ssim_kernels",
    "core.radiance.decode_kernels",
    "core.radiance.seen_kernels",
    "core.radiance.grids_kernels",
    "core.radiance.backdrop_kernels",
    "core.nn.adam_kernels",
    "core.nn.hashgrid_kernels",
    "core.radiance.sh_kernels",
    "core.nn.encoding_kernels",
    "core.render.panorama_kernels",
    "core.radiance.visible_kernels",
    "core.formats.entropy_kernels",
)
MOST_WORKERS = 4
_READY = "\f"  # ends the names of one module

Report = Callable[[Event], None]


def warm_up(report: Report) -> None:
    """Make every kernel ready in this process; compiled by others where the cache has none."""
    from core.nn.compiled import CACHE, CACHE_PROBLEM

    if CACHE_PROBLEM is not None:
        report(Notice(CACHE_PROBLEM, "warning", key="kernel cache"))
    report(Progress(TASK, 0.0))
    marker = CACHE / _marker_name()
    if not marker.exists() and _compile(report):
        marker.touch()
    for name in MODULES:
        for kernel in importlib.import_module(name).warm_up():
            report(Progress(TASK, 1.0, str(kernel)))
    report(Progress(TASK, 1.0))


def _marker_name() -> str:
    """Name what compiled code depends on beside its sources: Python, numba and the processor."""
    import llvmlite.binding as llvm
    import numba

    machine = f"{llvm.get_host_cpu_name()}-{sys.implementation.cache_tag}-numba{numba.__version__}"
    return f"complete-{machine}"


def _compile(report: Report) -> bool:
    """Compile all modules in processes of their own; return whether every one was."""
    from core.engine.cores import cores_available

    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in MODULES:
        waiting.put(name)
    finished: list[str] = []
    telling = threading.Lock()  # one at a time, so that progress never goes back

    def work(_: int) -> None:
        with _worker() as child:
            assert child.stdin is not None
            assert child.stdout is not None
            while (name := _next(waiting)) is not None:
                try:
                    child.stdin.write(f"{name}\n")
                    child.stdin.flush()
                except OSError:  # it ended; this process compiles what is missing, and says why
                    return
                for line in iter(child.stdout.readline, ""):
                    if line == f"{_READY}\n":
                        finished.append(name)
                        break
                    with telling:
                        report(Progress(TASK, len(finished) / len(MODULES), line.strip()))

    workers = min(MOST_WORKERS, cores_available())
    with ThreadPoolExecutor(workers, "compile") as pool:
        list(pool.map(work, range(workers)))
    return len(finished) == len(MODULES)


def _next(waiting: queue.SimpleQueue[str]) -> str | None:
    """Take the next module; another worker may have taken the last one a moment ago."""
    try:
        return waiting.get_nowait()
    except queue.Empty:
        return None


def _worker() -> subprocess.Popen[str]:
    """Start a process that compiles the modules named on its input; it ends with its input."""
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _serve() -> None:
    """Compile what standard input names, one module a line, and tell the kernels."""
    for line in sys.stdin:
        try:
            for kernel in importlib.import_module(line.strip()).warm_up():
                print(kernel, flush=True)
        except BrokenPipeError:
            return
        print(_READY, flush=True)


if __name__ == "__main__":
    _serve()
