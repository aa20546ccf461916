"""Read transforms.json (instant-ngp, nerfstudio, Polycam) and transforms_train/_test.json (Blender renderings).

Poses in these files are OpenGL camera-to-world; here they become OpenCV. Intrinsics may stand at
the top or in a frame; an angle of view is accepted in place of a focal length, nothing is guessed.
What instant-ngp knows and a pinhole camera cannot do (panoramas, f-theta) is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import CaptureError
from core.capture.camera import from_opengl
from core.capture.frames import Frame, Listing, Mask, counted, listed, matrix
from core.capture.lens import Lens, check_lens
from core.capture.pictures import PictureFolder, header_size
from core.capture.point_cloud import read_points_ply

SPLIT_FILES = ("transforms_train.json", "transforms_test.json")
RADIAL = ("k1", "k2", "p1", "p2")
FISHEYE = ("k1", "k2", "k3", "k4")
FOCALS = ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y", "x_fov", "y_fov")  # x_fov: degrees
NO_PINHOLE = ("latlong", "equirectangular", *(f"ftheta_p{power}" for power in range(5)))
ABSENT = np.full((4, 4), np.nan)  # what has no pose is dropped by name

LARGEST = 1e300  # of any number in the file


def read_transforms(folder: Path) -> Listing:
    """Read the folder's transforms.json, or its training and test files."""
    single = folder / "transforms.json"
    if single.is_file():
        return _read_single(folder, single)
    frames: list[Frame] = []
    has_test = (folder / SPLIT_FILES[1]).is_file()
    for file in SPLIT_FILES:
        if (folder / file).is_file():
            is_test = file == SPLIT_FILES[1] if has_test else None
            frames += _frames(folder, file, _load(folder / file), is_test)
    return Listing(SPLIT_FILES[0], tuple(frames), (folder,))


def _read_single(folder: Path, path: Path) -> Listing:
    values = _load(path)
    frames = _frames(folder, path.name, values, None)
    if isinstance(values.get("test_filenames"), list):
        held_out = {_clean(str(name)) for name in values["test_filenames"]}
        frames = [replace(frame, is_test=frame.name in held_out) for frame in frames]
    points, colors = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    notices = _notices(values, frames)
    cloud = values.get("ply_file_path")
    if isinstance(cloud, str) and (folder / cloud).is_file():
        points, colors = read_points_ply(folder / cloud)
    elif cloud:
        notices.append(f"{path.name} names the points file {cloud}, which does not exist.")
    return Listing(path.name, tuple(frames), (folder,), points, colors, tuple(notices))


def _notices(values: dict[str, Any], frames: Sequence[Frame]) -> list[str]:
    """Say what of the file is not used."""
    entries = [values, *values["frames"]]
    unmasked = [
        frame.name
        for frame, entry in zip(frames, values["frames"], strict=True)
        if entry.get("mask_path") and frame.mask is None
    ]
    notices = []
    if unmasked:
        notices.append(
            f"{counted(unmasked, len(frames))} name a mask that does not exist: {listed(unmasked)}."
        )
    if any(entry.get("rolling_shutter") or "transform_matrix_end" in entry for entry in entries):
        notices.append(
            "The camera's motion during an exposure (rolling shutter) is not modelled; the pose at its "
            "start is used."
        )
    return notices


def _clean(name: str) -> str:
    """Return a picture's name with forward slashes and without a leading './'."""
    return name.replace("\\", "/").removeprefix("./")


