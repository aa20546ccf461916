"""Widgets that are only read: values, sentences, bars, tables and curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from app.palette import DARK
from app.panels import widgets as w
from app.panels.words import axis_unit
from app.web import html
from app.web.controls import Control

MOST_POINTS = 400  # of a chart, more than it has pixels; each update travels to every browser


class Html(Control):
    """Anything that is only read: drawn by `_markup`, absent while that is empty."""

    _markup: Callable[[Any, Any], str]

    def _build(self) -> None:
        self.keep(self.gui.add_html("", order=self.order, visible=False))

    def _show(self, value: Any) -> None:
        (handle,) = self.handles
        content = type(self)._markup(self.widget, value)
        handle.content = content
        handle.visible = bool(content)


class Readout(Html):
    """A label and its value."""

    @staticmethod
    def _markup(widget: w.Readout, value: Any) -> str:
        text = "–" if value is None or value == "" else str(value)
        return html.readout(widget.label, text, widget.tooltip)


class Text(Html):
    """A sentence."""

    @staticmethod
    def _markup(widget: w.Text, value: Any) -> str:
        text = value if widget.key else widget.text or widget.label
        return html.sentence(str(text), widget.tint) if text else ""


class Shares(Html):
    """A stacked bar."""

    @staticmethod
    def _markup(widget: w.Shares, value: Any) -> str:
        return html.shares(widget.label, value) if value else ""


class Table(Html):
    """Rows of text."""

    @staticmethod
    def _markup(widget: w.Table, value: Any) -> str:
        return html.table(widget.columns, value) if value else ""


class Progress(Control):
    """A bar with its sentence; both are absent while nothing is under way."""

    def _build(self) -> None:
        self.text = self.keep(self.gui.add_html("", order=self.order, visible=False))
        self.bar = self.keep(
            self.gui.add_progress_bar(
                0.0, visible=False, color=DARK["action"], order=self.order + 0.01
            )
        )

    def _show(self, value: Any) -> None:
        fraction, text = value or (0.0, "")
        self.bar.visible = value is not None
        self.bar.animated = fraction is None
        self.bar.value = 100.0 if fraction is None else 100.0 * min(max(float(fraction), 0.0), 1.0)
        self.text.visible = bool(text)
        self.text.content = html.readout(self.widget.label, text) if text else ""


class Plot(Control):
    """Curves over steps, redrawn at most twice a second; the chart is made anew when curves appear."""

    EVERY_S = 0.5

    def _build(self) -> None:
        self.caption = self.keep(self.gui.add_html("", order=self.order))
        self.chart: Any = None
        self.names: tuple[str, ...] = ()
        self.drawn_at = float("-inf")

    @property
    def is_busy(self) -> bool:
        """Whether it was redrawn a moment ago."""
        return time.monotonic() - self.drawn_at < self.EVERY_S

    def _show(self, value: Any) -> None:
        self.drawn_at = time.monotonic()
        curves = {name: curve for name, curve in (value or {}).items() if len(curve[0]) > 1}
        size, thousands = axis_unit(max((max(map(abs, v)) for _, v in curves.values()), default=0))
        title = ", ".join(filter(None, (self.widget.label, self.widget.unit, thousands)))
        empty = "" if curves else ": nothing measured yet"
        tooltip = self.widget.tooltip
        self.caption.content = html.sentence(f"{title}{empty}", "secondary", tooltip)
        if tuple(curves) != self.names and self.chart is not None:
            self.handles.remove(self.chart)
            self.chart.remove()
            self.chart = None
        self.names = tuple(curves)
        if not curves:
            return
        steps, *rows = aligned(curves)
        data = (steps, *(row / size for row in rows))
        if self.chart is None:
            self.chart = self._chart(data)
        else:
            self.chart.data, self.chart.scales = data, scales_of(data)

    def _chart(self, data: tuple[np.ndarray, ...]) -> Any:
        lines = [
            {
                "label": name,
                "stroke": html.color(role),
                "width": 2,
                "spanGaps": True,
                "points": {"show": False},
            }
            for name, role in self.widget.roles(self.names).items()
        ]
        return self.keep(
            self.gui.add_uplot(
                data,
                ({"label": "Step"}, *lines),
                scales=scales_of(data),
                legend={"show": len(lines) > 1, "live": False},
                height=150,
                order=self.order + 0.01,
            )
        )


def scales_of(data: tuple[np.ndarray, ...]) -> dict[str, Any]:
    """Return the axes of a chart; uPlot finds no range of its own where values are NaN."""
    values = np.concatenate(data[1:])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * (high - low) or max(0.05 * abs(high), 1e-3)
    return {"x": {"time": False}, "y": {"range": (low - margin, high + margin)}}


def aligned(curves: Mapping[str, tuple[Any, Any]]) -> tuple[np.ndarray, ...]:
    """Return all curves {name: (steps [P], values [P])} over the union of their steps [Q].

    uPlot wants a common row of steps; values [Q] are NaN where a curve has none.
    """
    steps = np.unique(np.concatenate([np.asarray(s, dtype=np.float64) for s, _ in curves.values()]))
    if len(steps) > MOST_POINTS:
        kept = np.linspace(0, len(steps) - 1, MOST_POINTS).round().astype(int)
        steps = steps[kept]
    rows = [steps]
    for own_steps, values in curves.values():
        own, row = np.asarray(own_steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
        inside = (steps >= own[0]) & (steps <= own[-1])
        rows.append(np.where(inside, np.interp(steps, own, row), np.nan))
    return tuple(rows)
