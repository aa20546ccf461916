"""What is asked of the drawing thread and what comes back. No torch: windows import this.

The blend is one number: 0 shows the Gaussians alone over black, 0.5 the scene as trained,
1 the neural background alone; values between cross-fade.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from core.capture.camera import Camera


class Channel(str, Enum):
    """What a picture shows."""

    RGB = "rgb"
    DEPTH = "depth"
    ALPHA = "alpha"


GAUSSIANS, BOTH, BACKGROUND = 0.0, 0.5, 1.0


@dataclass(frozen=True, eq=False)
class View:
    """A picture somebody wants: the camera carries the size; `serial` grows with every request of one view."""

    camera: Camera
    channel: Channel = Channel.RGB
    blend: float = BOTH
    is_moving: bool = False
    serial: int = 0


@dataclass(frozen=True, eq=False)
class Frame:
    """A finished picture [H, W, 3] uint8, never written again; smaller than `view.camera` while moving."""

    image: np.ndarray
    view: View
    step: int
    render_ms: float
    is_full: bool
    num_visible: int = 0
    legend: dict[str, Any] = field(default_factory=dict)  # depth: {"low", "high", "unit"}
