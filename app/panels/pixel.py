"""The pixel inspector: which Gaussians made the pixel that was clicked, and what lies behind them."""

from __future__ import annotations

from app.actions import ClosePixel
from app.panels.widgets import Button, Group, Picture, Plot, Table, Text
from app.store import Store

COLUMNS = ("Gaussian", "Weight", "Depth", "Colour")
HALVES = ("Explicit", "Neural")


def panel(store: Store) -> Group:
    """Say how a pixel is chosen; nothing once one is."""
    if store.get("pixel.text"):
        return Group("Pixel", ())
    text = "Click in the picture to see which Gaussians made the pixel."
    return Group("Pixel", (Text(tint="secondary", text=text),))


def clicked(store: Store) -> Group:
    """Describe the pixel that was clicked: above everything else, where the answer to a click is seen."""
    if not store.get("pixel.text"):
        return Group("Pixel", ())
    has_halves = bool(store.get("pixel.has_halves"))
    parts = "whole, explicit half, neural half, background" if has_halves else "whole, background"
    halves = (Table(key="pixel.halves", columns=(COLUMNS[0], *HALVES)),) if has_halves else ()
    return Group(
        "Pixel",
        (
            Text(key="pixel.text", text="What made the pixel."),
            Picture(key="pixel.swatch", tooltip=f"From the left: {parts}", height=28),
            Text(tint="secondary", text=f"From the left: {parts}."),
            Plot(
                label="Along the ray, over depth",
                key="pixel.curve",
                tints=(("Weight", "gaussians"), ("Light left", "secondary")),
            ),
            Table(key="pixel.rows", columns=COLUMNS),
            *halves,
            Button(
                label="Remove the marks",
                tooltip="Close the inspector and clear the view",
                action=ClosePixel(),
            ),
        ),
    )
