"""The study: variants of the network, the spiral, and what the paper claims of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.base.verdicts import AllOf, Better, Trend, Within
from core.nn.attention import Trace
from core.studies.vision.mobilenetv2.classifier import Classifier
from core.studies.vision.mobilenetv2.config import MobileNetConfig
from core.studies.vision.mobilenetv2.spiral import WIDTHS, Spiral
from core.study import Attended, Budget, Case, Claim, Metrics, Probe, Setup, Study

SIZES = (100, 400)  # pictures to learn from
NETWORKS: tuple[tuple[str, str, dict[str, Any]], ...] = (  # case, variant, settings
    ("paper 1.0 at 224", "mobilenetv2", {"width": 1.0, "size": 224}),
    ("paper 1.4 at 224", "mobilenetv2", {"width": 1.4, "size": 224}),
    ("paper 0.35 at 96", "mobilenetv2", {"width": 0.35, "size": 96}),
    ("MobileNetV1 at 224", "separable", {"width": 1.0, "size": 224}),
)
MILLIONS = {  # multiply-adds and parameters without batch normalisation, as the authors publish them
    "paper 1.0 at 224": (300, 3.47),
    "paper 1.4 at 224": (582, 6.06),
    "paper 0.35 at 96": (11.9, 1.66),
    "MobileNetV1 at 224": (569, 4.2),
}


def _against(variant: str, label: str) -> tuple[tuple[Case, ...], AllOf]:
    """Return cases and rule of the proposed network against a control, at both sizes of training."""
    cases, rules = [], []
    for size in SIZES:
        names = (f"MobileNetV2, {size}", f"{label}, {size}")
        for name, kind in zip(names, ("mobilenetv2", variant), strict=True):
            cases.append(Case(name, kind, {"examples": size}))
        rules.append(Better(*names, "accuracy"))
    return tuple(cases), AllOf(tuple(rules))


def _bottlenecks() -> Claim:
    cases, rule = _against("relu6", "ReLU6 bottleneck")
    return Claim(
        "linear_bottleneck",
        says="A projection without an activation beats one with ReLU6, at equal parameters and cost.",
        cases=cases,
        rule=rule,
        metrics=("accuracy", "loss"),
        seeds=10,
        source="figure 6a",
    )


def _skips() -> Claim:
    cases, rule = _against("no_skips", "no skips")
    return Claim(
        "skips",
        says="Skips between bottlenecks beat no skips, at equal parameters and cost.",
        cases=cases,
        rule=rule,
        metrics=("accuracy", "loss"),
        seeds=5,
        source="figure 6b",
    )


def _manifold() -> Claim:
    names = tuple(f"n = {width}" for width in WIDTHS)
    cases = tuple(
        Case(name, "spiral", {"spiral_width": width})
        for name, width in zip(names, WIDTHS, strict=True)
    )
    return Claim(
        "manifold",
        says="What a ReLU destroys of a spiral in n dimensions falls with n.",
        cases=cases,
        rule=Trend(names, "error", is_falling=True),
        metrics=("error", "error_inverse"),
        seeds=5,
        budget=Budget(30),
        source="section 3.2, figure 1",
    )


def _costs() -> Claim:
    paper = {"table": "paper", "channels": 3, "classes": 1000}
    cases = [Case("small", "mobilenetv2", measures={"costs": True})]
    rules = [Within("small", "difference", high=0)]
    for name, variant, settings in NETWORKS:
        cases.append(Case(name, variant, {**paper, **settings}, {"costs": True}))
        products, weights = MILLIONS[name]
        rules += [
            Within(name, "difference", high=0),
            Within(name, "counted_m", low=products - 1, high=products + 1),
            Within(name, "weights_m", low=weights - 0.011, high=weights + 0.011),
        ]
    return Claim(
        "costs",
        says="Multiply-adds counted while running are those of the closed form and those published.",
        cases=tuple(cases),
        rule=AllOf(tuple(rules)),
        metrics=("counted_m", "multiply_adds_m", "difference", "weights_m", "parameters_m"),
        seeds=2,
        budget=Budget(0),
        source="section 3.3, table 4; the authors' table of checkpoints",
    )


class MobileNetStudy(Study):
    """A network that learns, or the spiral, as the variant says."""

    Config = MobileNetConfig
    variants = ("mobilenetv2", "relu6", "no_skips", "expansion_skips", "separable", "spiral")
    claims = (_bottlenecks(), _skips(), _manifold(), _costs())
    config: MobileNetConfig

    def __init__(self, config: MobileNetConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.task: Classifier | Spiral
        if setup.variant == "spiral":
            self.task = Spiral(config.spiral_width, config.steps, setup.seed)
        else:
            self.task = Classifier(config, setup)
        self.module = self.task.module

    def prepare(self) -> None:
        """Split the pictures."""
        self.task.prepare()

    @property
    def total_steps(self) -> int:
        """Batches of pictures or of random matrices."""
        return self.task.total_steps

    def step(self) -> Metrics:
        """Learn from a batch, or lift the spiral a few times."""
        return self.task.step()

    def evaluate(self) -> Metrics:
        """Measure on held-out pictures, or average the spiral's errors."""
        return self.task.measure({})

    def measure(self, options: Mapping[str, Any]) -> Metrics:
        """Measure, or count costs."""
        return self.task.measure(options)

    def probes(self) -> tuple[Probe, ...]:
        """Return what can be looked at."""
        return self.task.probes()

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Answer {picture, class, layer} with Grad-CAM, or {width} with a spiral."""
        return self.task.inspect(query)

    def attend(self, sample: int, trace: Trace) -> Attended | None:
        """Hand the features of every block to the inspector, for Grad-CAM."""
        return self.task.attend(sample, trace) if isinstance(self.task, Classifier) else None

    def configure(self, config: MobileNetConfig) -> None:
        """Apply live edits; another width of the spiral begins its average again."""
        self.config = config
        if isinstance(self.task, Classifier):
            self.task.config = config
        else:
            self.task.widen(config.spiral_width)

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs."""
        return self.task.state()

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.task.load(state)
