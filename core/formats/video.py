"""Pictures to a video or a folder, and the camera paths they are drawn along.

A camera path is JSON: {"fps": 30, "cameras": [camera, ...]} lists every picture, or
{"fps": 30, "seconds": 10, "keyframes": [camera, ...]} gives stations that are connected smoothly:
places by a Catmull-Rom spline, directions by the shortest rotation. A camera is
{"camera_to_world": 4x4, "fx", "fy", "cx", "cy", "width", "height"} in OpenCV axes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from core.base.errors import FormatError
from core.capture.camera import Camera
from core.formats.files import checked_file, replacing

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
MAX_PATH_BYTES = 64 << 20
MAX_PICTURES = 100_000

Number = Annotated[float, Field(allow_inf_nan=False)]
Row = Annotated[list[Number], Field(min_length=4, max_length=4)]


class _Camera(BaseModel):
    camera_to_world: Annotated[list[Row], Field(min_length=4, max_length=4)]
    fx: Number = Field(gt=0)
    fy: Number = Field(gt=0)
    cx: Number
    cy: Number
    width: int = Field(ge=1, le=16384)
    height: int = Field(ge=1, le=16384)


class _Path(BaseModel):
    fps: Number = Field(30.0, gt=0, le=240)
    seconds: Number = Field(10.0, gt=0, le=3600)
    cameras: list[_Camera] = []
    keyframes: list[_Camera] = []


class CameraPath(NamedTuple):
    """The camera of every picture, and how many of them make a second."""

    cameras: list[Camera]
    fps: float


def read_camera_path(path: Path) -> CameraPath:
    """Read a camera path; keyframes are interpolated."""
    path = Path(path)
    if checked_file(path) > MAX_PATH_BYTES:
        raise FormatError(f"{path.name}: is larger than {MAX_PATH_BYTES} bytes; no camera path is.")
    try:
        values = json.loads(path.read_bytes())
        described = _Path.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(key) for key in problem["loc"])
        raise FormatError(f"{path.name}: {place or 'the file'}: {problem['msg']}.") from None
    except (ValueError, RecursionError, OSError) as error:
        raise FormatError(f"{path.name}: is no readable JSON ({error}).") from None
    if bool(described.cameras) == bool(described.keyframes):
        raise FormatError(f'{path.name}: needs either "cameras" or "keyframes", with entries.')
    stations = [_camera(path, entry) for entry in described.cameras or described.keyframes]
    if len({(camera.width, camera.height) for camera in stations}) > 1:
        raise FormatError(f"{path.name}: its cameras differ in width or height; make them equal.")
    if described.cameras:
        return CameraPath(stations, described.fps)
    count = max(2, round(described.seconds * described.fps))
    if count > MAX_PICTURES:
        raise FormatError(
            f"{path.name}: asks for {count} pictures, at most {MAX_PICTURES} are drawn."
        )
    return CameraPath(between(stations, count), described.fps)


def _camera(path: Path, entry: _Camera) -> Camera:
    camera = Camera.from_json(entry.model_dump())
    rotation = camera.camera_to_world[:3, :3]
    is_rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
    if not is_rigid or np.linalg.det(rotation) < 0:
        raise FormatError(
            f"{path.name}: a camera_to_world is no rotation and place; axes of length one are needed."
        )
    return camera


def between(stations: list[Camera], count: int) -> list[Camera]:
    """Return `count` cameras along a smooth line through the stations, first and last included."""
    from scipy.spatial.transform import Rotation, Slerp

    if len(stations) == 1:
        return stations * count
    times = np.linspace(0, len(stations) - 1, count)
    matrices = np.stack([camera.camera_to_world[:3, :3] for camera in stations])
    rotations = Slerp(np.arange(len(stations)), Rotation.from_matrix(matrices))(times).as_matrix()
    lenses = np.array([(c.fx, c.fy, c.cx, c.cy) for c in stations])
    centers = _catmull_rom(np.stack([camera.center for camera in stations]), times)
    cameras = []
    for number, time in enumerate(times):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotations[number], centers[number]
        first = min(int(time), len(stations) - 2)
        lens = lenses[first] + (time - first) * (lenses[first + 1] - lenses[first])
        width, height = stations[0].width, stations[0].height
        cameras.append(Camera(pose, *(float(value) for value in lens), width, height))
    return cameras


def _catmull_rom(points: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return places [T, 3] on the spline through points [P, 3]; ends are mirrored outwards."""
    padded = np.concatenate((2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]))
    first = np.minimum(times.astype(int), len(points) - 2)
    t = (times - first)[:, None]
    before, here, there, after = (padded[first + k] for k in range(4))
    return 0.5 * (
        2 * here
        + (there - before) * t
        + (2 * before - 5 * here + 4 * there - after) * t**2
        + (3 * here - before - 3 * there + after) * t**3
    )


def write_pictures(frames: Iterable[np.ndarray], path: Path, fps: float) -> int:
    """Write pictures [H, W, 3] uint8 to a video, or as PNG files into a folder; return their number."""
    path = Path(path)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _write_video(frames, path, fps)
    if path.suffix:
        raise FormatError(
            f"{path.name}: choose a name ending in {', '.join(VIDEO_SUFFIXES)}, or a folder."
        )
    return _write_folder(frames, path)


def _write_video(frames: Iterable[np.ndarray], path: Path, fps: float) -> int:
    import imageio_ffmpeg

    count = 0
    with replacing(path) as temporary:
        writer: Any = None
        try:
            for frame in _even(frames):
                if writer is None:
                    height, width = frame.shape[:2]
                    writer = imageio_ffmpeg.write_frames(
                        str(temporary), (width, height), fps=fps, quality=8, macro_block_size=2
                    )
                    writer.send(None)
                writer.send(frame.tobytes())
                count += 1
        finally:
            if writer is not None:
                writer.close()
        if not count:
            raise FormatError(f"{path.name}: there are no pictures to write.")
    return count


def _even(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Repeat the last row or column where a size is odd: video needs even sizes."""
    for frame in frames:
        height, width = frame.shape[:2]
        yield np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _write_folder(frames: Iterable[np.ndarray], folder: Path) -> int:
    from PIL import Image

    count = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for count, frame in enumerate(frames, 1):
            Image.fromarray(frame).save(folder / f"{count - 1:05d}.png")
    except OSError as error:
        raise FormatError(f"{folder}: cannot be written ({error.strerror or error}).") from None
    if not count:
        raise FormatError(f"{folder.name}: there are no pictures to write.")
    return count
