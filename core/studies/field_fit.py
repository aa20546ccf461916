"""What studies that fit one signal with a neural field share: the signal, the step, the scene.

A study builds `module` and says with which rates its parameters learn (`groups`); `predict` asks it.
"""

from __future__ import annotations

import copy
import math
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from core.nn.module_adam import ModuleAdam
from core.radiance.ray_scene import RayScene
from core.radiance.sphere_trace import SurfaceAsk
from core.studies.ray_signal import FIRST_DENSITY, ViewsSignal
from core.studies.signals import UNIT_BOX, PictureSignal, Predict, ShapeSignal, SignalConfig
from core.study import Metrics, Probe, Setup, Study

ORIENTATION = np.array([0.0, 1.0, 0.0])  # up, of meshes


def signal_of(config: SignalConfig, *, is_absolute: bool = False) -> Any:
    """Return the signal that the settings name."""
    if config.signal == "picture":
        return PictureSignal(config, is_absolute=is_absolute)
    return ShapeSignal(config) if config.signal == "shape" else ViewsSignal(config)


class FieldFit(Study):
    """Fit one signal."""

    config: Any
    module: nn.Module
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    eps: ClassVar[float] = 1e-8
    is_absolute: ClassVar[bool] = False  # pictures by their absolute error

    def __init__(self, config: Any, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.signal = signal_of(config, is_absolute=self.is_absolute)
        self.build()
        self.optimizers = [
            ModuleAdam(parameters, rate, betas=self.betas, eps=self.eps)
            for parameters, rate in self.groups()
        ]
        self.rng = torch.Generator().manual_seed(setup.seed)
        self.steps_done = 0
        self.seconds = 0.0  # spent in steps
        if config.signal != "picture":  # a picture cannot be orbited
            self.snapshot = self._snapshot

    @abstractmethod
    def build(self) -> None:
        """Build `module`, seeded."""

    @abstractmethod
    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Return parameters and the rate that they start with."""

    @abstractmethod
    def share_left(self) -> float:
        """Return the factor on every rate now."""

    def prepare(self) -> None:
        """Build the signal, and let the field look at it."""
        self.signal.prepare(self.setup)
        self.look()

    def look(self) -> None:
        """Place what depends on the signal."""

    def predict(self, places: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Return the values [N, channels] at places [N, rank]."""
        found: torch.Tensor = self.module(places)
        return found

    @property
    def total_steps(self) -> int:
        """Steps of the preset."""
        return int(self.config.steps)

    def step(self) -> Metrics:
        """Learn from samples drawn at random."""
        began = self._clock()
        loss, metrics = self.signal.loss(self.predict, self.rng)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        left = self.share_left()
        for optimizer, (_, rate) in zip(self.optimizers, self.groups(), strict=True):
            optimizer.rate = left * rate
            optimizer.step()
        self.steps_done += 1
        self.seconds += self._clock() - began
        return metrics

    def _clock(self) -> float:
        """Return seconds: of this thread's work where it does all of it, else of the world."""
        if self.setup.device == "cpu" and torch.get_num_threads() == 1:
            return time.thread_time()
        return time.perf_counter()

    def evaluate(self) -> Metrics:
        """Measure the whole signal."""
        with torch.no_grad():
            found: Metrics = self.signal.evaluate(self.predict)
        return found

    @torch.no_grad()
    def probes(self) -> tuple[Probe, ...]:
        """Return the signal as it is learned, and what the field shows of itself."""
        return (*self.signal.probes(self.predict), *self.shown())

    def shown(self) -> tuple[Probe, ...]:
        """Return what this kind of field has to show."""
        return ()

    def frozen(self) -> Predict:
        """Return `predict` of a copy of the field that learns no more."""
        module = copy.deepcopy(self.module).requires_grad_(False)
        return lambda places, _rows: module(places)

    def _snapshot(self) -> RayScene:
        """Return the field as it is now, to be orbited."""
        predict, weights = self.frozen(), dict(self.module.state_dict())
        if self.config.signal == "views":
            found: RayScene = copy.copy(self.signal).scene(predict, self.steps_done, weights)
            return found
        ask = SurfaceAsk(lambda points: predict(points.clamp(0, 1), None)[:, 0], UNIT_BOX)
        device = torch.device(self.setup.device)
        return RayScene(
            ask, self.steps_done, UNIT_BOX.copy(), ORIENTATION, weights=weights, device=device
        )

    def configure(self, config: Any) -> None:
        """Apply live edits."""
        self.config = config

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the signal follows from the settings."""
        return {
            "module": dict(self.module.state_dict()),
            "optimizers": [optimizer.state() for optimizer in self.optimizers],
            "rng": self.rng.get_state(),
            "steps_done": self.steps_done,
            "signal": self.signal.state() if hasattr(self.signal, "state") else {},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.module.load_state_dict(state["module"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load(kept)
        self.rng.set_state(torch.as_tensor(state["rng"], dtype=torch.uint8))
        self.steps_done = int(state["steps_done"])
        if state["signal"]:
            self.signal.load(state["signal"])


def cosine(step: int, steps: int, last: float) -> float:
    """Return the factor on a rate that falls from 1 to `last` along half a cosine."""
    share = min(step / max(steps, 1), 1.0)
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * share))


@torch.no_grad()
def start_density(readout: nn.Linear, signal: str) -> None:
    """Let a field of a scene start as a thin fog (core/studies/ray_signal.py)."""
    if signal == "views" and not readout.bias.is_meta:
        readout.bias[0].fill_(FIRST_DENSITY)  # type: ignore[union-attr]
