"""Compile every kernel before it is needed, with progress: seconds on the first start, quick from the cache after.

A module with compiled kernels offers `warm_up()`, a generator that calls each kernel once on tiny
input and yields its name when it is ready.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from core.base.events import Event, Progress

TASK = "Compiling kernels (first start only)"
MODULES = (
    "core.nn.encoding_kernels",
    "core.nn.hashgrid_kernels",
    "core.nn.mlp_kernels",
    "core.nn.ssim_kernels",
    "core.nn.adam_kernels",
    "core.radiance.grids_kernels",
    "core.radiance.decode_kernels",
    "core.radiance.seen_kernels",
    "core.render.cpu_kernels",
    "core.render.panorama_kernels",
)


def warm_up(report: Callable[[Event], None]) -> None:
    """Compile or load every kernel in the calling thread; give it its cores first."""
    for number, name in enumerate(MODULES):
        fraction = number / len(MODULES)
        report(Progress(TASK, fraction))
        for kernel in importlib.import_module(name).warm_up():
            report(Progress(TASK, fraction, str(kernel)))
    report(Progress(TASK, 1.0))
