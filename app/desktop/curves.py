"""Curves over training steps, with a legend that prints the newest values."""

from __future__ import annotations

from typing import Any

import dearpygui.dearpygui as dpg

from app.desktop.kit import Drawn, Kit, inside
from app.desktop.theme import Theme
from app.panels.widgets import Plot
from app.panels.words import axis_unit, count

FEW = 16


def draw_plot(widget: Plot, kit: Kit, width: int, height: int) -> Drawn:
    """Draw curves over steps with a legend that prints the newest value of each."""
    theme = kit.theme
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

    def write_legend(curves: dict[str, Any], roles: dict[str, str]) -> None:
        dpg.delete_item(legend, children_only=True)
        with inside(legend):
            for text, curve in _legend(theme, widget, curves, width):
                kit.text(text, roles.get(curve, "text"), "caption")

    def show(value: Any) -> None:
        curves = dict(value or {})
        roles = widget.roles(curves)
        size, unit = axis_unit(
            max((max(map(abs, v), default=0) for _, v in curves.values()), default=0)
        )
        dpg.configure_item(values_axis, tick_format=f"%g {unit}".strip())
        for name in [name for name in series if name not in curves]:
            dpg.delete_item(series.pop(name))
        for name, (steps, values) in curves.items():
            points = [[float(step) for step in steps], [float(value) / size for value in values]]
            if name not in series:
                series[name] = dpg.add_line_series(*points, parent=values_axis)
            else:
                dpg.set_value(series[name], points)
            has_dots = len(points[0]) < FEW  # a single point is no line
            dpg.bind_item_theme(series[name], theme.series(roles[name], has_dots=has_dots))
        write_legend(curves, roles)
        dpg.fit_axis_data(steps_axis)
        dpg.fit_axis_data(values_axis)

    kit.tooltip(widget, legend)
    show({})
    return Drawn(show)


def _legend(
    theme: Theme, widget: Plot, curves: dict[str, Any], width: int
) -> list[tuple[str, str]]:
    """Return (text, curve) with as much as fits: the plot's name, the curves' names, values, unit.

    A plot without its name says nothing: the names of its curves, then their values go first.
    """
    newest = {name: float(values[-1]) for name, (_, values) in curves.items() if len(values)}
    is_named = bool(curves) and all(name.startswith(widget.label) for name in curves)
    head = [] if is_named else [(widget.label, "")]
    unit = f" {widget.unit}" if widget.unit else ""
    for has_names, after in ((True, unit), (True, ""), (False, "")):
        parts = [*head]
        for name in curves:
            words = [name] if has_names or not head or name not in newest else []
            words += [f"{_short(newest[name])}{after}"] if name in newest else []
            parts.append((" ".join(words), name))
        needed = sum(theme.text_width(text, "caption") for text, _ in parts)
        if needed + theme.px(10) * (len(parts) - 1) <= width:
            return parts
    return [(theme.shortened(widget.label, width, "caption"), "")]


def _short(value: float) -> str:
    return count(value) if abs(value) >= 1e4 else f"{value:.4g}"
