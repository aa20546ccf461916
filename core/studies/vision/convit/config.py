"""Settings of ConViT and its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.base.config import Config, live


class ConViTConfig(Config):
    """Pictures, the network and its training."""

    source: Literal["digits", "photographs"] = Field(
        "digits", title="Pictures", description="Handwritten digits, or parts of photographs."
    )
    size: int = Field(
        8, ge=4, le=512, title="Size", description="Pixels along a side, as the network reads it."
    )
    channels: int = Field(1, ge=1, le=3, title="Colours", description="Channels of a picture.")
    classes: int = Field(
        0, ge=0, le=10_000, title="Classes", description="Outputs; 0 is as many as there are."
    )
    patch: int = Field(2, ge=1, le=64, title="Patch", description="Pixels along a side of a token.")
    width: int = Field(64, ge=4, le=4096, title="Width", description="Channels of a token.")
    heads: int = Field(
        4, ge=1, le=64, title="Heads", description="A square number gives each a place to start at."
    )
    depth: int = Field(5, ge=1, le=64, title="Blocks", description="Of attention and network.")
    gated: int = Field(
        4, ge=0, le=64, title="Gated blocks", description="The first ones, without the class token."
    )
    strength: float = Field(
        1.0,
        gt=0,
        le=100,
        title="Locality strength",
        description="Sharpness of the first positions.",
    )
    spread: float = Field(
        0.0,
        ge=0,
        le=1,
        title="First weights",
        description="Their spread; 0 is one over the root of the width.",
    )
    paths: float = Field(
        0.0,
        ge=0,
        le=0.9,
        title="Dropped paths",
        description="Share of branches left out in the last block while training.",
    )
    examples: int = Field(300, ge=10, title="Examples", description="Pictures to learn from.")
    held: int = Field(500, ge=10, title="Held-out pictures", description="To measure on.")
    shift: int = Field(1, ge=0, le=16, title="Shift", description="Most pixels a picture moves by.")
    smoothing: float = Field(
        0.1, ge=0, le=0.9, title="Label smoothing", description="Share spread over all classes."
    )
    batch: int = Field(32, ge=1, le=4096, title="Batch", description="Pictures in a step.")
    rate: float = live(
        1e-3, gt=0, le=0.1, title="Learning rate", description="After the warm-up; then a cosine."
    )
    warm_up: int = Field(50, ge=0, title="Warm-up", description="Steps until the full rate.")
    decay: float = Field(0.05, ge=0, le=1, title="Weight decay", description="Of AdamW.")
    steps: int = Field(1000, ge=1, title="Steps", description="Batches to learn from.")
    times: int = Field(
        1, ge=1, le=100, title="Times", description="The steps are taken so many times over."
    )
    forced_gate: float = live(
        -1.0,
        ge=-1,
        le=1,
        title="Forced gate",
        description="Takes the place of all gates where accuracy_forced is measured: 0 content, 1 position, "
        "below 0 as learned.",
    )
    shown_picture: int = live(
        0,
        ge=0,
        le=499,
        title="Shown picture",
        description="The held-out picture that is looked at.",
    )
    shown_block: int = live(
        0, ge=0, le=63, title="Shown block", description="Its maps are drawn side by side."
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "width": 16,
            "depth": 3,
            "gated": 2,
            "examples": 100,
            "held": 100,
            "warm_up": 5,
            "steps": 40,
        },
        "full": {},
        "paper": {  # ConViT-Ti
            "source": "photographs",
            "size": 224,
            "channels": 3,
            "classes": 1000,
            "patch": 16,
            "width": 192,
            "depth": 12,
            "gated": 10,
            "spread": 0.02,
            "paths": 0.1,
            "batch": 512,
            "rate": 5e-4,
            "warm_up": 12_500,
            "steps": 750_000,
        },
    }
