"""Time the stages of a step or a frame from outside: named functions of `core` are wrapped while it runs.

A stage gets the time spent in its functions without the stages nested in it, so the stages of one
run add up to the whole; what no stage claims is "rest". `STAGES` is the one list of names: when a
function moves, this list moves with it, and a benchmark says so instead of timing nothing.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.base.errors import HybridError
from tests.bench.measure import Action, Patience, Timing, WrongResult

REST = "rest"


class StageError(HybridError):
    """A function that a stage names does not exist any more."""


@dataclass(frozen=True)
class Stage:
    """A name and the functions that belong to it, as module:name or module:class.name.

    then       what the time after such a function belongs to, until the next stage begins
    is_closed  stages inside are not told apart
    """

    name: str
    functions: tuple[str, ...]
    then: str | None = None
    is_closed: bool = False


_HYRF, _SPLATS = "core.studies.radiance.hyrf", "core.studies.radiance.splats_3dgs"
_PHOTOGRAPHS = "core.studies.photographs:PhotoStudy"
STAGES = (
    Stage("photograph", ("core.radiance.photo_supply:PhotoSupply.next",)),
    Stage("cull", ("core.radiance.visible:visible_rows",), then="gather"),
    Stage("cull, gather", ("core.radiance.seen:Shapes.seen",)),
    Stage(
        "activate",
        (
            f"{_HYRF}:HyrfModel.decode",
            f"{_SPLATS}:SplatModel.decode",
            "core.radiance.hybrid:HybridScene.splats",
            "core.radiance.sh_splats:SplatScene.splats",
        ),
    ),
    Stage(
        "encode",
        (
            "core.nn.encoding:contract",
            "core.nn.encoding:sh_bands3",
            "core.radiance.grids_kernels:place_points",
        ),
    ),
    Stage(
        "hash grids",
        ("core.nn.hashgrid:HashGrid.forward", "core.radiance.grids_kernels:encode_places"),
    ),
    Stage(
        "networks",
        (
            *(f"core.nn.mlp:Mlp.{name}" for name in ("forward", "partial", "finish")),
            "core.radiance.seen:ColorNetwork.colors",
            "core.radiance.decode_kernels:decode",
        ),
    ),
    Stage("harmonics", ("core.radiance.sh:evaluate_sh", "core.radiance.sh_seen:seen_colors")),
    Stage(
        "rasterize",
        (
            "core.render.cpu:CpuRenderer.rasterize",
            "core.render.cuda:CudaRenderer.rasterize",
            "core.render.triton_renderer:TritonRenderer.rasterize",
        ),
    ),
    Stage("rasterize backward", ("core.render.triton_renderer:_Rasterize.backward",)),
    Stage("project", ("core.render.cpu_project:project",)),
    Stage("sort, bin", ("core.render.cpu_tiles:bin_gaussians",)),
    Stage("blend", ("core.render.cpu_kernels:blend",)),
    Stage(
        "background",
        (
            f"{_HYRF}:HyrfModel.background",
            "core.radiance.hybrid:HybridScene.background",
        ),
        is_closed=True,
    ),
    Stage("composite", ("core.render.composite:composite", "core.radiance.backdrop:laid_over")),
    Stage("loss", ("core.nn.ssim:l1_ssim_loss",)),
    Stage("autograd", ("torch:Tensor.backward",)),
    Stage("composite backward", ("core.radiance.backdrop:_LaidOver.backward",)),
    Stage("blend backward", ("core.render.cpu_kernels:blend_backward",)),
    Stage("project backward", ("core.render.cpu_project:project_backward",)),
    Stage(
        "hash grids backward",
        ("core.nn.hashgrid:_Encode.backward", "core.radiance.grids_kernels:scatter_features"),
    ),
    Stage(
        "networks backward",
        ("core.nn.mlp:_Network.backward", "core.radiance.decode_kernels:decode_backward"),
    ),
    Stage(
        "harmonics backward",
        (
            "core.radiance.sh:_CompiledColors.backward",
            "core.radiance.sh_seen:_SeenColors.backward",
        ),
    ),
    Stage(
        "density statistics",
        ("core.radiance.densify:DensityControl.add", "core.radiance.densify:screen_strength"),
    ),
    Stage("density control", ("core.radiance.densify:DensityControl.refine",), is_closed=True),
    Stage("optimizer, Gaussians and networks", ("core.nn.adam:RowAdam.step",)),
    Stage("optimizer, grids", ("core.nn.adam:RowAdam.step_marked",)),
    Stage("learn, other", (f"{_PHOTOGRAPHS}._learn",)),
)


class Stopwatch:
    """Charges the time that passes to the stage that is running; one stage can hold another."""

    def __init__(self, synchronise: Action = lambda: None) -> None:
        self._synchronise = synchronise
        self._stack: list[list[Any]] = []  # [own name, name charged now, whether it is closed]
        self._spent: dict[str, list[float]] = {}
        self._wall = self._cpu = 0.0

    def run(self, action: Action) -> tuple[tuple[float, float], dict[str, tuple[float, float]]]:
        """Run an action; return its (wall, cpu) in milliseconds and those of its stages as they came."""
        self._spent = {}
        self._stack = [[REST, REST, False]]
        self._synchronise()
        wall, cpu = self._wall, self._cpu = time.perf_counter(), time.process_time()
        action()
        self._charge()
        self._stack = []
        whole = 1e3 * (self._wall - wall), 1e3 * (self._cpu - cpu)
        return whole, {name: (spent[0], spent[1]) for name, spent in self._spent.items()}

    def wrapped(self, function: Callable[..., Any], stage: Stage) -> Callable[..., Any]:
        """Return the function with its time charged to a stage."""

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            if not self._stack or self._stack[-1][2]:
                return function(*arguments, **named)
            self._charge()
            self._stack[-1][1] = self._stack[-1][0]
            self._stack.append([stage.name, stage.name, stage.is_closed])
            try:
                return function(*arguments, **named)
            finally:
                self._charge()
                self._stack.pop()
                if stage.then:
                    self._stack[-1][1] = stage.then

        return timed

    def _charge(self) -> None:
        self._synchronise()
        wall, cpu = time.perf_counter(), time.process_time()
        spent = self._spent.setdefault(self._stack[-1][1], [0.0, 0.0])
        spent[0] += 1e3 * (wall - self._wall)
        spent[1] += 1e3 * (cpu - self._cpu)
        self._wall, self._cpu = wall, cpu


def found(reference: str) -> tuple[Any, str, Any]:
    """Return the holder, the name and the function that a reference names."""
    module, _, path = reference.partition(":")
    *owners, name = path.split(".")
    try:
        holder = importlib.import_module(module)
        for owner in owners:
            holder = getattr(holder, owner)
        return holder, name, vars(holder)[name] if owners else getattr(holder, name)
    except (ImportError, AttributeError, KeyError):
        raise StageError(
            f"The benchmarks time {reference}, which does not exist any more: "
            "name what took its place in STAGES of tests/bench/stages.py."
        ) from None


@contextlib.contextmanager
def watched(stopwatch: Stopwatch) -> Iterator[None]:
    """Wrap every function of `STAGES`, wherever a module of `core` holds it, and take the wraps off again."""
    undo: list[tuple[Any, str, Any]] = []
    every = [(stage, *found(reference)) for stage in STAGES for reference in stage.functions]
    try:
        for stage, holder, name, original in every:
            is_static = isinstance(original, staticmethod)
            function = original.__func__ if is_static else original
            timed: Any = stopwatch.wrapped(function, stage)
            timed = staticmethod(timed) if is_static else timed
            for place, key in [(holder, name), *_imported(original, holder)]:
                undo.append((place, key, original))
                setattr(place, key, timed)
        yield
    finally:
        for place, key, original in reversed(undo):
            setattr(place, key, original)


def _imported(original: Any, holder: Any) -> list[tuple[Any, str]]:
    """Return the modules of `core` that imported a function by name."""
    return [
        (module, key)
        for module_name, module in list(sys.modules.items())
        if module_name.startswith("core.") and module is not holder
        for key, value in list(vars(module).items())
        if value is original
    ]


@dataclass(frozen=True)
class Breakdown:
    """Timings of a whole and of its stages."""

    whole: Timing
    stages: dict[str, Timing]

    def row(self, name: str) -> dict[str, Any]:
        """Return the figures of one JSON row: `name`_ms and so on, stages, stages_cpu."""
        return {
            **self.whole.row(name),
            "stages": {stage: timing.wall for stage, timing in self.stages.items()},
            "stages_cpu": {stage: timing.cpu for stage, timing in self.stages.items()},
        }


def breakdown(action: Action, patience: Patience, device: str = "cpu") -> Breakdown:
    """Time an action and its stages, after one call without wraps (which also compiles what it needs)."""
    action()
    stopwatch = Stopwatch(_synchroniser(device))
    with watched(stopwatch):
        runs = [stopwatch.run(action) for _ in patience.rounds()]
    names = list(dict.fromkeys(name for _, parts in runs for name in parts if name != REST))
    result = Breakdown(Timing(), {name: Timing() for name in (*names, REST)})
    for whole, parts in runs:
        check(whole, parts)
        result.whole.add(*whole)
        for name, timing in result.stages.items():
            timing.add(*parts.get(name, (0.0, 0.0)))
    return result


def check(whole: tuple[float, float], parts: Mapping[str, tuple[float, float]]) -> None:
    """Refuse stages that cannot be true: below zero, or not adding up to the whole."""
    for kind, total, each in zip(
        ("wall", "processor"), whole, zip(*parts.values(), strict=True), strict=True
    ):
        if min(each) < 0 or abs(sum(each) - total) > 0.01 * total + 0.01:
            raise WrongResult(
                f"Stages of {sum(each):.2f} ms {kind} time (smallest {min(each):.2f}) do not add up "
                f"to the whole of {total:.2f} ms."
            )


def _synchroniser(device: str) -> Action:
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return torch.cuda.synchronize
