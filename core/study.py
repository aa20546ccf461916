"""The contract every model follows. The trainer knows studies only through this file.

A study owns its optimizer, its data order and its random numbers; the trainer calls `step()`
until the total is reached and never looks inside. A module that holds a study names its class
`STUDY`, so that it is found without reading it. docs/studies.md says how to add one.

What a study promises is compared in claims: `Claim` names the `Case`s, each a variant with
overrides; core/engine/claims.py runs them, and a rule of core/base/verdicts.py reads the table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from core.base import config as configuration
from core.base.errors import ConfigError
from core.base.events import Event
from core.base.verdicts import Rule

if TYPE_CHECKING:
    from core.capture.capture import Capture
    from core.nn.attention import Trace
    from core.radiance.field import Snapshot

Metrics = Mapping[str, float]
ProbeKind = Literal["image", "heat", "attention", "curve", "bars", "table", "text"]
BudgetUnit = Literal["steps", "examples", "evaluations", "seconds"]


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
    artifact: Callable[[str, Callable[[], Any]], Any] = _build  # core/engine/artifacts.py
    report: Callable[[Event], None] = _ignore
    cancelled: Callable[[], bool] = field(default=lambda: False)


@dataclass(frozen=True)
class Probe:
    """A named read-only array made only when somebody looks; `axes` names each dimension.

    image      [y, x] or [y, x, 3], 0..1 or uint8; a leading axis makes a grid of
               pictures, two make its rows and columns
    heat       [y, x] numbers of any range, drawn with a colour scale; leading axes as for image
    attention  [head, query, key] weights, drawn as heat
    curve      [series, x]
    bars       [bar]
    table      [row, column] of numbers or text
    text       [] of text

    `ticks` gives an axis its names or places: of series, pictures, rows, columns, or numbers along x.
    `is_signed` heat is drawn around zero. `note` is a sentence to stand below.
    """

    name: str
    kind: ProbeKind
    values: np.ndarray
    axes: tuple[str, ...]
    ticks: Mapping[str, tuple[str | float, ...]] = field(default_factory=dict)
    is_signed: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != len(self.axes):
            raise ValueError(
                f"probe '{self.name}': {self.values.ndim} dimensions, {len(self.axes)} axes"
            )
        for axis, places in self.ticks.items():
            if axis not in self.axes or len(places) != self.values.shape[self.axes.index(axis)]:
                raise ValueError(f"probe '{self.name}': the ticks of '{axis}' fit no axis")
        self.values.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Attended:
    """One sample and what the model made of it, for the inspector of attention.

    `outputs` is a tensor [O] (logits, say) still in the graph; `names` are theirs. `picture` lies
    under the queries' grid, `key_picture` under the keys' where that is another ([h, w] or
    [h, w, 3], 0..1 or uint8). `samples` is how many there are to choose from.
    """

    outputs: Any
    names: tuple[str, ...] = ()
    picture: np.ndarray | None = None
    key_picture: np.ndarray | None = None
    samples: int = 1
    note: str = ""


@dataclass(frozen=True)
class Budget:
    """How much work every case of a claim may do; an `amount` of None is all of the preset's steps.

    Examples and evaluations are counted by the study: a metric of that name in every step. No work
    at all (0 steps) is for claims about something that `prepare` has built.
    """

    amount: float | None = None
    unit: BudgetUnit = "steps"


@dataclass(frozen=True)
class Case:
    """One row of a claim: a variant (`VARIANT`, or `STUDY:VARIANT` of another study) with overrides.

    `settings` override the preset's configuration; `measures` are handed to `measure`. Cases that
    differ in `measures` alone share one training of each seed.
    """

    name: str
    variant: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """What a paper promises, as a comparison that can fail.

    All cases run on the same seeds, data and budget. In the quick preset the verdict shows no more
    than that the comparison works; the full preset gives the one to publish.
    """

    name: str
    says: str
    cases: tuple[Case, ...]
    rule: Rule
    metrics: tuple[str, ...]
    seeds: int = 3
    budget: Budget = Budget()
    source: str = ""
    if_lost: str = ""  # the probable cause, where a published run has lost it


class Study(ABC):
    """One published system: constructed instantly, prepared with progress, then stepped."""

    Config: ClassVar[type[configuration.Config]]
    variants: ClassVar[tuple[str, ...]]  # the proposed system first, then baselines and controls
    claims: ClassVar[tuple[Claim, ...]] = ()
    needs_capture: ClassVar[bool] = False  # learns from photographs of a scene

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

    def measure(self, options: Mapping[str, Any]) -> Metrics:
        """Measure under the options of a claim's case: other depths, samplers, memories, filters."""
        if options:
            raise ConfigError(f"{type(self).__name__} measures without options: {dict(options)}.")
        return self.evaluate()

    @property
    def num_parameters(self) -> int:
        """Numbers that learn; those of every module the study holds."""
        modules = (value for value in vars(self).values() if hasattr(value, "named_parameters"))
        found = {id(one): one for module in modules for one in module.parameters()}
        return sum(int(one.numel()) for one in found.values())

    def probes(self) -> tuple[Probe, ...]:
        """Return what can be looked at now."""
        return ()

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Answer a click: this pixel, this token, this head."""
        return ()

    def attend(self, sample: int, trace: Trace) -> Attended | None:
        """Pass one held-out sample through the model once, handing `trace` to what attends.

        The engine has set eval mode and gradients, and puts random state back. None: nothing attends.
        """
        return None

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
