"""What is wrong with the photographs, before training: how many there are and the worst problems."""

from __future__ import annotations

from app.panels.widgets import Group, Text, Widget
from app.store import Store

WORST = 5
TINTS = {"stops": "error", "left out": "warning", "worth knowing": "secondary"}


def panel(store: Store) -> Group:
    """Describe the check of the open capture, in one line while it trains; empty without a capture."""
    return Group("Photographs", _widgets(store))


def _widgets(store: Store) -> tuple[Widget, ...]:
    if not store.get("train.has_capture", False):
        return ()
    counts = Text(text=str(store.get("check.counts", "")) or "Opened.")
    poses = str(store.get("check.poses", ""))
    estimated = (Text(tint="secondary", text=f"Cameras {poses}."),) if poses else ()
    return (counts, *estimated, *_found(store))


def _found(store: Store) -> tuple[Widget, ...]:
    if store.get("check.state", "") != "done":
        return (Text(tint="secondary", text="The photographs are being checked."),)
    rows = store.get("check.rows", ())
    if not rows:
        return (Text(tint="good", text="No problems found."),)
    if store.get("train.state", "idle") not in ("idle", "loading"):
        return (Text(tint="secondary", text=f"{_number(len(rows))} found before training."),)
    worst = tuple(
        Text(tint=TINTS[severity], text=text, tooltip=remedy)
        for severity, text, remedy in rows[:WORST]
    )
    rest = len(rows) - len(worst)
    if rest:
        text = f"and {rest} more; the command 'check' lists them all."
        worst = (*worst, Text(tint="secondary", text=text))
    return worst


def _number(count: int) -> str:
    return "1 problem was" if count == 1 else f"{count} problems were"
