"""What a file lost: the scene and the re-opened file drawn from the same places, in decibels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from core.base.events import Event
from core.capture.camera import Camera, look_at
from core.radiance.field import Snapshot
from core.render.backend import Renderer
from core.render.evaluate import draw
from core.render.view import BOTH, GAUSSIANS

PICTURES = 4
LONGEST_SIDE = 320  # pixels; the loss hardly depends on the size


def loss(
    scene: Snapshot,
    reopened: Snapshot,
    cameras: Sequence[Camera],
    renderer: Renderer | None = None,
) -> str:
    """Return a sentence with the PSNR of the re-opened scene against the original."""
    if renderer is None:
        from core.render.backend import choose

        renderer = choose("auto", _unsaid)
    chosen = [cameras[k] for k in np.linspace(0, len(cameras) - 1, PICTURES).round().astype(int)]
    blends = [GAUSSIANS]
    if scene.background(_small(chosen[0])) is not None:
        blends.append(BOTH)
    found = [
        _psnr([_error(scene, reopened, camera, renderer, blend) for camera in chosen])
        for blend in blends
    ]
    kept = reopened.background(_small(chosen[0])) is not None
    if len(found) == 1:
        return f"Re-opened: {found[0]} against the scene."
    if kept:
        return f"Re-opened: {found[1]} against the scene, {found[0]} without the background."
    return (
        f"Re-opened: {found[0]} against the scene's Gaussians, view-dependent colour as spherical "
        f"harmonics; {found[1]} with the background, which this format leaves out."
    )


def cameras_of(scene: Snapshot, summary: dict[str, Any]) -> list[Camera]:
    """Return the cameras a scene remembers, else some around it."""
    try:
        remembered = [Camera.from_json(values) for values in summary.get("cameras", [])]
    except (KeyError, TypeError, ValueError):
        remembered = []
    return remembered or _orbit(scene)


def _unsaid(_event: Event) -> None:
    """Keep the choice to ourselves: the window has announced it already."""


def _orbit(scene: Snapshot) -> list[Camera]:
    bounds = np.asarray(scene.bounds, dtype=np.float64)
    middle, size = bounds.mean(0), max(float(np.linalg.norm(bounds[1] - bounds[0])), 1e-3)
    up = np.asarray(scene.up, dtype=np.float64)
    side = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    side /= np.linalg.norm(side)
    front = np.cross(side, up)
    cameras = []
    for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        center = middle + size * (np.cos(angle) * side + np.sin(angle) * front + 0.3 * up)
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


def _psnr(errors: list[float]) -> str:
    mean = sum(errors) / len(errors)
    return "no difference" if mean < 1e-12 else f"{-10 * math.log10(mean):.1f} dB"
