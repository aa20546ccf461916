"""Frames of a video as photographs: sharp ones, spaced by how far the picture moved rather than by time.

    video -> every frame, small: sharpness [F], motion [F] -> numbers of the chosen -> files, at full size

    sharpness  variance of the Laplacian of the grey frame, LOOK_SIZE pixels long
    motion     median displacement since the frame before, in shares of the longer side

The path that the picture moves is cut into pieces of equal length, and the sharpest frame of each
is taken. ffmpeg decodes (through imageio), upright where the file says so. The chosen frames are
written once, into the cache's folder `frames`; that folder may be deleted and is made again alike.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.base.cache import cache_folder
from core.base.errors import CaptureError
from core.base.events import Notice, Progress
from core.capture.seeds import Opening

VERSION = 1  # of the recipe: part of the cache key
LOOK_SIZE, FLOW_SIZE = 640, 160  # pixels of the longer side
STEP = 0.045  # of the longer side that the picture moves between two chosen frames
LEAST, MOST = 80, 120  # chosen frames, as far as there are enough
SPARE = 3  # decoded frames for each chosen one, so that there is a choice
MOST_LOOKED_AT = 3000
JPEG_QUALITY = 95
LOOKING, WRITING = "Choosing sharp frames", "Writing the chosen frames"
REMEDY = "Check that it plays, or convert it to MP4 (H.264)."


@dataclass(frozen=True, eq=False)
class Survey:
    """What the small frames showed; `every` frames of the file is one of them."""

    sharpness: np.ndarray
    motion: np.ndarray
    every: int = 1


def frames_of(video: Path, how: Opening) -> list[Path]:
    """Return the files of the chosen frames, in the order of the video; they are written the first time."""
    state = video.stat()
    if state.st_size == 0:
        raise CaptureError(f"{video.name} is empty (0 bytes). Copy it again from its source.")
    key = f"{VERSION} {video.name} {state.st_size} {state.st_mtime_ns}"
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    folder = cache_folder("frames") / digest
    files = _complete(folder)
    if files is None:
        files = _write_chosen(video, folder, how)
    told = json.loads((folder / "frames.json").read_text("utf-8"))
    text = f"{video.name}: {len(files)} of its {told['total']:,} frames were chosen, sharp ones at even steps."
    how.report(Notice(text, "info", key="frames"))
    return files


def _complete(folder: Path) -> list[Path] | None:
    """Return the frames written earlier, if they are all there."""
    try:
        names = json.loads((folder / "frames.json").read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    files = [folder / name for name in names]
    return files if all(file.is_file() for file in files) else None


def _write_chosen(video: Path, folder: Path, how: Opening) -> list[Path]:
    """Choose and write frames beside their place, and move them there when they are complete."""
    found = survey(video, how)
    numbers = choose_frames(found.sharpness, found.motion) * found.every
    if len(numbers) < 3:
        raise CaptureError(
            f"{video.name}: of its {len(found.sharpness)} frames {len(numbers)} show something new, at least "
            "3 are needed. Film while walking around the scene, for ten seconds or more."
        )
    unfinished = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        names = _write(video, numbers, unfinished, how)
        total = len(found.sharpness) * found.every
        described = {"video": video.name, "total": total, "files": names}
        (unfinished / "frames.json").write_text(json.dumps(described), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except OSError as error:
        raise CaptureError(
            f"{video.name}: its frames cannot be written to {folder.parent} ({error.strerror}). "
            "Make room there, or set HYRF_CACHE to another folder."
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return [folder / name for name in names]


def survey(video: Path, how: Opening) -> Survey:
    """Look at every frame, or at MOST_LOOKED_AT of them, and measure it."""
    import cv2

    width, height, expected = _described(video)
    every = max(1, math.ceil(expected / MOST_LOOKED_AT))
    scale = min(1.0, LOOK_SIZE / max(width, height))
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    flow_scale = FLOW_SIZE / max(size)
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    sharpness, motion = [], []
    before = None
    for frame in _decoded(video, f"not(mod(n\\,{every}))", size):
        how.stop_if_cancelled()
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        sharpness.append(float(cv2.Laplacian(grey, cv2.CV_32F).var()))
        small = cv2.resize(grey, None, fx=flow_scale, fy=flow_scale, interpolation=cv2.INTER_AREA)
        moved = np.zeros(1) if before is None else flow.calc(before, small, None)
        motion.append(float(np.median(np.linalg.norm(moved, axis=-1))) / max(small.shape))
        before = small
        done = len(sharpness) * every
        fraction = min(0.99, done / expected) if expected else None
        how.report(Progress(LOOKING, fraction, f"{done} of about {max(done, expected)} frames"))
    how.report(Progress(LOOKING, 1.0))
    if not sharpness:
        raise CaptureError(f"{video.name}: no frame of it can be decoded. {REMEDY}")
    if len(sharpness) * every < 0.9 * expected:
        text = (
            f"{video.name}: only {len(sharpness) * every} of about {expected} frames can be decoded, "
            "the others are left out. Copy it again from its source."
        )
        how.report(Notice(text, "warning"))
    return Survey(np.array(sharpness), np.array(motion), every)


def choose_frames(sharpness: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Return the indices [K] of the sharpest frame of each of K equal pieces of the picture's path."""
    place = np.cumsum(motion)
    wanted = round(float(place[-1]) / STEP)
    count = int(np.clip(wanted, min(LEAST, len(place) // SPARE), min(MOST, len(place))))
    if place[-1] <= 0 or count < 1:
        return np.array([int(np.argmax(sharpness))])
    piece = np.minimum((place / place[-1] * count).astype(np.int64), count - 1)
    best = np.lexsort((-sharpness, piece))  # by piece, the sharpest first
    is_first = np.diff(piece[best], prepend=-1) > 0
    return np.sort(best[is_first])


def _write(video: Path, numbers: Sequence[int], folder: Path, how: Opening) -> list[str]:
    """Decode the chosen frames at their full size and write them; return the names of the files."""
    import cv2

    width, height, _ = _described(video)
    chosen = "+".join(f"eq(n\\,{number})" for number in numbers)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    quality += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    names = []
    for number, frame in zip(numbers, _decoded(video, chosen, (width, height)), strict=False):
        how.stop_if_cancelled()
        names.append(f"frame_{number:06}.jpg")
        packed = cv2.imencode(".jpg", frame[..., ::-1], quality)[1]
        (folder / names[-1]).write_bytes(packed.tobytes())
        text = f"{len(names)} of {len(numbers)} frames"
        how.report(Progress(WRITING, len(names) / (len(numbers) + 1), text))
    how.report(Progress(WRITING, 1.0))
    return names


# ---- ffmpeg -----------------------------------------------------------------------------


def _described(video: Path) -> tuple[int, int, int]:
    """Return width and height as frames are decoded, and about how many there are (0 where unknown)."""
    with _told(video):
        with _reader(video) as reader:
            facts = reader.get_meta_data()
        width, height = facts["size"]
        seconds, fps = float(facts.get("duration") or 0), float(facts.get("fps") or 0)
    frames = seconds * fps
    return int(width), int(height), round(frames) if 0 < frames < 1e8 else 0


def _decoded(video: Path, chosen: str, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the frames [H, W, 3] uint8 that an expression of ffmpeg's select filter takes, at a size."""
    filters = ["-vf", f"select='{chosen}'", "-fps_mode", "passthrough"]
    with _told(video), _reader(video, size=size, output_params=filters) as reader:
        while True:
            try:
                frame = reader.get_next_data()
            except (IndexError, StopIteration):
                return
            yield np.asarray(frame)


@contextlib.contextmanager
def _reader(video: Path, **options: Any) -> Iterator[Any]:
    import imageio.v2

    # it warns of every size that is not the file's own
    logging.getLogger("imageio_ffmpeg").setLevel(logging.ERROR)
    reader = imageio.v2.get_reader(str(video), format="ffmpeg", mode="I", **options)
    with contextlib.closing(reader):
        yield reader


@contextlib.contextmanager
def _told(video: Path) -> Iterator[None]:
    """Turn what ffmpeg and imageio raise into one sentence."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, IndexError, SyntaxError) as error:
        last = (str(error).strip().splitlines() or ["no reason given"])[-1].strip()
        raise CaptureError(f"{video.name}: cannot be decoded ({last[:120]}). {REMEDY}") from None
