"""Messages from the engine to whoever shows them: frozen, small, free of torch.

Events travel through one FIFO (`EventQueue`) that the app loop drains every tick.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class TrainerState(str, Enum):
    """What the trainer thread is doing."""

    IDLE = "idle"
    LOADING = "loading"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Event:
    """Base of everything the engine reports."""


@dataclass(frozen=True)
class Notice(Event):
    """A sentence for the user; `level` is info, good, warning or error; `key` makes repeats replace each other."""

    text: str
    level: str = "info"
    key: str = ""


@dataclass(frozen=True)
class Progress(Event):
    """How far a long task is; `fraction` is None while unknown; 1.0 ends it."""

    task: str
    fraction: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class StateChanged(Event):
    """The trainer entered another state; `reason` says why when nobody asked for it."""

    state: TrainerState
    step: int = 0
    reason: str = ""


@dataclass(frozen=True)
class StepDone(Event):
    """Metrics of a training step (not every step: at most a few times a second)."""

    step: int
    total: int
    metrics: Mapping[str, float]
    steps_per_second: float
    elapsed_s: float


@dataclass(frozen=True)
class Evaluated(Event):
    """Held-out metrics: the means, and per picture `name -> {psnr, ssim}`."""

    step: int
    metrics: Mapping[str, float]
    pictures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class KnobChanged(Event):
    """A live setting took effect before this step."""

    step: int
    key: str
    value: object


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """A complete, verified checkpoint generation is on disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class FileWritten(Event):
    """A scene or export was written and read back; `summary` is one sentence with its size and loss."""

    path: Path
    summary: str


@dataclass(frozen=True)
class Failed(Event):
    """A thread or job failed; everything else goes on."""

    where: str
    message: str
    traceback: str = ""
    is_deliberate: bool = False  # a HybridError: the message says all there is to say


class EventQueue:
    """FIFO of events: any thread posts, the app loop drains."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def post(self, event: Event) -> None:
        """Add an event; never blocks."""
        self._queue.put(event)

    def drain(self) -> list[Event]:
        """Return and remove everything that waits."""
        events: list[Event] = []
        while True:
            try:
                events.append(self._queue.get_nowait())
            except queue.Empty:
                return events
