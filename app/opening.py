"""What a path holds: a capture, a scene file or a run. Everything here runs beside the app loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.jobs import Task
from core.base.errors import CaptureError, FormatError, RunError
from core.base.events import Notice
from core.base.latest import Latest
from core.capture.video_files import VIDEO_SUFFIXES, is_video

if TYPE_CHECKING:
    from core.capture.capture import Capture, Photo
    from core.engine.runs import Run
    from core.radiance.field import Snapshot

THUMBNAIL = 112  # pixels, longer side
MOST_THUMBNAILS = 240


@dataclass(frozen=True, eq=False)
class Content:
    """What was opened. A capture trains, a scene is shown, a run goes on where it stopped."""

    name: str
    source: Path
    capture: Capture | None = None
    scene: Snapshot | None = None
    run: Run | None = None
    snapshots: Latest[Snapshot] | None = None  # of a study in training that is looked at


def open_path(text: str, device: str, seeds: str, task: Task) -> Content:
    """Open whatever a path holds, or raise a HybridError with one sentence.

    device  auto, cpu or cuda
    seeds   where a capture's seed points come from: auto or random
    """
    from core.engine.runs import Run
    from core.formats.table import is_scene, suffixes

    if not text.strip():
        raise CaptureError(
            "No path was given. Choose a folder of photographs, a video or a scene file."
        )
    path = Path(text.strip()).expanduser().absolute()
    if not path.exists():
        raise CaptureError(
            f"{path}: there is nothing at this path. Check it, or choose another one."
        )
    task.progress(None, path.name)
    if is_scene(path):
        return Content(path.stem, path, scene=_scene(path, device))
    if path.is_file() and path.suffix.lower() != ".json" and not is_video(path):
        raise FormatError(
            f"{path.name}: not a scene file. Scene files end in {', '.join(suffixes())}, videos in "
            f"{', '.join(VIDEO_SUFFIXES)}; for photographs choose their folder."
        )
    if Run.is_run(path):
        return _run(path, device, seeds, task)
    return Content(path.name or str(path), path, capture=_capture(path, seeds, task))


def _capture(path: Path, seeds: str, task: Task) -> Capture:
    from core.capture.opening import open_capture

    return open_capture(path, seeds=seeds, report=task.report, cancelled=task.cancelled)


def _scene(path: Path, device: str) -> Snapshot:
    from core.engine.assembly import usable_device
    from core.formats import open_scene

    return open_scene(path, usable_device(device))


def _run(path: Path, device: str, seeds: str, task: Task) -> Content:
    """Open a run with its photographs; without them show its saved scene."""
    from core.engine.runs import Run

    run = Run.open(path)
    if not run.config.capture:  # a study that needs no photographs
        return Content(path.name, path, run=run)
    scene = _scene(run.scene_path, device) if run.scene_path.exists() else None
    folder = Path(run.config.capture)
    try:
        capture = _capture(folder, seeds, task)
    except CaptureError as error:
        if scene is None:
            raise RunError(
                f"{path.name}: this run has no saved scene, and its photographs cannot be opened: {error}"
            ) from None
        task.report(Notice(f"The photographs of this run cannot be opened: {error}", "warning"))
        return Content(path.name, path, scene=scene)
    return Content(capture.name, path, capture=capture, scene=scene, run=run)


def checked(capture: Capture, is_gone: Callable[[], bool]) -> tuple[tuple[str, str, str], ...]:
    """Return the problems of a capture as (severity, text, remedy), worst first."""
    from core.capture.check import examined

    found = examined(capture, cancelled=is_gone)
    return tuple((row.severity.value, row.placed, row.remedy) for row in found.problems)


def thumbnail(photo: Photo) -> tuple[str, np.ndarray]:
    """Return the name of a photograph and a small picture [h, w, 3] uint8."""
    camera = photo.camera
    scale = THUMBNAIL / max(camera.width, camera.height)
    small = camera.resized(
        max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    )
    return photo.name, replace(photo, camera=small).image()
