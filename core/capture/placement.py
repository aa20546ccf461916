"""Place a capture in scene units: where up is, where the middle is, and how long one unit is.

Up       the mean of the cameras' own up vectors becomes -y, so that a level camera has axes like the scene's
         (x right, y down).
Middle   the point nearest to all viewing rays (least squares); the cameras' median position where the rays are
         nearly parallel or meet behind the cameras.
Unit     the distance from the cameras' median position within which 90 % of them stand, so that a
         few stray cameras change nothing; at least a quarter of the median distance to the middle,
         so that a capture from nearly one spot still has a scene of a few units.

Points play no part, so the same cameras always give the same scene units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.capture.camera import Camera, Similarity

UP = np.array([0.0, -1.0, 0.0])
LEAST_SPREAD = 5e-3  # mean squared sine between rays below which they count as parallel (4 degrees)
FAR_SHARE = 0.25
CAMERA_SHARE = 90  # percent of the cameras inside one unit


def scene_to_original(cameras: Sequence[Camera]) -> Similarity:
    """Return the map from scene units to the coordinates the cameras are given in."""
    centers = np.stack([camera.center for camera in cameras])  # [C, 3]
    middle = common_point(cameras)
    home = np.median(centers, axis=0)
    reach = float(np.percentile(np.linalg.norm(centers - home, axis=1), CAMERA_SHARE))
    distance = float(np.median(np.linalg.norm(centers - middle, axis=1)))
    unit = max(reach, FAR_SHARE * distance)
    if unit <= 1e-9 * max(1.0, float(np.abs(home).max())):
        unit = 1.0  # all cameras stand on one spot and look in different directions
    rotation = _rotation_between(UP, _mean_up(cameras))
    return Similarity(unit, rotation, middle)


def common_point(cameras: Sequence[Camera]) -> np.ndarray:
    """Return the point [3] the cameras look at together, or their median position when there is none."""
    centers = np.stack([camera.center for camera in cameras])
    forwards = np.stack([camera.forward for camera in cameras])
    across = np.eye(3) - forwards[:, :, None] * forwards[:, None, :]  # [C, 3, 3]
    spread = np.linalg.eigvalsh(across.mean(0))[0]
    home = np.median(centers, axis=0)
    if spread < LEAST_SPREAD:
        return home
    point = np.linalg.solve(across.sum(0), (across @ centers[:, :, None]).sum(0)[:, 0])
    depths = ((point - centers) * forwards).sum(1)
    return point if np.median(depths) > 0 else home


def common_bounds(cameras: Sequence[Camera], points: np.ndarray) -> np.ndarray:
    """Return the box [2, 3] of what several cameras see: the middle 96 % of such points, else +-1."""
    if len(points):
        seen = views_of(points, cameras) >= min(3, len(cameras))
        if seen.sum() >= 32:
            return np.percentile(points[seen].astype(np.float64), [2, 98], axis=0)
    middle = common_point(cameras)
    return np.stack([middle - 1.0, middle + 1.0])


def views_of(points: np.ndarray, cameras: Sequence[Camera]) -> np.ndarray:
    """Count for each point [P, 3] the cameras whose picture it falls into, [P]."""
    count = np.zeros(len(points), dtype=np.int64)
    for camera in cameras:
        count += in_picture(points, camera)[1]
    return count


def in_picture(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Project points [P, 3]; return pixels [P, 2] and whether each falls into the picture [P]."""
    pixels, _ = camera.project(np.asarray(points, dtype=np.float64))
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(1)
    return pixels, inside


def _mean_up(cameras: Sequence[Camera]) -> np.ndarray:
    up = -np.mean([camera.camera_to_world[:3, 1] for camera in cameras], axis=0)
    length = np.linalg.norm(up)
    return up / length if length > 1e-3 else -cameras[0].camera_to_world[:3, 1]


def _rotation_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the smallest rotation [3, 3] that turns one unit vector into another."""
    axis, cosine = np.cross(start, end), float(start @ end)
    if cosine < -1 + 1e-12:  # opposite: half a turn about x, which is across -y
        return np.diag([1.0, -1.0, -1.0])
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)
