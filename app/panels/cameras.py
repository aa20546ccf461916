"""The photographs: thumbnails to look from, previous and next, and the ways back to the whole scene."""

from __future__ import annotations

from app.actions import FrameScene, ResetView, SnapToPhoto, StepPhoto
from app.panels.widgets import Button, Gallery, Group, Readout, Row, Text
from app.store import Store


def panel(store: Store) -> Group:
    """Describe the cameras; actions with an empty view concern the view they are posted from."""
    home = Row(
        (
            Button(
                label="Reset view",
                tooltip="Return to the first view of the scene (R)",
                action=ResetView(""),
            ),
            Button(
                label="Frame scene",
                tooltip="Move so that the whole scene fills the view (F)",
                action=FrameScene(""),
            ),
        )
    )
    if not store.get("cameras.count", 0):
        return Group(
            "Cameras",
            (Text(tint="secondary", text="This file brings no photographs to look from."), home),
        )
    steps = Row(
        (
            Button(
                label="Previous",
                tooltip="Look from the previous photograph ( [ )",
                action=StepPhoto("", -1),
            ),
            Button(
                label="Next",
                tooltip="Look from the next photograph ( ] )",
                action=StepPhoto("", 1),
            ),
        )
    )
    count = Readout(label="Photographs", key="cameras.text")
    if not store.get("cameras.has_pictures", False):
        return Group("Cameras", (home, steps, count))
    return Group(
        "Cameras",
        (
            home,
            steps,
            count,
            Gallery(
                key="cameras.gallery",
                tooltip="Click a photograph to look from where it was taken",
                action=SnapToPhoto(""),
            ),
        ),
    )
