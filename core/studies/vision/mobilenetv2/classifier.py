"""The task: a network out of a table learns to tell small pictures apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.nn.attention import Trace
from core.nn.macs import measuring
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import seeded
from core.studies.vision.mobilenetv2 import pictures
from core.studies.vision.mobilenetv2.config import MobileNetConfig
from core.studies.vision.mobilenetv2.costs import closed_form, running
from core.studies.vision.mobilenetv2.data import NUM_CLASSES, split
from core.studies.vision.mobilenetv2.network import (
    PAPER,
    PAPER_V1,
    SMALL,
    SMALL_V1,
    MobileNet,
    Skips,
    Table,
    scaled,
)
from core.study import Attended, Probe, Setup

TABLES = {
    ("small", False): SMALL,
    ("paper", False): PAPER,
    ("small", True): SMALL_V1,
    ("paper", True): PAPER_V1,
}
SKIPS: dict[str, Skips] = {"no_skips": "none", "expansion_skips": "expansions"}
MILLION = 1e6


def table_of(config: MobileNetConfig, variant: str) -> Table:
    """Return the table of a variant at the width multiplier."""
    return scaled(TABLES[config.table, variant == "separable"], config.width)


class Classifier:
    """Pictures, a network and the order in which it sees them."""

    def __init__(self, config: MobileNetConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.classes = config.classes or NUM_CLASSES[config.source]
        if self.classes < NUM_CLASSES[config.source]:
            raise ConfigError(
                f"{config.source} have {NUM_CLASSES[config.source]} classes, the network {self.classes}. "
                "Set classes to 0, or at least to that number."
            )
        self.table = table_of(config, setup.variant)
        with seeded(setup.seed, setup.device):
            self.module = MobileNet(
                self.table,
                channels=config.channels,
                classes=self.classes,
                is_linear=setup.variant != "relu6",
                skips=SKIPS.get(setup.variant, "bottlenecks"),
            )
        self.optimizer = ModuleAdam(self.module.parameters(), config.rate, decay=config.decay)
        self.steps_done = 0

    @property
    def total_steps(self) -> int:
        """Batches to learn from."""
        return self.config.steps

    def prepare(self) -> None:
        """Split the pictures; the split depends on the seed alone."""
        config, device = self.config, self.setup.device
        rng = np.random.default_rng(self.setup.seed)
        self.train, self.test = (
            part.to(device) for part in split(config.source, config.examples, config.test, rng)
        )
        self.rng = torch.Generator(device).manual_seed(self.setup.seed)

    def step(self) -> dict[str, float]:
        """Learn from one batch; the loss is the cross-entropy."""
        rows = torch.randint(
            len(self.train), (self.config.batch,), generator=self.rng, device=self.setup.device
        )
        labels = self.train.labels[rows]
        self.module.train()
        logits = self.module(self.train.inputs(rows, self.config.size, self.config.channels))
        loss = torch.nn.functional.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        share = min(1.0, self.steps_done / self.config.steps)
        self.optimizer.rate = self.config.rate * 0.5 * (1 + math.cos(math.pi * share))
        self.optimizer.step()
        self.steps_done += 1
        right = (logits.detach().argmax(dim=1) == labels).double().mean()
        return {"loss": float(loss.detach()), "accuracy_learned": float(right)}

    @torch.no_grad()
    def measure(self, options: Mapping[str, Any]) -> dict[str, float]:
        """Measure on held-out pictures, or count costs {costs: true}."""
        if unknown := set(options) - {"costs"}:
            raise ConfigError(
                f"MobileNetV2 cannot measure with {sorted(unknown)}; it knows 'costs'."
            )
        if options.get("costs"):
            return self._costs()
        losses, right = 0.0, 0
        with measuring(self.module):
            for rows in torch.arange(len(self.test)).split(self.config.batch):
                labels = self.test.labels[rows]
                inputs = self.test.inputs(rows, self.config.size, self.config.channels)
                logits = self.module(inputs)
                losses += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
                right += int((logits.argmax(dim=1) == labels).sum())
        return {"accuracy": right / len(self.test), "loss": losses / len(self.test)}

    def _costs(self) -> dict[str, float]:
        """Compare the closed form with what is counted while a picture runs through."""
        config = self.config
        counted = running(self.module, self.test.inputs(slice(0, 1), config.size, config.channels))
        parts = closed_form(
            self.table, size=config.size, channels=config.channels, classes=self.classes
        )
        away = [abs(counted.get(part.name, 0) - part.multiply_adds) for part in parts]
        return {
            "multiply_adds_m": sum(part.multiply_adds for part in parts) / MILLION,
            "counted_m": sum(counted.values()) / MILLION,
            "difference": float(sum(away)),
            "parameters_m": sum(part.parameters for part in parts) / MILLION,
            "weights_m": sum(part.weights for part in parts) / MILLION,
        }

    def probes(self) -> tuple[Probe, ...]:
        """Return the pictures of pictures.py for the chosen block and picture."""
        return pictures.of(self)

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Draw Grad-CAM of one held-out picture for one class and layer {picture, class, layer}."""
        return pictures.asked(self, query)

    def attend(self, sample: int, trace: Trace) -> Attended:
        """Pass one held-out picture through: nothing attends, but Grad-CAM can be drawn at every block."""
        at = sample % len(self.test)
        inputs = self.test.inputs(slice(at, at + 1), self.config.size, self.config.channels)
        return Attended(
            outputs=self.module(inputs, trace=trace)[0],
            names=tuple(str(one) for one in range(self.classes)),
            picture=pictures.grey(inputs),
            samples=len(self.test),
            note=f"Held-out picture {at}, class {int(self.test.labels[at])}",
        )

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the split follows from the seed."""
        return {
            "module": dict(self.module.state_dict()),
            "optimizer": self.optimizer.state(),
            "rng": self.rng.get_state(),
            "steps_done": self.steps_done,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load(state["optimizer"])
        self.rng.set_state(state["rng"])
        self.steps_done = int(state["steps_done"])
