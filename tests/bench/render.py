"""Frames and their stages, forward and backward, by Gaussians, pixels and threads.

    python -m tests.bench render --gaussians 50000 --sizes 270x480 --threads 1 2 4
    python -m tests.bench render --scene FILE.hyrf       a saved scene (.hyrf, .ply, ...) instead of random ones
    python -m tests.bench render --scene garden          gsplat's 138,766 test points ($HYRF_TEST_DATA)

`frame` is what a window asks for: cull, colours, project, sort and bin, blend, background, composite;
the geometry of a hybrid scene was decoded before. `backward` is the rasterizer going back to the
activated Gaussians; fields going back belong to the benchmark `step`.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from core.radiance.splats import Splats
from core.render.backend import choose
from core.render.composite import composite
from core.render.evaluate import draw, matrices
from tests.bench import scenes
from tests.bench.measure import (
    Patience,
    WrongResult,
    print_table,
    spread,
    usable_threads,
    with_threads,
)
from tests.bench.stages import Breakdown, breakdown

COLUMNS = (
    "study",
    "num_gaussians",
    "width",
    "height",
    "threads",
    "frame_ms",
    "backward_ms",
    "stages",
)
BACKWARD = ("autograd", "rasterize backward", "blend backward", "project backward")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--studies", nargs="+", choices=tuple(scenes.VARIANTS), default=["hyrf"])
    parser.add_argument("--gaussians", type=int, nargs="+", default=scenes.GAUSSIANS)
    parser.add_argument("--sizes", nargs="+", default=scenes.SIZES, help="width x height in pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--scene", help="a scene file, or 'garden'; default: random scenes")
    parser.add_argument("--preset", default="full", help="of random scenes")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20.0, help="at most, for each figure")


def shorten(options: argparse.Namespace) -> None:
    """Reduce the work to a check of the results."""
    options.gaussians, options.sizes, options.threads = [2000], ["48x64"], [1]
    options.repeats = 3


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time every scene, size and thread count and return the rows."""
    rows: list[dict[str, Any]] = []
    threads = usable_threads(options.threads) if options.device == "cpu" else options.threads[:1]
    for facts, scene, cameras in _scenes(options):
        results = {}
        for count in threads:
            with_threads(count)
            results[count] = measured(
                scene, cameras, options.device, Patience(options.repeats, options.seconds)
            )
        camera = cameras[0]
        facts |= {
            "num_gaussians": scene.num_gaussians,
            "width": camera.width,
            "height": camera.height,
            "device": options.device,
        }
        _print(facts, results)
        for count, (frame, back) in results.items():
            rows.append(_row(facts, count, frame, back))
    return {"rows": rows}


def _row(facts: dict[str, Any], threads: int, frame: Breakdown, back: Breakdown) -> dict[str, Any]:
    """Return one JSON row; the stages of the way back stand beside those of the frame."""
    row = {**facts, "threads": threads, **frame.row("frame"), **_going_back(back).row("backward")}
    for key, name in (("stages", "wall"), ("stages_cpu", "cpu")):
        row[key] = {
            **{stage: getattr(timing, name) for stage, timing in frame.stages.items()},
            **{
                stage: getattr(back.stages[stage], name)
                for stage in BACKWARD
                if stage in back.stages
            },
        }
    return row


def _going_back(back: Breakdown) -> Breakdown:
    """Return the way back alone."""
    stages = {name: timing for name, timing in back.stages.items() if name in BACKWARD}
    whole = type(back.whole)(
        *([sum(parts) for parts in zip(*(getattr(t, kind) for t in stages.values()), strict=True)]
          for kind in ("walls", "cpus"))
    )  # fmt: skip
    return Breakdown(whole, stages)


def _scenes(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], Any, list[Any]]]:
    """Yield what is drawn: facts, a scene, its cameras."""
    sizes = [scenes.parsed_size(size) for size in options.sizes]
    if options.scene is not None:
        for size in sizes:
            scene, cameras = scenes.opened_scene(options.scene, *size, options.device)
            yield {"study": scene.kind, "scene": options.scene}, scene, cameras
        return
    for study, size, num in itertools.product(options.studies, sizes, sorted(options.gaussians)):
        task = scenes.Task(study, num, *size, device=options.device, preset=options.preset)
        made = scenes.prepared(task)
        cameras = [photo.camera for photo in made.capture.train]
        yield {"study": study, "scene": "random"}, made.snapshot(), cameras


def measured(
    scene: Any, cameras: list[Any], device: str, patience: Patience
) -> tuple[Breakdown, Breakdown]:
    """Time frames forward, and forward and backward, one camera after the other."""
    renderer = choose(device)
    around = itertools.cycle(cameras)

    def frame() -> None:
        picture = draw(scene, renderer, next(around))
        if not torch.isfinite(picture).all():
            raise WrongResult("A picture holds numbers that are not finite.")

    frames = breakdown(frame, patience, device)
    return frames, breakdown(_both_ways(scene, renderer, around), patience, device)


def _both_ways(scene: Any, renderer: Any, around: Iterator[Any]) -> Callable[[], None]:
    """Return an action that draws with gradients and goes back."""

    def both_ways() -> None:
        camera = next(around)
        splats = scene.splats(camera)
        leaves = [getattr(splats, name).detach().requires_grad_() for name in scenes.NAMES]
        layers = renderer.rasterize(
            Splats(*leaves), *matrices(camera, scene.device), camera.width, camera.height
        )
        composite(layers).backward(torch.ones_like(layers.rgb))
        if not all(torch.isfinite(leaf.grad).all() for leaf in leaves):
            raise WrongResult("A gradient holds numbers that are not finite.")

    return both_ways


def _print(facts: dict[str, Any], results: dict[int, tuple[Breakdown, Breakdown]]) -> None:
    print(
        f"\n{facts['study']}, {facts['scene']}, {facts['num_gaussians']:,} Gaussians, "
        f"{facts['width']}x{facts['height']}, {facts['device']}"
    )
    lines: dict[str, list[Any]] = {}
    head = ["stage"]
    for count, (frame, back) in results.items():
        head += [f"wall ms, {count} thr.", "cpu ms"]
        whole = _going_back(back)
        figures = {
            **{name: (timing.wall, timing.cpu) for name, timing in frame.stages.items()},
            "frame": (frame.whole.wall, frame.whole.cpu),
            "frame, spread": tuple(map(spread, (frame.whole.walls, frame.whole.cpus))),
            **{name: (timing.wall, timing.cpu) for name, timing in whole.stages.items()},
            "backward": (whole.whole.wall, whole.whole.cpu),
            "backward, spread": tuple(map(spread, (whole.whole.walls, whole.whole.cpus))),
        }
        for name, pair in figures.items():
            lines.setdefault(name, [name]).extend(pair)
    print_table(list(lines.values()), head)
