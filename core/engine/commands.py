"""What the trainer can be asked to do: frozen, carried out in order between two steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.base.latest import Latest

if TYPE_CHECKING:
    from core.engine.looking import Wish


@dataclass(frozen=True)
class Command:
    """Base of every command."""


@dataclass(frozen=True)
class Pause(Command):
    """Hold after the current step."""


@dataclass(frozen=True)
class Resume(Command):
    """Go on."""


@dataclass(frozen=True)
class Stop(Command):
    """End training now, with a last snapshot and checkpoint but no further evaluation."""


@dataclass(frozen=True)
class StepOnce(Command):
    """Do one step and stay paused."""


@dataclass(frozen=True)
class SetKnob(Command):
    """Change one live setting before the next step; `key` is dotted."""

    key: str
    value: Any


@dataclass(frozen=True)
class SaveCheckpoint(Command):
    """Write a checkpoint generation now."""


@dataclass(frozen=True)
class EvaluateNow(Command):
    """Measure the held-out data now."""


@dataclass(frozen=True)
class LookAt(Command):
    """Show what a sample attends to, now and while training goes on; None: nobody looks any more."""

    wish: Wish | None


@dataclass(frozen=True, eq=False)
class WantSnapshot(Command):
    """Publish a snapshot now; an export that waits for one brings its own `reply` slot."""

    reply: Latest[Any] | None = None
