"""Read a COLMAP model, binary or text, through pycolmap.

pycolmap believes every count and length it reads, so the records are walked here first: one that
does not fit its file is refused with its byte offset (or line). pycolmap then reads copies of
exactly what was walked. rigs and frames stay behind, because the images file holds every picture's
own pose in old and new models alike. Of several models side by side the one with most pictures is read.
"""

from __future__ import annotations

import math
import struct
import tempfile
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.base.errors import CaptureError
from core.capture.frames import Frame, Listing
from core.capture.lens import Lens, check_lens
from core.capture.pictures import PictureFolder

if TYPE_CHECKING:
    import pycolmap

FOLDERS = ("sparse", "colmap/sparse")  # of models numbered 0, 1, ..., or of one model
PICTURE_PLACES = ("images", "input", ".")
LEAST_IMAGE_BYTES = 73  # of one picture in images.bin

# what a walk finds: camera ids, and picture name and camera id by image id. The names are taken
# from here because pycolmap cuts those in text at the first space
Found = tuple[set[int], dict[int, tuple[str, int]]]


def find_model(folder: Path) -> Path | None:
    """Return where the model of a capture lies; of several, that with most pictures."""
    models = find_models(folder)
    return max(models, key=lambda place: (models[place], -list(models).index(place)), default=None)


def find_models(folder: Path) -> dict[Path, int]:
    """Return where the models of a capture lie, first numbered ones, with how many pictures each promises."""
    for place in FOLDERS:
        numbered = sorted(
            (path for path in (folder / place).glob("*") if path.name.isdecimal()),
            key=lambda path: int(path.name),
        )
        found = [path for path in (*numbered, folder / place) if _is_model(path)]
        if found:
            return {path: _num_pictures(path) for path in found}
    return {folder: _num_pictures(folder)} if _is_model(folder) else {}


