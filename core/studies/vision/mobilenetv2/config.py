"""Settings of the classifier and of the spiral."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.base.config import Config, live


class MobileNetConfig(Config):
    """Pictures, the network's table and its training; the last setting is the spiral's."""

    source: Literal["digits", "textures", "faces"] = Field(
        "digits", title="Pictures", description="Digits, parts of photographs, or faces and others."
    )
    size: int = Field(16, ge=8, le=512, title="Size", description="Pixels along a side.")
    channels: int = Field(1, ge=1, le=3, title="Colours", description="Channels of a picture.")
    classes: int = Field(
        0,
        ge=0,
        le=10_000,
        title="Classes",
        description="Outputs; 0 is as many as the pictures have.",
    )
    table: Literal["small", "paper"] = Field(
        "small", title="Table", description="The paper's table 2, or a small network like it."
    )
    width: float = Field(
        1.0,
        ge=0.1,
        le=4,
        title="Width multiplier",
        description="Scales the channels of every layer.",
    )
    examples: int = Field(100, ge=10, title="Examples", description="Pictures to learn from.")
    test: int = Field(600, ge=10, title="Held-out pictures", description="To measure on.")
    batch: int = Field(
        64, ge=16, le=4096, title="Batch", description="Normalisation by a batch needs about 32."
    )
    rate: float = live(
        2e-2, gt=0, le=0.1, title="Learning rate", description="Falls along a cosine to zero."
    )
    decay: float = Field(4e-5, ge=0, le=1, title="Weight decay", description="The paper's.")
    steps: int = Field(300, ge=1, title="Steps", description="Batches to learn from.")
    shown_block: int = live(
        1, ge=0, le=64, title="Shown block", description="Its channels and kernels are drawn."
    )
    shown_picture: int = live(
        0,
        ge=0,
        le=600,
        title="Shown picture",
        description="The held-out picture that runs through it.",
    )
    spiral_width: int = live(
        3, ge=1, le=200, title="Spiral's n", description="Numbers that the spiral is lifted to."
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"examples": 60, "test": 100, "batch": 32, "steps": 30},
        "full": {},
        "paper": {
            "table": "paper",
            "size": 224,
            "channels": 3,
            "classes": 1000,
            "batch": 96,
            "rate": 0.045,
        },
    }
