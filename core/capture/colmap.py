"""Read a COLMAP model, binary or text.

The files are walked here, record by record, so that a count that does not fit the file is refused
with its byte offset (or line) before anything is allocated for it. Old models of three files and new ones with
rigs.bin and frames.bin are read alike: both keep each image's own pose in images.bin.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from core.base.errors import CaptureError
from core.capture.frames import Frame, Listing
from core.capture.lens import Lens, check_lens
from core.capture.pictures import PictureFolder

# COLMAP's model ids: name, number of focal lengths, number of all parameters
MODELS = {
    0: ("SIMPLE_PINHOLE", 1, 3), 1: ("PINHOLE", 2, 4), 2: ("SIMPLE_RADIAL", 1, 4),
    3: ("RADIAL", 1, 5), 4: ("OPENCV", 2, 8), 5: ("OPENCV_FISHEYE", 2, 8),
    6: ("FULL_OPENCV", 2, 12), 7: ("FOV", 2, 5), 8: ("SIMPLE_RADIAL_FISHEYE", 1, 4),
    9: ("RADIAL_FISHEYE", 1, 5), 10: ("THIN_PRISM_FISHEYE", 2, 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 2, 16),
}  # fmt: skip
NAMED_MODELS = {name: (focals, total) for name, focals, total in MODELS.values()}
MAX_NAME_BYTES = 4096
PLACES = ("sparse/0", "sparse", ".")
PICTURE_PLACES = ("images", "input", ".")

Pose = tuple[str, int, np.ndarray]  # picture name, camera id, camera_to_world


def find_model(folder: Path) -> Path | None:
    """Return where the model of a capture lies."""
    for place in PLACES:
        for suffix in (".bin", ".txt"):
            if (folder / place / f"cameras{suffix}").is_file():
                return folder / place
    return None


def read_colmap(folder: Path) -> Listing:
    """Read the COLMAP model of a capture folder."""
    model = find_model(folder)
    if model is None:
        raise CaptureError(f"{folder.name}: there is no cameras.bin or cameras.txt.")
    is_binary = (model / "cameras.bin").is_file()
    suffix = ".bin" if is_binary else ".txt"
    if not (model / f"images{suffix}").is_file():
        raise CaptureError(f"{folder.name}: cameras{suffix} has no images{suffix} beside it.")
    if is_binary:
        lenses = _binary_cameras(_Bytes(model / "cameras.bin"))
        poses = _binary_images(_Bytes(model / "images.bin"))
    else:
        lenses = _text_cameras(model / "cameras.txt")
        poses = _text_images(model / "images.txt")
    points, colors, notices = np.zeros((0, 3)), np.zeros((0, 3), np.uint8), ()
    if (model / "points3D.bin").is_file() and is_binary:
        points, colors = _binary_points(_Bytes(model / "points3D.bin"))
    elif (model / "points3D.txt").is_file():
        points, colors = _text_points(model / "points3D.txt")
    searched = tuple(folder / place for place in PICTURE_PLACES)
    pictures = PictureFolder(*searched)
    frames = []
    for name, camera_id, pose in poses:
        if camera_id not in lenses:
            raise CaptureError(
                f"images{suffix}: {name} uses camera {camera_id}, which cameras{suffix} does not hold."
            )
        frames.append(Frame(name, pictures.find(name), pose, lenses[camera_id]))
    return Listing(f"COLMAP model {suffix}", tuple(frames), searched, points, colors, notices)


def _lens(model: str, width: int, height: int, params: tuple[float, ...], where: str) -> Lens:
    focals = NAMED_MODELS[model][0]
    fx, fy, (cx, cy) = params[0], params[focals - 1], params[focals : focals + 2]
    return check_lens(Lens(width, height, fx, fy, cx, cy, model, params[focals + 2 :]), where)


def _pose(qvec: tuple[float, ...], tvec: tuple[float, ...]) -> np.ndarray:
    """Invert COLMAP's world-to-camera (w, x, y, z quaternion and translation); no number when it has no rotation."""
    quaternion = np.asarray(qvec, dtype=np.float64)
    length = np.linalg.norm(quaternion)
    if not np.isfinite(length) or length < 1e-9:
        return np.full((4, 4), np.nan)
    w, x, y, z = quaternion / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.T, -rotation.T @ np.asarray(tvec)
    return pose


