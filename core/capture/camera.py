"""Pinhole cameras and the one place where axis conventions meet. numpy only.

Inside the program cameras look along +z, x right, y down (OpenCV); pixel centres are at .5.

    camera_to_world  [4, 4]  float64  rigid
    K                [3, 3]  pixels
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera with its picture size."""

    camera_to_world: np.ndarray
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    @cached_property
    def world_to_camera(self) -> np.ndarray:
        """[4, 4] inverse of `camera_to_world`."""
        rotation, center = self.camera_to_world[:3, :3], self.camera_to_world[:3, 3]
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation.T, -rotation.T @ center
        return matrix

    @property
    def K(self) -> np.ndarray:
        """[3, 3] intrinsics in pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def center(self) -> np.ndarray:
        """[3] position in the world."""
        return self.camera_to_world[:3, 3]

    @property
    def forward(self) -> np.ndarray:
        """[3] unit viewing direction."""
        return self.camera_to_world[:3, 2]

    @property
    def vertical_fov(self) -> float:
        """Vertical field of view in radians."""
        return float(2 * np.arctan(self.height / (2 * self.fy)))

    def resized(self, width: int, height: int) -> Camera:
        """Return the camera of the same view with another number of pixels."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=self.cx * sx,
            cy=self.cy * sy,
            width=width,
            height=height,
        )

    def fitted(self, width: int, height: int) -> Camera:
        """Return a camera for a window of another shape that shows at least the same view, centred."""
        scale = min(width / self.width, height / self.height)
        return replace(
            self,
            fx=self.fx * scale,
            fy=self.fy * scale,
            cx=(self.cx - self.width / 2) * scale + width / 2,
            cy=(self.cy - self.height / 2) * scale + height / 2,
            width=width,
            height=height,
        )

    def moved(self, camera_to_world: np.ndarray) -> Camera:
        """Return the same lens at another pose."""
        return replace(self, camera_to_world=np.asarray(camera_to_world, dtype=np.float64))

    def directions(self) -> np.ndarray:
        """Return unit ray directions [H, W, 3] in the world through the pixel centres."""
        x = (np.arange(self.width) + 0.5 - self.cx) / self.fx
        y = (np.arange(self.height) + 0.5 - self.cy) / self.fy
        rays = np.stack(np.broadcast_arrays(x[None, :], y[:, None], 1.0), axis=-1)
        rays = rays @ self.camera_to_world[:3, :3].T
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)  # [H, W, 3]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project world points [P, 3] to pixels [P, 2] and depths [P]; pixels are NaN behind the camera."""
        local = points @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        depths = local[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = local[:, :2] / depths[:, None] * [self.fx, self.fy] + [self.cx, self.cy]
        pixels[depths <= 0] = np.nan
        return pixels, depths

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, OpenCV axes."""
        return {
            "camera_to_world": self.camera_to_world.tolist(),
            **{key: getattr(self, key) for key in ("fx", "fy", "cx", "cy", "width", "height")},
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> Camera:
        """Rebuild a camera from `to_json`."""
        return Camera(
            np.asarray(values["camera_to_world"], dtype=np.float64),
            **{k: values[k] for k in ("fx", "fy", "cx", "cy", "width", "height")},
        )


def from_opengl(camera_to_world: np.ndarray) -> np.ndarray:
    """Turn an OpenGL pose (x right, y up, looking along -z) into an OpenCV one; its own inverse."""
    return np.asarray(camera_to_world, dtype=np.float64) * np.diagonal(OPENGL_TO_OPENCV)


def look_at(center: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return the camera_to_world [4, 4] at `center` that looks at `target` with `up` upwards in the picture."""
    forward = _unit(np.asarray(target, dtype=np.float64) - center)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6:
        right = np.cross(forward, np.roll(np.asarray(up, dtype=np.float64), 1))
    right = _unit(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = (
        right,
        np.cross(forward, right),
        forward,
        center,
    )
    return pose


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@dataclass(frozen=True, eq=False)
class Similarity:
    """x -> scale * rotation @ x + translation: from one coordinate frame to another."""

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    @staticmethod
    def identity() -> Similarity:
        """Return the map that changes nothing."""
        return Similarity(1.0, np.eye(3), np.zeros(3))

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Map points [..., 3]."""
        return self.scale * points @ self.rotation.T + self.translation

    def inverse(self) -> Similarity:
        """Return the map back."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def apply_camera(self, camera: Camera) -> Camera:
        """Map a camera's pose; its lens stays."""
        pose = np.eye(4)
        pose[:3, :3] = self.rotation @ camera.camera_to_world[:3, :3]
        pose[:3, 3] = self.apply(camera.center)
        return camera.moved(pose)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "scale": self.scale,
            "rotation": self.rotation.tolist(),
            "translation": self.translation.tolist(),
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> Similarity:
        """Rebuild from `to_json`."""
        return Similarity(
            float(values["scale"]),
            np.asarray(values["rotation"]),
            np.asarray(values["translation"]),
        )