def _load(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CaptureError(
            f"{path.name} is not valid JSON ({error}). Export the cameras again."
        ) from None
    if not isinstance(values, dict) or not isinstance(values.get("frames"), list):
        raise CaptureError(f"{path.name} holds no list of frames. Export the cameras again.")
    return values


def _frames(folder: Path, file: str, values: dict[str, Any], is_test: bool | None) -> list[Frame]:
    pictures = PictureFolder(folder)
    frames = []
    for index, entry in enumerate(values["frames"]):
        where = f"{file}, frame {index}"
        if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
            raise CaptureError(f"{where} has no file_path. Export the cameras again.")
        name = _clean(entry["file_path"])
        path = pictures.find(name)
        written = entry.get("transform_matrix_start", entry.get("transform_matrix", ABSENT))
        pose = ABSENT if written is ABSENT else matrix(written, f"{where} ({name})")
        lens = _lens(values, entry, path, f"{where} ({name})")
        masked = entry.get("mask_path")
        mask = pictures.find(_clean(masked)) if isinstance(masked, str) else None
        given = None if mask is None else Mask(mask)
        frames.append(Frame(name, path, from_opengl(pose), lens, is_test, mask=given))
    return frames


def _lens(shared: dict[str, Any], entry: dict[str, Any], path: Path | None, where: str) -> Lens:
    values = shared | entry
    unusable = [key for key in NO_PINHOLE if values.get(key)]
    if unusable:
        raise CaptureError(
            f"{where}: {unusable[0]} describes a panorama or an f-theta lens, which is not supported. "
            "Export the pictures as OPENCV_FISHEYE or undistorted."
        )
    size = _numbers(values, where, "w", "h")
    if len(size) == 2:
        width, height = (round(value) for value in size.values())
    else:  # the picture itself says how large it is; a missing picture is reported later
        width, height = (header_size(path) if path is not None else None) or (1, 1)
    # a frame's own focal length or angle replaces the common ones, in whatever form they are
    focals = entry if any(key in entry for key in FOCALS) else shared
    fx, fy = _focal(_numbers(focals, where, *FOCALS), width, height, where)
    given = _numbers(values, where, "cx", "cy")
    model, distortion = _distortion(values, where)
    cx, cy = given.get("cx", width / 2), given.get("cy", height / 2)
    return check_lens(Lens(width, height, fx, fy, cx, cy, model, distortion), where)


def _focal(given: dict[str, float], width: int, height: int, where: str) -> tuple[float, float]:
    given = given | {
        f"camera_angle_{axis}": math.radians(given[f"{axis}_fov"])
        for axis in "xy"
        if f"{axis}_fov" in given
    }
    fx, fy = given.get("fl_x"), given.get("fl_y")
    if fx is None and "camera_angle_x" in given:
        fx = width / 2 / (math.tan(given["camera_angle_x"] / 2) or math.nan)
    if fy is None and "camera_angle_y" in given and "fl_x" not in given:
        fy = height / 2 / (math.tan(given["camera_angle_y"] / 2) or math.nan)
    if fx is None and fy is None:
        raise CaptureError(
            f"{where}: there is neither a focal length (fl_x) nor an angle of view "
            "(camera_angle_x). Add one of them, or estimate the cameras again."
        )
    return (fx if fx is not None else fy), (fy if fy is not None else fx)


def _distortion(values: dict[str, Any], where: str) -> tuple[str, tuple[float, ...]]:
    named = str(values.get("camera_model", "OPENCV")).upper()
    k = _numbers(values | _listed_distortion(values, where), where, *FISHEYE, "p1", "p2")
    if values.get("is_fisheye") or "FISHEYE" in named:
        return "OPENCV_FISHEYE", tuple(k.get(key, 0.0) for key in FISHEYE)
    if named not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
        raise CaptureError(
            f"{where}: the camera model {named} is not supported. "
            "Undistort the pictures first, or export them as OPENCV or OPENCV_FISHEYE."
        )
    if k.get("k4"):
        raise CaptureError(
            f"{where}: k4 = {k['k4']:g} has no agreed meaning for a lens that is no fisheye. "
            "Undistort the pictures first."
        )
    distortion = tuple(k.get(key, 0.0) for key in RADIAL)
    if k.get("k3"):
        return "FULL_OPENCV", (*distortion, k["k3"], 0.0, 0.0, 0.0)
    return ("OPENCV", distortion) if any(distortion) else ("PINHOLE", ())


def _listed_distortion(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Return nerfstudio's `distortion_params` by name."""
    params = values.get("distortion_params")
    if params is None:
        return {}
    if not isinstance(params, list) or len(params) != 6:
        raise CaptureError(
            f"{where}: distortion_params is {params!r}, not six numbers. Export the cameras again."
        )
    return dict(zip((*FISHEYE, "p1", "p2"), params, strict=True))


def _numbers(values: dict[str, Any], where: str, *keys: str) -> dict[str, float]:
    """Return those of the keys that are given, as numbers."""
    found = {}
    for key in keys:
        value = values.get(key)
        if value is None:
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not abs(value) < LARGEST  # nor NaN; a whole number may have any number of digits
        ):
            raise CaptureError(
                f"{where}: {key} is {value!r}, not a number. Export the cameras again."
            )
        found[key] = float(value)
    return found