class _Bytes:
    """A binary file with a position; every read is checked against its end."""

    def __init__(self, path: Path) -> None:
        self.name, self.data, self.at = path.name, path.read_bytes(), 0

    def take(self, layout: str) -> tuple:
        size = struct.calcsize("<" + layout)
        self.need(size)
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += size
        return values

    def count(self, least_bytes: int, what: str) -> int:
        """Read a number of records and refuse it when that many cannot follow."""
        start = self.at
        (number,) = self.take("Q")
        if number * least_bytes > len(self.data) - self.at:
            raise CaptureError(
                f"{self.name}: byte {start} promises {number} {what}, but only "
                f"{len(self.data) - self.at} bytes follow. Copy or export the model again."
            )
        return number

    def skip(self, size: int) -> None:
        self.need(size)
        self.at += size

    def need(self, size: int) -> None:
        if size > len(self.data) - self.at:
            raise CaptureError(
                f"{self.name} ends at byte {len(self.data)} in the middle of a record that starts at "
                f"byte {self.at}. Copy or export the model again."
            )

    def text(self) -> str:
        end = self.data.find(b"\0", self.at, self.at + MAX_NAME_BYTES)
        if end < 0:
            raise CaptureError(
                f"{self.name}: the picture name at byte {self.at} does not end. Copy or export the model again."
            )
        value = self.data[self.at : end].decode("utf-8", "surrogateescape")
        self.at = end + 1
        return value


def _binary_cameras(file: _Bytes) -> dict[int, Lens]:
    lenses = {}
    for _ in range(file.count(48, "cameras")):
        start = file.at
        camera_id, model_id, width, height = file.take("iiQQ")
        where = f"{file.name}, camera {camera_id} at byte {start}"
        if model_id not in MODELS:
            raise CaptureError(
                f"{where}: camera model {model_id} is not supported. Undistort the pictures first."
            )
        name, _, total = MODELS[model_id]
        lenses[camera_id] = _lens(name, width, height, file.take(f"{total}d"), where)
    return lenses


def _binary_images(file: _Bytes) -> list[Pose]:
    poses = []
    for _ in range(file.count(73, "images")):
        _, *numbers, camera_id = file.take("i7di")
        name = file.text()
        file.skip(24 * file.count(24, f"observations of {name}"))
        poses.append((name, camera_id, _pose(tuple(numbers[:4]), tuple(numbers[4:]))))
    return poses


def _binary_points(file: _Bytes) -> tuple[np.ndarray, np.ndarray]:
    count = file.count(51, "points")
    points, colors = np.empty((count, 3)), np.empty((count, 3), np.uint8)
    for index in range(count):
        _, *values, _ = file.take("Q3d3Bd")
        points[index], colors[index] = values[:3], values[3:]
        file.skip(8 * file.count(8, "observations of a point"))
    return points, colors


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return (line number, words) of the lines that are no comments; empty lines stay, they mean 'no observations'."""
    lines = path.read_text("utf-8", "surrogateescape").splitlines()
    return [
        (number, line.split())
        for number, line in enumerate(lines, start=1)
        if not line.lstrip().startswith("#")
    ]


def _floats(words: list[str], path: Path, line: int) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        raise CaptureError(
            f"{path.name}, line {line}: '{' '.join(words)[:60]}' are not all numbers. Export the model again."
        ) from None


def _short_line(path: Path, line: int, words: list[str], wanted: int) -> CaptureError:
    return CaptureError(
        f"{path.name}, line {line}: {len(words)} words where at least {wanted} belong. Export the model again."
    )


def _text_cameras(path: Path) -> dict[int, Lens]:
    lenses = {}
    for line, words in _rows(path):
        if not words:
            continue
        where = f"{path.name}, line {line}"
        if len(words) < 5:
            raise _short_line(path, line, words, 5)
        if words[1] not in NAMED_MODELS:
            raise CaptureError(
                f"{where}: camera model {words[1]} is not supported. Undistort the pictures first."
            )
        total = NAMED_MODELS[words[1]][1]
        if len(words) != 4 + total:
            raise CaptureError(
                f"{where}: {words[1]} has {total} parameters, {len(words) - 4} are given. Export it again."
            )
        camera_id, width, height, *params = _floats([words[0], *words[2:]], path, line)
        lenses[int(camera_id)] = _lens(words[1], int(width), int(height), tuple(params), where)
    return lenses


def _text_images(path: Path) -> list[Pose]:
    rows = _rows(path)
    while rows and not rows[0][1]:
        rows.pop(0)
    poses = []
    for line, words in rows[::2]:
        if not words:
            continue
        if len(words) < 10:
            raise _short_line(path, line, words, 10)
        numbers = _floats(words[1:9], path, line)
        poses.append((" ".join(words[9:]), int(numbers[7]), _pose(numbers[:4], numbers[4:7])))
    return poses


def _text_points(path: Path) -> tuple[np.ndarray, np.ndarray]:
    values = []
    for line, words in _rows(path):
        if words and len(words) < 8:
            raise _short_line(path, line, words, 8)
        if words:
            values.append(_floats(words[1:7], path, line))
    table = np.asarray(values, dtype=np.float64).reshape(-1, 6)
    return table[:, :3], np.clip(table[:, 3:], 0, 255).astype(np.uint8)
