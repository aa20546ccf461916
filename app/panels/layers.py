"""Layers: what the explicit Gaussians draw, what the neural background draws, and what the picture shows."""

from __future__ import annotations

from app.actions import SetBlend, SetChannel
from app.panels.widgets import Choice, Group, Readout, Slider, Text, Widget
from app.store import Store
from core.render.view import BACKGROUND, BOTH, GAUSSIANS, Channel


def panel(store: Store) -> Group:
    """Describe the layer switch, the blend and the channel."""
    has_background = bool(store.get("scene.has_background", True))
    widgets: list[Widget] = [
        Choice(
            label="Show",
            key="layers.mode",
            tooltip="Both (1), Gaussians (2) or Background (3); the picture follows at once",
            options=(BOTH, GAUSSIANS, BACKGROUND),
            names=("Both", "Gaussians", "Background"),
            tints=("text", "gaussians", "neural"),
            is_radio=True,
            is_enabled=has_background,
            action=SetBlend(),
        ),
        Slider(
            label="Blend",
            key="layers.blend",
            tooltip="Fade from Gaussians only (0) through both (0.5) to the neural background only (1)",
            low=GAUSSIANS,
            high=BACKGROUND,
            default=BOTH,
            is_enabled=has_background,
            action=SetBlend(),
        ),
        Choice(
            label="Mode",
            key="layers.channel",
            tooltip="What the picture shows: colour, distance or opacity (C takes the next)",
            options=tuple(channel.value for channel in Channel),
            names=("RGB", "Depth", "Alpha"),
            action=SetChannel(),
        ),
    ]
    if not has_background:
        text = "This scene has Gaussians only, no neural background."
        if store.get("scene.gaussians") == "0":
            text = "This scene has no Gaussians: a network draws it alone."
        widgets.append(Text(tint="secondary", text=text))
    if store.get("layers.channel") == Channel.DEPTH.value:
        widgets.append(Readout(label="Scale", key="layers.legend"))
    return Group("Layers", tuple(widgets))
