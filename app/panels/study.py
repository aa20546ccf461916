"""The open study: its training, its pictures, its numbers and what its paper claims."""

from __future__ import annotations

from app.actions import ChoosePreset, ChooseVariant, CloseScene, LookAround
from app.panels import train
from app.panels.notices import task_widgets
from app.panels.widgets import (
    Button,
    Choice,
    Group,
    Picture,
    Plot,
    Readout,
    Table,
    Text,
    Widget,
)
from app.panels.words import named, preset_name
from app.store import Store

TINTS = {"reproduced": "good", "not reproduced": "error", "undecided": "warning"}
TALLEST = 420


def panel(store: Store) -> Group:
    """Describe the training of the open study and its settings."""
    variants = tuple(store.get("study.variants", ()))
    presets = tuple(store.get("train.presets", ()))
    return Group(
        "Training",
        (
            *task_widgets(store),
            *train.progress(store),
            *train.buttons(store),
            Choice(
                label="Variant",
                key="study.variant",
                tooltip="The proposed system first, then what it is compared with; trains from the beginning",
                options=variants,
                names=tuple(named(variant) for variant in variants),
                action=ChooseVariant(),
            ),
            Choice(
                label="Preset",
                key="train.preset",
                tooltip="Sizes and schedule for the next start of training",
                options=presets,
                names=tuple(preset_name(name) for name in presets),
                action=ChoosePreset(),
            ),
            *train.pending(store),
            train.settings(store),
        ),
    )


def pictures(store: Store) -> Group:
    """Describe what the study shows of itself now."""
    rows = store.get("probes.rows", ())
    if not rows:
        return Group("Pictures", (Text(tint="secondary", text=_why_empty(store)),))
    widgets: list[Widget] = [Readout(label="As of", key="probes.step")]
    for kind, name, key, note, columns in rows:
        widgets.append(Text(text=name))
        if kind == "picture":
            widgets.append(Picture(key=key, tooltip=name, height=TALLEST))
        elif kind == "plot":
            widgets.append(Plot(label=name, key=key))
        elif kind == "table":
            widgets.append(Table(key=key, columns=columns))
        else:
            widgets.append(Text(key=key))
        if note:
            widgets.append(Text(tint="secondary", text=note))
    return Group("Pictures", tuple(widgets))


def _why_empty(store: Store) -> str:
    state = store.get("train.state", "idle")
    if state == "failed":
        return "Training failed before there was anything to show. The notices say why."
    return "The first picture appears after the first step."


def about(store: Store) -> Group:
    """Say what the study is and where it comes from."""
    if not store.get("study.title", ""):
        return Group("Study", (Text(tint="secondary", text="No study is open."),))
    return Group(
        "Study",
        (
            Text(text=str(store.get("study.title", ""))),
            Text(tint="secondary", text=str(store.get("study.paper", ""))),
            *look_around(store),
            Button(
                label="Back to the gallery",
                tooltip="Stop training and return to the start page",
                action=CloseScene(),
            ),
        ),
    )


def look_around(store: Store) -> tuple[Widget, ...]:
    """Offer the viewport where the study has a scene, and the way back from it."""
    if not store.get("study.has_scene", False):
        return ()
    is_around = store.get("page") == "scene"
    return (
        Button(
            label="Back to the pictures" if is_around else "Look around",
            tooltip="The study's own pictures and numbers"
            if is_around
            else "Show the study's scene in the viewport, while it trains",
            action=LookAround(not is_around),
        ),
    )


def claims(store: Store) -> Group:
    """List the claims with their verdicts."""
    rows = store.get("study.claims", ())
    if not rows:
        return Group("Claims", (Text(tint="secondary", text="This study claims nothing."),))
    how = f"Run by: study claim {store.get('study.name', '')} --preset full"
    return Group(
        "Claims",
        (
            *(
                Text(tint=TINTS.get(verdict, "secondary"), text=f"{named(claim)}: {verdict}")
                for claim, verdict in rows
            ),
            Text(tint="secondary", text=how),
        ),
    )


def curves(store: Store) -> Group:
    """Describe a curve for every number the study reports."""
    found = store.get("measures.curves", ())
    if not found:
        return Group(
            "Curves", (Text(tint="secondary", text="Curves appear with the first steps."),)
        )
    return Group(
        "Curves",
        tuple(
            Plot(label=label, key=key, tints=(("Training", "action"), ("Held out", "good")))
            for label, key in found
        ),
    )


def measures(store: Store) -> Group:
    """Describe the newest numbers."""
    if not store.get("measures.rows", ()):
        text = Text(tint="secondary", text="Numbers appear with the first steps.")
        return Group("Numbers", (text,))
    columns = ("Measure", "Last step", "Held out")
    return Group("Numbers", (Table(key="measures.rows", columns=columns),))
