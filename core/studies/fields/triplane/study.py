"""The study: which variant is which task, and what the paper claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.base.verdicts import AllOf, Better, Within
from core.nn.attention import Trace
from core.studies.fields.triplane.board import Board
from core.studies.fields.triplane.config import TriplaneConfig
from core.studies.fields.triplane.parts import Parts
from core.studies.fields.triplane.reading import Reading
from core.study import Attended, Case, Claim, Metrics, Probe, Setup, Study

READERS = {
    "planes": "planes",
    "planes, CNN": "planes_cnn",
    "weights": "weights",
    "weights, one start": "weights_shared",
    "codes": "codes",
    "points": "points",
}
ALONE = ("weights", "weights, one start")


def _classification() -> Claim:
    cases = [Case(name, variant) for name, variant in READERS.items()]
    # the authors' augmentation, as a row beside: the rule asks for the plain planes
    cases.append(Case("planes, random windows", "planes", {"reader.crop": 14}))
    rules = [Better("planes", name, "accuracy", margin=0.15) for name in ALONE]
    rules.append(Better("planes", "points", "accuracy", margin=-0.05))
    for name in ALONE:  # at equal reconstruction: within a hundredth, either way
        rules += [
            Better("planes", name, "iou", margin=-0.01),
            Better(name, "planes", "iou", margin=-0.01),
        ]
    return Claim(
        "classification",
        says="Planes alone tell objects apart almost as points do, and far better than weights.",
        cases=tuple(cases),
        rule=AllOf(tuple(rules)),
        metrics=("accuracy", "iou", "iou_without_planes"),
        seeds=5,
        source="classification of neural fields",
        if_lost="PointNet draws other points of a surface in every step, planes stay as they were fitted: "
        "with the same 128 points in every step one seed's PointNet falls from 90 % to 83 %, where the "
        "planes are. The authors show planes through random windows, which brings them to 88 %.",
    )


def _channel_order() -> Claim:
    cases = (
        Case("Transformer", "planes"),
        Case("Transformer, shuffled", "planes", measures={"shuffle": True}),
        Case("CNN", "planes_cnn"),
        Case("CNN, shuffled", "planes_cnn", measures={"shuffle": True}),
    )
    rules = (
        Within("Transformer, shuffled", "moved", high=1e-3),  # logits of size 10, in float32
        Better("Transformer, shuffled", "Transformer", "accuracy", margin=-1e-9),
        Better("CNN", "CNN, shuffled", "accuracy"),
    )
    return Claim(
        "channel_order",
        says="The order of channels means nothing to the Transformer, and much to a CNN.",
        cases=cases,
        rule=AllOf(rules),
        metrics=("accuracy", "moved"),
        seeds=3,
        source="invariance to the order of channels",
    )


def _segmentation() -> Claim:
    settings = {"objects": 300, "reader.points": 64}
    cases = (
        Case("own planes", "parts", settings),
        Case("planes of another", "parts", settings, {"other": True}),
    )
    rules = (
        Within("own planes", "accuracy", low=0.9),
        Better("own planes", "planes of another", "accuracy", margin=0.02),
    )
    return Claim(
        "parts",
        says="Planes tell the parts of an object apart, and it is the planes that do, not class and place.",
        cases=cases,
        rule=AllOf(rules),
        metrics=("accuracy", "part_iou", "iou"),
        seeds=3,
        source="part segmentation",
    )


class TriplaneStudy(Study):
    """Fields that are read, asked for parts, or watched while they learn."""

    Config = TriplaneConfig
    variants = (
        "planes",
        "planes_cnn",
        "weights",
        "weights_shared",
        "codes",
        "points",
        "parts",
        "fitting",
    )
    claims = (_classification(), _channel_order(), _segmentation())
    config: TriplaneConfig

    def __init__(self, config: TriplaneConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        task = {"parts": Parts, "fitting": Board}.get(setup.variant, Reading)
        self.task: Reading | Parts | Board = task(config, setup)
        self.module = self.task.module
        if isinstance(self.task, Board):
            self.snapshot = self.task.snapshot  # this variant alone can be orbited

    def prepare(self) -> None:
        """Make the objects and fit their fields, or take those of an earlier run."""
        self.task.prepare()

    @property
    def total_steps(self) -> int:
        """Batches of fields, or steps of a batch of fields."""
        return self.task.total_steps

    def step(self) -> Metrics:
        """Learn from a batch."""
        return self.task.step()

    def evaluate(self) -> Metrics:
        """Measure on held-out objects."""
        return self.task.measure({})

    def measure(self, options: Mapping[str, Any]) -> Metrics:
        """Measure, with channels shuffled where a case asks for it."""
        return self.task.measure(options)

    def probes(self) -> tuple[Probe, ...]:
        """Return what the task shows."""
        return self.task.probes()

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Answer a question about an object, a slot or a point."""
        return self.task.inspect(query)

    def attend(self, sample: int, trace: Trace) -> Attended | None:
        """Show what channels, or points, read; a convolution and rows of numbers attend to nothing."""
        return None if isinstance(self.task, Board) else self.task.attend(sample, trace)

    def configure(self, config: TriplaneConfig) -> None:
        """Apply live edits."""
        self.config = config
        self.task.configure(config)

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs."""
        return self.task.state()

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.task.load(state)
