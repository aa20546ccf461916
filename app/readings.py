"""Turn what the engine reports into values that panels show. Runs on the app loop only."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.jobs import ENGINE, EXPORTING, LEAVING, SAVING, SAVING_RUN
from app.measures import Curve, Measures
from app.panels.words import count, decibels, duration, metrics_line, three_digits
from app.store import Store
from core.base.events import (
    Evaluated,
    Event,
    Failed,
    FileWritten,
    KnobChanged,
    Notice,
    Progress,
    StateChanged,
    StepDone,
    TrainerState,
)
from core.engine.kernels import TASK as COMPILING

MOST_NOTICES = 40
AVERAGED = 20  # samples: one photograph is harder than the next, and that is not progress
UNSTOPPABLE = (ENGINE, COMPILING, LEAVING, SAVING, SAVING_RUN, EXPORTING)
FAILED_WHAT = {
    "training": "Training stopped",
    "drawing": "A picture could not be drawn",
    "window": "Something went wrong in the window",
}


@dataclass(frozen=True)
class _Shown:
    """A notice on the list."""

    id: int
    level: str
    text: str
    details: str
    key: str


class Readings:
    """Keeps curves, notices and running tasks, and writes them to the store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._notices: list[_Shown] = []
        self._ids = itertools.count(1)
        self._tasks: dict[str, tuple[float | None, str]] = {}
        self._preparing: set[str] = set()  # tasks of a training that loads
        self._curves: dict[str, Curve] = {}
        self._measures = Measures(store)
        self.clear_training()
        store.update(notices=(), task__name="", task__can_cancel=False)

    def clear_training(self) -> None:
        """Forget the curves and figures of the last training."""
        self._curves = {
            "loss": Curve(AVERAGED),
            "psnr": Curve(),
            "train_psnr": Curve(AVERAGED),
            "gaussians": Curve(),
        }
        self._measures.clear()
        self.store.update(
            curves__loss={},
            curves__psnr={},
            curves__gaussians={},
            evaluation__rows=(),
            evaluation__summary="",
            train__psnr="not measured yet",
            train__state="idle",
            train__reason="",
            train__step=0,
            train__progress=(0.0, ""),
            train__speed="",
            train__eta="",
        )

    def take(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Notice():
                self._add(event.level, event.text, "", event.key)
            case Failed():
                what = FAILED_WHAT.get(event.where, event.where)
                details = f"{event.where}\n{event.traceback}"
                self._add("error", f"{what}: {event.message}", details, event.where)
            case Progress():
                self._progress(event)
            case StateChanged():
                self._state(event)
            case StepDone():
                self._step(event)
            case Evaluated():
                self._evaluated(event)
            case KnobChanged():
                self.store.set(f"knob.{event.key}", event.value)
            case FileWritten():
                self._add("good", event.summary, str(event.path), f"file {event.path}")

    def dismiss(self, notice_id: int) -> None:
        """Take one notice off the list."""
        self._notices = [notice for notice in self._notices if notice.id != notice_id]
        self._publish_notices()

    def restore(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Draw the curves of an earlier part of this training from its metrics file."""
        for line in lines:
            step = int(line["step"])
            metrics = {key: value for key, value in line.items() if isinstance(value, (int, float))}
            if line.get("kind") == "train":
                self._add_points(step, metrics)
            elif line.get("kind") == "test":
                self._evaluated(Evaluated(step, metrics, line.get("pictures") or {}))
        self._publish_curves()

    def _add(self, level: str, text: str, details: str, key: str) -> None:
        if key:
            self._notices = [notice for notice in self._notices if notice.key != key]
        self._notices.insert(0, _Shown(next(self._ids), level, text, details, key))
        del self._notices[MOST_NOTICES:]
        self._publish_notices()

    def _publish_notices(self) -> None:
        self.store.set("notices", tuple((n.id, n.level, n.text, n.details) for n in self._notices))

    def _progress(self, event: Progress) -> None:
        self._tasks.pop(event.task, None)  # the newest report is shown
        if event.fraction is None or event.fraction < 1.0:
            self._tasks[event.task] = (event.fraction, event.detail)
            if self.store.get("train.state") == "loading":
                self._preparing.add(event.task)
        self._publish_task()

    def _publish_task(self) -> None:
        name = next(reversed(self._tasks), "")
        self.store.update(
            task__name=name,
            task__progress=self._tasks.get(name, (None, "")),
            task__can_cancel=bool(name) and name not in UNSTOPPABLE,
        )

    def _state(self, event: StateChanged) -> None:
        state = event.state
        self.store.update(train__state=state.value, train__reason=event.reason)
        if state is TrainerState.FAILED:
            self.store.set("train.reason", "")  # the notice has the sentence and its details
        if state is not TrainerState.RUNNING:
            self.store.update(train__speed="", train__eta="")
        if state is TrainerState.LOADING:
            self.store.set("train.progress", (None, "preparing"))
        else:  # a preparation that failed or was given up does not say so itself
            for task in self._preparing:
                self._tasks.pop(task, None)
            self._preparing.clear()
            self._publish_task()

    def _step(self, event: StepDone) -> None:
        left = (
            (event.total - event.step) / event.steps_per_second if event.steps_per_second else 0.0
        )
        self.store.update(
            train__step=event.step,
            train__progress=(
                event.step / max(event.total, 1),
                f"{event.step} of {event.total}",
            ),
            train__speed=_speed(event.steps_per_second),
            train__eta=duration(left) if event.steps_per_second else "",
            scene__steps=f"{event.step} steps",
        )
        if "gaussians" in event.metrics:
            self.store.set("scene.gaussians", count(event.metrics["gaussians"]))
        self._add_points(event.step, event.metrics)
        self._publish_curves()

    def _add_points(self, step: int, metrics: Mapping[str, float]) -> None:
        for curve, name in (
            ("loss", "loss"),
            ("train_psnr", "psnr"),
            ("gaussians", "gaussians"),
        ):
            if name in metrics:
                self._curves[curve].add(step, float(metrics[name]))
        self._measures.trained(step, metrics)

    def _evaluated(self, event: Evaluated) -> None:
        rows = tuple(
            (name, f"{values.get('psnr', 0.0):.2f}", f"{values.get('ssim', 0.0):.3f}")
            for name, values in event.pictures.items()
        )
        if rows and "psnr" in event.metrics:
            mean = (f"{event.metrics['psnr']:.2f}", f"{event.metrics.get('ssim', 0.0):.3f}")
            rows = (("Mean", *mean), *rows)
        self.store.update(
            evaluation__rows=rows,
            evaluation__summary=f"{metrics_line(event.metrics)} at step {event.step}",
        )
        self._measures.held_out(event.step, event.metrics)
        if "psnr" in event.metrics:
            text = f"{decibels(event.metrics['psnr'])} at step {event.step}"
            self.store.set("train.psnr", text)
            self._curves["psnr"].add(event.step, float(event.metrics["psnr"]))
        self._publish_curves()

    def _publish_curves(self) -> None:
        curves = self._curves
        if len(curves["loss"]):
            self.store.set("curves.loss", {"Loss, averaged": curves["loss"].points()})
        quality = {
            name: curve.points()
            for name, curve in (
                ("Held out", curves["psnr"]),
                ("Training, averaged", curves["train_psnr"]),
            )
            if len(curve)
        }
        self.store.set("curves.psnr", quality)
        if len(curves["gaussians"]):
            self.store.set("curves.gaussians", {"Gaussians": curves["gaussians"].points()})


def _speed(steps_per_second: float) -> str:
    if steps_per_second <= 0:
        return ""
    if steps_per_second < 1:
        return f"{1 / steps_per_second:.1f} s a step"
    return f"{three_digits(steps_per_second)} steps/s"
