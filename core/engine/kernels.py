"""Compile every kernel before it is needed, with progress: seconds on the first start, quick from the cache after.

A module with compiled kernels offers `warm_up()`, a generator that calls each kernel once on tiny
input and yields its name when it is ready.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from core.base.events import Event, Notice, Progress

TASK = "Compiling kernels (first start only)"
MODULES = (
    "core.nn.encoding_kernels",
    "core.nn.hashgrid_kernels",
    "core.nn.mlp_kernels",
    "core.nn.ssim_kernels",
    "core.nn.adam_kernels",
    "core.radiance.grids_kernels",
    "core.radiance.decode_kernels",
    "core.radiance.sh_kernels",
    "core.radiance.seen_kernels",
    "core.radiance.visible_kernels",
    "core.radiance.backdrop_kernels",
    "core.render.cpu_kernels",
    "core.render.panorama_kernels",
)


def warm_up(report: Callable[[Event], None]) -> None:
    """Compile or load every kernel in the calling thread; give it its cores first."""
    from core.nn.compiled import CACHE_PROBLEM

    if CACHE_PROBLEM is not None:
        report(Notice(CACHE_PROBLEM, "warning", key="kernel cache"))
    for number, name in enumerate(MODULES):
        fraction = number / len(MODULES)
        report(Progress(TASK, fraction))
        for kernel in importlib.import_module(name).warm_up():
            report(Progress(TASK, fraction, str(kernel)))
    report(Progress(TASK, 1.0))


def compile_beforehand() -> None:
    """Fill the cache from a process of its own, so that this one loads every kernel from there.

    The last bits of a kernel that was just compiled may differ from those of the same kernel loaded
    from the cache, and ranks that train together must agree to the last bit.
    """
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    work = f"from {__name__} import warm_up; warm_up(lambda event: None)"
    environment = {**os.environ, "PYTHONPATH": paths}
    # should it fail, warm_up in this process says why
    subprocess.run([sys.executable, "-c", work], env=environment, stderr=subprocess.DEVNULL)
