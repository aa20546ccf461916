"""Settings: the objects, their fields, and the network that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.base.config import Config, live


class FieldConfig(Config):
    """The fields and how they are fitted; a field without planes has sizes of its own."""

    side: int = Field(16, ge=2, le=256, title="Plane side", description="R: cells along a plane.")
    channels: int = Field(8, ge=1, le=64, title="Channels", description="C: of every plane.")
    hidden: int = Field(32, ge=2, le=512, title="Hidden width", description="Of the small network.")
    layers: int = Field(
        2, ge=1, le=8, title="Layers", description="Hidden layers of every network."
    )
    frequencies: int = Field(
        4, ge=0, le=12, title="Frequencies", description="Of the encoding beside the planes."
    )
    omega: float = Field(5.0, gt=0, le=100, title="Omega", description="Factor inside the sines.")
    alone_hidden: int = Field(
        48, ge=2, le=1024, title="Width without planes", description="Of fields that are weights."
    )
    alone_omega: float = Field(
        10.0, gt=0, le=100, title="Omega without planes", description="Factor inside their sines."
    )
    code: int = Field(64, ge=2, le=1024, title="Code", description="Numbers of an object's code.")
    code_hidden: int = Field(
        64, ge=2, le=1024, title="Width with codes", description="Of the network that all share."
    )
    points: int = Field(256, ge=8, title="Points", description="Of each object in a step.")
    steps: int = Field(200, ge=1, title="Fitting steps", description="Of every batch of objects.")
    alone_steps: int = Field(
        300, ge=1, title="Steps without planes", description="As many as equal quality takes."
    )
    code_steps: int = Field(
        800,
        ge=1,
        title="Steps with codes",
        description="Of a batch of objects, all batches together.",
    )
    rate: float = Field(1e-2, gt=0, le=1, title="Fitting rate", description="Falls along a cosine.")
    batch: int = Field(64, ge=2, title="Objects at once", description="Fitted in one batch.")
    grid: int = Field(
        20,
        ge=4,
        le=256,
        title="Grid",
        description="Points along a side that the IoU is counted on.",
    )


class ReaderConfig(Config):
    """The network that tells objects apart, and its training."""

    width: int = Field(96, ge=8, le=2048, title="Width", description="Numbers of a token.")
    layers: int = Field(2, ge=1, le=16, title="Layers", description="Of the Transformer.")
    heads: int = Field(4, ge=1, le=16, title="Heads", description="Of its attention.")
    feed_forward: int = Field(192, ge=8, le=8192, title="Feed-forward", description="Its width.")
    decoder_layers: int = Field(2, ge=1, le=8, title="Decoder layers", description="For parts.")
    decoder_heads: int = Field(2, ge=1, le=16, title="Decoder heads", description="For parts.")
    crop: int = Field(
        0, ge=0, le=256, title="Crop", description="Cells of a random window; 0 reads whole planes."
    )
    points: int = Field(128, ge=8, title="Points", description="Of an object, for point networks.")
    batch: int = Field(32, ge=2, title="Batch", description="Objects in a step.")
    rate: float = live(
        1e-3, gt=0, le=0.1, title="Learning rate", description="The peak of one cycle."
    )
    decay: float = Field(1e-3, ge=0, le=1, title="Weight decay", description="The paper's.")
    steps: int = Field(500, ge=1, title="Steps", description="Batches to learn from.")


class TriplaneConfig(Config):
    """Objects, fields and reader."""

    shapes: Literal["digits", "solids"] = Field(
        "digits",
        title="Objects",
        description="Thick handwritten digits, or furniture and the like.",
    )
    objects: int = Field(600, ge=8, le=1797, title="Objects", description="Fitted, one field each.")
    test: float = Field(
        1 / 3, gt=0.05, lt=0.9, title="Held-out share", description="Of the objects, to measure on."
    )
    fields: FieldConfig = FieldConfig()
    reader: ReaderConfig = ReaderConfig()
    shown: int = live(
        0, ge=0, le=1796, title="Shown object", description="Of those that are measured or fitted."
    )
    morph: float = live(
        0.0,
        ge=0,
        le=1,
        title="Morph",
        description="Turns the first digit of the board into the next one.",
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "objects": 24,
            "fields": {
                "side": 16,
                "channels": 4,
                "hidden": 16,
                "alone_hidden": 16,
                "code": 16,
                "code_hidden": 16,
                "points": 64,
                "steps": 10,
                "alone_steps": 10,
                "code_steps": 20,
                "batch": 12,
                "grid": 10,
            },
            "reader": {
                "width": 32,
                "heads": 2,
                "feed_forward": 32,
                "points": 32,
                "batch": 8,
                "steps": 30,
            },
        },
        "full": {},
        "paper": {
            "fields": {
                "side": 32,
                "channels": 16,
                "hidden": 64,
                "layers": 3,
                "frequencies": 10,
                "omega": 30.0,
                "alone_hidden": 512,
                "alone_omega": 30.0,
                "code": 512,
                "code_hidden": 512,
                "points": 50_000,
                "steps": 1000,
                "alone_steps": 1000,
                "code_steps": 5000,
                "rate": 1e-4,
                "batch": 128,
            },
            "reader": {
                "width": 512,
                "layers": 8,
                "heads": 4,
                "feed_forward": 1024,
                "decoder_layers": 4,
                "decoder_heads": 2,
                "crop": 30,
                "points": 2048,
                "batch": 256,
                "rate": 1e-4,
                "steps": 6000,
            },
        },
    }
