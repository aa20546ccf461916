"""Displays: readouts, text, progress, curves, shares, tables, thumbnails and notices.

Each function creates the items of one description inside the current container and returns how to
show a value. What depends on the value's shape is built again when the value changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dearpygui.dearpygui as dpg
import numpy as np

from app.desktop.kit import Drawn, Kit
from app.desktop.theme import Theme
from app.palette import mixed
from app.panels.widgets import Notices, Plot, Progress, Readout, Shares, Table, Text

SPARE_ROLES = ("action", "good", "warning", "secondary")


def draw_readout(widget: Readout, kit: Kit, width: int) -> Drawn:
    """Draw a name on the left and its value at the right edge; a long value goes below."""
    theme = kit.theme
    label_width = theme.text_width(widget.label, "caption")
    with dpg.group() as box:
        pass

    def show(value: Any) -> None:
        dpg.delete_item(box, children_only=True)
        dpg.push_container_stack(box)
        words = "–" if value is None or value == "" else str(value)
        room = width - label_width - theme.px(20)
        if theme.text_width(words) <= room:
            with dpg.group(horizontal=True, horizontal_spacing=0):
                kit.text(widget.label, "secondary", "caption")
                dpg.add_spacer(width=int(width - label_width - theme.text_width(words)) - 1)
                kit.text(words)
        else:
            kit.text(widget.label, "secondary", "caption")
            kit.text(words, "text", "caption", wrap=width)
        dpg.pop_container_stack()

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


def draw_plot(widget: Plot, kit: Kit, width: int, height: int) -> Drawn:
    """Draw curves over steps with a legend that prints the newest value of each."""
    theme, tints = kit.theme, dict(widget.tints)
    with dpg.group(horizontal=True, horizontal_spacing=theme.px(10)) as legend:
        pass
    legend_height = theme.px(22)
    with dpg.plot(
        width=width,
        height=max(height - legend_height, theme.px(60)),
        no_title=True,
        no_menus=True,
        no_box_select=True,
        no_mouse_pos=True,
        no_inputs=True,
        no_frame=True,
    ) as plot:
        steps_axis = dpg.add_plot_axis(dpg.mvXAxis, tick_format="%g", no_highlight=True)
        values_axis = dpg.add_plot_axis(dpg.mvYAxis, tick_format="%g", no_highlight=True)
    dpg.bind_item_theme(plot, theme.plot())
    dpg.bind_item_font(plot, theme.fonts["caption"])
    series: dict[str, int | str] = {}

    def role_of(name: str) -> str:
        return tints.get(name, SPARE_ROLES[len(series) % len(SPARE_ROLES)])

    def write_legend(curves: dict[str, Any]) -> None:
        dpg.delete_item(legend, children_only=True)
        dpg.push_container_stack(legend)
        for text, role in _legend(theme, widget, curves, width):
            kit.text(text, tints.get(role) or roles.get(role, "text"), "caption")
        dpg.pop_container_stack()

    roles: dict[str, str] = {}

    def show(value: Any) -> None:
        curves = dict(value or {})
        tops = [np.nanmax(np.abs(values)) for _, values in curves.values() if len(values)]
        thousands = 1000.0 if max(tops, default=0.0) >= 5000 else 1.0
        dpg.configure_item(values_axis, tick_format="%g k" if thousands > 1 else "%g")
        for name in [name for name in series if name not in curves]:
            dpg.delete_item(series.pop(name))
        for name, (steps, values) in curves.items():
            points = [np.asarray(steps, dtype=float).tolist(), _drawable(values, thousands)]
            if name not in series:
                roles[name] = role_of(name)
                series[name] = dpg.add_line_series(*points, parent=values_axis)
                dpg.bind_item_theme(series[name], theme.series(roles[name]))
            else:
                dpg.set_value(series[name], points)
        write_legend(curves)
        dpg.fit_axis_data(steps_axis)
        dpg.fit_axis_data(values_axis)

    show({})
    return Drawn(show)


def _legend(
    theme: Theme, widget: Plot, curves: dict[str, Any], width: int
) -> list[tuple[str, str]]:
    """Return (text, curve) with as much as fits: the plot's name, the curves' names, values, unit."""
    newest = {name: float(values[-1]) for name, (_, values) in curves.items() if len(values)}
    head = [] if list(curves) == [widget.label] else [(widget.label, "")]
    unit = f" {widget.unit}" if widget.unit else ""
    for before, after in ((head, unit), ([], unit), ([], "")):
        parts = before + [
            (f"{name} {_short(newest[name])}{after}" if name in newest else name, name)
            for name in curves
        ]
        needed = sum(theme.text_width(text, "caption") for text, _ in parts)
        if needed + theme.px(10) * (len(parts) - 1) <= width:
            return parts
    return [(widget.label, "")]


def _drawable(values: Sequence[float], unit: float) -> list[float]:
    """Repeat the value before one that is not finite: the plot's scale must survive it."""
    array = np.array(values, dtype=float) / unit
    is_good = np.isfinite(array)
    if not is_good.all() and is_good.any():
        last = np.maximum.accumulate(np.where(is_good, np.arange(len(array)), 0))
        array = array[last]
    return np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0).tolist()


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "not finite"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f} M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.1f} k"
    return f"{value:.4g}"


