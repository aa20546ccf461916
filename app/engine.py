"""Load the engine beside the window: torch, the models and the renderer that suits this machine."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.jobs import Task
from core.base import discover

if TYPE_CHECKING:
    from core.render.backend import Renderer


@dataclass(frozen=True, eq=False)
class Engine:
    """What was found to work here. Beside a training `render_cores` threads draw, else all `cores`."""

    device: str
    graphics: str
    renderer: Renderer
    cores: int
    render_cores: int


def load_engine(device: str, task: Task) -> Engine:
    """Import what computes, choose the device and prove the renderer."""
    task.progress(None, "loading torch")
    import torch

    from core.engine.assembly import usable_device
    from core.engine.cores import core_shares, cores_available, use_cores
    from core.engine.kernels import warm_up
    from core.engine.render_service import RenderService  # noqa: F401 - now rather than at the first scene
    from core.engine.trainer import Trainer  # noqa: F401
    from core.render.backend import choose

    for name, entry in discover.studies().items():
        if entry.family == "radiance":  # others when they are opened
            discover.load(name)
    chosen = usable_device(device)
    cores = cores_available()
    use_cores(core_shares(cores).trainer)
    warm_up(task.report)
    task.progress(None, "choosing the renderer")
    renderer = choose("cuda" if chosen == "cuda" else "cpu", task.report)
    if chosen == "cuda":
        graphics = torch.cuda.get_device_name(0)
    else:
        graphics = "drawing on the CPU" if device == "cpu" else "no CUDA device, drawing on the CPU"
    return Engine(chosen, graphics, renderer, cores, core_shares(cores).render)


def use_one_core() -> None:
    """Leave the cores to trainer and drawing thread, whose counts belong to their own threads.

    The main thread is left alone: inline it trains.
    """
    if threading.current_thread() is not threading.main_thread():
        from core.engine.cores import use_cores

        use_cores(1)
