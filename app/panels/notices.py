"""What happened, newest first, each with its details, until it is dismissed."""

from __future__ import annotations

from app.actions import DismissNotice
from app.panels.widgets import Group, Notices, Text
from app.store import Store


def panel(store: Store) -> Group:
    """Describe the list of notices."""
    if not store.get("notices", ()):
        return Group("Notices", (Text(tint="secondary", text="Nothing to report."),))
    return Group("Notices", (Notices(key="notices", action=DismissNotice()),))
