"""The commands that work without a window: train, eval, render, export, info."""

from __future__ import annotations

import json
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.progress import ProgressPrinter
from core.base.config import parse_settings
from core.base.errors import ConfigError, RunError
from core.base.events import Event, EventQueue, Failed, StateChanged, TrainerState
from core.base.latest import Latest


def train(arguments: Namespace) -> int:
    """Train a model into a run folder."""
    from core.capture.opening import open_capture
    from core.engine.assembly import study_builder
    from core.engine.commands import Stop
    from core.engine.kernels import warm_up
    from core.engine.trainer import Trainer, TrainerOptions

    printer = ProgressPrinter(as_json=arguments.json)
    run = _resumed_run(arguments) if arguments.resume else _new_run(arguments)
    try:
        capture = open_capture(run.config.capture, seeds=arguments.seeds, report=printer.show)
        if run.config.max_size:
            capture = capture.limited(run.config.max_size)
        events = EventQueue()
        build = study_builder(run.config, capture, events.post)
        options = TrainerOptions(total_steps=run.config.steps)
        trainer = Trainer(build, events, Latest(), run, options)
        trainer.has_viewers = False
        printer.begin(run.config, capture)
        state = TrainerState.IDLE
        # an exception in the middle of a step would leave it half done: ask instead
        before = signal.signal(signal.SIGINT, lambda *_: trainer.post(Stop()))
        try:
            warm_up(printer.show)
            while _is_under_way(state):
                trainer.tick()
                state = _drain(events, printer, state)
        finally:
            signal.signal(signal.SIGINT, before)
            trainer.close()
        if state is TrainerState.DONE:
            _save_scene(trainer, run, printer)
        return {TrainerState.DONE: 0, TrainerState.PAUSED: 2}.get(state, 1)
    finally:
        run.release()


