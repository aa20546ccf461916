"""Curves over training steps: loss, quality on pictures the model never saw, number of Gaussians."""

from __future__ import annotations

from app.actions import StartTraining
from app.panels.widgets import Button, Group, Plot, Text
from app.store import Store

AVERAGED = (
    "Training values differ from photograph to photograph, so a moving average is drawn; "
    "metrics.jsonl in the run folder keeps every value."
)


def panel(store: Store) -> Group:
    """Describe the curves, or how to get some."""
    if not store.get("curves.loss", {}):
        return Group("Curves", _empty(store))
    return Group(
        "Curves",
        (
            Plot(
                label="Loss",
                key="curves.loss",
                tooltip=AVERAGED,
                tints=(("Loss, averaged", "action"),),
            ),
            Plot(
                label="PSNR",
                key="curves.psnr",
                tooltip=AVERAGED,
                unit="dB",
                tints=(("Held out", "good"), ("Training, averaged", "secondary")),
            ),
            Plot(label="Gaussians", key="curves.gaussians", tints=(("Gaussians", "gaussians"),)),
        ),
    )


def _empty(store: Store) -> tuple[Text | Button, ...]:
    if not store.get("train.has_capture", False):
        return (Text(tint="secondary", text="Curves appear while a capture trains."),)
    if store.get("train.state", "idle") != "idle":
        return (Text(tint="secondary", text="The first point appears in a moment."),)
    return (
        Text(tint="secondary", text="Curves appear while the model trains."),
        Button(label="Start training", action=StartTraining()),
    )
