"""`study run`: train a study without a window, measure it, and keep the run in a folder if one is named.

The folder is like that of `train` (core/engine/runs.py): settings, metrics and checkpoints, but no
scene file; `--resume` goes on where the last checkpoint stands, and the window opens it as well.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.probes import publish
from app.store import Store
from app.thumbnails import keep_thumbnail
from app.training import SIZES
from app.unattended import asked_to_stop, refuse_changes
from core.base import discover
from core.base.config import parse_settings
from core.base.errors import ConfigError, RunError
from core.base.events import Evaluated, Event, EventQueue, Failed, Notice, StepDone, TrainerState
from core.base.latest import Latest

COMPARED = ("variant", "preset", "seed", "device", "steps")
LINE_EVERY_S = 1.0
PRESET, DEVICE = "quick", "cpu"  # where nothing is said: most studies are too small for a GPU


def train(arguments: Namespace) -> int:
    """Train a study to its end and print what came out."""
    if arguments.resume and arguments.out is None:
        raise ConfigError("--resume needs the run's folder: add --out RUN.")
    run, config = (_resumed if arguments.resume else _created)(arguments)
    try:
        return _trained(arguments, run, config)
    finally:
        if run is not None:
            run.release()


class Teller:
    """Prints lines as training goes, and keeps what the result is made of."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet, self._told_s = is_quiet, time.monotonic()
        self.metrics: Mapping[str, float] = {}
        self.evaluation: Mapping[str, float] = {}
        self.failed: Failed | None = None

    def take(self, event: Event) -> None:
        """Take in one event."""
        if isinstance(event, StepDone):
            self.metrics = event.metrics or self.metrics
            if not self._is_quiet and time.monotonic() - self._told_s > LINE_EVERY_S:
                self._told_s = time.monotonic()
                print(f"step {event.step} of {event.total}: {line(event.metrics)}")
        elif isinstance(event, Evaluated):
            self.evaluation = event.metrics
        elif isinstance(event, Notice):
            print(event.text, file=sys.stderr)
        elif isinstance(event, Failed):
            self.failed = event


def line(metrics: Mapping[str, float]) -> str:
    """Write metrics in one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


@dataclass(frozen=True, eq=False)
class Trained:
    """A training that has ended; `study` is None where it could not be built, `stopping` the signals that ended it."""

    trainer: Any
    study: Any
    stopping: list[int]

    @property
    def is_done(self) -> bool:
        """Whether the last step was reached."""
        trainer = self.trainer
        return trainer.state is TrainerState.DONE and bool(trainer.step >= trainer.total)

    def exit_code(self, teller: Teller) -> int:
        """Return the command's exit code, after saying why training failed if it did."""
        if teller.failed is not None:
            return _told(teller.failed)
        if self.is_done:
            return 0
        return 128 + self.stopping[0] if self.stopping else 2


def carried_through(config: Any, capture: Any, teller: Teller, run: Any = None) -> Trained:
    """Train what a run's settings say to its end, or until somebody asks to stop."""
    from core.engine.assembly import study_builder
    from core.engine.kernels import warm_up
    from core.engine.trainer import Trainer, TrainerOptions

    events, built = EventQueue(), []
    if config.capture:
        warm_up(events.post)  # compiling is no part of the first step
    build = study_builder(config, capture, events.post)

    def keep() -> Any:
        built.append(build())
        return built[0]

    options = TrainerOptions(cores=config.threads, total_steps=config.steps)
    trainer = Trainer(keep, events, Latest(), run, options)
    trainer.has_viewers = False
    with asked_to_stop(trainer) as stopping:
        try:
            is_under_way = True
            while is_under_way:
                is_under_way = trainer.tick()
                for event in events.drain():
                    teller.take(event)
        finally:
            trainer.close()
    for event in events.drain():
        teller.take(event)
    return Trained(trainer, built[0] if built else None, stopping)


def _trained(arguments: Namespace, run: Any, config: Any) -> int:
    teller = Teller(is_quiet=arguments.json)
    made = carried_through(config, opened_capture(arguments, config), teller, run)
    code = made.exit_code(teller)
    if code == 0:
        _print_result(arguments, config, made.trainer, made.study, teller)
        _keep_thumbnail(config.study, made.study)
    elif made.stopping and run is not None:
        print(f"Go on with: hyrf study run {config.study} --out {run.folder} --resume")
    return code


