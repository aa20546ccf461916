"""A corner of three textured walls: a small scene with exact cameras in which features are plenty."""

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from core.capture.camera import Camera, look_at

WIDTH, HEIGHT, FOCAL = 400, 300, 380.0
TEXTURE = 700  # pixels of a wall, three units wide


def cameras(count: int, width: int = WIDTH, height: int = HEIGHT) -> list[Camera]:
    """Return cameras on an arc that look at the corner from inside the room."""
    found = []
    for angle in np.linspace(0.35, 1.2, count):
        center = 3.4 * np.array([np.cos(angle), np.sin(angle), 0.75 + 0.1 * np.sin(5 * angle)])
        pose = look_at(center, np.array([0.6, 0.6, 0.8]), np.array([0.0, 0.0, 1.0]))
        found.append(Camera(pose, FOCAL, FOCAL, width / 2, height / 2, width, height))
    return found


def photograph(camera: Camera, seed: int = 0) -> np.ndarray:
    """Return the picture [H, W, 3] uint8 that a camera takes of the corner."""
    rays = camera.directions()  # [H, W, 3]
    picture = np.full((*rays.shape[:2], 3), 128, np.uint8)
    nearest = np.full(rays.shape[:2], np.inf)
    for wall in range(3):
        with np.errstate(divide="ignore"):
            distance = -camera.center[wall] / rays[..., wall]
        hit = camera.center + distance[..., None] * rays
        across = np.delete(hit, wall, axis=-1) * (TEXTURE / 3.0)
        is_hit = (distance > 0) & (distance < nearest)
        is_hit &= (across >= 0).all(-1) & (across < TEXTURE - 1).all(-1)
        x, y = np.moveaxis(across.astype(np.float32), -1, 0)
        seen = cv2.remap(_wall(seed * 3 + wall), x, y, cv2.INTER_LINEAR)
        picture[is_hit] = seen[is_hit]
        nearest[is_hit] = distance[is_hit]
    return picture


def small(camera: Camera, scale: float) -> Camera:
    """Return a camera of the same lens with fewer pixels of the same size: what it sees is narrower."""
    width, height = round(camera.width * scale), round(camera.height * scale)
    return replace(camera, cx=width / 2, cy=height / 2, width=width, height=height)


@lru_cache(maxsize=32)
def _wall(seed: int) -> np.ndarray:
    """Return a texture [T, T, 3] uint8 with blobs of several sizes."""
    rng = np.random.default_rng(seed)
    total = np.zeros((TEXTURE, TEXTURE, 3), np.float32)
    for blur in (2.0, 4.0, 9.0):
        noise = cv2.GaussianBlur(rng.standard_normal(total.shape).astype(np.float32), (0, 0), blur)
        total += noise / noise.std()
    return np.clip(128 + 40 * total, 0, 255).astype(np.uint8)
