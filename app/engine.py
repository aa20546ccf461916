"""Load the engine beside the window: torch, the models and the renderer that suits this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.jobs import Task
from core.base import discover

if TYPE_CHECKING:
    from core.render.backend import Renderer


@dataclass(frozen=True, eq=False)
class Engine:
    """What was found to work here. `render_cores` threads draw, the others train."""

    device: str
    graphics: str
    renderer: Renderer
    render_cores: int


def load_engine(device: str, task: Task) -> Engine:
    """Import what computes, choose the device and prove the renderer."""
    task.progress(None, "loading torch")
    import torch

    from core.engine.assembly import usable_device
    from core.engine.cores import core_shares, cores_available
    from core.render.backend import choose

    for name in discover.studies():
        discover.load(name)
    chosen = usable_device(device)
    task.progress(None, "preparing the renderer; the very first start compiles it")
    renderer = choose(chosen, task.report)
    if chosen == "cuda":
        graphics = torch.cuda.get_device_name(0)
    else:
        graphics = "drawing on the CPU" if device == "cpu" else "no CUDA device, drawing on the CPU"
    return Engine(chosen, graphics, renderer, core_shares(cores_available()).render)


def cores() -> int:
    """Count the cores this process may use, before the engine is there."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
