"""Settings of the robot's fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.base.config import Config, live


class RobotConfig(Config):
    """The object, its pictures, the field's network and what is asked of it."""

    mesh: str = Field(
        "", title="Mesh file", description="The object; nothing for solids with exact distances."
    )
    metres_per_unit: float = Field(
        0.0, ge=0, le=1000, title="Metres a unit", description="Scale of the object; 0: not known."
    )
    encoder: Literal["waves", "hash"] = Field(
        "waves", title="Encoder", description="Sines and cosines, or a hash grid; of every network."
    )
    waves: int = Field(5, ge=1, le=16, title="Waves", description="Octaves of the encoder.")
    width: int = Field(64, ge=4, le=1024, title="Width", description="Features of a hidden layer.")
    layers: int = Field(3, ge=1, le=16, title="Layers", description="Hidden layers.")
    views: int = Field(24, ge=2, le=512, title="Pictures", description="To learn from.")
    size: int = Field(48, ge=8, le=1024, title="Picture size", description="Pixels along a side.")
    points: int = Field(2048, ge=16, le=1 << 18, title="Points", description="Of one step.")
    rays: int = Field(384, ge=1, le=65536, title="Rays", description="Of one step.")
    samples: int = Field(40, ge=8, le=1024, title="Samples", description="Of a ray.")
    gaussians: int = Field(2500, ge=16, le=1_000_000, title="Gaussians", description="Number.")
    rate: float = live(3e-3, gt=0, le=0.1, title="Learning rate", description="At the beginning.")
    steps: int = Field(800, ge=1, title="Steps", description="Batches to learn from.")
    cells: int = Field(64, ge=8, le=512, title="Mesh cells", description="Along a side of the box.")
    trials: int = Field(20, ge=1, le=200, title="Trials", description="Poses or paths looked for.")
    pose_steps: int = Field(150, ge=1, title="Pose steps", description="Of one search for a pose.")
    pose_pixels: int = Field(96, ge=8, title="Pose pixels", description="Of one step of a search.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "waves": 4,
            "width": 32,
            "layers": 2,
            "views": 8,
            "size": 24,
            "points": 512,
            "rays": 96,
            "samples": 16,
            "gaussians": 300,
            "steps": 400,
            "cells": 24,
            "trials": 4,
            "pose_steps": 20,
            "pose_pixels": 32,
        },
        "full": {},
        "paper": {
            "waves": 10,
            "width": 512,
            "layers": 8,
            "views": 100,
            "size": 800,
            "points": 16_384,
            "rays": 4096,
            "samples": 192,
            "gaussians": 100_000,
            "rate": 5e-4,
            "steps": 30_000,
            "cells": 256,
            "pose_steps": 300,
            "pose_pixels": 1024,
        },
    }
