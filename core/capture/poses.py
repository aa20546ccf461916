"""Camera poses for pictures that bring none: estimated from the pictures, once, with every stage kept.

    pictures -> upright copies of at most MAX_SIZE pixels -> a process of its own (see estimate.py)
             -> Listing: a pose and a lens for each picture that found its place

The cache's folder `poses` holds one small file for each set of pictures, and while it is made a
folder of work beside it: cancelling leaves that folder, and opening the same pictures again goes
on with the stages, features and matches that are missing. Pictures are named by number there, so
their own names never matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
import sqlite3
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.base.cache import cache_folder, keep
from core.base.errors import CaptureError
from core.base.events import Progress
from core.capture.child import ChildError, run_child, threads
from core.capture.pictures import decode, over_white
from core.capture.seeds import Opening

VERSION = 1  # of the recipe: part of the cache key
MAX_SIZE = 1600  # pixels of the longer side
FEATURES = 4096
SAME_FOCAL = 0.01  # share by which EXIF's focal lengths of one lens may differ
KEPT_S = 14 * 24 * 3600.0  # that unfinished work is kept for
WAIT_S = 0.5

PREPARING = "Reading the photographs"
MATCHING = "Matching pictures"
# what the process is at: a line of its log with numbers done and of how many
STAGES = (
    ("Finding features", "pictures", re.compile(r"Processed file \[(\d+)/(\d+)\]")),
    (MATCHING, "pairs", re.compile(r"Processing block \[(\d+)/(\d+)")),
    ("Placing cameras", "pictures", re.compile(r"Placed picture \[(\d+)/(\d+)\]")),
)
PAIRS = re.compile(r"Comparing (\d+) pairs")


@dataclass(frozen=True)
class Shot:
    """A picture to place: its size upright, and the focal length in pixels that it says it has."""

    path: Path
    name: str
    digest: str
    width: int
    height: int
    focal: float | None = None
    is_turned: bool = False


@dataclass(frozen=True, eq=False)
class Found:
    """What estimate.py wrote."""

    facts: dict[str, Any]
    points: np.ndarray
    colors: np.ndarray


def find_poses(shots: Sequence[Shot], how: Opening) -> Found:
    """Estimate the cameras of pictures, in the order of their names; what is known already is not done again."""
    settings = job_of(shots)
    recipe = f"{VERSION} {MAX_SIZE} {FEATURES}\n{json.dumps(settings)}\n"
    key = recipe + "\n".join(f"{shot.digest} {shot.is_turned}" for shot in shots)
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    kept = cache_folder("poses") / f"{digest}.npz"
    found = read_found(kept, len(shots))
    if found is not None:
        return found
    with _place_of_work(digest) as job, _alone(job, how):
        found = read_found(kept, len(shots))  # another program may have been at it
        if found is None:
            _work(job, settings, shots, how)
            packed = (job / "found.npz").read_bytes()
            found = read_found(io.BytesIO(packed), len(shots))
            if found is None:
                raise CaptureError("The estimated cameras cannot be read back. Open it again.")
            keep(kept, packed)
        shutil.rmtree(job, ignore_errors=True)
    return found


def job_of(shots: Sequence[Shot]) -> dict[str, Any]:
    """Describe the work: which picture is a file of which name, and which of them share a lens.

    Pictures share one where sizes agree, and focal lengths too as far as EXIF tells them: a zoom
    lens is as many lenses as it has settings.
    """
    lenses: list[dict[str, Any]] = []
    pictures = []
    for index, shot in enumerate(shots):
        width, height = _reduced(shot)
        focal = shot.focal and shot.focal * width / shot.width
        lens = {"width": width, "height": height, "focal": focal}
        number = next((n for n, known in enumerate(lenses) if _is_same(known, lens)), len(lenses))
        if number == len(lenses):
            lenses.append(lens)
        pictures.append({"file": f"{index:06}.png", "lens": number})
    return {"features": FEATURES, "lenses": lenses, "pictures": pictures}


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if (one["width"], one["height"]) != (other["width"], other["height"]):
        return False
    first, second = one["focal"], other["focal"]
    if not first or not second:
        return first == second
    return bool(abs(first - second) < SAME_FOCAL * first)


def _reduced(shot: Shot) -> tuple[int, int]:
    scale = min(1.0, MAX_SIZE / max(shot.width, shot.height))
    return max(1, round(shot.width * scale)), max(1, round(shot.height * scale))


def read_found(source: Path | io.BytesIO, total: int) -> Found | None:
    """Return what an earlier run found; a damaged file counts as none."""
    try:
        with np.load(source, allow_pickle=False) as values:
            facts = json.loads(values["facts"].tobytes())
            points, colors = values["points"], values["colors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    is_sound = points.ndim == 2 and points.shape == colors.shape and len(facts["pictures"]) == total
    return Found(facts, points, colors) if is_sound else None


# ---- the place of work ------------------------------------------------------------------


@contextlib.contextmanager
def _place_of_work(digest: str) -> Iterator[Path]:
    """Give a folder for the work, kept when it is cancelled; without a writable cache it is not kept."""
    root = cache_folder("poses")
    try:
        (root / digest).mkdir(parents=True, exist_ok=True)
    except OSError:
        with tempfile.TemporaryDirectory(prefix="hyrf-poses-") as folder:
            job = Path(folder) / digest
            job.mkdir()
            yield job
        return
    for old in root.iterdir():
        if old.is_dir() and old.name != digest and old.stat().st_mtime < time.time() - KEPT_S:
            shutil.rmtree(old, ignore_errors=True)
    yield root / digest


@contextlib.contextmanager
def _alone(job: Path, how: Opening) -> Iterator[None]:
    """Wait until no other program works there; the lock is the database's, free when its holder dies."""
    lock = sqlite3.connect(job.with_suffix(".lock"), timeout=0, isolation_level=None)
    with contextlib.closing(lock):
        while True:
            try:
                lock.execute("BEGIN EXCLUSIVE")
                break
            except sqlite3.OperationalError:
                how.stop_if_cancelled()
                how.report(Progress(PREPARING, None, "another program is at it; waiting"))
                time.sleep(WAIT_S)
        job.mkdir(exist_ok=True)  # who was at it may have been done with it
        yield


