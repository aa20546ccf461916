"""The scene in numbers: Gaussians, what is visible, and which part takes how much room on disk."""

from __future__ import annotations

from app.panels.widgets import Group, Readout, Shares, Text
from app.store import Store


def panel(store: Store) -> Group:
    """Describe what the scene is made of."""
    if not store.get("scene.gaussians", ""):
        return Group(
            "Scene",
            (Text(tint="secondary", text="Numbers appear with the first picture of the scene."),),
        )
    numbers: tuple[Readout, ...] = (
        Readout(label="Gaussians", key="scene.gaussians"),
        Readout(label="In this view", key="scene.visible"),
    )
    if store.get("scene.gaussians") == "0":
        numbers = ()  # a network draws it alone
    numbers += (
        Readout(label="Model", key="scene.model"),
        Readout(label="Trained for", key="scene.steps"),
    )
    if not store.get("scene.shares", ()):
        return Group(
            "Scene",
            (*numbers, Text(tint="secondary", text="The size on disk is measured in a moment.")),
        )
    return Group(
        "Scene",
        (
            *numbers,
            Readout(label="Size", key="scene.size"),
            Shares(
                key="scene.shares",
                tooltip="Amber is stored for each Gaussian, violet in the neural fields and networks",
            ),
        ),
    )
