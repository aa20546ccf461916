"""What the tour opens, how long it trains and what it looks at: the same in window and browser."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app import actions
from app.session import Session
from app.store import Store

DEMO_STEPS, SHOWN_AT = 1000, 400  # of the demo's training, and where it is shown under way


@dataclass(frozen=True)
class Story:
    """A study, the steps of its full preset, and what of its attention is chosen."""

    study: str
    steps: int
    variant: str = ""
    shown: dict[str, Any] = field(default_factory=dict)


STUDY = Story("cam", 150)
ATTENDING = {
    "convit": Story("convit", 300, shown={"layer": "block 4", "order": "gate"}),
    "care": Story("care", 150, shown={"sample": 7}),
    "axial": Story("axial", 200, shown={"layer": "outer 1 and then outer 2"}),
    "hopfield": Story("hopfield", 150, variant="pooling", shown={"sample": 3}),
    "mobilenetv2": Story("mobilenetv2", 150, shown={"layer": "block 5", "opacity": 0.5}),
}


def step_of(session: Session) -> int:
    """Return the training's step."""
    trainer = session._training.trainer
    return 0 if trainer is None else trainer.step


def is_trained(session: Session, story: Story) -> bool:
    """Whether the training is where the story wants it."""
    return step_of(session) >= story.steps or session.store.get("train.state") == "done"


def chosen(store: Store, story: Story) -> tuple[actions.Action, ...]:
    """Return the actions that choose what is shown; layers go by their names."""
    layers = list(store.get("attention.layers"))
    values = {
        key: layers.index(value) if key == "layer" else value for key, value in story.shown.items()
    }
    return tuple(actions.ChooseAttention(key, value) for key, value in values.items())
