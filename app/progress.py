"""Show a training on a terminal: a bar for people, lines for log files, JSON lines for programs."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.base.events import (
    Evaluated,
    Event,
    Failed,
    Notice,
    Progress,
    StateChanged,
    StepDone,
    TrainerState,
)
from core.base.json_values import finite

ENDS = (TrainerState.IDLE, TrainerState.DONE)  # why the others came is told by their own events
LOG_EVERY_S = 10.0  # where no bar can be drawn


class StageLines:
    """Tells of long tasks in lines: of each once, and now and then how far it is."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._task, self._told_s = "", 0.0

    def show(self, event: Progress) -> None:
        """Take in how far a task is."""
        now = time.monotonic()
        if event.task != self._task:
            self._task, self._told_s = event.task, now
            self._write(f"{event.task} ...")
        elif event.detail and now - self._told_s >= LOG_EVERY_S:
            self._told_s = now
            self._write(f"{event.task}: {event.detail}")


class ProgressPrinter:
    """Print events as they come."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._stages = StageLines(self._line)
        self._logged_s = -math.inf
        self._bar: Any = None
        self._bar_task: Any = None

    def begin(self, config: Any, capture: Any) -> None:
        """Say what is about to be trained."""
        camera = capture.photos[0].camera
        facts = {
            "capture": capture.name,
            "train": len(capture.train),
            "held_out": len(capture.test),
            "picture_size": [camera.width, camera.height],
            "seeds": capture.seeds,
            "study": config.study,
            "variant": config.variant,
            "preset": config.preset,
            "device": config.device,
            "threads": config.threads,
        }
        if self.as_json:
            self._write("begin", facts)
            return
        print(
            f"{capture.name}: {facts['train']} photographs to learn from, {facts['held_out']} held out, "
            f"{camera.width}x{camera.height}; {capture.seeds}."
        )

    def show(self, event: Event) -> None:
        """Print one event."""
        if self.as_json:
            self._write(type(event).__name__, asdict(event))
            if isinstance(event, Failed):
                self._failure(event)
            return
        if isinstance(event, StepDone):
            self._advance(event)
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, Evaluated):
            metrics = event.metrics
            self._line(
                f"Step {event.step}: held-out PSNR {metrics.get('psnr', 0):.2f} dB, SSIM {metrics.get('ssim', 0):.4f}"
            )
        elif isinstance(event, Notice):
            self._line(event.text)
        elif isinstance(event, Failed):
            self._failure(event)
        elif isinstance(event, StateChanged) and event.state in ENDS and event.reason:
            self._line(event.reason)

    def done(self, path: Path, summary: str, seconds: float) -> None:
        """Say where the scene is."""
        if self.as_json:
            self._write(
                "scene", {"path": str(path), "summary": summary, "seconds": round(seconds, 3)}
            )
        else:
            self._line(f"{path}: {summary}")

    def tell(self, text: str) -> None:
        """Say something to the person, whatever the program reads."""
        self.close()
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _advance(self, event: StepDone) -> None:
        if not event.metrics:  # resumed after the last step
            return
        metrics = event.metrics
        note = (
            f"loss {metrics.get('loss', 0):.4f}  {metrics.get('gaussians', 0):,.0f} Gaussians  "
            f"{event.steps_per_second:.1f} steps/s"
        )
        if not sys.stdout.isatty():
            self._log(event, note)
            return
        if self._bar is None:
            self._start_bar(event.total)
        self._bar.update(self._bar_task, completed=event.step, note=note)

    def _start_bar(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
        self._bar = Bar(*columns, TextColumn("{task.fields[note]}"), TimeRemainingColumn())
        self._bar_task = self._bar.add_task("Training", total=total, note="")
        self._bar.start()

    def _log(self, event: StepDone, note: str) -> None:
        now = time.monotonic()
        if now - self._logged_s >= LOG_EVERY_S or event.step == event.total:
            self._logged_s = now
            self._line(f"Step {event.step} of {event.total}: {note}")

    def _failure(self, event: Failed) -> None:
        """Say what failed; where in the program it happened is asked for with HYRF_DEBUG."""
        if os.environ.get("HYRF_DEBUG"):
            self.tell(event.traceback)
        advice = "" if event.is_deliberate else " Set HYRF_DEBUG=1 to see where it happened."
        self.tell(f"hyrf: {event.message}{advice}")

    def _progress(self, event: Progress) -> None:
        self._stages.show(event)

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, flush=True)

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        text = json.dumps(finite({"event": kind, **values}), default=str, allow_nan=False)
        print(text, flush=True)
