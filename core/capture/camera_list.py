"""Read the camera lists of other splat trainers: cameras.json with points3D.ply, and LLFF's poses_bounds.npy.

cameras.json   per picture: camera-to-world rotation and position with OpenCV axes, focal lengths; the
               principal point is not written and taken as the middle.
poses_bounds   [P, 17] per picture, sorted by name: [3, 5] columns down, right, backwards, position,
               (height, width, focal); then near and far.
"""

from __future__ import annotations

import json
from pathlib import Path
from tokenize import TokenError

import numpy as np

from core.base.errors import CaptureError
from core.capture.frames import Frame, Listing, matrix
from core.capture.lens import Lens, check_lens
from core.capture.pictures import PictureFolder, pictures_in
from core.capture.point_cloud import read_points_ply

POINT_FILES = ("points3D.ply", "input.ply", "sparse/0/points3D.ply")
PICTURE_PLACES = ("images", "input", ".")


def read_camera_list(folder: Path) -> Listing:
    """Read cameras.json and the seed points beside it."""
    path = folder / "cameras.json"
    try:
        entries = json.loads(path.read_text("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CaptureError(f"cameras.json is not valid JSON ({error}). Export it again.") from None
    if not isinstance(entries, list):
        raise CaptureError("cameras.json is not a list of cameras. Export it again.")
    searched = tuple(folder / place for place in PICTURE_PLACES)
    pictures = PictureFolder(*searched)
    frames = [_frame(entry, index, pictures) for index, entry in enumerate(entries)]
    return Listing("cameras.json", tuple(frames), searched, *points_beside(folder))


def points_beside(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the seed points [P, 3] and colours [P, 3] of a folder, none where it has no such file."""
    for name in POINT_FILES:
        if (folder / name).is_file():
            return read_points_ply(folder / name)
    return np.zeros((0, 3)), np.zeros((0, 3), np.uint8)


def _frame(entry: object, index: int, pictures: PictureFolder) -> Frame:
    where = f"cameras.json, camera {index}"
    try:
        name = str(entry["img_name"])
        width, height = int(entry["width"]), int(entry["height"])
        fx, fy = float(entry["fx"]), float(entry["fy"])
        rows = [[*row, x] for row, x in zip(entry["rotation"], entry["position"], strict=True)]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CaptureError(
            f"{where} lacks img_name, width, height, fx, fy, rotation or position ({error}). Export it again."
        ) from None
    lens = check_lens(Lens(width, height, fx, fy, width / 2, height / 2), where)
    return Frame(name, pictures.find(name), matrix(rows, where), lens)


def read_llff(folder: Path) -> Listing:
    """Read poses_bounds.npy; its rows belong to the pictures in byte order of their names."""
    try:
        table = np.load(folder / "poses_bounds.npy", allow_pickle=False).astype(np.float64)
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
        MemoryError,
        TokenError,
        SyntaxError,
    ) as error:
        raise CaptureError(f"poses_bounds.npy cannot be read ({error}). Export it again.") from None
    paths = pictures_in(folder / "images")
    paths.sort(key=lambda path: path.name.encode("utf-8", "surrogateescape"))
    if table.ndim != 2 or table.shape[1] != 17 or len(table) != len(paths):
        raise CaptureError(
            f"poses_bounds.npy has shape {list(table.shape)}, but images holds {len(paths)} pictures: "
            f"[{len(paths)}, 17] is needed. Export it again."
        )
    frames = []
    for row, path in zip(table, paths, strict=True):
        columns = row[:15].reshape(3, 5)
        height, width, focal = columns[:, 4]
        pose = np.eye(4)
        pose[:3] = np.column_stack([columns[:, 1], columns[:, 0], -columns[:, 2], columns[:, 3]])
        if not np.isfinite([height, width, focal]).all():
            raise CaptureError(f"poses_bounds.npy: {path.name} has no finite size or focal length.")
        lens = Lens(round(width), round(height), focal, focal, width / 2, height / 2)
        frames.append(Frame(path.name, path, pose, check_lens(lens, "poses_bounds.npy")))
    return Listing("poses_bounds.npy", tuple(frames), (folder / "images",))
