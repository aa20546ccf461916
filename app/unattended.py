"""Training without a window: `hyrf train`, with Ctrl-C and `kill` as clean ways to stop it.

Started by `torchrun`, several processes train one model together (core/nn/ranks.py). Rank 0 opens the
capture first, has the run folder and talks; the others have their say only when they fail.
"""

from __future__ import annotations

import signal
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.progress import ProgressPrinter
from core.base.config import edited, knobs, parse_settings, validated
from core.base.errors import ConfigError, RunError
from core.base.events import Event, EventQueue, Failed, Notice, Progress, TrainerState
from core.base.latest import Latest

COMPARED = ("study", "variant", "preset", "seed", "max_size", "device", "threads")
STOPPING = (signal.SIGINT, signal.SIGTERM)


def train(arguments: Namespace) -> int:
    """Train a model into a run folder."""
    from core.nn.ranks import join

    ranks = join()
    printer = ProgressPrinter(as_json=arguments.json) if ranks.is_first else RankPrinter(ranks.rank)
    run = None
    try:
        run, config, capture = _opened_by_all(ranks, arguments, printer)
        printer.begin(config, capture)
        _tell_ranks(ranks, config, printer)
        code = _trained(ranks, config, run, capture, printer, arguments.out)
    finally:
        printer.close()
        if run is not None:
            run.release()
    if code == 0:  # after a failure the goodbye itself could wait for a rank that is gone
        ranks.leave()
    return code


class RankPrinter(ProgressPrinter):
    """Prints nothing but failures, with the number of the rank."""

    def __init__(self, rank: int) -> None:
        super().__init__(as_json=False)
        self._rank = rank

    def begin(self, config: Any, capture: Any) -> None:
        """Leave this to rank 0."""

    def show(self, event: Event) -> None:
        """Print a failure."""
        if isinstance(event, Failed):
            self._failure(event)

    def tell(self, text: str) -> None:
        """Say which rank speaks."""
        super().tell(f"[rank {self._rank}] {text}")


def _trained(
    ranks: Any, config: Any, run: Any, capture: Any, printer: ProgressPrinter, folder: Path
) -> int:
    """Train to the end, save the scene and return the exit code."""
    from core.engine.assembly import study_builder
    from core.engine.kernels import TASK, warm_up
    from core.engine.trainer import Trainer, TrainerOptions

    events = EventQueue()
    build = study_builder(config, capture, events.post)
    options = TrainerOptions(cores=config.threads, total_steps=config.steps)
    trainer = Trainer(build, events, Latest(), run, options)
    trainer.has_viewers = False
    with asked_to_stop(trainer) as stopping:
        try:
            if not ranks.is_alone:
                printer.show(Progress(TASK))
            ranks.after_first(lambda: warm_up(printer.show))
            failed = _carry_through(trainer, events, printer)
        finally:
            trainer.close()
    if trainer.state is TrainerState.DONE and run is not None:
        _save_scene(trainer, run, printer)
    if ranks.is_first or failed is not None:
        return _exit_code(trainer, failed, stopping, printer, folder)
    return 0


def _carry_through(trainer: Any, events: EventQueue, printer: ProgressPrinter) -> Failed | None:
    """Train to the end and show it; return why it failed, if it did."""
    failed = None
    is_under_way = True
    while is_under_way:
        is_under_way = trainer.tick()
        for event in events.drain():
            printer.show(event)
            failed = event if isinstance(event, Failed) else failed
    return failed


def _exit_code(
    trainer: Any,
    failed: Failed | None,
    stopping: list[int],
    printer: ProgressPrinter,
    folder: Path,
) -> int:
    if failed is not None:
        return 2 if failed.is_deliberate else 1
    is_done = trainer.state is TrainerState.DONE and trainer.step >= trainer.total
    if stopping and not is_done:
        printer.tell(f"Go on with: hyrf train --out {folder} --resume")
        return 128 + stopping[0]
    return 0 if is_done else 2  # paused: its numbers are not finite


@contextmanager
def asked_to_stop(trainer: Any) -> Iterator[list[int]]:
    """Turn the first Ctrl-C or `kill` into a request, since an exception would cut a step in half.

    Afterwards the usual handling is back: whoever asks twice does not want to wait.
    """
    from core.engine.commands import Stop

    received: list[int] = []
    usual = {number: signal.getsignal(number) for number in STOPPING}

    def ask(number: int, _frame: Any) -> None:
        received.append(number)
        signal.signal(number, usual[signal.Signals(number)])
        trainer.post(Stop())

    for number in STOPPING:
        signal.signal(number, ask)
    try:
        yield received
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _opened_by_all(
    ranks: Any, arguments: Namespace, printer: ProgressPrinter
) -> tuple[Any, Any, Any]:
    """Return (run, its settings, capture); the run is None on all ranks but the first."""

    def first() -> tuple[Any, Any]:
        return (_resumed if arguments.resume else _created)(arguments, printer)

    if ranks.is_alone:
        run, capture = first()
        return run, run.config, capture
    opened = ranks.after_first(lambda: first() if ranks.is_first else None)
    run, capture = opened or (None, None)
    try:
        config = ranks.told(run.config if run else None)
        ranks.use_device(config.device)
        if capture is None:
            folder = Path(arguments.capture or config.capture)
            capture = _opened(folder, config, arguments, printer)
    except BaseException:
        if run is not None:
            run.release()
        raise
    return run, config, capture


