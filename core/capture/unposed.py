"""Pictures that bring no cameras: a folder of them, or the frames of a video, as a Listing with estimated poses.

The estimate sees the pixels that training sees: decoded by the same loader, turned upright where an
orientation tag says so. EXIF's focal length is only where the estimate starts. Every picture that
finds no place gets a sentence of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import CaptureError
from core.base.events import Notice
from core.capture.frames import Frame, Listing
from core.capture.lens import Lens, check_lens
from core.capture.pictures import Picture, pictures_in
from core.capture.poses import Found, Shot, find_poses, job_of
from core.capture.seeds import Opening
from core.capture.usable import relative, usable_pictures

LEAST_PLACED = 3
FEW_FEATURES = 200
FEW_MATCHES = 30  # COLMAP places a picture by at least as many
PICTURE_PLACES = ("images", "input")
NO_PICTURES = ("mask", "masks", "depth", "depths", "thumbnails")  # folders beside the photographs
SOURCE = "estimated cameras"
REMEDY = "Take more pictures, each with two thirds in common with the one before, from places some steps apart."
FOCAL_35MM, FOCAL_MM, PIXELS_PER_UNIT, UNIT = 0xA405, 0x920A, 0xA20E, 0xA210
UNIT_MM = {2: 25.4, 3: 10.0}
EXIF_IFD = 0x8769


def photographs_in(folder: Path) -> list[Path]:
    """Return the photographs of a folder without cameras: those in its images folder, else all below it."""
    for place in PICTURE_PLACES:
        found = _visible(folder / place)
        if found:
            return found
    return _visible(folder)


def _visible(folder: Path) -> list[Path]:
    """Return the pictures below a folder, but for hidden ones and what is known not to be photographs."""
    if not folder.is_dir():
        return []
    kept = []
    for path in pictures_in(folder):
        *folders, name = path.relative_to(folder).parts
        is_hidden = any(part.startswith(".") for part in (*folders, name))
        if not is_hidden and not any(part.lower() in NO_PICTURES for part in folders):
            kept.append(path)
    return kept


def read_unposed(name: str, folder: Path, paths: Sequence[Path], how: Opening) -> Listing:
    """Estimate the cameras of pictures below `folder`."""
    frames = [Frame(relative(path, folder), path, np.eye(4), _lens(1, 1, 1.0)) for path in paths]
    frames, pictures, notices = usable_pictures(frames, folder, how, {})
    if len(frames) < LEAST_PLACED:
        raise CaptureError(
            f"{name}: {len(frames)} of {len(paths)} pictures can be used, and cameras are estimated from "
            f"{LEAST_PLACED} or more. {' '.join([*notices[:3], REMEDY])}"
        )
    shots = [_shot(frame, pictures[frame.path]) for frame in frames]
    found = find_poses(shots, how)
    facts = found.facts["pictures"]
    placed = [
        _placed(frame, shot, entry, found)
        for frame, shot, entry in zip(frames, shots, facts, strict=True)
        if "camera_to_world" in entry
    ]
    if len(placed) < LEAST_PLACED:
        raise CaptureError(
            f"{name}: only {len(placed)} of {len(shots)} pictures could be placed, at least {LEAST_PLACED} are "
            f"needed: {_most_common_reason(facts)}. {REMEDY}"
        )
    notices += _left_out(shots, found.facts)
    told = summary(shots, found)
    how.report(Notice(f"Cameras {told}.", "good", key="poses"))
    return Listing(
        SOURCE, tuple(placed), (folder,), found.points, found.colors, tuple(notices), pictures, told
    )


def _lens(width: int, height: int, focal: float, distortion: tuple[float, ...] = ()) -> Lens:
    return Lens(
        width, height, focal, focal, width / 2, height / 2, "SIMPLE_RADIAL", distortion or (0.0,)
    )


def _shot(frame: Frame, picture: Picture) -> Shot:
    width, height = picture.width, picture.height
    if picture.is_sideways:
        width, height = height, width
    assert frame.path is not None
    return Shot(
        frame.path,
        frame.name,
        picture.digest,
        width,
        height,
        focal_by_exif(frame.path, max(width, height)),
        picture.orientation != 1,
    )


def focal_by_exif(path: Path, longer_side: int) -> float | None:
    """Return the focal length in pixels that a picture's EXIF tells; None where it tells none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            exif: Mapping[int, Any] = image.getexif().get_ifd(EXIF_IFD)
            stored_side = max(image.size)
        equivalent, focal = (_number(exif.get(tag)) for tag in (FOCAL_35MM, FOCAL_MM))
        density, unit = _number(exif.get(PIXELS_PER_UNIT)), UNIT_MM.get(exif.get(UNIT, 2))
    except (OSError, SyntaxError, ValueError, TypeError):
        return None
    if equivalent:
        pixels = equivalent / 36.0 * longer_side
    elif focal and density and unit:
        pixels = focal * density / unit * longer_side / stored_side
    else:
        return None
    # a lens narrower than a degree or wider than 150 is a mistake in the file
    return pixels if 0.13 * longer_side < pixels < 60 * longer_side else None


