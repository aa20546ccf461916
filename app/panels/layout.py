"""Which panels stand where, the same in both front ends.

Each entry is a function `panel(store) -> Group`, pure and cheap: it is called every tick.
"""

from __future__ import annotations

from collections.abc import Callable

from app.panels.widgets import Group
from app.store import Store

Panel = Callable[[Store], Group]

START: tuple[Panel, ...] = ()
LEFT: tuple[Panel, ...] = ()
RIGHT: tuple[Panel, ...] = ()
BOTTOM: tuple[Panel, ...] = ()
