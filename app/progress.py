"""Show a training on a terminal: a bar for people, JSON lines for programs."""

from __future__ import annotations

import json
import sys
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
)


class ProgressPrinter:
    """Print events as they come."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._task = ""
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
            self._line(f"{event.where}: {event.message}\n{event.traceback}", is_error=True)
        elif isinstance(event, StateChanged) and event.reason:
            self._line(event.reason)

    def done(self, path: Path, summary: str, seconds: float) -> None:
        """Say where the scene is."""
        if self.as_json:
            self._write(
                "scene", {"path": str(path), "summary": summary, "seconds": round(seconds, 3)}
            )
        else:
            self._line(f"{path}: {summary}")
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _advance(self, event: StepDone) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        if self._bar is None:
            columns = (
                "[progress.description]{task.description}",
                BarColumn(),
                MofNCompleteColumn(),
            )
            self._bar = Bar(*columns, TextColumn("{task.fields[note]}"), TimeRemainingColumn())
            self._bar_task = self._bar.add_task("Training", total=event.total, note="")
            self._bar.start()
        metrics = event.metrics
        note = (
            f"loss {metrics.get('loss', 0):.4f}  {metrics.get('gaussians', 0):,.0f} Gaussians  "
            f"{event.steps_per_second:.1f} steps/s"
        )
        self._bar.update(self._bar_task, completed=event.step, note=note)

    def _progress(self, event: Progress) -> None:
        if event.task != self._task:
            self._task = event.task
            self._line(f"{event.task} ...")

    def _line(self, text: str, *, is_error: bool = False) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr if is_error else sys.stdout, flush=True)

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        print(json.dumps({"event": kind, **values}, default=str), flush=True)
