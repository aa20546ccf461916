"""Numbers that a GPU still computes are looked at late, but before anything is kept of their step."""

from __future__ import annotations

from tiny_study import TinyConfig, TinyPictureStudy

from core.base.events import EventQueue, StateChanged, TrainerState
from core.base.late import LateMetrics
from core.base.latest import Latest
from core.engine.runs import Run, RunConfig
from core.engine.trainer import Trainer, TrainerOptions
from core.study import Setup


class LateStudy(TinyPictureStudy):
    """Notes at which step each step's numbers were looked at."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.looked: dict[int, int] = {}

    def step(self):
        numbers, at = super().step(), self.done

        def read():
            self.looked[at] = self.done
            return numbers

        return LateMetrics(read)


def trainer_of(folder, checkpoint_every_s, steps=40):
    study = LateStudy(TinyConfig(steps=steps), Setup(variant="plain"))
    events = EventQueue()
    run = Run.create(folder, RunConfig(study="tiny"))
    now = iter(range(1, 10**9))
    options = TrainerOptions(checkpoint_every_s=checkpoint_every_s, clock=lambda: 1e-3 * next(now))
    trainer = Trainer(lambda: study, events, Latest(), run, options)
    trainer.has_viewers = False
    return trainer, study, events, run


def test_reading_a_number_waits_for_it_once():
    asked = []
    late = LateMetrics(lambda: asked.append(1) or {"loss": 0.5})
    assert not asked
    assert dict(late) == {"loss": 0.5}
    assert late["loss"] == 0.5
    assert len(late) == 1
    assert len(asked) == 1


def test_numbers_are_looked_at_a_step_late(tmp_path):
    trainer, study, _, _ = trainer_of(tmp_path, checkpoint_every_s=1e9)
    while trainer.tick():
        pass
    trainer.close()
    assert trainer.state is TrainerState.DONE
    late = [step for step, seen in study.looked.items() if seen == step + 1]
    assert len(late) > 20
    assert all(seen <= step + 1 for step, seen in study.looked.items())
    assert study.looked[40] == 40  # the last step's are looked at before the result is kept


def test_a_step_that_went_wrong_is_named_and_never_saved(tmp_path):
    for every_s in (1e9, 0.0):  # hardly any checkpoint, and one after every step
        folder = tmp_path / f"{every_s}"
        trainer, study, events, run = trainer_of(folder, every_s)
        study.nan_at = 7
        while trainer.tick():
            pass
        trainer.close()
        reasons = [event.reason for event in events.drain() if isinstance(event, StateChanged)]
        assert "Step 7: loss is nan." in reasons
        assert all(step < 7 for step, _ in run.checkpoints().generations())


def test_stopping_looks_at_the_last_numbers_before_it_saves(tmp_path):
    trainer, study, _, run = trainer_of(tmp_path, checkpoint_every_s=1e9)
    study.nan_at = 3
    while study is not None and trainer.step < 3:
        trainer.tick()
    trainer.close()
    assert not run.checkpoints().generations()