def _keep_thumbnail(name: str, study: Any) -> None:
    """Keep what a trained study shows first as its thumbnail in the gallery."""
    picture = publish(Store(), 0, study.probes())
    if picture is not None:
        keep_thumbnail(name, picture)


def _told(failed: Failed) -> int:
    """Say why training failed and return the exit code."""
    print(f"hyrf: {failed.message}", file=sys.stderr)
    if not failed.is_deliberate:
        print("Set HYRF_DEBUG=1 to see where it happened.", file=sys.stderr)
    return 2 if failed.is_deliberate else 1


def _print_result(
    arguments: Namespace, config: Any, trainer: Any, study: Any, teller: Teller
) -> None:
    result = {
        "study": config.study,
        "variant": config.variant,
        "preset": config.preset,
        "seed": config.seed,
        "steps": trainer.step,
        "seconds": trainer.elapsed_s,
        "parameters": study.num_parameters,
        "metrics": dict(teller.metrics),
        "evaluation": dict(teller.evaluation),
    }
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{trainer.step} steps in {trainer.elapsed_s:.1f} s, {study.num_parameters:,} parameters")
    print(f"last step: {line(teller.metrics)}\nheld out: {line(teller.evaluation)}")


def _created(arguments: Namespace) -> tuple[Any, Any]:
    """Resolve the settings, and create the run's folder if one is named."""
    from core.engine.runs import Run

    if arguments.out is not None:
        Run.check_free(arguments.out)
    config = asked_config(arguments)
    return (Run.create(arguments.out, config) if arguments.out else None), config


def asked_config(arguments: Namespace) -> Any:
    """Resolve the settings of the training that the command line asks for."""
    from assets import DEMO
    from core.engine.assembly import run_config, usable_device
    from core.engine.cores import cores_available

    needs_capture = discover.load(arguments.name).needs_capture
    if arguments.capture and not needs_capture:
        raise ConfigError(f"{arguments.name} learns from no photographs: leave --capture out.")
    device = usable_device(arguments.device or DEVICE)
    return run_config(
        arguments.name,
        arguments.preset or PRESET,
        parse_settings(arguments.set),
        variant=arguments.variant or "",
        seed=arguments.seed or 0,
        threads=cores_available(),
        device=device,
        capture=Path(arguments.capture or DEMO).absolute() if needs_capture else "",
        max_size=SIZES[device] if needs_capture else None,
    ).model_copy(update={"steps": arguments.steps})


def _resumed(arguments: Namespace) -> tuple[Any, Any]:
    """Open a run's folder; its own settings hold."""
    from core.engine.assembly import usable_device
    from core.engine.runs import Run

    run = Run.open(arguments.out)
    expect_same(arguments, run.config)
    usable_device(run.config.device)
    run.acquire()
    return run, run.config


def expect_same(arguments: Namespace, config: Any) -> None:
    """Raise a ConfigError where another training is asked for than the run's."""
    if arguments.name != config.study:
        raise ConfigError(
            f"{arguments.out}: this is a run of {config.study}, not of {arguments.name}."
        )
    settings: dict[str, Any] = dict(parse_settings(arguments.set))
    refuse_changes(arguments, config, COMPARED, settings)


def restored(run: Any, capture: Any, checkpoint: Path | None = None) -> tuple[Any, int]:
    """Return a run's study where its newest or a named checkpoint stands, and the step; nothing is written."""
    from core.engine.assembly import restore, study_builder
    from core.engine.checkpoints import load_checkpoint

    if checkpoint is not None:
        step, state = int(checkpoint.stem.partition("-")[2]), load_checkpoint(checkpoint)
    else:
        found = run.checkpoints(report=_tell).latest()
        if found is None:
            raise RunError(
                f"{run.folder}: holds no checkpoint yet. Train it with 'study run' first."
            )
        step, state = found
    study = study_builder(run.config, capture, _tell)()
    study.prepare()
    restore(study, state)
    return study, step


def _tell(event: Event) -> None:
    if isinstance(event, Notice):
        print(event.text, file=sys.stderr)


def opened_capture(arguments: Namespace, config: Any) -> Any:
    """Return the photographs of a study that learns from some; those of a run may have moved."""
    if not config.capture:
        return None
    from core.capture.opening import open_capture

    capture = open_capture(arguments.capture or config.capture)
    return capture.limited(config.max_size) if config.max_size else capture
