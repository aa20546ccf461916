"""What a training leaves on disk: metric lines and checkpoints, or nothing when it has no run folder.

Lines of metrics.jsonl carry a kind:

    train   every tenth step: elapsed_s and the study's metrics
    test    every evaluation: metrics, and `pictures` by name
    knob    every live edit: key and value, in effect from the next step on

A full disk never ends a training: it is told once and tried again at the next checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from core.base.errors import RunError
from core.base.events import CheckpointSaved, EventQueue, Notice
from core.engine.runs import Run

LINE_EVERY = 10  # steps
CHECKPOINT_SHARE = 0.1  # of the time at most goes into writing checkpoints


class Journal:
    """Writes one run folder on behalf of the trainer; every method is a no-op without one."""

    def __init__(
        self,
        run: Run | None,
        events: EventQueue,
        checkpoint_every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._events, self._clock = run, events, clock
        self._store = run.checkpoints(report=events.post) if run else None
        self._every_s = checkpoint_every_s
        self._saved_s = clock()
        self._cost_s = 0.0
        self._saved_step = -1
        self._tested_step = -1

    def begin(self) -> tuple[int, dict[str, Any]] | None:
        """Lock the folder and return the newest good checkpoint; lines written after it are cut."""
        if self._run is None or self._store is None:
            return None
        self._run.acquire()
        found = self._store.latest()
        self._saved_step = found[0] if found else -1
        self._run.cut_metrics(self._saved_step)
        tested = [line["step"] for line in self._run.metrics() if line.get("kind") == "test"]
        self._tested_step = max(tested, default=-1)
        self._saved_s = self._clock()
        return found

    def note_step(self, step: int, metrics: Mapping[str, float], elapsed_s: float) -> None:
        """Add the line of a training step, where one is due."""
        if step % LINE_EVERY == 0:
            self._append(step, {"kind": "train", "elapsed_s": round(elapsed_s, 3), **metrics})

    def note_evaluation(
        self, step: int, metrics: Mapping[str, float], pictures: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Add the line of an evaluation; a second one at the same step would say the same."""
        if step != self._tested_step:
            self._tested_step = step
            self._append(step, {"kind": "test", **metrics, "pictures": pictures})

    def note_knob(self, step: int, key: str, value: Any) -> None:
        """Add the line of a live edit."""
        self._append(step, {"kind": "knob", "key": key, "value": value})

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint; rarer when writing one takes long."""
        wait_s = max(self._every_s, self._cost_s / CHECKPOINT_SHARE) if self._every_s > 0 else 0.0
        return self._store is not None and self._clock() - self._saved_s >= wait_s

    def save(self, step: int, make_state: Callable[[], dict[str, Any]]) -> None:
        """Write a checkpoint unless this step has one; a failure becomes a notice."""
        if self._run is None or self._store is None or step == self._saved_step:
            return
        if not self._run.is_held:  # never write into a folder that another process may have taken
            return
        began = self._clock()
        try:
            path = self._store.save(step, make_state())
        except RunError as error:
            self._events.post(Notice(str(error), "error", key="checkpoint"))
        else:
            self._saved_step = step
            self._events.post(CheckpointSaved(step, path))
        self._saved_s = self._clock()
        self._cost_s = self._saved_s - began

    def close(self) -> None:
        """Let another process write the folder."""
        if self._run is not None:
            self._run.release()

    def _append(self, step: int, values: Mapping[str, Any]) -> None:
        if self._run is None or not self._run.is_held:
            return
        try:
            self._run.append_metrics(step, values)
        except RunError as error:
            self._events.post(Notice(str(error), "error", key="metrics"))
