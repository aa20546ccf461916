"""Read transforms.json (instant-ngp, nerfstudio) and transforms_train/_test.json (Blender renderings).

Poses in these files are OpenGL camera-to-world; here they become OpenCV. Intrinsics may stand at
the top or in a frame; an angle of view is accepted in place of a focal length, nothing is guessed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import CaptureError
from core.capture.camera import from_opengl
from core.capture.frames import Frame, Listing, matrix
from core.capture.lens import Lens, check_lens
from core.capture.pictures import PictureFolder, header_size
from core.capture.point_cloud import read_points_ply

SPLIT_FILES = ("transforms_train.json", "transforms_test.json")
RADIAL = ("k1", "k2", "p1", "p2")
FISHEYE = ("k1", "k2", "k3", "k4")


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
        frames = [_with_split(frame, frame.name in held_out) for frame in frames]
    points, colors, notices = np.zeros((0, 3)), np.zeros((0, 3), np.uint8), ()
    cloud = values.get("ply_file_path")
    if isinstance(cloud, str) and (folder / cloud).is_file():
        points, colors = read_points_ply(folder / cloud)
    elif cloud:
        notices = (f"{path.name} names the points file {cloud}, which does not exist.",)
    return Listing(path.name, tuple(frames), (folder,), points, colors, notices)


def _clean(name: str) -> str:
    """Return a picture's name with forward slashes and without a leading './'."""
    return name.replace("\\", "/").removeprefix("./")


def _with_split(frame: Frame, is_test: bool) -> Frame:
    return Frame(frame.name, frame.path, frame.camera_to_world, frame.lens, is_test)


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
        if "transform_matrix" not in entry:
            pose = np.full((4, 4), np.nan)
        else:
            pose = matrix(entry["transform_matrix"], f"{where} ({name})")
        lens = _lens(values | entry, path, f"{where} ({name})")
        frames.append(Frame(name, path, from_opengl(pose), lens, is_test))
    return frames


def _lens(values: dict[str, Any], path: Path | None, where: str) -> Lens:
    size = _numbers(values, where, "w", "h")
    if len(size) == 2:
        width, height = (round(value) for value in size.values())
    else:  # the picture itself says how large it is; a missing picture is reported later
        width, height = (header_size(path) if path is not None else None) or (1, 1)
    given = _numbers(values, where, "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y")
    fx, fy = _focal(given, width, height, where)
    model, distortion = _distortion(values, where)
    cx, cy = given.get("cx", width / 2), given.get("cy", height / 2)
    return check_lens(Lens(width, height, fx, fy, cx, cy, model, distortion), where)


def _focal(given: dict[str, float], width: int, height: int, where: str) -> tuple[float, float]:
    fx, fy = given.get("fl_x"), given.get("fl_y")
    if fx is None and "camera_angle_x" in given:
        fx = width / 2 / math.tan(given["camera_angle_x"] / 2)
    if fy is None and "camera_angle_y" in given and "fl_x" not in given:
        fy = height / 2 / math.tan(given["camera_angle_y"] / 2)
    if fx is None and fy is None:
        raise CaptureError(
            f"{where}: there is neither a focal length (fl_x) nor an angle of view "
            "(camera_angle_x). Add one of them, or estimate the cameras again."
        )
    return (fx if fx is not None else fy), (fy if fy is not None else fx)


def _distortion(values: dict[str, Any], where: str) -> tuple[str, tuple[float, ...]]:
    named = str(values.get("camera_model", "OPENCV")).upper()
    k = _numbers(values, where, *FISHEYE, "p1", "p2")
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
            or not math.isfinite(value)
        ):
            raise CaptureError(
                f"{where}: {key} is {value!r}, not a number. Export the cameras again."
            )
        found[key] = float(value)
    return found