def evaluate(arguments: Namespace) -> int:
    """Measure a scene on the held-out photographs of a capture."""
    import torch

    from core.capture.opening import open_capture
    from core.engine.cores import cores_available, use_cores
    from core.formats import open_scene, size_of
    from core.render.backend import choose
    from core.render.evaluate import mean_of, measure

    use_cores(cores_available())
    path, max_size = _scene_of(arguments.scene)
    max_size = arguments.max_size or max_size
    capture = open_capture(arguments.capture, seeds="random", report=_silent)
    capture = capture.limited(max_size) if max_size else capture
    if not capture.test:
        raise ConfigError(f"{capture.name}: has no held-out photographs to measure on.")
    scene = open_scene(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pictures = measure(scene, choose(device, _silent), capture.test)
    means = mean_of(pictures)
    first = capture.test[0].camera
    result = {
        "psnr": means["psnr"],
        "ssim": means["ssim"],
        "lpips": None,
        "lpips_note": "not measured: it needs network weights that are not bundled",
        "num_gaussians": scene.num_gaussians,
        "bytes": size_of(path),
        "steps": scene.step,
        "picture_size": [first.width, first.height],
        "pictures": pictures,
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        _print_evaluation(result)
    return 0


def render(arguments: Namespace) -> int:
    """Render a camera path to a video or a folder of pictures."""
    from core.engine.cores import cores_available, use_cores
    from core.formats import open_scene
    from core.formats.video import read_camera_path, write_pictures
    from core.render.backend import choose
    from core.render.composite import to_uint8
    from core.render.evaluate import draw

    if not 0 <= arguments.blend <= 1:
        raise ConfigError(f"--blend {arguments.blend:g}: choose a number from 0 to 1.")
    use_cores(cores_available())
    cameras, fps = read_camera_path(arguments.camera_path)
    path, _ = _scene_of(arguments.scene)
    scene, renderer = open_scene(path), choose("auto", _silent)

    def pictures() -> Iterator[Any]:
        for index, camera in enumerate(cameras, 1):
            yield to_uint8(draw(scene, renderer, camera, arguments.blend))
            print(f"\rPicture {index} of {len(cameras)}", end="", file=sys.stderr, flush=True)

    write_pictures(pictures(), arguments.out, fps)
    print(f"\n{arguments.out}: {len(cameras)} pictures.", file=sys.stderr)
    return 0


def export(arguments: Namespace) -> int:
    """Write a scene in the format its suffix names, and say what was lost."""
    from core.engine.cores import cores_available, use_cores
    from core.formats import export_scene, open_scene

    use_cores(cores_available())
    path, _ = _scene_of(arguments.scene)
    print(export_scene(open_scene(path), arguments.out))
    return 0


def info(arguments: Namespace) -> int:
    """Say what a scene file holds."""
    from core.formats import describe

    facts = describe(_scene_of(arguments.file)[0])
    if arguments.json:
        print(json.dumps(facts, indent=2))
        return 0
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<16} {value}")
    return 0


def _is_under_way(state: TrainerState) -> bool:
    return state in (TrainerState.IDLE, TrainerState.LOADING, TrainerState.RUNNING)


def _drain(events: EventQueue, printer: ProgressPrinter, state: TrainerState) -> TrainerState:
    for event in events.drain():
        printer.show(event)
        if isinstance(event, StateChanged):
            state = event.state
    return state


def _new_run(arguments: Namespace) -> Any:
    """Create the run folder from the command line."""
    from assets import DEMO
    from core.engine.assembly import default_preset, run_config, usable_device
    from core.engine.cores import cores_available
    from core.engine.runs import Run

    device = usable_device(arguments.device)
    settings: dict[str, Any] = dict(parse_settings(arguments.set))
    if arguments.steps:
        settings["steps"] = arguments.steps
    config = run_config(
        arguments.study,
        arguments.preset or default_preset(device),
        settings,
        variant=arguments.variant,
        seed=arguments.seed,
        threads=arguments.threads or cores_available(),
        device=device,
        capture=arguments.capture or DEMO,
        max_size=arguments.max_size,
    )
    return Run.create(arguments.out, config)


def _resumed_run(arguments: Namespace) -> Any:
    """Open the run folder; its own settings hold."""
    from core.engine.runs import Run

    if arguments.set or arguments.preset or arguments.steps:
        raise ConfigError(
            "--resume goes on with the run's own settings; leave --set, --preset and --steps out."
        )
    run = Run.open(arguments.out)
    run.acquire()
    return run


def _save_scene(trainer: Any, run: Any, printer: ProgressPrinter) -> None:
    from core.engine.commands import WantSnapshot
    from core.formats import save_scene

    began = time.monotonic()
    reply: Latest[Any] = Latest()
    trainer.post(WantSnapshot(reply))
    trainer.tick()
    snapshot = reply.take()
    if snapshot is None:
        raise RunError(f"{run.scene_path}: there is no scene to save.")
    summary = save_scene(snapshot, run.scene_path)
    printer.done(run.scene_path, summary, time.monotonic() - began)


def _scene_of(path: Path) -> tuple[Path, int | None]:
    """Turn a run folder into its scene file, with the picture size it was trained at."""
    from core.engine.runs import Run

    if not path.is_dir():
        return path, None
    run = Run.open(path)
    if not run.scene_path.exists():
        raise RunError(
            f"{path}: holds no scene.hyrf yet. Finish the training with 'train --out {path} --resume'."
        )
    return run.scene_path, run.config.max_size


def _print_evaluation(result: dict[str, Any]) -> None:
    width, height = result["picture_size"]
    print(f"{'picture':<24} {'PSNR dB':>8} {'SSIM':>7}   at {width}x{height}")
    for name, row in result["pictures"].items():
        print(f"{name:<24} {row['psnr']:>8.2f} {row['ssim']:>7.4f}")
    print(
        f"{'mean':<24} {result['psnr']:>8.2f} {result['ssim']:>7.4f}   LPIPS {result['lpips_note']}"
    )
    sizes = ", ".join(f"{name} {amount:,}" for name, amount in result["bytes"].items())
    print(f"{result['num_gaussians']:,} Gaussians, step {result['steps']}; bytes: {sizes}")


def _silent(event: Event) -> None:
    """Let failures through, keep progress quiet."""
    if isinstance(event, Failed):
        print(f"hyrf: {event.message}", file=sys.stderr)
