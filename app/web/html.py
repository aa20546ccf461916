"""Values as small pieces of HTML for the page: every text is escaped, every colour is a palette role."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from app.palette import DARK
from app.panels.words import data_size, is_number

CAPTION = "font-size:13px;line-height:18px"


def color(role: str) -> str:
    """Return the CSS colour of a palette role; unknown roles are text."""
    red, green, blue = DARK.get(role, DARK["text"])
    return f"rgb({red},{green},{blue})"


def sentence(text: str, tint: str = "text", tooltip: str = "") -> str:
    """Return a paragraph in a role's colour."""
    title = f" title='{escape(tooltip)}'" if tooltip else ""
    return _box(f"<span{title} style='color:{color(tint)}'>{escape(text)}</span>", CAPTION)


def readout(label: str, value: str, tooltip: str = "") -> str:
    """Return a line with a label on the left and a value on the right."""
    return _box(
        f"<div title='{escape(tooltip)}' style='display:flex;justify-content:space-between;gap:12px'>"
        f"<span style='color:{color('secondary')};white-space:nowrap'>{escape(label)}</span>"
        f"<span style='color:{color('text')};text-align:right;font-variant-numeric:tabular-nums;"
        f"overflow-wrap:anywhere'>{escape(value)}</span></div>",
        CAPTION,
    )


def shares(label: str, parts: Sequence[tuple[str, float, str]]) -> str:
    """Return a stacked bar with its legend; parts are (name, amount, palette role)."""
    total = sum(amount for _, amount, _ in parts)
    if total <= 0:
        return _box(f"<span style='color:{color('secondary')}'>Nothing stored yet.</span>", CAPTION)
    bar = "".join(
        f"<div title='{escape(name)}' style='width:{100 * amount / total:.2f}%;"
        f"background:{color(role)}'></div>"
        for name, amount, role in parts
    )
    rows = "".join(
        f"<div style='display:flex;align-items:center;gap:8px'>"
        f"<span style='width:10px;height:10px;border-radius:3px;background:{color(role)}'></span>"
        f"<span style='flex:1;color:{color('text')}'>{escape(name)}</span>"
        f"<span style='color:{color('secondary')};font-variant-numeric:tabular-nums'>"
        f"{data_size(amount)}</span></div>"
        for name, amount, role in parts
    )
    title = f"{escape(label)}: {data_size(total)}" if label else data_size(total)
    return _box(
        f"<div style='color:{color('secondary')}'>{title}</div>"
        "<div style='display:flex;gap:2px;height:12px;border-radius:6px;overflow:hidden;"
        f"margin:4px 0 8px'>{bar}</div>{rows}",
        CAPTION,
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; cells that read as numbers stand on the right."""
    head = "".join(
        f"<th style='{_cell(column, rows, index)};color:{color('secondary')};font-weight:500;"
        f"border-bottom:1px solid {color('line')}'>{escape(column)}</th>"
        for index, column in enumerate(columns)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td style='{_cell('', rows, index)};color:{color('text')}'>{escape(str(cell))}</td>"
            for index, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return _box(
        "<div style='overflow-x:auto;max-height:260px'><table style='width:100%;"
        "border-collapse:collapse;font-variant-numeric:tabular-nums'>"
        f"<tr>{head}</tr>{body}</table></div>",
        CAPTION,
    )


def notice(level: str, text: str, details: str) -> str:
    """Return a card with a coloured edge; details unfold."""
    edge = color(level if level in ("good", "warning", "error") else "action")
    more = (
        f"<details style='color:{color('secondary')}'><summary>Details</summary>"
        f"<pre style='white-space:pre-wrap;margin:4px 0 0'>{escape(details)}</pre></details>"
        if details
        else ""
    )
    return _box(
        f"<div style='border-left:3px solid {edge};background:{color('raised')};"
        f"border-radius:6px;padding:8px'>{escape(text)}{more}</div>",
        CAPTION,
    )


def over_picture(title: str, text: str, left: int, right: int) -> str:
    """Return a sentence in the middle of the picture, between columns of so many CSS pixels."""
    return (
        f"<div style='position:fixed;top:0;bottom:0;left:{left}px;right:{right}px;display:flex;"
        "flex-direction:column;align-items:center;justify-content:center;gap:8px;padding:32px;"
        f"text-align:center;pointer-events:none;color:{color('secondary')};font-size:16px'>"
        f"<div style='font-size:28px;font-weight:600;color:{color('text')}'>{escape(title)}</div>"
        f"<div>{escape(text)}</div></div>"
    )


def _box(inner: str, style: str) -> str:
    return f"<div style='padding:0 10px 8px;{style}'>{inner}</div>"


def _cell(column: str, rows: Sequence[Sequence[Any]], index: int) -> str:
    cells = [str(row[index]) for row in rows if index < len(row)]
    side = "right" if cells and all(map(is_number, cells)) else "left"
    return f"padding:3px 6px;text-align:{side};white-space:nowrap"
