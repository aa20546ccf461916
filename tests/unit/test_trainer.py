"""The training loop, inline where order matters and in its thread where threads matter."""

from __future__ import annotations

import time

import pytest
import torch
from tiny_study import TinyConfig, TinyPictureStudy, TinyStudy

from core.base.events import (
    CheckpointSaved,
    Evaluated,
    EventQueue,
    Failed,
    KnobChanged,
    Notice,
    Progress,
    StateChanged,
    StepDone,
    TrainerState,
)
from core.base.latest import Latest
from core.engine import commands
from core.engine.runs import Run, RunConfig
from core.engine.trainer import Trainer, TrainerOptions
from core.study import Setup


class Clock:
    """Time that passes only when told, or a little at every look."""

    def __init__(self, per_look: float = 0.0) -> None:
        self.now, self.per_look = 100.0, per_look

    def __call__(self) -> float:
        self.now += self.per_look
        return self.now


MADE: list[Trainer] = []


@pytest.fixture(autouse=True)
def _every_trainer_is_closed():
    yield
    while MADE:
        MADE.pop().close()


def trainer_of(study_class=TinyPictureStudy, run=None, setup=None, **options):
    study = study_class(setup or TinyConfig(), Setup(variant="plain"))
    events, snapshots = EventQueue(), Latest()
    trainer = Trainer(lambda: study, events, snapshots, run, TrainerOptions(**options))
    MADE.append(trainer)
    return trainer, study, events, snapshots


def run_of(folder, **settings):
    return Run.create(folder, RunConfig(study="tiny", settings=settings))


def finish(trainer, limit=1000):
    for _ in range(limit):
        if not trainer.tick():
            return
    raise AssertionError(f"not finished after {limit} units: {trainer.state}")


def ticks(trainer, count):
    for _ in range(count):
        trainer.tick()


LOADING_TICKS = 4  # enter loading, construct, prepare, resume


def states(events):
    return [event.state.value for event in events if isinstance(event, StateChanged)]


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def test_a_training_passes_through_its_states_and_ends_with_an_evaluation():
    trainer, study, events, snapshots = trainer_of()
    assert trainer.state is TrainerState.IDLE
    finish(trainer)
    seen = events.drain()
    assert states(seen) == ["loading", "running", "done"]
    assert len(study.losses) == 40
    assert of(Evaluated, seen)[-1].step == 40
    assert of(Evaluated, seen)[-1].pictures == {"one.png": {"psnr": 20.0, "ssim": 0.5}}
    assert of(StepDone, seen)[-1].step == 40
    assert of(Progress, seen)[-1].fraction == 1.0
    assert snapshots.peek().step == 40


def test_preparing_happens_in_the_loading_state():
    trainer, study, _, _ = trainer_of()
    ticks(trainer, 2)
    assert not study.is_prepared
    trainer.tick()
    assert study.is_prepared
    assert trainer.state is TrainerState.LOADING


def test_metrics_are_reported_a_few_times_a_second_however_fast_the_steps():
    clock = Clock()
    trainer, _, events, _ = trainer_of(clock=clock, total_steps=1000)
    ticks(trainer, LOADING_TICKS)
    for _ in range(100):
        clock.now += 0.01
        trainer.tick()
    reports = of(StepDone, events.drain())
    assert 4 <= len(reports) <= 6
    assert reports[-1].steps_per_second == pytest.approx(100, rel=0.05)
    assert reports[-1].total == 1000


def test_pausing_holds_after_the_current_step_and_shows_where_it_stands():
    trainer, study, events, snapshots = trainer_of()
    ticks(trainer, LOADING_TICKS + 3)
    trainer.post(commands.Pause())
    assert not trainer.tick()
    assert not trainer.tick()
    assert len(study.losses) == 3
    assert snapshots.peek().step == 3
    assert of(StepDone, events.drain())[-1].step == 3
    trainer.post(commands.Resume())
    assert trainer.tick()
    assert len(study.losses) == 4


def test_single_steps_stay_paused_and_keep_the_order_of_commands():
    trainer, study, events, _ = trainer_of()
    ticks(trainer, LOADING_TICKS)
    events.drain()
    trainer.post(commands.StepOnce())
    trainer.post(commands.SetKnob("rate", 0.5))
    trainer.post(commands.StepOnce())
    ticks(trainer, 5)
    assert len(study.losses) == 2
    assert trainer.state is TrainerState.PAUSED
    assert of(KnobChanged, events.drain()) == [KnobChanged(1, "rate", 0.5)]


