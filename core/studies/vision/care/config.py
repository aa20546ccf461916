"""Settings of CARE and its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.base.config import Config, live


class CAREConfig(Config):
    """Pictures, the network and its training."""

    table: Literal["tiny", "small", "S0", "S1", "S2"] = Field(
        "small", title="Table", description="The paper's sizes S0, S1, S2, or a small network."
    )
    source: Literal["photographs", "digits"] = Field(
        "photographs", title="Pictures", description="Parts of photographs, or handwritten digits."
    )
    size: int = Field(
        32, ge=8, le=512, title="Size", description="Pixels along a side, as the network reads it."
    )
    channels: int = Field(1, ge=1, le=3, title="Colours", description="Channels of a picture.")
    classes: int = Field(
        0, ge=0, le=10_000, title="Classes", description="Outputs; 0 is as many as there are."
    )
    stem: int = Field(
        2, ge=1, le=16, title="Stem", description="Pixels along a side of the first tokens."
    )
    gamma: float = Field(
        0.1, ge=0, le=1, title="First gamma", description="Share of a block's result at the start."
    )
    paths: float = Field(
        0.0,
        ge=0,
        le=0.9,
        title="Dropped paths",
        description="Share of blocks left out at the end of the network while training.",
    )
    alpha: float = Field(
        0.5, ge=0, le=1, title="Alpha", description="Weight of the teacher's head in the loss."
    )
    examples: int = Field(2400, ge=24, title="Examples", description="Pictures to learn from.")
    held: int = Field(600, ge=12, title="Held-out pictures", description="To measure on.")
    smoothing: float = Field(
        0.1, ge=0, le=0.9, title="Label smoothing", description="Of the class head's labels."
    )
    batch: int = Field(
        48, ge=16, le=4096, title="Batch", description="Normalisation by a batch needs 16 or more."
    )
    rate: float = live(
        2.5e-3, gt=0, le=0.1, title="Learning rate", description="After the warm-up; then a cosine."
    )
    warm_up: int = Field(20, ge=0, title="Warm-up", description="Steps until the full rate.")
    decay: float = Field(0.05, ge=0, le=1, title="Weight decay", description="Of AdamW.")
    steps: int = Field(300, ge=1, title="Steps", description="Batches to learn from.")
    largest: int = Field(
        64,
        ge=16,
        le=128,
        title="Largest side",
        description="Tokens along a side, where time is measured.",
    )
    shown_picture: int = live(
        0,
        ge=0,
        le=599,
        title="Shown picture",
        description="The held-out picture that is looked at.",
    )
    shown_block: int = live(
        2, ge=0, le=63, title="Shown block", description="Its keys times values are drawn."
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "table": "tiny",
            "size": 16,
            "examples": 96,
            "held": 60,
            "batch": 16,
            "warm_up": 3,
            "steps": 20,
            "largest": 16,
        },
        "full": {},
        "paper": {  # CARE-S0
            "table": "S0",
            "size": 224,
            "channels": 3,
            "classes": 1000,
            "stem": 4,
            "gamma": 1e-6,
            "paths": 0.1,
            "batch": 1536,
            "warm_up": 16_000,
            "steps": 250_000,
        },
    }
