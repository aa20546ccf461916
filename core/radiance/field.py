"""What a renderer asks of a model, whichever model it is.

A `Snapshot` is detached and read-only: the trainer makes it between two steps, everybody else
draws, measures and exports from it. The renderer never learns which model it draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from core.capture.camera import Camera, Similarity
from core.radiance.parts import SceneParts
from core.radiance.splats import Splats


@dataclass(frozen=True, eq=False)
class Sphere:
    """A background painted on a far sphere around the scene.

    `colors(origin [3], directions [R, 3])` returns what unit rays from one point inside end at, [R, 3].
    """

    center: np.ndarray
    radius: float
    colors: Callable[[np.ndarray, torch.Tensor], torch.Tensor]


class Snapshot(Protocol):
    """A scene at one moment."""

    step: int
    num_gaussians: int
    device: torch.device
    bounds: np.ndarray  # [2, 3] scene units
    up: np.ndarray  # [3]
    to_original: Similarity
    is_antialiased: bool  # trained with the screen blur compensated; to be drawn the same way

    def splats(self, camera: Camera) -> Splats:
        """Return the Gaussians inside the camera's view, activated, with the colours seen from it."""
        ...

    def all_splats(self, center: np.ndarray) -> Splats:
        """Return every Gaussian in order, activated, with the colours seen from a camera at `center` [3]."""
        ...

    def background(self, camera: Camera) -> torch.Tensor | None:
        """Return the colour behind the Gaussians [H, W, 3], or None when the model has no background."""
        ...

    def sphere(self) -> Sphere | None:
        """Return the far sphere the background is painted on, or None where it is not made that way."""
        ...

    def parts(self) -> SceneParts:
        """Take the scene apart for a file."""
        ...


@runtime_checkable
class HybridColors(Protocol):
    """A snapshot whose colours are the sigmoid of an explicit and a neural half, summed."""

    def explicit_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the explicit half of Gaussians `ids` [M], [M, 3]; zero where the model has none."""
        ...


class Trace(Protocol):
    """What rays meet, R of them.

    rgb     [R, 3]  0..1 sRGB over black
    alpha   [R]     0..1
    depth   [R]     expected distance along the ray, 0 where alpha is 0
    spread  [R]     standard deviation of that distance
    """

    rgb: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    spread: torch.Tensor


@runtime_checkable
class TracedScene(Protocol):
    """A snapshot whose pictures are made by asking along rays (core/radiance/ray_scene.py)."""

    def trace(self, origins: torch.Tensor, directions: torch.Tensor) -> Trace:
        """Follow rays [R, 3] with directions of length one."""
        ...
