"""What every widget on a viser page can do: `show` puts a value there, a hand posts an action.

Handles belong to all browsers together; a callback knows which browser it came from.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import viser

from app.actions import Action, SetKnob, completed
from app.store import Store

Post = Callable[[Action, "int | None"], None]
"""Hand an action to the session; the number is the browser it came from."""

HAND_LEADS_S = 0.5  # for so long after a touch the control keeps its value, then the store's counts
ABSENT_KEYS = re.compile(r"\s*\((?:Ctrl\+[A-Z]| [\[\]] |C takes the next)\)")
RESTART = "Takes effect on restart of training."


class Control:
    """One widget on the page; `handles` in the order they stand there."""

    def __init__(self, gui: viser.GuiApi, widget: Any, order: float, post: Post) -> None:
        self.gui, self.widget, self.order, self.post = gui, widget, order, post
        self.handles: list[Any] = []
        self.touched_at = float("-inf")
        self.was_touched = False
        self._build()

    def _build(self) -> None:
        """Create the handles."""

    def _show(self, value: Any) -> None:
        """Give the handles a value."""

    def show(self, value: Any) -> None:
        """Put a value from the store on the page."""
        self._show(value)

    def narrow(self, share: float) -> None:
        """Let the buttons take only a share of the width; viser itself stacks everything."""
        if share >= 1.0:
            return
        for handle in [h for h in self.handles if isinstance(h, viser.GuiButtonHandle)]:
            rule = (
                f"<style>div:has(> button[id='{handle._impl.uuid}'])"
                f"{{display:inline-block;width:calc({100 * share:.2f}% - 12px);"
                "margin-inline:6px!important}</style>"
            )
            # Above everything else: an element between two buttons would part them.
            self.keep(self.gui.add_html(rule, order=-1.0))

    @property
    def keys(self) -> tuple[str, ...]:
        """The store's keys that are shown."""
        return (self.widget.key,) if self.widget.key else ()

    def read(self, store: Store) -> Any:
        """Return what is to be shown."""
        return store.get(self.widget.key) if self.widget.key else None

    @property
    def is_busy(self) -> bool:
        """Whether a hand is on the control: echoing older values would pull it away."""
        return time.monotonic() - self.touched_at < HAND_LEADS_S

    def remove(self) -> None:
        """Take the widget off the page."""
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def keep(self, handle: Any) -> Any:
        """Remember a handle for removal."""
        self.handles.append(handle)
        return handle

    def touch(self) -> None:
        """Note that a hand is here; when it rests, the store's value is shown again."""
        self.touched_at, self.was_touched = time.monotonic(), True

    def ask(self, value: Any, client_id: int | None) -> None:
        """Post the widget's action, completed with a value."""
        self.touch()
        if self.widget.action is not None:
            self.post(completed(self.widget.action, value=value), client_id)

    @property
    def hint(self) -> str | None:
        """The tooltip, without keys that a browser has not."""
        return ABSENT_KEYS.sub("", self.widget.tooltip) or None

    @property
    def common(self) -> dict[str, Any]:
        """Arguments that every viser input takes."""
        widget, label, hint = self.widget, self.widget.label, self.hint or ""
        if isinstance(getattr(widget, "action", None), SetKnob):
            if getattr(widget, "is_live", False):
                label = f"{label} •"
            else:
                hint = f"{hint} {RESTART}".strip()
        return {
            "label": label,
            "hint": hint or None,
            "disabled": not widget.is_enabled,
            "order": self.order,
        }