def _work(job: Path, settings: dict[str, Any], shots: Sequence[Shot], how: Opening) -> None:
    """Write the pictures that are missing and run the process."""
    shown = StageReport(how)
    try:
        _write_pictures(job, settings, shots, how)
        described = json.dumps({**settings, "threads": threads()})
        (job / "job.json").write_text(described, "utf-8")
        run_child("core.capture.estimate", job, shown.show, how.stop_if_cancelled)
    except ChildError as error:
        advice = "Open it again to go on from there."
        if not error.was_killed:  # what it left may be what it stumbled over
            shutil.rmtree(job, ignore_errors=True)
            advice = "Open it again; it begins anew."
        raise CaptureError(f"The cameras could not be estimated: {error}. {advice}") from None
    except OSError as error:
        raise CaptureError(
            f"The cameras could not be estimated: {job} cannot be written ({error.strerror}). "
            "Make room there, or set HYRF_CACHE to another folder."
        ) from None
    shown.end()


def _write_pictures(
    job: Path, settings: dict[str, Any], shots: Sequence[Shot], how: Opening
) -> None:
    import cv2

    def write(index: int) -> None:
        target = job / settings["pictures"][index]["file"]
        if how.cancelled() or target.exists():
            return
        shot = shots[index]
        try:
            data = shot.path.read_bytes()
        except OSError as error:
            raise CaptureError(
                f"{shot.name} cannot be read any more ({error.strerror}). Was the folder moved or changed?"
            ) from None
        picture = over_white(decode(data, shot.is_turned))
        size = _reduced(shot)
        if picture.shape[1::-1] != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        packed = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        unfinished = target.with_suffix(".part")
        unfinished.write_bytes(packed.tobytes())
        unfinished.replace(target)

    with ThreadPoolExecutor(threads(), "prepare-picture") as pool:
        for index, _ in enumerate(pool.map(write, range(len(shots))), 1):
            how.stop_if_cancelled()
            text = f"{index} of {len(shots)} pictures"
            how.report(Progress(PREPARING, (index - 1) / len(shots), text))
    how.report(Progress(PREPARING, 1.0))


class StageReport:
    """Turns the process's log into progress: one task for each stage, ended by the next."""

    def __init__(self, how: Opening) -> None:
        self._report: Callable[[Progress], None] = how.report
        self._under_way = ""
        self._pairs = 0

    def show(self, lines: Iterable[str]) -> None:
        """Report the last thing these lines say."""
        latest = None
        for line in lines:
            if match := PAIRS.search(line):
                self._pairs = int(match[1])
            for name, unit, pattern in STAGES:
                if match := pattern.search(line):
                    latest = (name, unit, int(match[1]), int(match[2]))
                    self._enter(name)
        if latest:
            name, unit, done, total = latest
            if name == MATCHING:  # a block that begins, of so many pairs
                done, total = (done - 1) * self._pairs // max(1, total), self._pairs
            # the end of a stage is told by the next one: a last picture is not the last of the work
            fraction = min(0.99, done / max(1, total))
            self._report(Progress(name, fraction, f"{done} of {total} {unit}"))

    def end(self) -> None:
        """End the last stage."""
        self._enter("")

    def _enter(self, name: str) -> None:
        if self._under_way not in ("", name):
            self._report(Progress(self._under_way, 1.0))
        self._under_way = name
