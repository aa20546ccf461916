"""What a file lost: the scene and the re-opened file drawn from the same places, in decibels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from core.capture.camera import Camera, look_at
from core.radiance.field import Snapshot
from core.render.backend import Renderer
from core.render.evaluate import draw
from core.render.view import BOTH, GAUSSIANS

PICTURES = 4
VIEWS = 8  # around a scene that remembers no cameras
LONGEST_SIDE = 320  # pixels; the loss hardly depends on the size


def loss(
    scene: Snapshot,
    reopened: Snapshot,
    cameras: Sequence[Camera],
    renderer: Renderer,
    has_shell: bool = False,
) -> str:
    """Return a sentence with the PSNR of the re-opened scene against the original.

    Where a shell of Gaussians stands for the background, Gaussians alone cannot be compared.
    """
    blends = [GAUSSIANS]
    first = _small(cameras[0])
    if scene.background(first) is not None:
        blends.append(BOTH)
    found = [
        _spoken(psnr_of(scene, reopened, cameras, renderer, blend))
        for blend in (blends[-1:] if has_shell else blends)
    ]
    if len(found) == 1:
        return f"Re-opened: {found[0]} against the scene."
    if reopened.background(first) is not None:
        return f"Re-opened: {found[1]} against the scene, {found[0]} without the background."
    return (
        f"Re-opened: {found[0]} against the scene's Gaussians, view-dependent colour as spherical "
        f"harmonics; {found[1]} with the background, which this file leaves out."
    )


def psnr_of(
    scene: Snapshot,
    other: Snapshot,
    cameras: Sequence[Camera],
    renderer: Renderer,
    blend: float,
) -> float:
    """Return the PSNR of another scene against this one over some of the cameras, infinite where they are equal."""
    chosen = [cameras[k] for k in np.linspace(0, len(cameras) - 1, PICTURES).round().astype(int)]
    errors = [_error(scene, other, camera, renderer, blend) for camera in chosen]
    mean = sum(errors) / len(errors)
    return math.inf if mean < 1e-12 else -10 * math.log10(mean)


def cameras_of(scene: Snapshot, summary: dict[str, Any], around: int = VIEWS) -> list[Camera]:
    """Return the cameras a scene remembers, else `around` of them on a wavy ring around it."""
    try:
        remembered = [Camera.from_json(values) for values in summary.get("cameras", [])]
    except (KeyError, TypeError, ValueError):
        remembered = []
    return remembered or _orbit(scene, around)


def _orbit(scene: Snapshot, count: int) -> list[Camera]:
    bounds = np.asarray(scene.bounds, dtype=np.float64)
    middle, size = bounds.mean(0), max(float(np.linalg.norm(bounds[1] - bounds[0])), 1e-3)
    up = np.asarray(scene.up, dtype=np.float64)
    side = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    side /= np.linalg.norm(side)
    front = np.cross(side, up)
    cameras = []
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False):
        height = 0.3 + (0.6 * np.cos(5 * angle) if count > VIEWS else 0.0)
        center = middle + size * (np.cos(angle) * side + np.sin(angle) * front + height * up)
        cameras.append(Camera(look_at(center, middle, up), 300.0, 300.0, 160.0, 120.0, 320, 240))
    return cameras


def _small(camera: Camera) -> Camera:
    shrink = min(1.0, LONGEST_SIDE / max(camera.width, camera.height))
    return camera.resized(
        max(1, round(camera.width * shrink)), max(1, round(camera.height * shrink))
    )


def _error(
    scene: Snapshot, reopened: Snapshot, camera: Camera, renderer: Renderer, blend: float
) -> float:
    """Return the mean squared difference of one view; a file may be in the capture's coordinates."""
    camera = _small(camera)
    original = scene.to_original.apply_camera(camera)
    theirs = reopened.to_original.inverse().apply_camera(original)
    seen = draw(scene, renderer, camera, blend)
    shown = draw(reopened, renderer, theirs, blend)
    return float(torch.mean((seen - shown) ** 2))


def _spoken(decibels: float) -> str:
    return "no difference" if math.isinf(decibels) else f"{decibels:.1f} dB"
