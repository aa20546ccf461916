"""Controls that a hand can change: slider, number, toggle, choice, path and button.

Each function creates the items of one description inside the current container and returns how to
show a value. Setting an item from here calls no callback, so a value from the store posts nothing.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import dearpygui.dearpygui as dpg

from app.desktop.kit import Drawn, Kit
from app.panels.widgets import Button, Choice, Number, Path, Slider, Toggle


def draw_slider(widget: Slider, kit: Kit, width: int) -> Drawn:
    """Draw a bar; Ctrl+click types, a double click resets, Ctrl+wheel moves it a little."""
    kit.label(widget, width)
    add = dpg.add_slider_int if widget.is_integer else dpg.add_slider_float
    kind = int if widget.is_integer else float
    item = add(
        width=width,
        min_value=kind(widget.low),
        max_value=kind(widget.high),
        default_value=kind(widget.low),
        format="%d" if widget.is_integer else f"%.{widget.digits}f",
        clamped=True,
        enabled=widget.is_enabled,
        callback=lambda _, value: kit.post(widget.action, value=value),
    )
    kit.tooltip(widget, item)
    is_resetting = [False]

    def change(value: float) -> None:
        value = kind(min(max(value, widget.low), widget.high))
        dpg.set_value(item, value)
        kit.post(widget.action, value=value)

    def reset_asked() -> None:
        is_resetting[0] = widget.default is not None and widget.is_enabled

    def released() -> None:
        # Only now: while the button is down the bar follows the pointer.
        if is_resetting[0]:
            is_resetting[0] = False
            change(widget.default)

    def fine_step(notches: int) -> None:
        if widget.is_enabled:
            step = 1 if widget.is_integer else (widget.high - widget.low) / 100
            change(dpg.get_value(item) + notches * step)

    with dpg.item_handler_registry() as handlers:
        dpg.add_item_double_clicked_handler(button=0, callback=reset_asked)
        dpg.add_item_deactivated_handler(callback=released)
    dpg.bind_item_handler_registry(item, handlers)
    return Drawn(
        lambda value: dpg.set_value(item, kind(widget.low if value is None else value)),
        item,
        is_typed=True,
        fine_step=fine_step,
        close=lambda: dpg.delete_item(handlers),
    )


def draw_number(widget: Number, kit: Kit, width: int) -> Drawn:
    """Draw a typed number; Enter or leaving the field posts it, brought inside its limits."""
    kit.label(widget, width)
    kind = int if widget.is_integer else float
    shared = {"width": width, "step": 0, "enabled": widget.is_enabled}
    add = dpg.add_input_int if widget.is_integer else partial(dpg.add_input_double, format="%.6g")
    item = add(**shared)
    kit.tooltip(widget, item)
    shown: list[Any] = [None]

    def edited() -> None:
        value = kind(dpg.get_value(item))
        low = value if widget.low is None else kind(widget.low)
        high = value if widget.high is None else kind(widget.high)
        value = min(max(value, low), high)
        dpg.set_value(item, value)
        if value != shown[0]:
            shown[0] = value
            kit.post(widget.action, value=value)

    def show(value: Any) -> None:
        shown[0] = value
        dpg.set_value(item, kind(0 if value is None else value))

    with dpg.item_handler_registry() as handlers:
        dpg.add_item_deactivated_after_edit_handler(callback=edited)
    dpg.bind_item_handler_registry(item, handlers)
    return Drawn(show, item, is_typed=True, close=lambda: dpg.delete_item(handlers))


def draw_toggle(widget: Toggle, kit: Kit, width: int) -> Drawn:
    """Draw a box with a tick and its sentence beside it."""
    room = width - kit.theme.px(38 + (14 if widget.is_live else 0))
    with dpg.group(horizontal=True):
        item = dpg.add_checkbox(
            enabled=widget.is_enabled,
            callback=lambda _, value: kit.post(widget.action, value=bool(value)),
        )
        kit.text(widget.label, "text" if widget.is_enabled else "disabled", "caption", wrap=room)
        if widget.is_live:
            kit.live_dot(middle=15)
    kit.tooltip(widget, item)
    return Drawn(lambda value: dpg.set_value(item, bool(value)), item)


def draw_choice(widget: Choice, kit: Kit, width: int) -> Drawn:
    """Draw a list to open, or all options side by side where they are to be seen at once."""
    if widget.is_radio:
        return _draw_segments(widget, kit, width)
    kit.label(widget, width)
    # A combo hands back the text of an option: names of different options must differ in it.
    names = [
        name if widget.names.count(name) == 1 else f"{name}##{at}"
        for at, name in enumerate(widget.names)
    ]

    def chosen(_: Any, name: str) -> None:
        if name in names:
            kit.post(widget.action, value=widget.options[names.index(name)])

    item = dpg.add_combo(names, width=width, enabled=widget.is_enabled, callback=chosen)
    kit.tooltip(widget, item)

    def show(value: Any) -> None:
        at = widget.options.index(value) if value in widget.options else -1
        dpg.set_value(item, names[at] if at >= 0 else "")

    return Drawn(show, item)


def _draw_segments(widget: Choice, kit: Kit, width: int) -> Drawn:
    """Draw one button for each option, in a row where there is room, the chosen one lit in its tint."""
    kit.label(widget, width)
    theme, gap = kit.theme, kit.theme.px(4)
    count = max(len(widget.names), 1)
    words = [theme.text_width(name, "caption") for name in widget.names]
    share = (width - gap * (count - 1)) / count
    # Wider words get more room; what is left over is shared equally.
    spare = (width - gap * (count - 1) - sum(words)) / count
    is_row = spare >= theme.px(8)
    tints = widget.tints or ("text",) * count
    items = []
    with dpg.group(horizontal=is_row, horizontal_spacing=gap):
        for at, name in enumerate(widget.names):
            wide = (words[at] + spare if spare < share else share) if is_row else width
            items.append(
                dpg.add_button(
                    label=name,
                    width=int(wide),
                    enabled=widget.is_enabled,
                    user_data=widget.options[at],
                    callback=lambda _, __, option: kit.post(widget.action, value=option),
                )
            )
            dpg.bind_item_font(items[-1], theme.fonts["caption"])
            kit.tooltip(widget, items[-1])

    def show(value: Any) -> None:
        for item, option, tint in zip(items, widget.options, tints, strict=True):
            is_chosen = option == value and widget.is_enabled
            dpg.bind_item_theme(item, theme.button(f"on:{tint}" if is_chosen else "plain"))

    show(None)
    return Drawn(show)


def draw_button(widget: Button, kit: Kit, width: int) -> Drawn:
    """Draw a verb."""
    item = dpg.add_button(
        label=widget.label,
        width=width,
        enabled=widget.is_enabled,
        callback=lambda: kit.post(widget.action),
    )
    dpg.bind_item_theme(item, kit.theme.button("primary" if widget.is_primary else "plain"))
    kit.tooltip(widget, item)
    return Drawn()


def draw_path(widget: Path, kit: Kit, width: int) -> Drawn:
    """Draw a field for a path, the button that uses it and one that opens the file dialog."""
    kit.label(widget, width)
    gap = kit.theme.px(8)
    shown = [""]

    def use() -> None:
        path = dpg.get_value(item).strip()
        if not path:
            browse()
        elif widget.mode == "save_file" and path != shown[0]:  # typed by hand
            path += "" if os.path.splitext(path)[1] else "".join(widget.suffixes[:1])
            kit.ask_before_replacing(path, lambda path: kit.post(widget.action, value=path))
        else:
            kit.post(widget.action, value=path)

    def browse() -> None:
        kit.ask_path(widget, picked)

    def picked(path: str) -> None:
        dpg.set_value(item, path)
        kit.post(widget.action, value=path)

    hint = "Folder" if widget.mode == "open_folder" else "File"
    item = dpg.add_input_text(
        width=width,
        hint=f"{hint} on this machine",
        enabled=widget.is_enabled,
        on_enter=True,
        callback=use,
    )
    kit.tooltip(widget, item)
    small = int(kit.theme.text_width("Browse…")) + kit.theme.px(20)
    with dpg.group(horizontal=True, horizontal_spacing=gap):
        dpg.add_button(
            label=widget.button,
            width=width - small - gap,
            enabled=widget.is_enabled,
            callback=use,
        )
        dpg.add_button(label="Browse…", width=small, enabled=widget.is_enabled, callback=browse)

    def show(value: Any) -> None:
        shown[0] = "" if value is None else str(value)
        dpg.set_value(item, shown[0])

    return Drawn(show, item, is_typed=True)
