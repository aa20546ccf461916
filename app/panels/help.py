"""The sheet of shortcuts, as data for menus, tooltips and the help panel."""

from __future__ import annotations

from app.panels.widgets import Group, Table
from app.store import Store

SHORTCUTS: tuple[tuple[str, str], ...] = (
    ("Left drag", "Orbit around the pivot"),
    ("Middle drag, Shift + left drag", "Pan"),
    ("Wheel", "Zoom towards the pivot"),
    ("Right drag + W A S D Q E", "Look and fly"),
    ("V", "Fly without holding a button, and back to orbiting"),
    ("Shift, Alt", "Fly fast, fly slowly"),
    ("F", "Frame the scene"),
    ("R", "Reset the view"),
    ("[ and ]", "Previous and next photograph"),
    ("1, 2, 3", "Show both, Gaussians, background"),
    ("C", "Next mode: RGB, depth, alpha"),
    ("Space", "Pause or resume training"),
    ("Ctrl+O", "Open a capture or a scene"),
    ("Ctrl+S", "Save the scene"),
    ("Ctrl+E", "Export"),
    ("Tab", "Hide or show the panels"),
    ("F11", "Full screen"),
    ("H or F1", "This sheet"),
    ("Esc", "Leave the tool or close the sheet"),
)


def panel(store: Store) -> Group:
    """Describe the sheet; the session puts `SHORTCUTS` into the store."""
    return Group(
        "Help", (Table(key="help.shortcuts", columns=("Keys", "What they do")),), is_open=False
    )
