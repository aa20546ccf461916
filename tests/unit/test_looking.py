"""How often the trainer looks at attention: a small share of its own time, and never while nobody wishes."""

from __future__ import annotations

import pytest

from core.base.events import EventQueue
from core.engine import looking
from core.engine.looking import SHARE, Looker, Wish

STEP_S, LOOK_S = 0.02, 0.08  # of processor time


class Times:
    """A wall clock that runs `crowd` times as fast as the thread's processor time."""

    def __init__(self, crowd: float) -> None:
        self.crowd, self.spent = crowd, 0.0

    def wall(self) -> float:
        return self.spent * self.crowd


@pytest.mark.parametrize("crowd", [1.0, 4.0])
def test_looking_takes_a_small_share_of_the_training_however_busy_the_machine_is(
    monkeypatch, crowd
):
    times = Times(crowd)

    def costly(study, wish, step):
        times.spent += LOOK_S
        return step

    monkeypatch.setattr(looking, "look", costly)
    looker = Looker(EventQueue(), times.wall, lambda: times.spent)
    looker.wish(Wish())
    seen = 0
    for step in range(3000):
        times.spent += STEP_S
        looker.refresh(None, step)
        seen += looker.looks.take() is not None
    assert seen > 20
    # the first look comes at once, before there is a time to take its share of
    assert (seen - 1) * LOOK_S <= 1.01 * SHARE * times.spent


def test_nothing_is_measured_while_nobody_looks():
    def fail() -> float:
        raise AssertionError("a clock was read")

    looker = Looker(EventQueue(), fail, fail)
    looker.refresh(None, 1)
    assert looker.looks.peek() is None