def draw_shares(widget: Shares, kit: Kit, width: int) -> Drawn:
    """Draw a stacked bar and a legend with the amount of each part."""
    theme = kit.theme
    height = theme.px(16)
    with dpg.group() as box:
        pass

    def show(value: Any) -> None:
        dpg.delete_item(box, children_only=True)
        dpg.push_container_stack(box)
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
            words = _amount(amount, widget.unit)
            name = theme.shortened(name, width - theme.px(90), "caption")
            used = theme.text_width(name, "caption") + theme.text_width(words, "caption")
            with dpg.group(horizontal=True, horizontal_spacing=0):
                kit.text(name, role, "caption")
                dpg.add_spacer(width=max(int(width - used) - 1, 1))
                kit.text(words, "text", "caption")
        dpg.pop_container_stack()

    kit.tooltip(widget, box)
    return Drawn(show)


def _amount(amount: float, unit: str) -> str:
    if unit != "bytes":
        return f"{amount:,.0f} {unit}".replace(",", " ")
    for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if amount >= size:
            return f"{amount / size:.3g} {name}"
    return f"{amount:.0f} B"


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
        is_number = [
            bool(rows) and all(_is_number(row[at]) for row in rows) for at in range(columns)
        ]
        lines = [widget.columns, *rows] if widget.columns else rows
        widths = _column_widths(theme, lines, is_number, width)
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
                _table_line(kit, line, widths, is_number, at == 0 and bool(widget.columns))

    return Drawn(show)


def _column_widths(theme: Theme, lines: Any, is_number: list[bool], width: int) -> list[int]:
    """Numbers get what they need, text columns share what is left by their own needs."""
    needs = [
        max(theme.text_width(line[at], "caption") for line in lines) + 4
        for at in range(len(is_number))
    ]
    free = width - theme.px(8) * len(needs)
    free -= sum(need for need, fixed in zip(needs, is_number, strict=True) if fixed)
    wanted = sum(need for need, fixed in zip(needs, is_number, strict=True) if not fixed) or 1
    stretch = free / wanted
    return [
        int(need if fixed else max(need * stretch, theme.px(40)))
        for need, fixed in zip(needs, is_number, strict=True)
    ]


def _table_line(
    kit: Kit, line: Any, widths: list[int], is_number: list[bool], is_head: bool
) -> None:
    role = "secondary" if is_head else "text"
    with dpg.table_row():
        for cell, room, at_right in zip(line, widths, is_number, strict=True):
            if not at_right:
                shown = kit.theme.shortened(cell, room, "caption")
                item = kit.text(shown, role, "caption")
                if shown != cell:
                    kit.tip(item, cell)
                continue
            with dpg.group(horizontal=True, horizontal_spacing=0):
                spare = room - kit.theme.text_width(cell, "caption")
                dpg.add_spacer(width=max(int(spare), 1))
                kit.text(cell, role, "caption")


def _is_number(cell: str) -> bool:
    return cell in ("", "–") or cell.lstrip("+-−")[:1].isdigit()


def draw_notices(widget: Notices, kit: Kit, width: int) -> Drawn:
    """Draw sentences with their level, details to unfold and a way to dismiss each."""
    theme = kit.theme
    with dpg.group() as box:
        pass
    unfolded: set[int] = set()
    shown: list[Any] = [()]
    roles = {"info": "secondary", "note": "secondary", "good": "good"}

    def toggle(_: Any, __: Any, number: int) -> None:
        unfolded.symmetric_difference_update({number})
        show(shown[0])

    def show(value: Any) -> None:
        shown[0] = value or ()
        dpg.delete_item(box, children_only=True)
        dpg.push_container_stack(box)
        for number, level, text, details in shown[0]:
            role = roles.get(level, level if level in ("warning", "error") else "text")
            with dpg.group(horizontal=True, horizontal_spacing=theme.px(8)):
                with dpg.drawlist(theme.px(4), theme.px(18)):
                    color = theme.color(role)
                    dpg.draw_rectangle((0, 0), (theme.px(3), theme.px(18)), color=color, fill=color)
                kit.text(text, "text", "caption", wrap=width - theme.px(12))
            with dpg.group(horizontal=True, horizontal_spacing=theme.px(4)):
                dpg.add_spacer(width=theme.px(4))
                if details:
                    words = "Hide details" if number in unfolded else "Details"
                    _quiet(kit, words, toggle, number)
                    _quiet(kit, "Copy", lambda _, __, t: dpg.set_clipboard_text(t), details)
                _quiet(kit, "Dismiss", lambda _, __, n: kit.post(widget.action, value=n), number)
            if details and number in unfolded:
                kit.text(details, "secondary", "caption", wrap=width)
        dpg.pop_container_stack()

    return Drawn(show)


def _quiet(kit: Kit, words: str, callback: Any, data: Any) -> None:
    button = dpg.add_button(label=words, small=True, callback=callback, user_data=data)
    dpg.bind_item_theme(button, kit.theme.button("quiet"))
    dpg.bind_item_font(button, kit.theme.fonts["caption"])
