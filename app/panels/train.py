"""Training: which model, how far, how fast, and every setting."""

from __future__ import annotations

import math

from app.actions import (
    ChoosePreset,
    ChooseStudy,
    OpenPath,
    PauseTraining,
    ResumeTraining,
    SetKnob,
    SetYield,
    StartTraining,
    StepOnce,
    StopTraining,
)
from app.panels.notices import task_widgets
from app.panels.widgets import (
    Button,
    Choice,
    Group,
    Number,
    Path,
    Progress,
    Readout,
    Row,
    Slider,
    Text,
    Toggle,
    Widget,
)
from app.panels.words import named, preset_name, study_name
from app.store import Store
from core.base.config import Knob
from core.formats.table import suffixes

FINEST_SLIDER = 200  # a value below this part of its range is typed, not dragged
LONGEST_SLIDER = 1000  # whole numbers with a longer range are typed


def panel(store: Store) -> Group:
    """Describe training as it stands."""
    if not store.get("train.has_capture", False):
        return Group("Training", (*task_widgets(store), *_no_capture(store)))
    return Group(
        "Training",
        (
            *task_widgets(store),
            *progress(store),
            *buttons(store),
            _model(store),
            settings(store),
        ),
    )


def _no_capture(store: Store) -> tuple[Widget | Group, ...]:
    if store.get("task.name", ""):
        return (Text(tint="secondary", text="Training begins when the capture is open."),)
    return (
        Text(
            tint="secondary",
            text="A scene file holds no photographs. Open a capture to train.",
        ),
        Path(
            label="Capture",
            key="start.capture_path",
            mode="open_folder",
            button="Open capture",
            tooltip="A folder of photographs, or a video, on the machine that trains (Ctrl+O)",
            action=OpenPath(),
        ),
    )


def progress(store: Store) -> tuple[Widget, ...]:
    """Describe how far training is."""
    state = store.get("train.state", "idle")
    if state == "idle":
        return (
            Text(
                tint="secondary",
                text="Nothing is training yet. The picture shows the points that training starts from.",
            ),
        )
    widgets: tuple[Widget, ...] = (Progress(label="Step", key="train.progress"),)
    if state == "running":
        widgets += (
            Readout(label="Speed", key="train.speed"),
            Readout(label="Time left", key="train.eta"),
        )
    if state == "failed":
        widgets += (Text(tint="error", text="Training failed. The notices say why."),)
    reason = store.get("train.reason", "")
    if state == "done":
        widgets += (Text(tint="good", text=reason or "Training is complete."),)
    elif reason:
        widgets += (Text(tint="warning", text=reason),)
    if not store.get("train.has_capture", False):
        return widgets
    return (*widgets, Readout(label="PSNR, held out", key="train.psnr"))


def buttons(store: Store) -> tuple[Row, ...]:
    """Describe what can be done to training now."""
    state = store.get("train.state", "idle")
    is_ready = store.get("engine.state", "ready") == "ready" and state != "loading"
    stop = Button(
        label="Stop", tooltip="End training now; the scene stays open", action=StopTraining()
    )
    if state == "running":
        pause = Button(
            label="Pause",
            tooltip="Pause after the current step (Space)",
            is_primary=True,
            action=PauseTraining(),
        )
        return (Row((pause, stop)),)
    if state == "paused":
        resume = Button(
            label="Resume", tooltip="Go on (Space)", is_primary=True, action=ResumeTraining()
        )
        step = Button(label="Step", tooltip="Do one step and stay paused", action=StepOnce())
        return (Row((resume, step, stop)),)
    start = Button(
        label="Start training" if state in ("idle", "loading") else "Train again",
        tooltip="Train from the beginning with the model, preset and settings below",
        is_primary=True,
        is_enabled=is_ready,
        action=StartTraining(),
    )
    return (Row((start,)),)


def _model(store: Store) -> Group:
    studies = store.get("train.studies", ())
    presets = store.get("train.presets", ())
    chosen = dict(studies).get(store.get("train.study", ""), "")
    return Group(
        "Model",
        (
            Choice(
                label="Model",
                key="train.study",
                tooltip=chosen or "The model for the next start of training",
                options=tuple(name for name, _ in studies),
                names=tuple(study_name(name, title) for name, title in studies),
                action=ChooseStudy(),
            ),
            Choice(
                label="Preset",
                key="train.preset",
                tooltip="Sizes and schedule for the next start of training",
                options=tuple(presets),
                names=tuple(preset_name(name) for name in presets),
                action=ChoosePreset(),
            ),
            *pending(store),
        ),
    )


