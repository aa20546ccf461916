"""Turn mouse and keys into camera poses: orbit, pan, zoom, fly and snap, free of any toolkit. numpy only.

The orientation is kept as three angles around the scene's upward direction, so that nothing
drifts, the horizon stays level and looking straight up or down is an ordinary place to be.
A photograph's camera is adopted exactly, tilt included; the tilt then fades as the hand moves on.

    pivot   [3]  scene units  the point that orbiting turns around and zooming approaches
    up      [3]  -            unit vector, upwards in the picture
    radius  -    scene units  half the extent of the scene; sets speeds and limits
    dx, dy  -    pixels       to the right, downwards
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from core.capture.camera import Camera

ORBIT_SPEED = math.radians(0.3)  # per pixel
LOOK_SPEED = math.radians(0.15)  # per pixel
ZOOM_STEP = 0.88  # distance after one notch of the wheel
FLY_SPEED = 0.6  # radii per second
FAST, SLOW = 4.0, 0.25
STEEPEST = math.radians(89.0)
UPRIGHT_AFTER = 120.0  # pixels of movement that take away 63 % of a photograph's tilt
NARROWEST, WIDEST = math.radians(10.0), math.radians(120.0)
FARTHEST = 1e4  # radii from the pivot
NEAREST = 1e-3  # radii from the pivot


class OrbitControl:
    """A camera in the hand of the user. Input that is not finite is ignored."""

    def __init__(
        self,
        camera: Camera,
        pivot: np.ndarray | None = None,
        up: np.ndarray | None = None,
        radius: float = 1.0,
    ) -> None:
        self.radius = radius if math.isfinite(radius) and radius > 0 else 1.0
        self.up = _unit(np.array([0.0, -1.0, 0.0]) if up is None else np.asarray(up, np.float64))
        self._east = _across(self.up)  # with `_north` and `up` the axes the angles refer to
        self._north = np.cross(self.up, self._east)
        self.pivot: np.ndarray = camera.center + camera.forward * self.radius
        self.adopt(camera, pivot)

    def adopt(self, camera: Camera, pivot: np.ndarray | None = None) -> None:
        """Continue from another camera with its lens; without a pivot take the point ahead at the old depth."""
        matrix = np.asarray(camera.camera_to_world, dtype=np.float64)
        if not np.isfinite(matrix).all():
            return
        self._lens = camera
        self.center = matrix[:3, 3].copy()
        self._azimuth, self._elevation, self._roll = self._angles(matrix[:3, :3])
        if pivot is None:
            depth = float((self.pivot - self.center) @ matrix[:3, 2])
            depth = depth if depth > NEAREST * self.radius else self.radius
            pivot = self.center + matrix[:3, 2] * depth
        self.pivot = np.array(pivot, dtype=np.float64)

    def camera(self, width: int, height: int) -> Camera:
        """Return the camera for a picture of this size; it shows at least what the adopted one shows."""
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = self._rotation(), self.center
        return self._lens.fitted(max(width, 1), max(height, 1)).moved(pose)

    @property
    def distance(self) -> float:
        """Distance to the pivot in scene units."""
        return float(np.linalg.norm(self.pivot - self.center))

    @property
    def vertical_fov(self) -> float:
        """Vertical field of view of the lens in radians."""
        return self._lens.vertical_fov

    @vertical_fov.setter
    def vertical_fov(self, angle: float) -> None:
        if math.isfinite(angle):
            lens = self._lens
            focal = lens.height / 2 / math.tan(min(max(angle, NARROWEST), WIDEST) / 2)
            self._lens = replace(lens, fx=focal, fy=focal, cx=lens.width / 2, cy=lens.height / 2)

    def orbit(self, dx: float, dy: float) -> None:
        """Turn around the pivot, which keeps its place in the picture."""
        if not _finite(dx, dy):
            return
        before = self._rotation()
        self._turn(-dx * ORBIT_SPEED, -dy * ORBIT_SPEED, math.hypot(dx, dy))
        turn = self._rotation() @ before.T
        self._move_to(self.pivot + turn @ (self.center - self.pivot))

    def look(self, dx: float, dy: float) -> None:
        """Turn on the spot; the pivot stays ahead at its distance."""
        if not _finite(dx, dy):
            return
        distance = self.distance
        self._turn(-dx * LOOK_SPEED, -dy * LOOK_SPEED, math.hypot(dx, dy))
        self.pivot = self.center + self._rotation()[:, 2] * distance

    def pan(self, dx: float, dy: float, height: int) -> None:
        """Shift the picture so that the pivot follows the mouse; `height` of the picture in pixels."""
        if not _finite(dx, dy):
            return
        rotation = self._rotation()
        depth = max(abs(float((self.pivot - self.center) @ rotation[:, 2])), NEAREST * self.radius)
        per_pixel = 2 * depth * math.tan(self.vertical_fov / 2) / max(height, 1)
        shift = -(rotation[:, 0] * dx + rotation[:, 1] * dy) * per_pixel
        self._move_both(shift)

    def zoom(self, notches: float) -> None:
        """Approach the pivot (positive) or leave it; never reaches it."""
        if not _finite(notches):
            return
        offset = self.center - self.pivot
        distance = float(np.linalg.norm(offset))
        if distance < 1e-12:
            offset, distance = -self._rotation()[:, 2], 1.0
        notches = min(max(notches, -50.0), 50.0)
        wanted = distance * ZOOM_STEP**notches
        wanted = min(max(wanted, NEAREST * self.radius), FARTHEST * self.radius)
        self._move_to(self.pivot + offset / distance * wanted)

    def fly(
        self,
        move: tuple[float, float, float],
        look: tuple[float, float],
        seconds: float,
        speed: float = 1.0,
    ) -> None:
        """Fly for a while: `move` is (right, up, forward) in -1..1, `look` in pixels, `speed` 1, FAST or SLOW."""
        if not _finite(*move, *look, seconds, speed):
            return
        self.look(*look)
        rotation = self._rotation()
        way = rotation[:, 0] * move[0] + self.up * move[1] + rotation[:, 2] * move[2]
        length = float(np.linalg.norm(way))
        if length > 1.0:
            way = way / length
        # A stall of the window must not become a leap of the camera.
        seconds = min(max(seconds, 0.0), 0.1)
        self._move_both(way * FLY_SPEED * self.radius * speed * seconds)

    def frame(self, center: np.ndarray, radius: float) -> None:
        """Look at `center` from the present side, as near as shows a sphere of `radius` whole."""
        if not (_finite(radius) and np.isfinite(center).all()) or radius <= 0:
            return
        self._roll = 0.0
        horizontal = math.atan(self._lens.width / (2 * self._lens.fx))
        narrower = min(self.vertical_fov / 2, horizontal)
        self.pivot = np.array(center, dtype=np.float64)
        self.center = self.pivot - self._rotation()[:, 2] * (radius / math.sin(narrower) * 1.05)

    def _turn(self, azimuth: float, elevation: float, pixels: float) -> None:
        """Change the angles; the tilt fades, the poles are approached but not crossed."""
        steepest = max(STEEPEST, abs(self._elevation))  # a view adopted beyond may stay there
        self._azimuth = (self._azimuth + azimuth) % (2 * math.pi)
        self._elevation = min(max(self._elevation + elevation, -steepest), steepest)
        self._roll *= math.exp(-pixels / UPRIGHT_AFTER)

    def _move_to(self, center: np.ndarray) -> None:
        offset = center - self.pivot
        distance = float(np.linalg.norm(offset))
        farthest = FARTHEST * self.radius
        self.center = center if distance <= farthest else self.pivot + offset * farthest / distance

    def _move_both(self, shift: np.ndarray) -> None:
        if np.abs(self.center + shift).max() < 1e6 * self.radius:
            self.center, self.pivot = self.center + shift, self.pivot + shift

    def _rotation(self) -> np.ndarray:
        """[3, 3] camera axes right, down, forward as columns, from the three angles."""
        sin, cos = math.sin(self._azimuth), math.cos(self._azimuth)
        ahead = self._east * cos + self._north * sin
        right = self._east * sin - self._north * cos
        forward = ahead * math.cos(self._elevation) + self.up * math.sin(self._elevation)
        down = np.cross(forward, right)
        sin, cos = math.sin(self._roll), math.cos(self._roll)
        return np.stack([right * cos + down * sin, down * cos - right * sin, forward], axis=1)

    def _angles(self, rotation: np.ndarray) -> tuple[float, float, float]:
        """Return azimuth, elevation and roll of camera axes; at a pole the roll counts as azimuth."""
        right, forward = rotation[:, 0], rotation[:, 2]
        rise = float(np.clip(forward @ self.up, -1.0, 1.0))
        ahead = forward - self.up * rise
        if np.linalg.norm(ahead) < 1e-6:
            azimuth = math.atan2(float(right @ self._east), -float(right @ self._north))
        else:
            azimuth = math.atan2(float(ahead @ self._north), float(ahead @ self._east))
        elevation = math.atan2(rise, float(np.linalg.norm(ahead)))
        level = self._east * math.sin(azimuth) - self._north * math.cos(azimuth)
        roll = math.atan2(float(right @ np.cross(forward, level)), float(right @ level))
        return azimuth, elevation, roll


def _across(vector: np.ndarray) -> np.ndarray:
    """Return a unit vector at a right angle."""
    axis = np.eye(3)[int(np.argmin(np.abs(vector)))]
    return _unit(axis - vector * (axis @ vector))


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return (
        vector / length if math.isfinite(length) and length > 1e-12 else np.array([0.0, -1.0, 0.0])
    )


def _finite(*numbers: float) -> bool:
    return all(math.isfinite(number) for number in numbers)
