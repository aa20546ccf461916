"""Seed points for captures that bring none: triangulated from the photographs, or random.

Triangulation runs as a child process (see triangulate.py) on pictures of at most 960 pixels; kept
are points seen in three or more pictures with a reprojection error under 2 pixels. The result lies
on disk under a key of pictures, poses and settings, so a capture waits for it once.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.base.cache import cache_folder, keep
from core.base.errors import CaptureError
from core.base.events import Event, Notice, Progress
from core.capture.camera import Camera
from core.capture.capture import Capture, Photo
from core.capture.child import ChildError, run_child, threads
from core.capture.placement import in_picture

MAX_SIZE = 960  # pixels of the longer side
FEATURES = 4000
MAX_ERROR = 2.0  # pixels
LEAST_TRACK = 3
LEAST_POINTS = 100
RANDOM_POINTS = 20_000
VERSION = 1  # of the recipe: part of the cache key
TASK = "Triangulating seed points"
# share of the whole duration at which each phase starts, measured on 50 pictures
PHASES = {"features": (0.0, 0.6), "matching": (0.6, 0.95)}
FEATURE_LINE = re.compile(r"Processed file \[(\d+)/(\d+)\]")
MATCH_LINE = re.compile(r"Processing block \[(\d+)/(\d+)")


@dataclass(frozen=True)
class Opening:
    """How a capture is opened: which seed points, where events go, how to stop, whether losses are refused."""

    seeds: str = "auto"
    report: Callable[[Event], None] = lambda _event: None
    cancelled: Callable[[], bool] = lambda: False
    is_strict: bool = False

    def stop_if_cancelled(self) -> None:
        """End the opening when somebody asked for it."""
        if self.cancelled():
            raise CaptureError("Opening the capture was cancelled.")


def find_seeds(capture: Capture, key: str, how: Opening) -> Capture:
    """Return the capture with seed points; `Capture.seeds` says which."""
    if how.seeds != "random" and len(capture.points) >= (1 if how.seeds == "capture" else 100):
        return capture
    if how.seeds == "capture":
        raise CaptureError(
            f"{capture.name} brings no seed points. Open it with triangulated or random ones instead."
        )
    reason = "as chosen"
    if how.seeds == "auto":
        try:
            return _triangulated(capture, key, how)
        except TriangulationError as error:
            reason = str(error)
            how.report(Notice(f"Seed points could not be triangulated: {reason}.", "warning"))
    points, colors = random_points(capture.photos)
    words = f"{len(points):,} random points in the cameras' common view ({reason})"
    return replace(capture, points=points, point_colors=colors, seeds=words)


class TriangulationError(Exception):
    """Triangulation gave no usable points; caught here, random points take over."""


def _triangulated(capture: Capture, key: str, how: Opening) -> Capture:
    placed = json.dumps(capture.to_original.to_json())
    recipe = f"{VERSION} {MAX_SIZE} {FEATURES} {MAX_ERROR} {LEAST_TRACK} {placed}\n{key}"
    digest = hashlib.blake2b(recipe.encode(), digest_size=16).hexdigest()
    stored = cache_folder("seeds") / f"{digest}.npz"
    found = _stored(stored)
    if found is None:
        found = triangulate(capture.photos, how)
        packed = io.BytesIO()
        np.savez(packed, points=found[0], colors=found[1])
        keep(stored, packed.getvalue())
    points, colors = found
    words = f"{len(points):,} points triangulated from the photographs"
    return replace(capture, points=points, point_colors=colors, seeds=words)


def _stored(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return points kept from an earlier run; a damaged file counts as none."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as values:
            points, colors = values["points"], values["colors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    is_sound = points.ndim == 2 and points.shape == colors.shape and np.isfinite(points).all()
    return (points.astype(np.float32), colors.astype(np.uint8)) if is_sound else None


def triangulate(photos: tuple[Photo, ...], how: Opening) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate points [P, 3] float32 with colours [P, 3] uint8 in scene units."""
    how.report(Progress(TASK, None, "preparing pictures"))
    with tempfile.TemporaryDirectory(prefix="hyrf-seeds-") as folder:
        job = Path(folder)
        _write_job(job, photos, how)
        _run_child(job, how)
        with np.load(job / "points.npz") as values:
            found = {name: values[name] for name in ("points", "colors", "errors", "tracks")}
    how.report(Progress(TASK, 1.0))
    keep = (found["errors"] < MAX_ERROR) & (found["tracks"] >= LEAST_TRACK)
    keep &= np.isfinite(found["points"]).all(1)
    points, colors = found["points"][keep], found["colors"][keep]
    if len(points) < LEAST_POINTS:
        raise TriangulationError(f"only {len(points)} points were found")
    return points.astype(np.float32), colors


