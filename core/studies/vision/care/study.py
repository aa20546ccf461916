"""The study: pictures, variants, training, and the paper's claims."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from core.base.errors import ConfigError
from core.base.verdicts import AllOf, Better, Within
from core.nn.attention import Trace
from core.nn.labelled import NUM_CLASSES, labelled
from core.nn.macs import measuring
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import seeded
from core.studies.vision.care import cost, shown
from core.studies.vision.care.config import CAREConfig
from core.studies.vision.care.network import CARE, TABLES, Sizes
from core.study import Attended, Budget, Case, Claim, Metrics, Probe, Setup, Study

RECORDS = 100  # of gamma over a training
MILLION = 1e6
S0 = {"table": "S0", "size": 224, "channels": 3, "classes": 1000, "stem": 4}
KINDS = {"care": "decoupled", "softmax": "softmax", "stacked": "stacked", "stacked_wide": "stacked"}


def sizes_of(config: CAREConfig, variant: str) -> Sizes:
    """Return the sizes of a variant's network; `stacked` is narrower, so that it costs as much as CARE."""
    stages = TABLES[config.table]
    shrinks = config.stem * 2 ** (len(stages) - 1)
    if config.size % shrinks:
        raise ConfigError(
            f"Pictures of {config.size} pixels do not halve {len(stages) - 1} times after a stem of "
            f"{config.stem}. Set size to a multiple of {shrinks}."
        )
    sizes = Sizes(
        stages=stages,
        channels=config.channels,
        classes=config.classes or NUM_CLASSES[config.source],
        stem=config.stem,
        first_gamma=config.gamma,
        paths=config.paths,
    )
    if variant == "stacked":
        return cost.matched(sizes, config.size)
    return replace(sizes, kind=KINDS[variant])