def test_a_pause_during_loading_takes_effect_before_the_first_step():
    trainer, study, _, _ = trainer_of()
    trainer.tick()
    trainer.post(commands.Pause())
    ticks(trainer, 6)
    assert trainer.state is TrainerState.PAUSED
    assert study.losses == []


def test_a_stop_ends_with_a_snapshot_and_a_checkpoint(tmp_path):
    run = run_of(tmp_path / "run")
    trainer, _, events, snapshots = trainer_of(run=run)
    ticks(trainer, LOADING_TICKS + 5)
    trainer.post(commands.Stop())
    trainer.tick()
    assert trainer.state is TrainerState.DONE
    assert snapshots.peek().step == 5
    seen = events.drain()
    assert of(CheckpointSaved, seen)[-1].step == 5
    assert of(Evaluated, seen) == []
    assert "Stopped at step 5 of 40" in of(StateChanged, seen)[-1].reason


def test_a_stop_while_loading_is_seen_by_the_study_and_leaves_nothing_behind():
    class Slow(TinyStudy):
        def prepare(self):
            trainer.post(commands.Stop())
            assert trainer.is_cancelled()
            raise InterruptedError

    trainer, _, events, _ = trainer_of(Slow)
    finish(trainer)
    seen = events.drain()
    assert states(seen) == ["loading", "idle"]
    assert of(Failed, seen) == []


def test_a_live_setting_takes_effect_and_a_fixed_one_is_refused_by_name():
    trainer, study, events, _ = trainer_of()
    ticks(trainer, LOADING_TICKS + 1)
    for key, value in (("rate", "0.25"), ("width", 4), ("rate", 7.0), ("unknown", 1)):
        trainer.post(commands.SetKnob(key, value))
    trainer.tick()
    assert study.config.rate == 0.25
    assert study.optimizer.param_groups[0]["lr"] == 0.25
    assert trainer.state is TrainerState.RUNNING
    notices = [event.text for event in of(Notice, events.drain())]
    assert len(notices) == 3
    assert "'width' cannot change while training" in notices[0]


def test_a_loss_that_is_not_finite_pauses_and_names_step_and_term(tmp_path):
    run = run_of(tmp_path / "run")
    trainer, study, events, snapshots = trainer_of(run=run, checkpoint_every_s=0.0)
    study.nan_at = 7
    finish(trainer)
    seen = events.drain()
    assert trainer.state is TrainerState.PAUSED
    assert of(StateChanged, seen)[-1].reason == "Step 7: loss is nan."
    assert any("Step 7" in notice.text for notice in of(Notice, seen))
    assert snapshots.peek().step < 7
    trainer.post(commands.SaveCheckpoint())
    trainer.close()
    assert run.checkpoints().latest()[0] == 6


def test_training_can_go_on_after_a_loss_that_was_not_finite():
    trainer, study, _, _ = trainer_of()
    study.nan_at = 7
    finish(trainer)
    trainer.post(commands.Resume())
    finish(trainer)
    assert trainer.state is TrainerState.DONE
    assert trainer.step == 40


def test_an_exception_fails_with_a_traceback_and_the_last_snapshot_stays():
    trainer, study, events, snapshots = trainer_of()
    study.fail_at = 5
    finish(trainer)
    seen = events.drain()
    assert trainer.state is TrainerState.FAILED
    assert "planted" in of(StateChanged, seen)[-1].reason
    assert "ZeroDivisionError" in of(Failed, seen)[0].traceback
    reply = Latest()
    trainer.post(commands.WantSnapshot(reply))
    trainer.tick()
    assert reply.take() is snapshots.peek()


def test_a_step_that_was_interrupted_half_way_is_never_saved(tmp_path):
    class Interrupted(TinyStudy):
        def step(self):
            metrics = super().step()
            if self.done == 6:
                raise KeyboardInterrupt
            return metrics

    run = run_of(tmp_path / "run")
    trainer, *_ = trainer_of(Interrupted, run=run, checkpoint_every_s=0.0)
    with pytest.raises(KeyboardInterrupt):
        finish(trainer)
    trainer.post(commands.Stop())
    finish(trainer)
    trainer.close()
    assert run.checkpoints().latest()[0] == 5
    resumed, study, _, _ = trainer_of(run=Run.open(tmp_path / "run"))
    finish(resumed)
    assert torch.equal(study.weights, trained_to_the_end().weights)


