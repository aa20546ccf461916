"""Which pictures of a capture can be used: each is decoded once; broken ones and copies are left out, and said so."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from core.base.events import Progress
from core.capture.frames import Frame, counted, listed
from core.capture.pictures import Picture, check
from core.capture.seeds import Opening

TASK = "Opening the photographs"
MOST_CHECKERS = 8


def usable_pictures(
    frames: Sequence[Frame], folder: Path, how: Opening, known: Mapping[Path, Picture]
) -> tuple[list[Frame], dict[Path, Picture], list[str]]:
    """Return the frames whose pictures decode, each picture once, by name; all pictures; sentences about the rest."""
    pictures = dict(known) or check_all([frame.path for frame in frames], how)
    notices = []
    for frame in frames:
        if pictures[frame.path].problem:
            notices.append(f"{frame.name} {pictures[frame.path].problem}; it is left out.")
    sound = [frame for frame in frames if not pictures[frame.path].problem]
    kept, said = _without_copies(_in_order(sound, folder), pictures)
    return kept, pictures, notices + said


def check_all(paths: Sequence[Path], how: Opening) -> dict[Path, Picture]:
    """Decode every picture once, several at a time."""
    found = {}
    workers = max(1, min(MOST_CHECKERS, os.cpu_count() or 1))
    with ThreadPoolExecutor(workers, "check-picture") as pool:
        for index, (path, picture) in enumerate(zip(paths, pool.map(check, paths), strict=True)):
            how.stop_if_cancelled()
            found[path] = picture
            how.report(Progress(TASK, index / len(paths), f"{index + 1} of {len(paths)} pictures"))
    how.report(Progress(TASK, 1.0))
    return found


def relative(path: Path, folder: Path) -> str:
    """Return a path as a folder names it."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _in_order(frames: Sequence[Frame], folder: Path) -> list[Frame]:
    return sorted(frames, key=lambda frame: relative(frame.path, folder).encode("utf-8", "replace"))


def _without_copies(
    frames: Sequence[Frame], pictures: Mapping[Path, Picture]
) -> tuple[list[Frame], list[str]]:
    """Keep the first of files with the same bytes: a copy must never be both learnt and held out."""
    first: dict[str, Frame] = {}
    copies = []
    for frame in frames:
        known = first.setdefault(pictures[frame.path].digest, frame)
        if known is not frame:
            copies.append(f"{frame.name} (same bytes as {known.name})")
    notices = [f"{counted(copies, len(frames))} are copies and left out: {listed(copies)}."]
    return list(first.values()), notices if copies else []
