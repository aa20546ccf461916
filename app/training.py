"""What is trained and how: the chosen model, preset and settings, and the trainer that runs them.

A preview is a trainer without a run folder that is paused before its first step: it shows the
seed points of a capture that nobody trains yet.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.store import Store
from core.base import discover
from core.base.config import Config, Knob, edited, knobs, resolve
from core.base.errors import ConfigError, RunError
from core.base.events import EventQueue, Notice, StateChanged, TrainerState
from core.base.latest import Latest

if TYPE_CHECKING:
    from core.capture.capture import Capture
    from core.engine.commands import Command
    from core.engine.runs import Run, RunConfig
    from core.engine.trainer import Trainer
    from core.radiance.field import Snapshot

EVALUATIONS = 8  # during one training
SIZES = {"cpu": 480, "cuda": 1600}  # longer side of the photographs unless somebody chose


@dataclass(frozen=True)
class TrainingPlan:
    """What the user asked for at the start; None leaves the choice to the machine."""

    study: str = "hyrf"
    variant: str = ""  # an ablation of that study
    seeds: str = "auto"
    preset: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    max_size: int | None = None
    starts: bool = True


class Training:
    """The choices for the next training and the one that runs now."""

    def __init__(self, store: Store, events: EventQueue, plan: TrainingPlan, home: Path) -> None:
        self._store, self._events, self._plan, self._home = store, events, plan, home
        self._study, self._preset = plan.study, plan.preset
        self._settings: dict[str, Any] = dict(plan.settings)
        self._device = "cpu"
        self._used: Config | None = None  # what the training that runs was set up with
        self.trainer: Trainer | None = None
        self.run: Run | None = None
        self.is_preview = False
        self.running_study = ""  # the chosen one may already be another
        self.variant = ""  # of a study from the gallery
        entries = discover.studies()
        radiance = tuple((e.name, e.title) for e in entries.values() if e.family == "radiance")
        store.update(
            train__studies=radiance,
            train__study=self._study,
            train__preset=self._preset or "",
            train__presets=(),
            train__knobs=(),
            train__yields=True,
            train__needs_restart=False,
        )

    def engine_ready(self, device: str) -> None:
        """Fill in what only the loaded engine knows: presets and settings."""
        from core.engine.assembly import default_preset

        self._device = device
        presets = self._config_class.presets
        if self._preset is None:
            self._preset = default_preset(device)
        if self._preset not in presets:
            self._preset = next(iter(presets), None)
        self._publish_choices()

    @property
    def max_size(self) -> int:
        """Longer side of the photographs in pixels."""
        return self._plan.max_size or SIZES[self._device]

    @property
    def study(self) -> str:
        """Name of the chosen model."""
        return self._study

    # ---- choices ---------------------------------------------------------------------

    def choose_study(self, name: str) -> None:
        """Choose the model of the next training; its settings start from the preset."""
        if name == self._study:
            return
        if name not in discover.studies():
            raise ConfigError(f"There is no model '{name}'.")
        self._study, self._settings = name, {}
        presets = self._config_class.presets
        if self._preset not in presets:
            self._preset = "full" if "full" in presets else next(iter(presets), None)
        self._publish_choices()

    def choose_preset(self, name: str) -> None:
        """Choose the preset of the next training and forget changed settings."""
        if name == self._preset:
            return
        resolve(self._config_class, name)
        self._preset, self._settings = name, {}
        self._publish_choices()

    def set_knob(self, key: str, value: Any) -> None:
        """Change a setting: of the running training if it is live, else of the next one."""
        changed = {**self._settings, key: value}
        try:
            resolve(self._config_class, self._preset, changed)
        except ConfigError:
            self._publish_values()  # the control shows again what is in effect
            raise
        self._settings = changed
        knob = self._knobs().get(key)
        used = self._used if isinstance(self._used, self._config_class) else None
        if knob is not None and knob.is_live and used is not None and self.is_active:
            from core.engine.commands import SetKnob

            self.post(SetKnob(key, value))
            self._used = edited(used, {key: value})
        self._publish_values()

    # ---- the training that runs --------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Whether a trainer is between its first and last step."""
        return self.trainer is not None and self.trainer.state.value in ("running", "paused")

    @property
    def can_answer(self) -> bool:
        """Whether a trainer is there to copy the scene for a file."""
        return self.trainer is not None and self.trainer.state.value in (
            "running",
            "paused",
            "done",
        )

    def begin(
        self, capture: Capture | None, snapshots: Latest[Snapshot], *, is_preview: bool
    ) -> None:
        """Set up a new training, of a capture or of a study that needs none.

        It gets a run folder of its own unless it is a preview.
        """
        from core.engine.assembly import run_config
        from core.engine.runs import Run

        config = run_config(
            self._study,
            self._preset or "full",
            self._settings,
            variant=self.variant or (self._plan.variant if self._study == self._plan.study else ""),
            seed=self._plan.seed,
            threads=self._cores,
            device=self._device,
            capture=capture.folder.absolute() if capture is not None else "",
            max_size=self.max_size if capture is not None else None,
        )
        run = None
        if not is_preview:
            try:
                run = Run.create(self._new_folder(capture.name if capture else self._study), config)
            except RunError as error:
                text = f"{error} Training goes on without checkpoints."
                self._events.post(Notice(text, "warning", key="run folder"))
        self._install(config, run, capture, snapshots)
        self.is_preview = is_preview
        if is_preview:
            self.pause()
        self._used = resolve(self._config_class, self._preset, self._settings)
        self._publish_values()

    def go_on(self, run: Run, capture: Capture | None, snapshots: Latest[Snapshot]) -> None:
        """Go on with a run where its last checkpoint stands."""
        config = run.config
        self._study, self._preset = config.study, config.preset or self._preset
        self._settings = _flat(config.settings)
        self._install(config, run, capture, snapshots)
        self.is_preview = False
        if not self._plan.starts:
            self.pause()
        self._publish_choices()
        self._used = resolve(self._config_class, self._preset, self._settings)
        self._publish_values()

    def pause(self) -> None:
        """Hold after the current step."""
        from core.engine.commands import Pause

        self.post(Pause())

    def resume(self) -> None:
        """Go on."""
        from core.engine.commands import Resume

        self.post(Resume())

    def toggle_pause(self) -> None:
        """Pause or go on, whichever applies."""
        if self.trainer is not None and self.trainer.state.value == "paused":
            self.resume()
        else:
            self.pause()

    def step_once(self) -> None:
        """Do one step and stay paused."""
        from core.engine.commands import StepOnce

        self.post(StepOnce())

    def stop(self) -> None:
        """End training now."""
        from core.engine.commands import Stop

        self.post(Stop())

    def evaluate(self) -> None:
        """Measure the held-out photographs now."""
        from core.engine.commands import EvaluateNow

        self.post(EvaluateNow())

    def post(self, command: Command) -> None:
        """Hand a command to the trainer, if there is one."""
        if self.trainer is not None:
            self.trainer.post(command)

    def detach(self) -> Callable[[], None]:
        """Let go of the trainer at once; the returned function waits for its end, with a checkpoint."""
        trainer, self.trainer, self.run = self.trainer, None, None
        self.is_preview, self.running_study, self._used = False, "", None
        self._store.set("train.needs_restart", False)

        def close() -> None:
            if trainer is not None and not trainer.close():
                text = "The last training did not end in time; it resumes from its last checkpoint."
                self._events.post(Notice(text, "warning", key="training"))

        return close

    def _install(
        self,
        config: RunConfig,
        run: Run | None,
        capture: Capture | None,
        snapshots: Latest[Snapshot],
    ) -> None:
        from core.engine.assembly import study_builder
        from core.engine.trainer import Trainer, TrainerOptions

        # A run goes on with the pictures it began with, at their full size if it had them so.
        pictures = capture
        if capture is not None and config.max_size:
            pictures = capture.limited(config.max_size)
        total = config.steps or int(config.settings.get("steps", 0))
        options = TrainerOptions(
            cores=self._cores,
            total_steps=config.steps,
            evaluate_every=max(50, total // EVALUATIONS),
            has_probes=capture is None,
        )
        cancelled = _Later()
        build = study_builder(config, pictures, self._events.post, cancelled)
        self.running_study = config.study
        self.trainer = Trainer(build, self._events, snapshots, run, options)
        cancelled.ask = self.trainer.is_cancelled
        self.run = run

    @property
    def _cores(self) -> int:
        from core.engine.cores import core_shares, cores_available

        return core_shares(cores_available()).trainer

    def _new_folder(self, name: str) -> Path:
        stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        runs = self._home / "runs"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        return next(runs / name for name in names if not (runs / name).exists())

    # ---- what the panels show ------------------------------------------------------------

    @property
    def _config_class(self) -> type[Config]:
        found: type[Config] = discover.load(self._study).Config
        return found

    def _knobs(self) -> dict[str, Knob]:
        return {knob.key: knob for knob in knobs(resolve(self._config_class, self._preset))}

    def _publish_choices(self) -> None:
        self._store.update(
            train__study=self._study,
            train__preset=self._preset or "",
            train__presets=tuple(self._config_class.presets),
            train__knobs=tuple(_plain(knob) for knob in self._knobs().values()),
        )
        self._publish_values()

    def _publish_values(self) -> None:
        config = resolve(self._config_class, self._preset, self._settings)
        for knob in knobs(config):
            # A control that was moved to a refused value must be told the old one again.
            self._store.set(f"knob.{knob.key}", None)
            self._store.set(f"knob.{knob.key}", _plain(knob).value)
        self._store.set("train.needs_restart", self._used is not None and config != self._used)


def seen_as_preview(event: StateChanged) -> StateChanged:
    """Return how the state of a preview is shown: nothing trains, whatever its trainer waits for."""
    waits = event.state in (TrainerState.RUNNING, TrainerState.PAUSED)
    return replace(event, state=TrainerState.IDLE) if waits else event


class _Later:
    """A question that is asked of the trainer before the trainer exists."""

    def __init__(self) -> None:
        self.ask: Callable[[], bool] = lambda: False

    def __call__(self) -> bool:
        return self.ask()


def _plain(knob: Knob) -> Knob:
    """Return the knob with a value that needs no engine to be shown."""
    return replace(knob, value=knob.value.value) if isinstance(knob.value, Enum) else knob


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested settings into dotted keys."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found
