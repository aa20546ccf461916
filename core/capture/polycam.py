"""Read the raw data of a Polycam capture: one JSON file for each picture, in keyframes.

    t_00 ... t_23  3x4 rows of camera-to-world, OpenGL axes, metres; fx, fy, cx, cy, width, height in pixels

Where Polycam has optimised the poses, corrected_cameras belong to corrected_images; a picture that
has no corrected pair is left out then, because its own pose is in other coordinates.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import CaptureError
from core.capture.camera import from_opengl
from core.capture.frames import Frame, Listing
from core.capture.lens import Lens, check_lens
from core.capture.pictures import PictureFolder

PAIRS = (("corrected_cameras", "corrected_images"), ("cameras", "images"))
INTRINSICS = ("width", "height", "fx", "fy", "cx", "cy")


def find_polycam(folder: Path) -> tuple[Path, Path] | None:
    """Return the folders of cameras and of pictures of a Polycam capture, the corrected ones first."""
    for cameras, pictures in PAIRS:
        pair = folder / "keyframes" / cameras, folder / "keyframes" / pictures
        if pair[1].is_dir() and any(pair[0].glob("*.json")):
            return pair
    return None


def read_polycam(folder: Path) -> Listing:
    """Read the cameras of a Polycam capture."""
    pair = find_polycam(folder)
    if pair is None:
        raise CaptureError(f"{folder.name}: keyframes holds no cameras. Export the raw data again.")
    cameras, images = pair
    pictures = PictureFolder(images)
    frames = [_frame(path, pictures) for path in sorted(cameras.glob("*.json"))]
    notices = ()
    if cameras.name == "cameras":
        notices = (
            "Polycam has not optimised these poses; those of the phone are used, which are less exact.",
        )
    return Listing(f"keyframes/{cameras.name}", tuple(frames), (images,), notices=notices)


def _frame(path: Path, pictures: PictureFolder) -> Frame:
    values = _load(path)
    pose = np.eye(4)
    pose[:3] = [
        [_number(values, f"t_{row}{column}", path) for column in range(4)] for row in range(3)
    ]
    width, height, fx, fy, cx, cy = (_number(values, key, path) for key in INTRINSICS)
    lens = check_lens(Lens(round(width), round(height), fx, fy, cx, cy), path.name)
    picture = pictures.find(path.stem)
    name = path.stem if picture is None else picture.name
    return Frame(name, picture, from_opengl(pose), lens)


def _load(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CaptureError(
            f"{path.name} is not valid JSON ({error}). Export the raw data again."
        ) from None
    if not isinstance(values, dict):
        raise CaptureError(f"{path.name} describes no camera. Export the raw data again.")
    return values


def _number(values: dict[str, Any], key: str, path: Path) -> float:
    value = values.get(key)
    # what is not finite is dropped by name as a pose, and refused as a lens
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e9:
        raise CaptureError(
            f"{path.name}: {key} is {value!r}, not a number. Export the raw data again."
        )
    return float(value)
