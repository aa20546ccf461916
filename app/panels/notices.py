"""What is going on and what happened: the long task under way, and the list of notices."""

from __future__ import annotations

from app.actions import CancelTask, DismissNotice
from app.panels.widgets import Button, Group, Notices, Progress, Text, Widget
from app.store import Store


def panel(store: Store) -> Group:
    """Describe the notices, newest first, each with its details, until it is dismissed."""
    if not store.get("notices", ()):
        return Group("Notices", (Text(tint="secondary", text="Nothing to report."),))
    return Group("Notices", (Notices(key="notices", action=DismissNotice()),))


def task_widgets(store: Store) -> tuple[Widget, ...]:
    """Describe the running task and the way to end it, or nothing; a part of other panels."""
    name = store.get("task.name", "")
    if not name:
        return ()
    bar = Progress(label=name, key="task.progress")
    if not store.get("task.can_cancel", False):
        return (bar,)
    return (bar, Button(label="Cancel", tooltip=f"End this: {name}", action=CancelTask()))