def pending(store: Store) -> tuple[Widget, ...]:
    """Offer the restart that chosen but not yet used values wait for."""
    if not store.get("train.needs_restart", False):
        return ()
    return (
        Text(tint="warning", text="What you chose takes effect on restart of training."),
        Button(
            label="Restart training",
            tooltip="Begin again with the chosen model, preset and settings",
            action=StartTraining(),
        ),
    )


def settings(store: Store) -> Group:
    """Describe every setting: those that act at once, and those of the next training."""
    knobs: tuple[Knob, ...] = store.get("train.knobs", ())
    if not knobs:
        return Group("Settings", (Text(tint="secondary", text="Settings appear in a moment."),))
    sections: dict[str, list[Knob]] = {}
    for knob in knobs:
        if not knob.is_live:
            sections.setdefault(knob.key.rpartition(".")[0], []).append(knob)
    return Group(
        "Settings",
        (
            *(_yielding() if store.get("train.has_capture", False) else ()),
            *(knob_widget(knob) for knob in knobs if knob.is_live),
            Group(
                "For the next training",
                (
                    Text(tint="secondary", text="Takes effect on restart of training."),
                    *(knob_widget(knob) for knob in sections.pop("", ())),
                    *(
                        Group(
                            named(section.replace(".", " ")),
                            tuple(knob_widget(knob) for knob in members),
                            is_open=False,
                        )
                        for section, members in sections.items()
                    ),
                ),
                is_open=False,
            ),
        ),
        is_open=False,
    )


def _yielding() -> tuple[Widget, ...]:
    toggle = Toggle(
        label="Training waits while the camera moves",
        key="train.yields",
        tooltip="Keeps the picture quick while you move; training goes on at once afterwards",
        is_live=True,
        action=SetYield(),
    )
    return (toggle,)


def knob_widget(knob: Knob) -> Widget:
    """Describe the control that fits a setting's kind and range."""
    key, action = f"knob.{knob.key}", SetKnob(knob.key)
    tooltip = knob.help
    if knob.kind == "bool":
        return Toggle(_switch_label(knob.label), key, tooltip, is_live=knob.is_live, action=action)
    if knob.kind == "choice":
        names = tuple(named(choice) for choice in knob.choices)
        return Choice(knob.label, key, tooltip, options=knob.choices, names=names, action=action)
    if knob.key == "start":
        return Path(
            knob.label,
            key,
            tooltip,
            mode="open_file",
            suffixes=suffixes(),
            button="Choose",
            action=action,
        )
    if knob.kind not in ("int", "float"):
        return Readout(knob.label, key, tooltip)
    is_integer = knob.kind == "int"
    if knob.low is None or knob.high is None or not _fits_slider(knob, is_integer):
        return Number(
            knob.label,
            key,
            tooltip,
            low=knob.low,
            high=knob.high,
            is_integer=is_integer,
            is_live=knob.is_live,
            action=action,
        )
    span = max(knob.high - knob.low, 1e-12)
    return Slider(
        knob.label,
        key,
        tooltip,
        low=knob.low,
        high=knob.high,
        default=float(knob.value),
        is_integer=is_integer,
        is_live=knob.is_live,
        digits=0 if is_integer else max(0, 2 - math.floor(math.log10(span))),
        action=action,
    )


def _switch_label(label: str) -> str:
    """Leave out the verb of a yes-or-no question: the switch asks it already."""
    for verb in ("Is ", "Has "):
        if label.startswith(verb):
            return label[len(verb) :].capitalize()
    return label


def _fits_slider(knob: Knob, is_integer: bool) -> bool:
    """Whether dragging can reach the values near the present one."""
    assert knob.low is not None
    assert knob.high is not None
    span = knob.high - knob.low
    if is_integer:
        return span <= LONGEST_SLIDER
    return math.isfinite(span) and abs(knob.value - knob.low) >= span / FINEST_SLIDER