def trained_to_the_end():
    trainer, study, _, _ = trainer_of()
    finish(trainer)
    return study


def test_a_study_that_cannot_be_built_fails_with_its_own_words():
    def build():
        raise ValueError("no photographs")

    events = EventQueue()
    trainer = Trainer(build, events, Latest())
    finish(trainer)
    assert trainer.state is TrainerState.FAILED
    assert "no photographs" in of(Failed, events.drain())[0].message


def test_snapshots_are_made_only_when_the_last_one_was_taken_and_somebody_looks():
    clock = Clock()
    trainer, _, _, snapshots = trainer_of(clock=clock, total_steps=1000)
    ticks(trainer, LOADING_TICKS)

    def step(seconds):
        clock.now += seconds
        trainer.tick()

    assert snapshots.take().step == 0
    step(0.2)
    assert snapshots.is_fresh
    step(0.2)
    assert snapshots.take().step == 1  # nobody had taken it: no second one
    trainer.has_viewers = False
    step(0.2)
    assert not snapshots.is_fresh
    trainer.has_viewers = True
    step(0.2)
    assert snapshots.take().step == 4
    step(0.01)
    assert not snapshots.is_fresh  # too soon after the last


def test_a_wanted_snapshot_is_of_the_current_step_even_when_nobody_looks():
    trainer, _, _, _ = trainer_of(clock=Clock())
    trainer.has_viewers = False
    ticks(trainer, LOADING_TICKS + 3)
    reply = Latest()
    trainer.post(commands.WantSnapshot(reply))
    trainer.tick()
    assert reply.take().step == 3


def test_a_study_without_pictures_publishes_none():
    trainer, _, _, snapshots = trainer_of(TinyStudy)
    finish(trainer)
    assert snapshots.peek() is None


def test_evaluations_come_at_their_steps_and_on_request():
    trainer, _, events, _ = trainer_of(evaluate_every=15)
    finish(trainer)
    trainer.post(commands.EvaluateNow())
    trainer.tick()
    assert [event.step for event in of(Evaluated, events.drain())] == [15, 30, 40, 40]


def test_held_out_pictures_are_measured_once_and_the_means_are_of_their_columns():
    trainer, study, events, _ = trainer_of()
    measured = []

    def evaluate_pictures():
        measured.append(study.done)
        return {"a.png": {"psnr": 20.0, "ssim": 0.5}, "b.png": {"psnr": 24.0, "ssim": 0.7}}

    def evaluate():
        raise AssertionError("measured a second time")

    study.evaluate_pictures, study.evaluate = evaluate_pictures, evaluate
    finish(trainer)
    assert measured == [40]
    (evaluated,) = of(Evaluated, events.drain())
    assert evaluated.metrics == pytest.approx({"psnr": 22.0, "ssim": 0.6})


def test_the_run_folder_tells_the_story(tmp_path):
    run = run_of(tmp_path / "run")
    trainer, study, _, _ = trainer_of(run=run, evaluate_every=20)
    ticks(trainer, LOADING_TICKS + 12)
    trainer.post(commands.SetKnob("rate", 0.1))
    finish(trainer)
    lines = [(line["kind"], line["step"]) for line in run.metrics()]
    assert lines == [
        ("train", 10),
        ("knob", 12),
        ("train", 20),
        ("test", 20),
        ("train", 30),
        ("train", 40),
        ("test", 40),
    ]
    assert run.metrics()[0]["loss"] == study.losses[9]
    trainer.post(commands.EvaluateNow())
    trainer.tick()
    assert len(run.metrics()) == 7  # a repeated evaluation of the same step adds no line


