"""The cameras that a scene remembers and its points as a COLMAP text model: a folder of three files.

    cameras.txt   one PINHOLE line per different lens, pixels of the undistorted training pictures
    images.txt    rotation (w x y z) and translation world-to-camera per photograph, no observations
    points3D.txt  centres and colours of the clearest Gaussians, at most 100,000, without tracks

Everything is in the coordinates of the capture, which are COLMAP's own axes.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from core.base.errors import FormatError
from core.capture.camera import Camera
from core.formats.cameras_json import counted, remembered
from core.formats.pointcloud import points_of
from core.radiance.parts import SceneParts

MOST_POINTS = 100_000
FILES = ("cameras.txt", "images.txt", "points3D.txt")


def write(scene: SceneParts, path: Path) -> list[str]:
    """Write the folder; say what is in it."""
    path = Path(path)
    cameras = remembered(scene, path)
    points, colors, _ = points_of(scene, path)
    chosen = np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).round().astype(int)
    lenses = list(dict.fromkeys(_lens(camera) for _, camera in cameras))
    contents = (
        "\n".join(f"{number} {lens}" for number, lens in enumerate(lenses, 1)),
        "\n".join(
            f"{number} {_pose(camera)} {lenses.index(_lens(camera)) + 1} {name}\n"
            for number, (name, camera) in enumerate(cameras, 1)
        ),
        "\n".join(_point(k + 1, points[row], colors[row]) for k, row in enumerate(chosen)),
    )
    _replace_folder(path, dict(zip(FILES, contents, strict=True)))
    told = [counted(scene, len(cameras)), f"{len(chosen):,} of {len(points):,} points."]
    spaced = sum(" " in name for name, _ in cameras)
    if spaced:
        told.append(f"{spaced} pictures have a space in their name, which ends it for COLMAP.")
    return told


def _lens(camera: Camera) -> str:
    numbers = (camera.fx, camera.fy, camera.cx, camera.cy)
    return f"PINHOLE {camera.width} {camera.height} {' '.join(f'{n:.17g}' for n in numbers)}"


def _pose(camera: Camera) -> str:
    from scipy.spatial.transform import Rotation

    matrix = camera.world_to_camera
    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    return " ".join(f"{number:.17g}" for number in (w, x, y, z, *matrix[:3, 3]))


def _point(number: int, place: np.ndarray, color: np.ndarray) -> str:
    x, y, z = place
    red, green, blue = color
    return f"{number} {x:.9g} {y:.9g} {z:.9g} {red} {green} {blue} 0"


def _replace_folder(path: Path, contents: dict[str, str]) -> None:
    """Write a folder beside its place and swap it in; only a folder of such a model is replaced."""
    if path.exists() and not (path.is_dir() and {p.name for p in path.iterdir()} <= set(FILES)):
        raise FormatError(
            f"{path}: exists and holds other things than a COLMAP model. Choose another name."
        )
    new, old = (path.with_name(f".{path.name}.{os.getpid()}.{word}") for word in ("new", "old"))
    try:
        new.mkdir(parents=True)
        for name, content in contents.items():
            with (new / name).open("w", encoding="utf-8") as file:
                file.write(content + "\n")
                file.flush()
                os.fsync(file.fileno())
        if path.exists():
            path.rename(old)
        new.rename(path)
    except OSError as error:
        reason = error.strerror or error
        raise FormatError(
            f"{path}: cannot be written ({reason}). Choose another place or free space."
        ) from None
    finally:
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)
