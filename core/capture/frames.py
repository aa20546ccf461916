"""What every reader of camera files hands on, and the checks that all of them share.

camera_to_world [4, 4] is in the file's own coordinates, OpenCV axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import CaptureError
from core.capture.lens import Lens
from core.capture.pictures import Picture

ROTATION_TOLERANCE = 1e-2  # how far a written rotation may be from orthogonal before it is dropped


@dataclass(frozen=True)
class Mask:
    """A mask's file and how it is turned to lie over its picture; of an inverted one bright pixels do not count."""

    path: Path
    is_inverted: bool = False
    orientation: int = 1


@dataclass(frozen=True, eq=False)
class Frame:
    """One entry of a camera file; `path` None: no picture; `is_test` None: the split is left to the rule."""

    name: str
    path: Path | None
    camera_to_world: np.ndarray
    lens: Lens
    is_test: bool | None = None
    is_turned: bool = False
    mask: Mask | None = None


@dataclass(frozen=True, eq=False)
class Listing:
    """Everything a folder's camera files say."""

    source: str
    frames: tuple[Frame, ...]
    searched: tuple[Path, ...]
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    point_colors: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.uint8))
    notices: tuple[str, ...] = ()
    checked: Mapping[Path, Picture] = field(default_factory=dict)  # pictures decoded on the way
    poses: str = ""  # how the poses were estimated, where they were


def matrix(values: Any, where: str) -> np.ndarray:
    """Return a pose [4, 4] from nested lists of 4x4 or 3x4 numbers."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape not in ((4, 4), (3, 4)):
        raise CaptureError(f"{where}: the pose is not a 4x4 matrix of numbers. Export it again.")
    pose = np.eye(4)
    pose[:3] = numbers[:3]
    return pose


def usable_poses(frames: Sequence[Frame], source: str) -> tuple[list[Frame], list[str]]:
    """Drop frames whose pose is no rigid motion, naming them; refuse mirrored ones."""
    kept: list[Frame] = []
    dropped: dict[str, list[str]] = {}
    for frame in frames:
        pose, problem = _rigid(frame.camera_to_world)
        if problem == "mirrored":
            raise CaptureError(
                f"{source}: the pose of {frame.name} is a mirror image (determinant below 0). "
                "Its axes were exchanged on the way; export the cameras again."
            )
        if pose is None:
            dropped.setdefault(problem, []).append(frame.name)
        else:
            kept.append(replace(frame, camera_to_world=pose))
    notices = [
        f"{counted(names, len(frames))} left out, pose {problem}: {listed(names)}."
        for problem, names in dropped.items()
    ]
    return kept, notices


def _rigid(pose: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Return the pose with its nearest rotation, or None and why not."""
    if not np.isfinite(pose).all():
        return None, "not finite"
    determinant = float(np.linalg.det(pose[:3, :3]))
    if abs(determinant) < 1e-9:
        return None, "without a rotation (determinant 0)"
    if determinant < 0:
        return None, "mirrored"
    rotation = pose[:3, :3] / np.cbrt(determinant)
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > ROTATION_TOLERANCE:
        return None, "skewed"
    left, _, right = np.linalg.svd(rotation)
    rigid = pose.copy()
    rigid[:3, :3] = left @ right
    return rigid, ""


def without_repeats(frames: Sequence[Frame], source: str) -> tuple[list[Frame], list[str]]:
    """Keep one of frames that repeat a picture with the same pose; refuse one picture with two poses."""
    first: dict[Path | str, Frame] = {}
    repeated: list[str] = []
    for frame in frames:
        key = frame.path if frame.path is not None else frame.name
        known = first.setdefault(key, frame)
        if known is frame:
            continue
        if not np.allclose(known.camera_to_world, frame.camera_to_world, atol=1e-9, equal_nan=True):
            raise CaptureError(
                f"{source}: {frame.name} is listed twice with different poses. Remove one of the entries."
            )
        repeated.append(frame.name)
    notices = (
        [f"{counted(repeated, len(frames))} listed twice, kept once: {listed(repeated)}."]
        if repeated
        else []
    )
    return list(first.values()), notices


def fitted_lens(lens: Lens, width: int, height: int) -> Lens | None:
    """Return the lens for a picture of this size, or None when its shape is another than declared."""
    if (lens.width, lens.height) == (width, height):
        return lens
    scale = width / lens.width
    rounding = 1.0 + scale  # one pixel of rounding at either size
    if abs(lens.height * scale - height) > rounding:
        return None
    return lens.resized(width, height)


def listed(names: Iterable[str], limit: int = 5) -> str:
    """Join names for a sentence, at most `limit` of them."""
    every = list(names)
    text = ", ".join(every[:limit])
    return text if len(every) <= limit else f"{text} and {len(every) - limit} more"


def counted(names: Sequence[str], total: int) -> str:
    """Say how many of how many frames."""
    return f"{len(names)} of {total} frames"
