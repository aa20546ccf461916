"""Quality on the held-out photographs: each picture and the mean."""

from __future__ import annotations

from app.actions import Evaluate
from app.panels.widgets import Button, Group, Readout, Table, Text
from app.store import Store


def panel(store: Store) -> Group:
    """Describe the table of held-out pictures, or how to fill it."""
    if not store.get("train.has_capture", False):
        return Group(
            "Evaluation",
            (Text(tint="secondary", text="Quality is measured on photographs; open a capture."),),
        )
    measure = Button(
        label="Evaluate now",
        tooltip="Measure every held-out photograph with the model as it is",
        is_enabled=store.get("train.state", "idle") in ("running", "paused", "done"),
        action=Evaluate(),
    )
    if not store.get("evaluation.rows", ()):
        return Group(
            "Evaluation",
            (
                Text(
                    tint="secondary",
                    text="Every 8th photograph is held out of training and measures quality.",
                ),
                measure,
            ),
        )
    return Group(
        "Evaluation",
        (
            Readout(label="Mean", key="evaluation.summary"),
            measure,
            Table(key="evaluation.rows", columns=("Picture", "PSNR, dB", "SSIM")),
        ),
    )
