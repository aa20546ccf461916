"""What a scene is made of, as a file sees it: named arrays, the component they belong to and how to code them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from core.capture.camera import Similarity


class Coding(str, Enum):
    """How an array is stored: each is exact, or loses a known amount."""

    POSITION16 = "position16"  # [N, 3] symmetric-log 16 bit per axis
    UNIFORM8 = "uniform8"  # [N, C] 8 bit between the minimum and maximum of each chunk and column
    TABLE8 = "table8"  # [L, T, F] 8 bit, one scale per level
    FLOAT16 = "float16"
    RAW = "raw"


@dataclass(frozen=True, eq=False)
class Part:
    """One array of a scene. `per_gaussian` parts share their first axis and may be reordered together."""

    values: np.ndarray
    component: str  # "explicit", "geometry grid", "radiance grid" or "networks"
    coding: Coding
    per_gaussian: bool = False


@dataclass(frozen=True, eq=False)
class SceneParts:
    """A scene taken apart: `kind` names the class that puts it together again (core/radiance/scenes.py)."""

    kind: str
    parts: dict[str, Part]
    settings: dict[str, Any] = field(
        default_factory=dict
    )  # JSON: what the class needs beside arrays
    step: int = 0
    bounds: np.ndarray = field(default_factory=lambda: np.zeros((2, 3)))
    up: np.ndarray = field(default_factory=lambda: np.array([0.0, -1.0, 0.0]))
    to_original: Similarity = field(default_factory=Similarity.identity)
    summary: dict[str, Any] = field(
        default_factory=dict
    )  # JSON: name of the capture, pictures, a first camera, held-out metrics