class CAREStudy(Study):
    """A backbone learns to tell small pictures apart; what it costs is counted and timed."""

    Config = CAREConfig
    variants = ("care", "stacked", "stacked_wide", "softmax")
    claims = (
        Claim(
            "decoupled",
            says="Decoupled blocks are more accurate than stacked ones of equal multiply-adds, and quicker "
            "than stacked ones of equal width.",
            cases=(
                Case("CARE", "care"),
                Case("stacked, equal cost", "stacked"),
                Case("stacked, equal width", "stacked_wide"),
            ),
            rule=AllOf(
                (
                    Better("CARE", "stacked, equal cost", "accuracy"),
                    Better("CARE", "stacked, equal width", "latency_ms", is_lower_better=True),
                )
            ),
            metrics=("accuracy", "latency_ms", "multiply_adds_m"),
            seeds=5,
            source="asymmetrical feature decoupling, against the stacked design of MLLA",
            if_lost="At 218 thousand parameters and 32 pixels time is that of calls, of which splitting "
            "and joining groups needs more, not that of multiply-adds (paper_latency has the paper's "
            "sizes); with residuals of its own the stacked block loses nothing by its order, and all of "
            "its channels pass every filter.",
        ),
        Claim(
            "paper_latency",
            says="At the paper's sizes decoupled blocks take less time and fewer multiply-adds than "
            "stacked ones of equal width.",
            cases=(
                Case("CARE-S0", "care", S0, {"latency": True}),
                Case("stacked S0", "stacked_wide", S0, {"latency": True}),
            ),
            rule=AllOf(
                (
                    Better("CARE-S0", "stacked S0", "latency_ms", is_lower_better=True),
                    Better("CARE-S0", "stacked S0", "multiply_adds_m", is_lower_better=True),
                )
            ),
            metrics=("latency_ms", "multiply_adds_m", "parameters_m"),
            seeds=5,
            budget=Budget(0),
            source="asymmetrical feature decoupling; the sizes of CARE-S0",
        ),
        Claim(
            "linear_cost",
            says="The time of its attention grows linearly with the number of tokens, that of softmax "
            "attention of equal width quadratically.",
            cases=(
                Case("linear", "care", measures={"cost": True}),
                Case("softmax", "softmax", measures={"cost": True}),
            ),
            rule=AllOf(
                (
                    Within("linear", "exponent_s", 0.7, 1.3),
                    Within("softmax", "exponent_s", 1.6, 2.4),
                )
            ),
            metrics=("exponent_s", "crossover_tokens_s"),
            seeds=3,
            budget=Budget(0),
            source="linear against softmax attention",
            if_lost="Softmax attention's tables of weights outgrow the caches of a CPU at the larger sizes: its "
            "time grows faster than the products that it counts; that of linear attention grows as promised.",
        ),
    )
    config: CAREConfig

    def __init__(self, config: CAREConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.sizes = sizes_of(config, setup.variant)
        with seeded(setup.seed, setup.device):
            self.module = CARE(self.sizes)
        self.optimizer = ModuleAdam(self.module.parameters(), config.rate, decay=config.decay)
        self.steps_done = 0
        self.history: list[list[float]] = []  # step, mean size of gamma in every block that has one

    def prepare(self) -> None:
        """Cut the pictures; they depend on the seed alone."""
        config = self.config
        parts = labelled(
            config.source,
            config.examples,
            config.held,
            channels=config.channels,
            seed=self.setup.seed,
        )
        self.train, self.test = (part.to(self.setup.device) for part in parts)
        self.rng = torch.Generator(self.setup.device).manual_seed(self.setup.seed)

    @property
    def total_steps(self) -> int:
        """Batches to learn from."""
        return self.config.steps

    def inputs(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return pictures as the network reads them, [B, C, size, size] around 0."""
        if pictures.shape[-1] != self.config.size:
            side = (self.config.size,) * 2
            pictures = torch.nn.functional.interpolate(pictures, size=side, mode="bilinear")
        return (pictures - 0.5) / 0.25

    def step(self) -> Metrics:
        """Learn from one batch: (1 - alpha) CE of the class head + alpha CE of the teacher's head."""
        config = self.config
        if self.steps_done % max(1, config.steps // RECORDS) == 0:
            self._record()
        rows = torch.randint(
            len(self.train), (config.batch,), generator=self.rng, device=self.setup.device
        )
        labels = self.train.labels[rows]
        self.module.train()
        logits, distilled = self.module.both(self.inputs(self.train.pictures[rows]), self.rng)
        entropy = torch.nn.functional.cross_entropy
        own = entropy(logits, labels, label_smoothing=config.smoothing)
        # without a teacher its head learns from the labels themselves
        loss = (1 - config.alpha) * own + config.alpha * entropy(distilled, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.rate = config.rate * self._schedule()
        self.optimizer.step()
        self.steps_done += 1
        right = ((logits + distilled).argmax(dim=1) == labels).double().mean()
        return {"loss": float(loss.detach()), "accuracy_learned": float(right)}

    def _schedule(self) -> float:
        """Return the share of the learning rate: a straight rise, then a cosine to zero."""
        warm, steps = min(self.config.warm_up, self.config.steps - 1), self.config.steps
        if self.steps_done < warm:
            return (self.steps_done + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (self.steps_done - warm) / (steps - warm))))

    def _record(self) -> None:
        gammas = [block.gamma for _, block in self.module.blocks() if block.gamma is not None]
        sizes = [float(gamma.detach().abs().mean()) for gamma in gammas]
        self.history.append([float(self.steps_done), *sizes])

    @torch.no_grad()
    def evaluate(self) -> Metrics:
        """Measure on held-out pictures, and what a picture costs."""
        losses, right = 0.0, 0
        with measuring(self.module):
            parts = zip(self.test.pictures.split(100), self.test.labels.split(100), strict=True)
            for pictures, labels in parts:
                logits = self.module(self.inputs(pictures))
                losses += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
                right += int((logits.argmax(dim=1) == labels).sum())
        return {
            "accuracy": right / len(self.test),
            "loss": losses / len(self.test),
            **self._meter(),
        }

    def _meter(self) -> dict[str, float]:
        return {"multiply_adds_m": self.multiply_adds / MILLION, "latency_ms": self.latency()}

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one picture."""
        return sum(cost.multiply_adds(self.sizes, self.config.size).values())

    def latency(self) -> float:
        """Return the milliseconds of one picture on one thread."""
        with measuring(self.module):
            return cost.milliseconds(self.module, self.inputs(self.test.pictures[:1]))

    def measure(self, options: Mapping[str, Any]) -> Metrics:
        """Measure on held-out pictures; {cost: true} attention by tokens, {latency: true} one picture."""
        if unknown := set(options) - {"cost", "latency"}:
            raise ConfigError(
                f"CARE cannot measure with {sorted(unknown)}; it knows 'cost' and 'latency'."
            )
        if options.get("latency"):
            return {**self._meter(), "parameters_m": self.num_parameters / MILLION}
        if not options.get("cost"):
            return self.evaluate()
        is_softmax, largest = self.sizes.kind == "softmax", self.config.largest
        own = cost.attention_times(is_softmax, largest, self.setup.device)
        other = cost.attention_times(not is_softmax, largest, self.setup.device)
        linear, softmax = (other, own) if is_softmax else (own, other)
        return {
            "exponent_s": cost.growth(own),
            "crossover_tokens_s": cost.crossover(linear, softmax),
            **{f"tokens_{count}_ms": spent for count, spent in own.items()},
        }

    def probes(self) -> tuple[Probe, ...]:
        """Return the pictures of shown.py."""
        return shown.of(self)

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Draw one query's implicit weights in every block that attends {picture, y, x}, of 0..1."""
        return shown.asked(self, query)

    def attend(self, sample: int, trace: Trace) -> Attended | None:
        """Pass one held-out picture through; linear attention hands over its queries and keys."""
        at = sample % len(self.test)
        with measuring(self.module):
            logits = self.module(self.inputs(self.test.pictures[at : at + 1]), trace)[0]
        return Attended(
            outputs=logits,
            names=shown.class_names(self.config.source, len(logits)),
            picture=shown.picture(self.test.pictures[at]),
            samples=len(self.test),
            note=f"held-out picture {at} of class {int(self.test.labels[at])}",
        )

    def configure(self, config: CAREConfig) -> None:
        """Apply live edits."""
        self.config = config

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the pictures follow from the seed."""
        return {
            "module": dict(self.module.state_dict()),
            "optimizer": self.optimizer.state(),
            "rng": self.rng.get_state(),
            "steps_done": self.steps_done,
            "history": [list(row) for row in self.history],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load(state["optimizer"])
        self.rng.set_state(state["rng"])
        self.steps_done = int(state["steps_done"])
        self.history = [list(row) for row in state["history"]]
