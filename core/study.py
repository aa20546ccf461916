"""The contract every model follows. The trainer knows studies only through this file.

A study owns its optimizer, its data order and its random numbers; the trainer calls `step()`
until the total is reached and never looks inside. A module that holds a study names its class
`STUDY`, so that it is found without reading it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from core.base import config as configuration
from core.base.events import Event

if TYPE_CHECKING:
    from core.capture.capture import Capture
    from core.radiance.field import Snapshot

Metrics = Mapping[str, float]
ProbeKind = Literal[
    "image", "curve", "attention", "points", "bars", "scatter", "graph", "text", "mesh"
]


def _ignore(_event: Event) -> None:
    """Report to nobody."""


def _build(_key: str, build: Callable[[], Any]) -> Any:
    """Build an artifact without a cache."""
    return build()


@dataclass(frozen=True)
class Setup:
    """What a study is given: which variant, where, from which seed and on which capture."""

    variant: str
    device: str = "cpu"
    seed: int = 0
    capture: Capture | None = None
    artifact: Callable[[str, Callable[[], Any]], Any] = _build
    report: Callable[[Event], None] = _ignore
    cancelled: Callable[[], bool] = field(default=lambda: False)


@dataclass(frozen=True)
class Probe:
    """A named read-only array made only when somebody looks; `axes` names each dimension."""

    name: str
    kind: ProbeKind
    values: np.ndarray
    axes: tuple[str, ...]

    def __post_init__(self) -> None:
        self.values.setflags(write=False)


class Study(ABC):
    """One published system: constructed instantly, prepared with progress, then stepped."""

    Config: ClassVar[type[configuration.Config]]
    variants: ClassVar[tuple[str, ...]]

    config: configuration.Config

    @abstractmethod
    def __init__(self, config: Any, setup: Setup) -> None: ...

    def prepare(self) -> None:  # noqa: B027 - optional by contract
        """Build what the first step needs, with progress through `setup.report`."""

    @property
    @abstractmethod
    def total_steps(self) -> int:
        """Steps after which the study is finished."""

    @abstractmethod
    def step(self) -> Metrics:
        """Do one unit of the model's own work; return numbers by name, `loss` where it has one."""

    @abstractmethod
    def evaluate(self) -> Metrics:
        """Measure on held-out data; mode and random state are left as found."""

    def probes(self) -> tuple[Probe, ...]:
        """Return what can be looked at now."""
        return ()

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Answer a click: this pixel, this token, this head."""
        return ()

    @abstractmethod
    def configure(self, config: Any) -> None:
        """Apply live edits between steps."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs: nested dicts of tensors, numpy arrays and JSON values only."""

    @abstractmethod
    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned; afterwards `step` gives the same numbers as without the interruption."""


@runtime_checkable
class Renderable(Protocol):
    """A study that can be orbited."""

    def snapshot(self) -> Snapshot:
        """Return a detached, read-only copy of what a renderer needs."""
        ...
