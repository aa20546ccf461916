"""Which panels stand where, the same in both front ends.

Each entry is a function `panel(store) -> Group`, pure and cheap: it is called every tick.
An action whose `view` is empty concerns the view it is posted from: the front end fills it in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from app.panels import (
    attention,
    cameras,
    check,
    curves,
    evaluation,
    export,
    gallery,
    layers,
    notices,
    pixel,
    scene,
    start,
    study,
    train,
)
from app.panels.widgets import Group, Text
from app.store import Store

Panel = Callable[[Store], Group]

LOG = logging.getLogger(__name__)


def described(panel: Panel, store: Store) -> Group:
    """Call a panel; one that breaks says so in its place: the others and the training go on."""
    try:
        return panel(store)
    except Exception as error:
        LOG.exception("panel %s", getattr(panel, "__module__", panel))
        return not_shown(error)


def not_shown(error: Exception) -> Group:
    """Return what stands where a panel could not be drawn."""
    sentence = f"This panel could not be drawn: {error}"
    return Group("Not shown", (Text(tint="error", text=sentence),))


def training(store: Store) -> Group:
    """Describe the training of the open study or scene: both are shown beside the viewport."""
    if not store.get("study.name", ""):
        return train.panel(store)
    shown = study.panel(store)
    return Group(shown.title, (*study.look_around(store), *shown.children))


def progress(store: Store) -> Group:
    """Describe the curves of the open study or scene."""
    return (study.curves if store.get("study.name", "") else curves.panel)(store)


def quality(store: Store) -> Group:
    """Describe the newest numbers of the open study, or a scene's quality."""
    return (study.measures if store.get("study.name", "") else evaluation.panel)(store)


START: tuple[Panel, ...] = (start.panel, gallery.panel, start.recent, start.machine, notices.panel)
LEFT: tuple[Panel, ...] = (training, cameras.panel)
RIGHT: tuple[Panel, ...] = (
    pixel.clicked,
    layers.panel,
    check.panel,
    scene.panel,
    pixel.panel,
    export.panel,
)
BOTTOM: tuple[Panel, ...] = (progress, quality, notices.panel)
STUDY_LEFT: tuple[Panel, ...] = (study.panel,)
STUDY_PICTURES: tuple[Panel, ...] = (attention.panel, study.pictures)
STUDY_RIGHT: tuple[Panel, ...] = (study.about, study.claims)
STUDY_BOTTOM: tuple[Panel, ...] = (study.curves, study.measures, notices.panel)
