"""Which panels stand where, the same in both front ends.

Each entry is a function `panel(store) -> Group`, pure and cheap: it is called every tick.
An action whose `view` is empty concerns the view it is posted from: the front end fills it in.
"""

from __future__ import annotations

from collections.abc import Callable

from app.panels import (
    cameras,
    curves,
    evaluation,
    export,
    help,
    layers,
    notices,
    scene,
    start,
    train,
)
from app.panels.widgets import Group
from app.store import Store

Panel = Callable[[Store], Group]

START: tuple[Panel, ...] = (start.panel, start.recent, start.machine, notices.panel)
LEFT: tuple[Panel, ...] = (train.panel, cameras.panel)
RIGHT: tuple[Panel, ...] = (layers.panel, scene.panel, export.panel)
BOTTOM: tuple[Panel, ...] = (curves.panel, evaluation.panel, notices.panel)
HELP: tuple[Panel, ...] = (help.panel,)