@pytest.mark.parametrize("cut_at", [1, 9, 10, 23, 39])
def test_a_resumed_training_gives_the_numbers_of_an_uninterrupted_one(tmp_path, cut_at):
    whole, expected, _, _ = trainer_of(run=run_of(tmp_path / "whole"))
    ticks(whole, LOADING_TICKS + 5)
    whole.post(commands.SetKnob("rate", 0.02))
    finish(whole)
    first, part, _, _ = trainer_of(run=run_of(tmp_path / "run"))
    ticks(first, LOADING_TICKS + min(cut_at, 5))
    first.post(commands.SetKnob("rate", 0.02))
    ticks(first, cut_at - min(cut_at, 5))
    edited = cut_at > 5
    first.close()
    run = Run.open(tmp_path / "run")
    second, study, events, _ = trainer_of(run=run)
    if not edited:
        ticks(second, LOADING_TICKS + 5 - cut_at)
        second.post(commands.SetKnob("rate", 0.02))
    finish(second)
    assert of(StateChanged, events.drain())[1].step == cut_at
    assert part.losses + study.losses == expected.losses
    assert torch.equal(study.weights, expected.weights)
    assert study.config == expected.config
    assert [line["step"] for line in run.metrics()] == [
        line["step"] for line in Run.open(tmp_path / "whole").metrics()
    ]


def test_resuming_after_the_last_step_only_measures_again(tmp_path):
    finish(trainer_of(run=run_of(tmp_path / "run"))[0])
    trainer, study, events, _ = trainer_of(run=Run.open(tmp_path / "run"))
    finish(trainer)
    assert study.losses == []
    assert of(Evaluated, events.drain())[0].step == 40


def test_elapsed_time_counts_on_after_a_resume(tmp_path):
    clock = Clock(per_look=0.01)
    first, *_ = trainer_of(run=run_of(tmp_path / "run"), clock=clock)
    ticks(first, LOADING_TICKS + 10)
    first.close()
    second, *_ = trainer_of(run=Run.open(tmp_path / "run"), clock=clock)
    ticks(second, LOADING_TICKS)
    assert second.elapsed_s == first.elapsed_s > 0


def test_a_run_in_use_fails_with_a_sentence_that_names_the_process(tmp_path):
    run = run_of(tmp_path / "run")
    trainer, _, events, _ = trainer_of(run=Run.open(tmp_path / "run"))
    finish(trainer)
    assert trainer.state is TrainerState.FAILED
    assert "another process (pid" in of(Failed, events.drain())[0].message
    run.release()


def test_a_full_disk_is_told_and_training_goes_on(tmp_path, monkeypatch):
    trainer, _, events, _ = trainer_of(run=run_of(tmp_path / "run"), checkpoint_every_s=0.0)

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    finish(trainer)
    assert trainer.state is TrainerState.DONE
    notices = of(Notice, events.drain())
    assert notices
    assert all("No space left on device" in notice.text for notice in notices)


def test_in_its_thread_it_trains_pauses_resumes_and_closes(tmp_path):
    run = run_of(tmp_path / "run")
    trainer, study, events, snapshots = trainer_of(run=run, total_steps=10**9)
    trainer.start()
    wait_for(lambda: trainer.step > 20)
    trainer.post(commands.Pause())
    wait_for(lambda: trainer.state is TrainerState.PAUSED)
    held = trainer.step
    time.sleep(0.05)
    assert trainer.step == held
    assert snapshots.peek().step == held
    trainer.post(commands.Resume())
    wait_for(lambda: trainer.step > held + 20)
    assert trainer.close()
    assert run.checkpoints().latest()[0] == trainer.step == len(study.losses)
    assert of(Failed, events.drain()) == []


def test_making_way_keeps_the_share_of_speed_that_was_asked_for():
    class Steady(TinyStudy):
        def step(self):
            time.sleep(0.002)
            return {"loss": 1.0}

    trainer, *_ = trainer_of(Steady, total_steps=10**9)
    trainer.training_share = 0.5
    trainer.start()
    wait_for(lambda: trainer.step > 5)

    def rate(seconds=0.4):
        began, before = time.perf_counter(), trainer.step
        time.sleep(seconds)
        return (trainer.step - before) / (time.perf_counter() - began)

    idle = rate()
    trainer.makes_way = True
    yielding = rate()
    trainer.close()
    # asked for 0.5; sleeping is coarse on a busy machine, so the bounds are wide but exclude 0 and 1
    assert 0.25 < yielding / idle < 0.8


def wait_for(condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