def _tell_ranks(ranks: Any, config: Any, printer: ProgressPrinter) -> None:
    """Say how many photographs a step sees, where that is not what the settings say."""
    batch = int(config.settings.get("batch", 1))
    if not ranks.is_alone:
        text = f"{ranks.world} ranks train together: {ranks.world * batch} photographs a step."
        printer.show(Notice(text, "info", key="ranks"))
    if ranks.world != config.ranks:
        text = (
            f"This run was begun with {config.ranks * batch} photographs a step on {config.ranks} "
            f"ranks and goes on with {ranks.world * batch} on {ranks.world}."
        )
        printer.show(Notice(text, "warning", key="ranks"))


def _created(arguments: Namespace, printer: ProgressPrinter) -> tuple[Any, Any]:
    """Create the run folder from the command line, once everything else is known to be usable."""
    from assets import DEMO
    from core.engine.assembly import DEFAULT_STUDY, default_preset, run_config, usable_device
    from core.engine.cores import cores_available
    from core.engine.runs import Run
    from core.nn.ranks import joined

    Run.check_free(arguments.out)
    device = usable_device(arguments.device or "auto")
    folder = Path(arguments.capture or DEMO).absolute()
    config = run_config(
        arguments.study or DEFAULT_STUDY,
        arguments.preset or default_preset(device),
        _settings(arguments),
        variant=arguments.variant or "",
        seed=arguments.seed or 0,
        threads=arguments.threads or cores_available(),
        device=device,
        capture=folder,
        max_size=arguments.max_size,
        ranks=joined().world,
    )
    capture = _opened(folder, config, arguments, printer)
    return Run.create(arguments.out, config), capture


def _resumed(arguments: Namespace, printer: ProgressPrinter) -> tuple[Any, Any]:
    """Open the run folder; its own settings hold, only the photographs may lie elsewhere by now."""
    from core.engine.assembly import usable_device
    from core.engine.runs import Run

    run = Run.open(arguments.out)
    refuse_changes(arguments, run.config, COMPARED, _settings(arguments))
    usable_device(run.config.device)
    run.acquire()
    try:
        folder = Path(arguments.capture or run.config.capture)
        return run, _opened(folder, run.config, arguments, printer)
    except BaseException:
        run.release()
        raise


def _opened(folder: Path, config: Any, arguments: Namespace, printer: ProgressPrinter) -> Any:
    from core.capture.opening import open_capture

    capture = open_capture(folder, seeds=arguments.seeds or "auto", report=printer.show)
    return capture.limited(config.max_size) if config.max_size else capture


def _settings(arguments: Namespace) -> dict[str, Any]:
    settings: dict[str, Any] = dict(parse_settings(arguments.set))
    if arguments.steps:
        settings["steps"] = arguments.steps
    if arguments.start:
        settings["start"] = str(Path(arguments.start).expanduser().absolute())
    return settings


def refuse_changes(
    arguments: Namespace, config: Any, compared: tuple[str, ...], settings: dict[str, Any]
) -> None:
    """Raise a ConfigError where the command line asks for another training than the run's."""
    from core.base import discover

    changed = []
    for name in compared:
        asked, has = getattr(arguments, name), getattr(config, name)
        if asked is not None and asked not in (has, "auto"):
            changed.append(f"--{name.replace('_', '-')} {has} (asked: {asked})")
    own = validated(discover.load(config.study).Config, config.settings)
    asked_for = edited(own, settings)
    for before, after in zip(knobs(own), knobs(asked_for), strict=True):
        if before.value != after.value:
            changed.append(f"{before.key}={before.value} (asked: {after.value})")
    if changed:
        raise ConfigError(
            f"{arguments.out}: this run has {', '.join(changed)}. A run keeps its settings: "
            "leave these options out, or start a new run."
        )


def _save_scene(trainer: Any, run: Any, printer: ProgressPrinter) -> None:
    from core.engine.commands import WantSnapshot
    from core.formats import is_saved, save_scene

    began = time.monotonic()
    reply: Latest[Any] = Latest()
    trainer.post(WantSnapshot(reply))
    trainer.tick()
    snapshot = reply.take()
    if snapshot is None:
        raise RunError(f"{run.scene_path}: there is no scene to save.")
    if not is_saved(snapshot):  # a field; its checkpoint holds it
        return
    summary = save_scene(snapshot, run.scene_path)
    printer.done(run.scene_path, summary, time.monotonic() - began)
