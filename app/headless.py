"""The commands that work without a window and without training: eval, render, export, info, check."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.progress import StageLines
from core.base.errors import ConfigError, RunError
from core.base.events import Event, Failed, Notice, Progress

if TYPE_CHECKING:
    from core.engine.runs import RunConfig


def evaluate(arguments: Namespace) -> int:
    """Measure a scene on the held-out photographs of a capture."""
    import torch

    from core.capture.masks import MaskConfig
    from core.capture.opening import open_capture
    from core.engine.cores import cores_available, use_cores
    from core.formats import open_scene, size_of
    from core.render.backend import choose
    from core.render.evaluate import mean_of, measure

    use_cores(cores_available())
    path, run = scene_of(arguments.scene)
    max_size = arguments.max_size or (run.max_size if run else None)
    capture = open_capture(arguments.capture, seeds="random", report=tell)
    # a run is measured on the pixels it was told to learn; a scene file does not say
    capture = capture.masked(MaskConfig(**run.settings.get("masks", {}))) if run else capture
    capture = capture.limited(max_size) if max_size else capture
    if not capture.test:
        raise ConfigError(f"{capture.name}: has no held-out photographs to measure on.")
    scene = open_scene(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    to_scene = scene.to_original.inverse()  # the file may keep other units than this capture
    photos = [
        replace(photo, camera=to_scene.apply_camera(capture.to_original.apply_camera(photo.camera)))
        for photo in capture.test
    ]
    pictures = measure(scene, choose(device, tell), photos)
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
    path, _ = scene_of(arguments.scene)
    scene, renderer = open_scene(path), choose("auto", tell)
    to_scene = scene.to_original.inverse()  # paths are in the coordinates of the capture's files

    def pictures() -> Iterator[Any]:
        for index, camera in enumerate(cameras, 1):
            seen_from = to_scene.apply_camera(camera)
            yield to_uint8(draw(scene, renderer, seen_from, arguments.blend))
            print(f"\rPicture {index} of {len(cameras)}", end="", file=sys.stderr, flush=True)

    write_pictures(pictures(), arguments.out, fps)
    print(f"\n{arguments.out}: {len(cameras)} pictures.", file=sys.stderr)
    return 0


def export(arguments: Namespace) -> int:
    """Write a scene in the format its suffix names, and say what was lost."""
    from app.exporting import scene_to_export
    from core.engine.cores import cores_available, use_cores
    from core.formats import export_scene
    from core.formats.quality import Goal
    from core.formats.table import ExportOptions

    goal = Goal.asked(arguments.quality, arguments.at_most)
    use_cores(cores_available())
    scene = scene_to_export(arguments.scene)
    is_watched = sys.stderr.isatty()

    def progress(share: float, text: str) -> None:
        if is_watched:
            print(f"\r\033[K{share:4.0%} {text}", end="", file=sys.stderr, flush=True)

    options = ExportOptions(
        sh_degree=arguments.sh_degree,
        background=arguments.background,
        mesh_cells=arguments.mesh_cells,
        goal=goal,
        progress=progress,
    )
    try:
        told = export_scene(scene, arguments.out, options=options)
    finally:
        if is_watched:
            print("\r\033[K", end="", file=sys.stderr)
    print(told)
    return 0


def info(arguments: Namespace) -> int:
    """Say what a scene file holds."""
    from core.formats import describe

    facts = describe(scene_of(arguments.file)[0])
    if arguments.json:
        print(json.dumps(facts, indent=2))
        return 0
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<16} {value}")
    return 0


def check(arguments: Namespace) -> int:
    """Say what is wrong with a capture, and roughly what training it takes; 2 where it cannot be used."""
    from core.capture.check import check_capture

    stages = StageLines(lambda text: print(text, file=sys.stderr, flush=True))

    def report(event: Event) -> None:
        if isinstance(event, Progress):
            stages.show(event)

    checked = check_capture(arguments.capture, report=report)
    estimate = None if checked.capture is None else _expected(arguments, checked.capture)
    if arguments.json:
        values = checked.to_json()
        values["expected"] = {} if estimate is None else estimate.to_json()
        print(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        _print_check(checked, estimate)
    return 2 if checked.stops else 0


def _expected(arguments: Namespace, capture: Any) -> Any:
    from app.expected import expected
    from app.session import HOME
    from app.training import SIZES
    from core.base import discover
    from core.base.config import resolve
    from core.engine.assembly import DEFAULT_STUDY, default_preset, usable_device
    from core.engine.cores import cores_available

    device = usable_device(arguments.device or "auto")
    study = arguments.study or DEFAULT_STUDY
    preset = arguments.preset or default_preset(device)
    return expected(
        capture.limited(arguments.max_size or SIZES[device]),
        resolve(discover.load(study).Config, preset),
        study=study,
        preset=preset,
        device=device,
        cores=cores_available(),
        folder=Path(HOME).expanduser(),
    )


def _print_check(checked: Any, estimate: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colors = {"stops": "red", "left out": "yellow", "worth knowing": ""}
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    capture = checked.capture
    if capture is not None:
        console.print(
            f"{checked.name}: {len(capture.photos)} photographs, {len(capture.train)} to learn from, "
            f"{len(capture.test)} held out.",
            markup=False,
        )
    if not checked.problems:
        console.print("No problems found.")
    elif console.is_terminal:
        table = Table("", "What", "Remedy", box=None, pad_edge=False)
        for row in checked.problems:
            mark = Text(row.severity.value, style=colors[row.severity.value])
            table.add_row(mark, Text(row.placed), Text(row.remedy))
        console.print(table)
    else:  # one line a problem, for files and other programs
        for row in checked.problems:
            print(f"{row.severity.value:<13}  {row.placed} {row.remedy}")
    if estimate is not None:
        console.print("\n".join(("", *estimate.sentences())), markup=False)


def scene_of(path: Path) -> tuple[Path, RunConfig | None]:
    """Turn a run folder into its scene file and what it was trained with."""
    from core.engine.runs import Run

    if not path.is_dir():
        return path, None
    run = Run.open(path)
    if not run.scene_path.exists():
        raise RunError(
            f"{path}: holds no scene.hyrf yet. Finish the training with 'train --out {path} --resume'."
        )
    return run.scene_path, run.config


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


def tell(event: Event) -> None:
    """Let failures and warnings through, keep progress quiet."""
    if isinstance(event, Failed):
        print(f"hyrf: {event.message}", file=sys.stderr)
    elif isinstance(event, Notice) and event.level in ("warning", "error"):
        print(event.text, file=sys.stderr)
