"""The training loop: a thread of its own, or one unit at a time in the calling thread.

    idle --start--> loading --> running <--> paused        stop, or the last step --> done
                       any exception --> failed            a number that is not finite --> paused

The trainer alone touches the study. Others post commands (core/engine/commands.py), read events
and take snapshots; two flags tell it that somebody looks and that a camera moves.
Ranks (core/nn/ranks.py) have a trainer each, rank 0's with the run, and stop after the same step.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.base.config import edited
from core.base.errors import HybridError
from core.base.events import (
    Evaluated,
    EventQueue,
    KnobChanged,
    Notice,
    Progress,
    StateChanged,
    StepDone,
    TrainerState,
)
from core.base.late import LateMetrics
from core.base.latest import Latest
from core.base.threads import Worker, failure
from core.engine import commands
from core.engine.assembly import restore
from core.engine.cores import stand_back, use_cores
from core.engine.journal import Journal
from core.engine.looking import Looker
from core.engine.publishing import Probed, Publisher
from core.engine.rate import Rate
from core.engine.runs import Run
from core.nn.ranks import joined
from core.radiance.field import Snapshot
from core.render.evaluate import mean_of
from core.study import Study

REPORT_EVERY_S = 0.2
IDLE_WAIT_S = 0.1
STEP_MEMORY = 0.1  # weight of the newest step in the smoothed time of one
MAX_YIELD_S = 0.2  # a slow step must not make the pause after it feel like a stop

ACTIVE = (TrainerState.RUNNING, TrainerState.PAUSED)


@dataclass(frozen=True)
class TrainerOptions:
    """How a training runs. `cores` gives way to the number saved with a run, so that resume is exact."""

    cores: int = 1
    total_steps: int | None = None  # None: what the study says
    evaluate_every: int = 0  # steps; 0: only at the end
    checkpoint_every_s: float = 60.0
    has_probes: bool = False  # are taken while somebody looks
    clock: Callable[[], float] = time.monotonic


class Trainer:
    """Train one study once. `start` uses a thread; `tick` does one unit in the calling one."""

    def __init__(
        self,
        build: Callable[[], Study],
        events: EventQueue,
        snapshots: Latest[Snapshot],
        run: Run | None = None,
        options: TrainerOptions | None = None,
    ) -> None:
        self.options = options or TrainerOptions()
        self.has_viewers = True  # snapshots are made only while somebody looks
        self.makes_way = False  # while a camera moves: sleep between steps
        self.training_share = 0.7  # of the idle speed that training keeps while making way
        self.state, self.step, self.elapsed_s = TrainerState.IDLE, 0, 0.0
        self.probes = Latest[Probed]() if self.options.has_probes else None
        self._build, self._events, self._snapshots = build, events, snapshots
        self._clock = self.options.clock
        self._publisher = Publisher(snapshots, self._clock, self.probes)
        self.looker = Looker(events, self._clock)
        self._ranks = joined()
        self._cores = run.config.threads if run else self.options.cores
        self._journal = Journal(run, events, self.options.checkpoint_every_s, self._clock)
        self._commands: queue.SimpleQueue[commands.Command] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._is_cancelled = False
        self._worker = Worker("training", self._work, events.post)
        self._study: Study | None = None
        self._loading = [self._construct, self._prepare, self._resume]
        self._metrics: Mapping[str, float] = {}
        self._is_single_step = False
        self._is_poisoned = False  # the last step gave numbers that are not finite
        self._is_torn = False  # a step was interrupted half way, by Ctrl-C for example
        self._step_s = self._free_step_s = 0.0  # the latter while no camera moves, smoothed
        self._rate = Rate()
        self._reported_s = -math.inf

    # ---- from any thread -------------------------------------------------------------

    def post(self, command: commands.Command) -> None:
        """Ask for something; it happens between two steps."""
        if isinstance(command, commands.Stop):
            self._is_cancelled = True  # a long preparation asks for this
        self._commands.put(command)
        self._wake.set()

    def start(self) -> None:
        """Run in a thread of its own until `close`."""
        self._worker.start()

    def close(self, timeout_s: float = 30.0) -> bool:
        """End the thread after the current step, with a checkpoint; return whether it ended in time."""
        self._is_cancelled = True
        self._wake.set()
        if self._worker.is_alive:
            return self._worker.stop(timeout_s)
        self._leave()
        return True

    def is_cancelled(self) -> bool:
        """Whether loading should be given up; hand it to the study as `Setup.cancelled`."""
        return self._is_cancelled

    @property
    def total(self) -> int:
        """Steps after which training is done; 0 before the study exists."""
        if self.options.total_steps is not None:
            return self.options.total_steps
        return self._study.total_steps if self._study else 0

    # ---- the loop --------------------------------------------------------------------

    def tick(self) -> bool:
        """Do one unit: carry out commands, then build, prepare or step. Return whether more waits."""
        try:
            if self.state is TrainerState.IDLE and self._loading:
                use_cores(self._cores)
                self._enter(TrainerState.LOADING)
            elif self.state is TrainerState.LOADING:
                self._load_next()
            else:
                self._carry_out()
                if self.state is TrainerState.RUNNING or self._is_single_step:
                    self._advance()
        except Exception as error:  # the border of the trainer: everything becomes an event
            self._fail(error)
        return self.state in (TrainerState.LOADING, TrainerState.RUNNING) or self._is_single_step

    def _work(self, stopping: threading.Event) -> None:
        stand_back()  # before the first kernel starts this thread's pool
        while not stopping.is_set():
            self._wake.clear()
            if not self.tick():
                self._wake.wait(IDLE_WAIT_S)
            elif self.makes_way and self.state is TrainerState.RUNNING:
                # a step that others slow down has made way already
                wanted_s = self._free_step_s / min(max(self.training_share, 0.05), 1.0)
                time.sleep(min(MAX_YIELD_S, max(0.0, wanted_s - self._step_s)))
        self._leave()

    def _leave(self) -> None:
        """Save what would be lost, then let others write the run."""
        try:
            if self.state in ACTIVE:
                self._save_checkpoint()
        finally:
            self._journal.close()

    def _enter(self, state: TrainerState, reason: str = "") -> None:
        self.state = state
        self._rate.interrupt()
        self._events.post(StateChanged(state, self.step, reason))

    def _fail(self, error: Exception) -> None:
        self._is_single_step = False
        if self.state is TrainerState.LOADING and self._is_cancelled:
            self._give_up()
            return
        failed = failure("training", error)
        self._events.post(failed)
        self._enter(TrainerState.FAILED, failed.message)
        self._journal.close()

    # ---- loading ---------------------------------------------------------------------

    def _load_next(self) -> None:
        if self._is_cancelled:
            self._give_up()
            return
        self._loading.pop(0)()
        if not self._loading:
            self._enter(TrainerState.RUNNING)
            self._publish()

    def _give_up(self) -> None:
        self._loading = []
        self._journal.close()
        self._enter(TrainerState.IDLE, "Stopped before the first step.")

    def _construct(self) -> None:
        self._events.post(Progress("Building the model"))
        self._study = self._build()
        self._events.post(Progress("Building the model", 1.0))

    def _prepare(self) -> None:
        self._trained.prepare()

    def _resume(self) -> None:
        found = self._ranks.told(self._journal.begin())
        if found is None:
            return
        step, state = found
        restore(self._trained, state)
        self.step, self.elapsed_s = step, float(state["elapsed_s"])
        self._events.post(Notice(f"Resumed at step {step}.", "info", key="resumed"))

    @property
    def _trained(self) -> Study:
        assert self._study is not None
        return self._study

    # ---- steps -----------------------------------------------------------------------

    def _advance(self) -> None:
        self._is_single_step = False
        if self.step >= self.total:  # resumed after the last step
            self._finish()
            return
        began = self._clock()
        self._is_torn = True
        before, self._metrics = self._metrics, self._trained.step()
        self._is_torn = False
        now = self._clock()
        self.step += 1
        self._step_s = now - began
        if not self.makes_way:
            self._free_step_s += STEP_MEMORY * (self._step_s - self._free_step_s)
        self.elapsed_s += self._step_s
        self._rate.note(self._step_s, now)
        is_last = self.step >= self.total
        is_tested = self.options.evaluate_every > 0 and self.step % self.options.evaluate_every == 0
        is_saved, is_shown = self._journal.is_due, self.has_viewers and self._publisher.is_due()
        is_late = isinstance(self._metrics, LateMetrics)
        is_kept = is_last or is_tested or is_saved or is_shown
        if self._find_not_finite(before if is_late and not is_kept else self._metrics):
            return
        self._journal.note_step(self.step, self._metrics, self.elapsed_s)
        self._report()
        if is_last:
            self._finish()
            return
        if is_tested:
            self._evaluate()
        if is_saved:
            self._save_checkpoint()
        self.looker.refresh(self._trained, self.step)
        if is_shown or self.state is TrainerState.PAUSED:
            self._publish(wait=self.state is TrainerState.PAUSED)
        else:
            self._publisher.hand_over()

    def _find_not_finite(self, metrics: Mapping[str, float]) -> bool:
        """Pause when a metric is not finite; the pictures and checkpoints stay those of before."""
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        self._is_poisoned = bool(bad)
        if bad:
            found = ", ".join(f"{name} is {float(metrics[name])}" for name in bad)
            reason = f"Step {self.step - (metrics is not self._metrics)}: {found}."
            text = f"{reason} Training is paused; lower the learning rates or take a checkpoint."
            self._events.post(Notice(text, "error", key="not finite"))
            self._enter(TrainerState.PAUSED, reason)
        return bool(bad)

    def _settle(self) -> None:
        """Look at the last step's numbers, should a GPU still owe them, before anything is kept of it."""
        if isinstance(self._metrics, LateMetrics) and not self._is_poisoned:
            self._find_not_finite(self._metrics)

    def _report(self, *, is_wanted: bool = False) -> None:
        now = self._clock()
        is_due = now - self._reported_s >= REPORT_EVERY_S or self.state is TrainerState.PAUSED
        if self.step and (is_due or is_wanted):
            self._reported_s = now
            metrics, rate = dict(self._metrics), self._rate.per_s
            self._events.post(StepDone(self.step, self.total, metrics, rate, self.elapsed_s))

    def _publish(self, *, wait: bool = True) -> None:
        """Copy what is looked at; a GPU may do so while training goes on."""
        if self._study is not None and not self._is_poisoned:
            self._publisher.publish(self._study, self.step)
            self._publisher.hand_over(wait=wait)

    def _evaluate(self) -> None:
        """Measure once: where every picture is measured, the means are those of its columns."""
        by_picture = getattr(self._trained, "evaluate_pictures", None)
        pictures = by_picture() if by_picture is not None else {}
        metrics = mean_of(pictures) if pictures else dict(self._trained.evaluate())
        self._journal.note_evaluation(self.step, metrics, pictures)
        self._events.post(Evaluated(self.step, metrics, pictures))
        self._rate.interrupt()

    def _save_checkpoint(self) -> None:
        self._settle()
        if self._is_poisoned or self._is_torn:
            reason = "its numbers are not finite" if self._is_poisoned else "the next was cut short"
            text = f"No checkpoint at step {self.step}: {reason}. Resuming takes the one before."
            self._events.post(Notice(text, "warning", key="checkpoint"))
            return
        self._journal.save(self.step, self._state)

    def _state(self) -> dict[str, Any]:
        study = self._trained
        return {
            "elapsed_s": self.elapsed_s,
            "config": study.config.model_dump(mode="json"),
            "study": study.state(),
        }

    def _finish(self, reason: str = "") -> None:
        """Show, measure and save the result; the thread stays for exports and evaluations."""
        self._report(is_wanted=True)
        self._publish()
        if not reason:
            self._evaluate()
        self._save_checkpoint()
        self._journal.close()
        self._enter(TrainerState.DONE, reason)

    # ---- commands --------------------------------------------------------------------

    def _carry_out(self) -> None:
        """Carry out what waits, in order; a single step comes before what was asked after it."""
        if self.state is TrainerState.RUNNING and not self._ranks.is_alone:
            if not self._ranks.any(self._is_cancelled):
                return
            self._commands.put(commands.Stop())
        while not self._is_single_step:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            try:
                self._settle()
                self._obey(command)
            except HybridError as error:
                self._events.post(Notice(str(error), "error", key=type(command).__name__))

    def _obey(self, command: commands.Command) -> None:
        is_active, is_running = self.state in ACTIVE, self.state is TrainerState.RUNNING
        match command:
            case commands.Pause() if is_running:
                self._enter(TrainerState.PAUSED)
                self._report(is_wanted=True)
                self._publish()
            case commands.Resume() if self.state is TrainerState.PAUSED:
                self._enter(TrainerState.RUNNING)
            case commands.StepOnce() if is_active:
                if is_running:
                    self._enter(TrainerState.PAUSED)
                self._is_single_step = True
            case commands.Stop() if is_active:
                self._finish(f"Stopped at step {self.step} of {self.total}.")
            case commands.SetKnob(key, value) if is_active:
                study = self._trained
                study.configure(edited(study.config, {key: value}, live_only=True))
                self._journal.note_knob(self.step, key, value)
                self._events.post(KnobChanged(self.step, key, value))
            case commands.SetKnob(key):
                text = f"'{key}' was not changed: no training is under way."
                self._events.post(Notice(text, "warning", key="SetKnob"))
            case commands.SaveCheckpoint() if is_active:
                self._save_checkpoint()
            case commands.EvaluateNow() if is_active or self.state is TrainerState.DONE:
                self._evaluate()
            case commands.LookAt(wish):
                self.looker.wish(wish)
                if is_active or self.state is TrainerState.DONE:
                    self.looker.refresh(self._trained, self.step)
            case commands.WantSnapshot(reply):
                self._answer(reply)

    def _answer(self, reply: Latest[Any] | None) -> None:
        """Publish now; in a failed or poisoned training the last good snapshot is the answer."""
        if self.state is not TrainerState.FAILED:
            self._publish()
        if reply is not None and (snapshot := self._snapshots.peek()) is not None:
            reply.put(snapshot)
