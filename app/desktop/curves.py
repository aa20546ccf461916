"""Curves over training steps, with a legend that prints the newest values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dearpygui.dearpygui as dpg
import numpy as np

from app.desktop.kit import Drawn, Kit, inside
from app.desktop.theme import Theme
from app.panels.widgets import Plot

FEW = 16
SPARE_ROLES = ("action", "good", "warning", "secondary")


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
    roles: dict[str, str] = {}

    def role_of(name: str) -> str:
        return tints.get(name, SPARE_ROLES[len(series) % len(SPARE_ROLES)])

    def write_legend(curves: dict[str, Any]) -> None:
        dpg.delete_item(legend, children_only=True)
        with inside(legend):
            for text, curve in _legend(theme, widget, curves, width):
                kit.text(text, roles.get(curve, "text"), "caption")

    def show(value: Any) -> None:
        curves = dict(value or {})
        tops = [max(np.abs(_drawable(values, 1.0)), default=0.0) for _, values in curves.values()]
        thousands = 1000.0 if max(tops, default=0.0) >= 5000 else 1.0
        dpg.configure_item(values_axis, tick_format="%g k" if thousands > 1 else "%g")
        for name in [name for name in series if name not in curves]:
            dpg.delete_item(series.pop(name))
        for name, (steps, values) in curves.items():
            points = [np.asarray(steps, dtype=float).tolist(), _drawable(values, thousands)]
            if name not in series:
                roles[name] = role_of(name)
                series[name] = dpg.add_line_series(*points, parent=values_axis)
            else:
                dpg.set_value(series[name], points)
            has_dots = len(points[0]) < FEW  # a single point is no line
            dpg.bind_item_theme(series[name], theme.series(roles[name], has_dots=has_dots))
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
