"""What every drawn widget shares: the theme, the way to post, labels, tooltips and deferred deletion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dearpygui.dearpygui as dpg

from app.actions import Action, SetKnob, completed
from app.desktop.theme import PLAINER, Theme
from app.panels.widgets import Widget

Item = int | str
VIEW = "desktop"
"""The name of this window's view."""


@contextmanager
def inside(container: Item) -> Iterator[None]:
    """Create what follows inside an item; the stack of containers survives an exception."""
    dpg.push_container_stack(container)
    try:
        yield
    finally:
        dpg.pop_container_stack()


@dataclass
class Drawn:
    """A widget on the screen.

    `show` pushes a value; `item` is what the hand holds while it changes the value; `fine_step`
    moves the value a little; `animate` is called each frame and says whether it still moves;
    `close` gives back what is not a child item.
    """

    show: Callable[[Any], None] | None = None
    item: Item | None = None
    is_typed: bool = False
    fine_step: Callable[[int], None] | None = None
    animate: Callable[[float], bool] | None = None
    close: Callable[[], None] | None = None


@dataclass
class Kit:
    """The means of drawing; one for the whole window."""

    theme: Theme
    send: Callable[[Action], None]
    ask_path: Callable[[Widget, Callable[[str], None]], None]
    ask_before_replacing: Callable[[str, Callable[[str], None]], None]
    strip_height: int = 150
    num_posted: int = 0
    posted_at: float = 0.0
    _graves: list[tuple[int, Item]] = field(default_factory=list)

    def post(self, action: Action | None, **values: Any) -> None:
        """Post an action completed with values; an empty view means this window's."""
        if action is None:
            return
        self.num_posted, self.posted_at = self.num_posted + 1, time.monotonic()
        self.send(completed(action, view=VIEW, **values))

    def bury(self, texture: Item) -> None:
        """Delete a texture once no frame in flight can show it."""
        self._graves.append((dpg.get_frame_count() + 3, texture))

    def sweep(self) -> None:
        """Delete what was buried long enough ago."""
        now = dpg.get_frame_count()
        for _, texture in [grave for grave in self._graves if grave[0] <= now]:
            dpg.delete_item(texture)
        self._graves = [grave for grave in self._graves if grave[0] > now]

    def text(self, text: str, role: str = "text", font: str = "text", wrap: int = -1) -> Item:
        """Write text in a role's colour; `wrap` in pixels."""
        item = dpg.add_text(text.translate(PLAINER), wrap=wrap)
        if role != "text":
            dpg.bind_item_theme(item, self.theme.tint(role))
        if font != "text":
            dpg.bind_item_font(item, self.theme.fonts[font])
        return item

    def label(self, widget: Widget, width: int) -> None:
        """Write a control's name above it, with the dot of settings that act while training."""
        if not widget.label:
            return
        is_live = bool(getattr(widget, "is_live", False))
        dot = self.theme.px(14) if is_live else 0
        with dpg.group(horizontal=True, horizontal_spacing=self.theme.px(6)) as line:
            dpg.bind_item_theme(line, self.theme.lines())
            shown = self.theme.shortened(widget.label, width - dot, "caption")
            role = "secondary" if widget.is_enabled else "disabled"
            name = self.text(shown, role, "caption")
            if shown != widget.label:
                self.tip(name, widget.label)
            if is_live:
                self.live_dot()

    def live_dot(self, middle: int = 9) -> None:
        """Draw the dot of a setting that acts while training, `middle` pixels below the line's top."""
        px, color = self.theme.px, self.theme.color("action")
        with dpg.drawlist(px(8), px(middle + 6)):
            dpg.draw_circle((px(4), px(middle)), px(3), color=color, fill=color)

    def tooltip(self, widget: Widget, item: Item) -> None:
        """Attach a widget's tooltip; settings say when they take effect."""
        sentences = [widget.tooltip] if widget.tooltip else []
        if isinstance(getattr(widget, "action", None), SetKnob):
            is_live = getattr(widget, "is_live", False)
            sentences.append("Acts at once." if is_live else "Takes effect on restart of training.")
        if sentences:
            self.tip(item, "\n".join(sentences))

    def tip(self, item: Item, text: str) -> None:
        """Attach a tooltip."""
        with dpg.tooltip(item, delay=0.4):
            self.text(text, "text", "caption", wrap=self.theme.px(280))