def _number(value: Any) -> float:
    """Return a positive number of EXIF, 0 where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _placed(frame: Frame, shot: Shot, entry: Mapping[str, Any], found: Found) -> Frame:
    """Return the frame with the pose and the lens that were found, at the picture's own size."""
    focal, x, y, bend = found.facts["lenses"][entry["lens"]]
    width, height = round(2 * x), round(2 * y)  # of the copy that was looked at
    lens = replace(_lens(width, height, focal, (bend,)), cx=x, cy=y)
    lens = check_lens(lens.resized(shot.width, shot.height), frame.name)
    return replace(
        frame,
        camera_to_world=np.array(entry["camera_to_world"]),
        lens=lens,
        is_turned=shot.is_turned,
    )


# ---- what is said about it --------------------------------------------------------------


def summary(shots: Sequence[Shot], found: Found) -> str:
    """Say how well the estimate went, in one clause."""
    facts = found.facts
    placed = [entry for entry in facts["pictures"] if "camera_to_world" in entry]
    sizes = job_of(shots)["lenses"]
    used = [number for number, lens in enumerate(facts["lenses"]) if lens is not None]
    size = sizes[used[0]]
    text = (
        f"estimated from the photographs: {len(placed)} of {len(shots)} placed, {len(found.points):,} points, "
        f"mean reprojection error {facts['error']:.2f} pixels at {size['width']}x{size['height']}, "
    )
    focals = [facts["lenses"][number][0] for number in used]
    started = [sizes[number]["focal"] for number in used if sizes[number]["focal"]]
    told = f"{_range(started)} by EXIF" if started else "EXIF tells none"
    return f"{text}focal length {_range(focals)} pixels ({told})"


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.0f}" if high - low < 1 else f"{low:.0f} to {high:.0f}"


def _left_out(shots: Sequence[Shot], facts: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each picture without a place, and one for further groups of pictures."""
    sentences = []
    sizes = Counter(entry["group"] for entry in facts["pictures"] if entry["group"] is not None)
    if len(sizes) > 1:  # a picture in several groups counts for the largest
        told = ", ".join(str(size) for _, size in sizes.most_common())
        sentences.append(
            f"The photographs fall into {len(sizes)} groups that share too little, of {told} "
            "pictures; the largest is used. Take pictures that lead from one to the other."
        )
    for shot, entry in zip(shots, facts["pictures"], strict=True):
        if "camera_to_world" not in entry:
            why, remedy = _reason(entry)
            sentences.append(f"{shot.name}: {why}; it is left out. {remedy}")
    return sentences


def _reason(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Say why a picture found no place, and what helps."""
    if entry["features"] < FEW_FEATURES:
        return (
            f"shows only {entry['features']} details that could be found again",
            "Remove it if it is blurred, dark or bare.",
        )
    if entry["group"]:
        return (
            "belongs to another group of pictures than most",
            "Take pictures that lead from one to the other.",
        )
    matches = entry["placed_matches"]
    if matches < FEW_MATCHES:
        return (
            f"has {matches} details in common with the placed picture most like it",
            "Take pictures between it and the others.",
        )
    return (
        f"fits no place, although it has {matches} details in common with a placed picture",
        "Check that nothing moved, and take pictures between it and the others.",
    )


def _most_common_reason(facts: Sequence[Mapping[str, Any]]) -> str:
    features = float(np.median([entry["features"] for entry in facts]))
    if features < FEW_FEATURES:
        return f"the median picture shows only {features:.0f} details that could be found again"
    matches = float(np.median([entry["matches"] for entry in facts]))
    return f"the median picture has {matches:.0f} details in common with the one most like it"