def _write_job(job: Path, photos: tuple[Photo, ...], how: Opening) -> None:
    import cv2

    def prepare(numbered: tuple[int, Photo]) -> dict[str, object]:
        index, photo = numbered
        how.stop_if_cancelled()
        scale = min(1.0, MAX_SIZE / max(photo.camera.width, photo.camera.height))
        camera = photo.camera.resized(
            max(1, round(photo.camera.width * scale)), max(1, round(photo.camera.height * scale))
        )
        file = f"{index:05}.png"
        picture = replace(photo, camera=camera).image()
        cv2.imwrite(str(job / file), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
        return {"file": file, **camera.to_json()}

    with ThreadPoolExecutor(threads(), "prepare-picture") as pool:
        pictures = list(pool.map(prepare, enumerate(photos)))
    settings = {"threads": threads(), "features": FEATURES, "pictures": pictures}
    (job / "job.json").write_text(json.dumps(settings), "utf-8")


def _run_child(job: Path, how: Opening) -> None:
    """Run the triangulation process, turning its log into progress; kill it when cancelled."""
    try:
        run_child(
            "core.capture.triangulate",
            job,
            lambda lines: _report_progress(lines, how),
            how.stop_if_cancelled,
        )
    except ChildError as error:
        raise TriangulationError(str(error)) from None


def _report_progress(lines: Iterable[str], how: Opening) -> None:
    latest = None
    for line in lines:
        if match := FEATURE_LINE.search(line):
            latest = ("features", int(match[1]), int(match[2]))
        elif match := MATCH_LINE.search(line):
            latest = ("matching", int(match[1]) - 1, int(match[2]))
    if latest:
        phase, done, total = latest
        start, end = PHASES[phase]
        fraction = start + (end - start) * min(1.0, done / max(1, total))
        how.report(Progress(TASK, fraction, f"{phase} {done} of {total}"))


def random_points(
    photos: tuple[Photo, ...], count: int = RANDOM_POINTS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Scatter points [count, 3] where several cameras look, coloured by the photographs they fall into.

    Each point lies on the ray through a random pixel, between 0.3 and 2 times as far as the middle
    of the scene; those that at least three cameras see come first.
    """
    rng = np.random.default_rng(seed)
    cameras = [photo.camera for photo in photos]
    candidates = np.concatenate(
        [_along_rays(camera, -(-3 * count // len(cameras)), rng) for camera in cameras]
    )
    rng.shuffle(candidates)
    seen = np.zeros(len(candidates), np.int64)
    for camera in cameras:
        seen += in_picture(candidates, camera)[1]
    wanted = min(3, len(cameras))
    order = np.argsort(-np.minimum(seen, wanted), kind="stable")[:count]
    points = candidates[order]
    return points.astype(np.float32), _colors_of(points, photos)


def _along_rays(camera: Camera, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return points [count, 3] on random rays of one camera; the scene's middle is the origin."""
    middle = max(float(camera.forward @ -camera.center), 0.5)
    pixels = rng.random((count, 2)) * [camera.width, camera.height]
    rays = np.column_stack(
        [(pixels - [camera.cx, camera.cy]) / [camera.fx, camera.fy], np.ones(count)]
    )
    depths = middle * rng.uniform(0.3, 2.0, (count, 1))
    return camera.center + depths * rays @ camera.camera_to_world[:3, :3].T


def _colors_of(points: np.ndarray, photos: tuple[Photo, ...], most_photos: int = 16) -> np.ndarray:
    """Return the mean colour [P, 3] uint8 of the pixels that points fall into, grey where nobody looks."""
    total, seen = np.zeros((len(points), 3)), np.zeros(len(points))
    for photo in photos[:: max(1, len(photos) // most_photos)]:
        camera = photo.camera.resized(
            max(1, photo.camera.width // 4), max(1, photo.camera.height // 4)
        )
        pixels, inside = in_picture(points, camera)
        columns, rows = pixels[inside].astype(np.int64).T
        total[inside] += replace(photo, camera=camera).image()[rows, columns]
        seen[inside] += 1
    colors = np.full((len(points), 3), 128, np.uint8)
    is_seen = seen > 0
    colors[is_seen] = np.rint(total[is_seen] / seen[is_seen, None])
    return colors
