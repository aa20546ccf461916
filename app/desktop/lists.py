"""Tables and notices: lists whose lines are drawn anew when their value changes."""

from __future__ import annotations

from typing import Any

import dearpygui.dearpygui as dpg

from app.desktop.kit import Drawn, Kit, inside
from app.desktop.theme import Theme
from app.panels.widgets import Notices, Table
from app.panels.words import is_number


def draw_table(widget: Table, kit: Kit, width: int) -> Drawn:
    """Draw rows of text; columns whose every value begins like a number stand at the right."""
    theme = kit.theme
    with dpg.group() as box:
        pass

    def show(value: Any) -> None:
        dpg.delete_item(box, children_only=True)
        rows = [tuple(str(cell) for cell in row) for row in (value or ())]
        columns = len(widget.columns) or (len(rows[0]) if rows else 0)
        if not columns:
            return
        at_right = [bool(rows) and all(is_number(row[at]) for row in rows) for at in range(columns)]
        lines = [widget.columns, *rows] if widget.columns else rows
        widths = _column_widths(theme, lines, at_right, width)
        with dpg.table(
            parent=box,
            header_row=False,
            borders_innerH=True,
            policy=dpg.mvTable_SizingFixedFit,
            pad_outerX=False,
        ):
            for column in widths:
                dpg.add_table_column(width_fixed=True, init_width_or_weight=column)
            for at, line in enumerate(lines):
                _table_line(kit, line, widths, at_right, at == 0 and bool(widget.columns))

    return Drawn(show)


def _column_widths(theme: Theme, lines: Any, at_right: list[bool], width: int) -> list[int]:
    """Numbers get what they need, text columns share what is left by their own needs."""
    needs = [
        max(theme.text_width(line[at], "caption") for line in lines) + 4
        for at in range(len(at_right))
    ]
    free = width - theme.px(8) * len(needs)
    free -= sum(need for need, fixed in zip(needs, at_right, strict=True) if fixed)
    wanted = sum(need for need, fixed in zip(needs, at_right, strict=True) if not fixed) or 1
    stretch = free / wanted
    return [
        int(need if fixed else max(need * stretch, theme.px(40)))
        for need, fixed in zip(needs, at_right, strict=True)
    ]


def _table_line(
    kit: Kit, line: Any, widths: list[int], at_right: list[bool], is_head: bool
) -> None:
    role = "secondary" if is_head else "text"
    with dpg.table_row():
        for cell, room, is_right in zip(line, widths, at_right, strict=True):
            if not is_right:
                shown = kit.theme.shortened(cell, room, "caption")
                item = kit.text(shown, role, "caption")
                if shown != cell:
                    kit.tip(item, cell)
                continue
            with dpg.group(horizontal=True, horizontal_spacing=0):
                spare = room - kit.theme.text_width(cell, "caption")
                dpg.add_spacer(width=max(int(spare), 1))
                kit.text(cell, role, "caption")


def draw_notices(widget: Notices, kit: Kit, width: int) -> Drawn:
    """Draw sentences with their level, details to unfold and a way to dismiss each."""
    theme = kit.theme
    with dpg.group() as box:
        pass
    unfolded: set[int] = set()
    shown: list[Any] = [()]
    roles = {"info": "secondary"}

    def toggle(_: Any, __: Any, number: int) -> None:
        unfolded.symmetric_difference_update({number})
        show(shown[0])

    def show(value: Any) -> None:
        shown[0] = value or ()
        dpg.delete_item(box, children_only=True)
        with inside(box):
            for number, level, text, details in shown[0]:
                role = roles.get(level, level)
                with dpg.group(horizontal=True, horizontal_spacing=theme.px(8)):
                    with dpg.drawlist(theme.px(4), theme.px(18)):
                        color = theme.color(role)
                        dpg.draw_rectangle(
                            (0, 0), (theme.px(3), theme.px(18)), color=color, fill=color
                        )
                    kit.text(text, "text", "caption", wrap=width - theme.px(12))
                with dpg.group(horizontal=True, horizontal_spacing=theme.px(4)):
                    dpg.add_spacer(width=theme.px(4))
                    if details:
                        words = "Hide details" if number in unfolded else "Details"
                        _quiet(kit, words, toggle, number)
                        _quiet(kit, "Copy", lambda _, __, t: dpg.set_clipboard_text(t), details)
                    _quiet(
                        kit, "Dismiss", lambda _, __, n: kit.post(widget.action, value=n), number
                    )
                if details and number in unfolded:
                    kit.text(details, "secondary", "caption", wrap=width)

    return Drawn(show)


def _quiet(kit: Kit, words: str, callback: Any, data: Any) -> None:
    button = dpg.add_button(label=words, small=True, callback=callback, user_data=data)
    dpg.bind_item_theme(button, kit.theme.button("quiet"))
    dpg.bind_item_font(button, kit.theme.fonts["caption"])
