"""What panels are made of: frozen descriptions that both toolkits draw.

A widget with a `key` shows `store.get(key)`; one with an `action` posts it, completed with the new
value. Descriptions compare equal when nothing but values changed, so that a drawer rebuilds a
group only if the description itself is different.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from app.actions import Action

SPARE_ROLES = ("action", "good", "warning", "secondary")


@dataclass(frozen=True)
class Widget:
    """Base: `label` beside the control, `tooltip` on hovering (its shortcut included), greyed out unless enabled."""

    label: str = ""
    key: str = ""
    tooltip: str = ""
    is_enabled: bool = True


@dataclass(frozen=True)
class Slider(Widget):
    """A number on a bar; `is_live` marks settings that act while training."""

    low: float = 0.0
    high: float = 1.0
    default: float | None = None
    is_integer: bool = False
    is_live: bool = False
    digits: int = 2
    action: Action | None = None


@dataclass(frozen=True)
class Number(Widget):
    """A typed number for settings without a small range."""

    low: float | None = None
    high: float | None = None
    is_integer: bool = False
    is_live: bool = False
    action: Action | None = None


@dataclass(frozen=True)
class Toggle(Widget):
    """On or off."""

    is_live: bool = False
    action: Action | None = None


@dataclass(frozen=True)
class Choice(Widget):
    """One of several: `options` are values, `names` what people read. `is_radio` shows all at once."""

    options: tuple[object, ...] = ()
    names: tuple[str, ...] = ()
    tints: tuple[
        str, ...
    ] = ()  # palette roles by option, for example ("text", "gaussians", "neural")
    is_radio: bool = False
    action: Action | None = None


@dataclass(frozen=True)
class Path(Widget):
    """A path on the machine that runs the engine, with a file dialog where the toolkit has one.

    `mode` is open_folder, open_file or save_file; `suffixes` filter files.
    """

    mode: str = "open_file"
    suffixes: tuple[str, ...] = ()
    button: str = "Open"
    action: Action | None = None


@dataclass(frozen=True)
class Button(Widget):
    """A verb. `is_primary` for the one that matters most."""

    is_primary: bool = False
    action: Action | None = None


@dataclass(frozen=True)
class Readout(Widget):
    """A value that changes: label left, value right, both text."""


@dataclass(frozen=True)
class Text(Widget):
    """A sentence; `tint` is a palette role: text, secondary, good, warning, error, gaussians, neural."""

    tint: str = "text"
    text: str = ""


@dataclass(frozen=True)
class Progress(Widget):
    """A bar; the store's value is (fraction 0..1 or None, text)."""


@dataclass(frozen=True)
class Plot(Widget):
    """Curves over steps; the store's value is {name: (steps, values)}. `tints` are palette roles by name."""

    unit: str = ""
    tints: tuple[tuple[str, str], ...] = ()

    def roles(self, names: Iterable[str]) -> dict[str, str]:
        """Return the palette role of each curve; those without one take turns with the spare ones."""
        tints, spare = dict(self.tints), itertools.cycle(SPARE_ROLES)
        return {name: tints.get(name) or next(spare) for name in names}


@dataclass(frozen=True)
class Shares(Widget):
    """A stacked bar; the store's value is a tuple of (name, bytes, palette role)."""


@dataclass(frozen=True)
class Table(Widget):
    """Rows of text; the store's value is a tuple of rows; numbers are aligned right."""

    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gallery(Widget):
    """Thumbnails to click; the store's value is a tuple of (name, image [h, w, 3] uint8); the action gets the index."""

    action: Action | None = None


@dataclass(frozen=True)
class Picture(Widget):
    """A picture; the store's value is an image [h, w, 3] uint8, drawn no taller than `height`; a click posts.

    The action gets the place, `x` and `y` from 0 to 1, and `how`: click, second (with Shift), region
    (with Ctrl) or column (right button). One that `follows` the pointer also posts hover, and area
    while the pointer drags, with the other corner as `to_x` and `to_y`.
    """

    height: int = 360
    action: Action | None = None
    follows: bool = False


@dataclass(frozen=True)
class Notices(Widget):
    """A list of sentences with levels; the store's value is a tuple of (id, level, text, details)."""

    action: Action | None = None


@dataclass(frozen=True)
class Group:
    """Widgets under a title. `is_open` is only the first state."""

    title: str
    children: tuple[Widget | Group | Row, ...]
    is_open: bool = True


@dataclass(frozen=True)
class Row:
    """Widgets side by side; with `columns` each in one of so many, all as wide, however narrow it is."""

    children: tuple[Widget, ...]
    columns: int = 0
