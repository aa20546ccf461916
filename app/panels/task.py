"""The long task that runs now: what, how far, and the way to end it. A part of other panels."""

from __future__ import annotations

from app.actions import CancelTask
from app.panels.widgets import Button, Progress, Widget
from app.store import Store


def task_widgets(store: Store) -> tuple[Widget, ...]:
    """Describe the running task, or nothing."""
    name = store.get("task.name", "")
    if not name:
        return ()
    bar = Progress(label=name, key="task.progress")
    if not store.get("task.can_cancel", False):
        return (bar,)
    return (bar, Button(label="Cancel", tooltip=f"End this: {name}", action=CancelTask()))