def _is_model(place: Path) -> bool:
    return any((place / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt"))


def _num_pictures(place: Path) -> int:
    """Return how many pictures a model promises, never more than its file can hold."""
    binary, text = place / "images.bin", place / "images.txt"
    if binary.is_file():
        with binary.open("rb") as file:
            start = file.read(8)
        most = binary.stat().st_size // LEAST_IMAGE_BYTES
        return min(int.from_bytes(start, "little"), most)
    if not text.is_file():
        return 0
    lines = text.read_bytes().split(b"\n")
    return sum(1 for line in lines if not line.startswith(b"#")) // 2


def _told(models: dict[Path, int], used: Path, folder: Path) -> tuple[str, ...]:
    """Say which of several models is used."""
    if len(models) < 2:
        return ()
    counts = ", ".join(
        f"{count} in {place.relative_to(folder).as_posix()}" for place, count in models.items()
    )
    return (
        f"COLMAP left {len(models)} models that share no coordinates, with pictures: {counts}. "
        f"{used.relative_to(folder).as_posix()} is used.",
    )


def read_colmap(folder: Path) -> Listing:
    """Read the COLMAP model of a capture folder."""
    place = find_model(folder)
    if place is None:
        raise CaptureError(f"{folder.name}: there is no cameras.bin or cameras.txt.")
    is_binary = (place / "cameras.bin").is_file()
    suffix = ".bin" if is_binary else ".txt"
    if not (place / f"images{suffix}").is_file():
        raise CaptureError(f"{folder.name}: cameras{suffix} has no images{suffix} beside it.")
    # an empty list of points stands in for a file that is not there
    files = {f"points3D{suffix}": bytes(8) if is_binary else b""}
    for name in (f"cameras{suffix}", f"images{suffix}", f"points3D{suffix}"):
        if (place / name).is_file():
            files[name] = (place / name).read_bytes()
    cameras, names = _walk_binary(files) if is_binary else _walk_text(files)
    for name, camera_id in names.values():
        if camera_id not in cameras:
            raise CaptureError(
                f"images{suffix}: {name} uses camera {camera_id}, which cameras{suffix} does not hold."
            )
    model = _read_walked(files, folder.name)
    lenses = {
        key: _lens(camera, f"cameras{suffix}, camera {key}")
        for key, camera in model.cameras.items()
    }
    searched = tuple(folder / name for name in PICTURE_PLACES)
    pictures = PictureFolder(*searched)
    frames = []
    for image_id, (name, camera_id) in sorted(names.items()):
        pose = _camera_to_world(model.images[image_id])
        frames.append(Frame(name, pictures.find(name), pose, lenses[camera_id]))
    seeds = [point for _, point in sorted(model.points3D.items(), key=itemgetter(0))]
    points = np.array([point.xyz for point in seeds]).reshape(-1, 3)
    colors = np.array([point.color for point in seeds], np.uint8).reshape(-1, 3)
    notices = _told(find_models(folder), place, folder)
    return Listing(f"COLMAP model {suffix}", tuple(frames), searched, points, colors, notices)


def _read_walked(files: dict[str, bytes], capture: str) -> pycolmap.Reconstruction:
    """Let pycolmap read files whose records were walked."""
    import pycolmap

    with tempfile.TemporaryDirectory(prefix="hyrf-colmap-") as folder:
        for name, data in files.items():
            # the blank line stands in for the observations that a last picture in text may lack
            (Path(folder) / name).write_bytes(data + b"\n\n" * name.endswith(".txt"))
        try:
            return pycolmap.Reconstruction(folder)
        except (ValueError, LookupError, RuntimeError) as error:
            raise CaptureError(
                f"{capture}: the COLMAP model contradicts itself ({error}). Export it again."
            ) from None


def _lens(camera: pycolmap.Camera, where: str) -> Lens:
    params, focals = camera.params.tolist(), len(camera.focal_length_idxs())
    fx, fy, (cx, cy) = params[0], params[focals - 1], params[focals : focals + 2]
    rest = camera.model.name, tuple(params[focals + 2 :])
    return check_lens(Lens(camera.width, camera.height, fx, fy, cx, cy, *rest), where)


def _num_parameters(model: int | str, where: str) -> int:
    """Return how many numbers a camera model has, or refuse it by name."""
    import pycolmap

    try:
        camera = pycolmap.Camera.create_from_model_id(1, model, 1.0, 1, 1)
    except (ValueError, TypeError):
        camera = None
    if camera is None or not camera.focal_length_idxs():
        name = model if camera is None else camera.model.name
        raise CaptureError(
            f"{where}: camera model {name} is not supported. Undistort the pictures first."
        )
    return len(camera.params)


def _camera_to_world(image: pycolmap.Image) -> np.ndarray:
    """Return the pose [4, 4] of a picture; no number when it has no rotation."""
    pose = image.cam_from_world()
    camera_to_world = np.full((4, 4), np.nan)
    if pose.rotation.norm() > 1e-9:
        pose.rotation.normalize()
        camera_to_world[:] = np.eye(4)
        camera_to_world[:3] = pose.inverse().matrix()
    return camera_to_world


class _Bytes:
    """A binary file with a position; every step is checked against its end."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.data, self.at = name, data, 0

    def skip(self, size: int) -> bytes:
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise CaptureError(
                f"{self.name} ends at byte {len(self.data)} in the middle of a record that starts at "
                f"byte {start}. Copy or export the model again."
            )
        return self.data[start : self.at]

    def take(self, layout: str) -> tuple:
        return struct.unpack("<" + layout, self.skip(struct.calcsize("<" + layout)))

    def count(self, least_bytes: int, what: str) -> int:
        """Read a number of records and refuse it when that many cannot follow."""
        start, (number,) = self.at, self.take("Q")
        left = len(self.data) - self.at
        if number * least_bytes > left:
            raise CaptureError(
                f"{self.name}: byte {start} promises {number} {what}, but only {left} bytes follow. "
                "Copy or export the model again."
            )
        return number

    def text(self) -> str:
        end = self.data.find(b"\0", self.at)
        size = (end if end >= 0 else len(self.data)) - self.at + 1
        return self.skip(size)[:-1].decode("utf-8", "surrogateescape")


def _walk_binary(files: dict[str, bytes]) -> Found:
    cameras, names = set(), {}
    file = _Bytes("cameras.bin", files["cameras.bin"])
    for _ in range(file.count(40, "cameras")):
        where = f"{file.name}, camera at byte {file.at}"
        camera_id, model = file.take("Ii16x")
        file.skip(8 * _num_parameters(model, where))
        cameras.add(camera_id)
    file = _Bytes("images.bin", files["images.bin"])
    for _ in range(file.count(73, "images")):
        image_id, camera_id = file.take("I56xI")
        names[image_id] = (file.text(), camera_id)
        file.skip(24 * file.count(24, "observations"))
    file = _Bytes("points3D.bin", files["points3D.bin"])
    for _ in range(file.count(51, "points")):
        file.skip(43)
        file.skip(8 * file.count(8, "observations"))
    return cameras, names


def _walk_text(files: dict[str, bytes]) -> Found:
    cameras, names = set(), {}
    for where, words, whole in _rows(files, "cameras.txt", 5, (0, 2, 3), slice(4, None)):
        model, given = words[1].decode("utf-8", "replace"), len(words) - 4
        if given != (wanted := _num_parameters(model, where)):
            raise CaptureError(
                f"{where}: {model} has {wanted} parameters, {given} are given. Export it again."
            )
        cameras.add(whole[0])
    for _, words, whole in _rows(files, "images.txt", 10, (0, 8), slice(1, 8)):
        name = b" ".join(words[9:]).decode("utf-8", "surrogateescape")
        names[whole[0]] = (name, whole[1])
    for _ in _rows(files, "points3D.txt", 8, (0,), slice(1, 8)):
        pass  # points themselves are pycolmap's
    return cameras, names


def _rows(
    files: dict[str, bytes], name: str, least: int, whole: Iterable[int], real: slice
) -> Iterator[tuple[str, list[bytes], list[int]]]:
    """Yield place, words and whole numbers of each record, when the columns hold the numbers they should."""
    lines = enumerate(files[name].split(b"\n"), start=1)
    for number, line in lines:
        words, where = line.split(), f"{name}, line {number}"
        if not words or words[0].startswith(b"#"):
            continue
        if len(words) < least:
            problem = f"{len(words)} words where at least {least} belong"
            raise CaptureError(f"{where}: {problem}. Export the model again.")
        try:
            ids, values = [int(words[i]) for i in whole], [float(word) for word in words[real]]
        except ValueError:
            values = [math.nan]
        if not all(map(math.isfinite, values)) or min(ids) < 0:
            text = line.decode("utf-8", "replace")[:60]
            raise CaptureError(
                f"{where}: in '{text}' not all numbers can be used. Export the model again."
            )
        yield where, words, ids
        if name == "images.txt":
            next(lines, None)  # its observations, even when the line is empty
