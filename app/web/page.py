"""The layout of the page, layers and scene on the right, training and curves on the left, and its keys.

The browser lists the keys with Ctrl+K; those that need a file dialog or a key viser lacks are absent.
"""

from __future__ import annotations

import contextlib
from typing import Any

import viser

from app.actions import Action, FrameScene, ResetView, SetBlend, TogglePause
from app.panels import layout
from app.store import Store
from app.web import html
from app.web.controls import Post
from app.web.draw import Drawer
from core.render.view import BACKGROUND, BOTH, GAUSSIANS

COLUMN_WIDTH = 300  # CSS pixels: two columns leave 680 of 1280 to the picture
START_WIDTH = 420
PICTURES_WIDTH = 560
KEYS: tuple[tuple[str, Any, Action], ...] = (
    ("Frame the scene", "F", FrameScene("")),
    ("Reset the view", "R", ResetView("")),
    ("Show both", "1", SetBlend(BOTH)),
    ("Show Gaussians", "2", SetBlend(GAUSSIANS)),
    ("Show background", "3", SetBlend(BACKGROUND)),
    ("Pause or resume training", "space", TogglePause()),
)


class Page:
    """Draws the panels of the start page or of the open scene into their columns."""

    def __init__(self, server: viser.ViserServer, store: Store, post: Post) -> None:
        self.server, self.store, self.post = server, store, post
        self.name = ""
        self.drawers: list[tuple[Drawer, tuple[layout.Panel, ...]]] = []
        self.columns: list[viser.PanelHandle] = []
        self._title = ""
        server.gui.main_panel.dock_right()
        self.status = server.gui.add_html("", order=1000.0)
        for label, key, action in KEYS:
            server.gui.add_command(label, hotkey=key).on_trigger(_posting(action, post))

    def draw(self) -> None:
        """Bring every column up to date with the store."""
        with self.server.atomic():
            self._show_title()
            name = str(self.store.get("page", "start"))
            if name != self.name:
                self.name = name
                self._lay_out()
            for drawer, panels in self.drawers:
                drawer.draw(panels)
            status = " · ".join(str(text) for text in self.store.get("status", ()) if text)
            self.status.content = html.sentence(status, "secondary") if status else ""

    def _show_title(self) -> None:
        title = str(self.store.get("title", "") or "HyRF Studio")
        if title != self._title:
            self._title = title
            self.server.gui.set_panel_label(title)

    def _lay_out(self) -> None:
        for drawer, _ in self.drawers:
            drawer.clear()
        for column in self.columns:
            column.remove()
        self.drawers, self.columns = [], []
        is_start = self.name == "start"
        widths = {"start": START_WIDTH, "study": PICTURES_WIDTH}
        self.server.gui.main_panel.set_width(widths.get(self.name, COLUMN_WIDTH))
        if is_start:
            self._add(contextlib.nullcontext(), layout.START)
            return
        is_study = self.name == "study"
        left = layout.STUDY_LEFT if is_study else layout.LEFT
        bottom_panels = layout.STUDY_BOTTOM if is_study else layout.BOTTOM
        self._add(
            contextlib.nullcontext(),
            (*layout.STUDY_PICTURES, *layout.STUDY_RIGHT) if is_study else layout.RIGHT,
        )
        top, bottom = self.server.gui.add_panel(), self.server.gui.add_panel()
        top.dock_left()
        top.set_width(COLUMN_WIDTH)
        bottom.dock_below(top)
        self.columns = [bottom, top]
        self._add(top.add_tab("Training" if is_study else "Training and cameras"), left)
        self._add(bottom.add_tab("Results"), bottom_panels)

    def _add(self, container: Any, panels: tuple[layout.Panel, ...]) -> None:
        self.drawers.append((Drawer(self.server.gui, container, self.store, self.post), panels))


def _posting(action: Action, post: Post) -> Any:
    async def triggered(event: Any) -> None:
        post(action, event.client_id)

    return triggered
