"""Displays: readouts, text, progress and shares.

Each function creates the items of one description inside the current container and returns how to
show a value. What depends on the value's shape is built again when the value changes.
"""

from __future__ import annotations

import math
from typing import Any

import dearpygui.dearpygui as dpg

from app.desktop.kit import Drawn, Kit, inside
from app.palette import mixed
from app.panels.widgets import Progress, Readout, Shares, Text
from app.panels.words import data_size


def draw_readout(widget: Readout, kit: Kit, width: int) -> Drawn:
    """Draw a name on the left and its value at the right edge; a long value goes below."""
    theme = kit.theme
    label_width = theme.text_width(widget.label, "caption")
    with dpg.group() as box:
        pass

    def show(value: Any) -> None:
        dpg.delete_item(box, children_only=True)
        with inside(box):
            words = "–" if value is None or value == "" else str(value)
        room = width - label_width - theme.px(8)
        fonts = [font for font in ("text", "caption") if theme.text_width(words, font) <= room]
        with inside(box):
            if fonts:
                spare = width - label_width - theme.text_width(words, fonts[0]) - 1
                with dpg.group(horizontal=True, horizontal_spacing=0):
                    kit.text(widget.label, "secondary", "caption")
                    dpg.add_spacer(width=max(int(spare), 1))
                    kit.text(words, "text", fonts[0])
            else:
                kit.text(widget.label, "secondary", "caption")
                kit.text(words, "text", "caption", wrap=width)

    kit.tooltip(widget, box)
    show(None)
    return Drawn(show)


def draw_text(widget: Text, kit: Kit, width: int) -> Drawn:
    """Draw a sentence; with a key, the store's."""
    font = "caption" if widget.tint == "secondary" else "text"
    item = kit.text(widget.text or widget.label, widget.tint, font, wrap=width)
    kit.tooltip(widget, item)
    if not widget.key:
        return Drawn()
    return Drawn(lambda value: dpg.set_value(item, "" if value is None else str(value)))


def draw_progress(widget: Progress, kit: Kit, width: int) -> Drawn:
    """Draw what is done, a bar and how far; without a known share the bar runs to and fro."""
    theme = kit.theme
    with dpg.group(horizontal=True, horizontal_spacing=0):
        name = kit.text(widget.label, "secondary", "caption")
        gap = dpg.add_spacer(width=0)
        words = kit.text("", "text", "caption")
    height = theme.px(8)
    with dpg.drawlist(width, height) as bar:
        back, fill = theme.color("raised"), theme.color("action")
        dpg.draw_rectangle((0, 0), (width, height), color=back, fill=back, rounding=height / 2)
        done = dpg.draw_rectangle((0, 0), (0, height), color=fill, fill=fill, rounding=height / 2)
    kit.tooltip(widget, bar)
    share: list[float | None] = [0.0]

    def span(low: float, high: float) -> None:
        is_visible = high - low > 0.004
        dpg.configure_item(
            done,
            pmin=(low * width, 0),
            pmax=(max(high * width, low * width + height), height),
            show=is_visible,
        )

    def show(value: Any) -> None:
        share[0], text = value if value else (0.0, "")
        label_width = theme.text_width(widget.label, "caption")
        shown = theme.shortened(str(text), width - label_width - theme.px(12), "caption")
        dpg.set_value(name, widget.label)
        dpg.set_value(words, shown.translate({0x2212: "–"}))
        spare = width - label_width - theme.text_width(shown, "caption") - 1
        dpg.configure_item(gap, width=max(int(spare), 1))
        if share[0] is not None:
            span(0.0, min(max(float(share[0]), 0.0), 1.0))

    def animate(now: float) -> bool:
        if share[0] is None:
            middle = 0.5 + 0.38 * math.sin(now * 2.5)
            span(middle - 0.12, middle + 0.12)
        return share[0] is None

    show(None)
    return Drawn(show, animate=animate)


def draw_shares(widget: Shares, kit: Kit, width: int) -> Drawn:
    """Draw a stacked bar and a legend with the amount of each part."""
    theme = kit.theme
    height = theme.px(16)
    with dpg.group() as box:
        pass

    def show(value: Any) -> None:
        dpg.delete_item(box, children_only=True)
        with inside(box):
            parts = [part for part in (value or ()) if part[1] > 0]
            total = sum(amount for _, amount, _ in parts) or 1
            left, seen = 0.0, {}
            with dpg.drawlist(width, height):
                for _, amount, role in parts:
                    # Parts of one colour differ in shade.
                    shade = mixed(
                        theme.color(role), theme.color("panel"), 0.22 * min(seen.get(role, 0), 3)
                    )
                    seen[role] = seen.get(role, 0) + 1
                    right = left + width * amount / total
                    dpg.draw_rectangle(
                        (left, 0), (max(right - 1, left + 1), height), color=shade, fill=shade
                    )
                    left = right
            for name, amount, role in parts:
                words = data_size(amount)
                name = theme.shortened(name, width - theme.px(90), "caption")
                used = theme.text_width(name, "caption") + theme.text_width(words, "caption")
                with dpg.group(horizontal=True, horizontal_spacing=0):
                    kit.text(name, role, "caption")
                    dpg.add_spacer(width=max(int(width - used) - 1, 1))
                    kit.text(words, "text", "caption")

    kit.tooltip(widget, box)
    return Drawn(show)
