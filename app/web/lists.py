"""Widgets made of parts that come and go: the photographs and the notices."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.palette import DARK
from app.store import Store
from app.web import html
from app.web.controls import Control


class Gallery(Control):
    """Pictures to choose by name, with the chosen one in sight; made anew when the pictures change."""

    def _build(self) -> None:
        self.pictures: tuple[tuple[str, np.ndarray], ...] = ()

    def _show(self, value: Any) -> None:
        pictures = tuple(value or ())
        if [(n, id(p)) for n, p in pictures] == [(n, id(p)) for n, p in self.pictures]:
            return
        self.remove()
        self.pictures = pictures
        if not pictures:
            return
        names = [f"{index + 1}  {name}" for index, (name, _) in enumerate(pictures)]
        label = self.widget.label or "Picture"
        self.image = self.keep(
            self.gui.add_image(pictures[0][1], format="jpeg", order=self.order + 0.01)
        )
        chooser = self.keep(self.gui.add_dropdown(label, names, order=self.order))
        button = self.keep(
            self.gui.add_button(
                "Look from here",
                hint=self.hint,
                color=DARK["line"],
                order=self.order + 0.02,
            )
        )

        async def chosen(event: Any) -> None:
            if event.client_id is not None:
                index = names.index(chooser.value)
                self.image.image = self.pictures[index][1]
                self.ask(index, event.client_id)

        async def clicked(event: Any) -> None:
            self.ask(names.index(chooser.value), event.client_id)

        chooser.on_update(chosen)
        button.on_click(clicked)


class Picture(Control):
    """A picture; beside one that can be clicked stands a button that does the same."""

    def _build(self) -> None:
        self.image: Any = None

    def _show(self, value: Any) -> None:
        if value is None:
            self.remove()
            self.image = None
        elif self.image is not None:
            self.image.image = value
        else:
            self.image = self.keep(self.gui.add_image(value, format="png", order=self.order))


class Side(Control):
    """Pictures of a row as one: viser puts everything below each other, and the page would not hold them."""

    CELL, GAP = 360, 12  # pixels

    def _build(self) -> None:
        self.image: Any = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The store's keys that are shown."""
        return tuple(picture.key for picture in self.widget.children)

    def read(self, store: Store) -> Any:
        """Return the pictures."""
        return tuple(store.get(key) for key in self.keys)

    def _show(self, value: Any) -> None:
        pictures = [self._grown(picture) for picture in value if picture is not None]
        if not pictures:
            self.remove()
            self.image = None
            return
        high = max(picture.shape[0] for picture in pictures)
        wide = max(self.CELL, *(picture.shape[1] for picture in pictures), 0) + self.GAP
        whole = np.empty((high, wide * len(pictures) - self.GAP, 3), np.uint8)
        whole[:] = DARK["panel"]
        for at, picture in enumerate(pictures):
            height, width = picture.shape[:2]
            whole[:height, at * wide : at * wide + width] = picture
        if self.image is not None:
            self.image.image = whole
        else:
            self.image = self.keep(self.gui.add_image(whole, format="png", order=self.order))

    def _grown(self, picture: np.ndarray) -> np.ndarray:
        """Enlarge a small picture, taking the nearest pixels."""
        high, wide = picture.shape[:2]
        times = max(1.0, self.CELL / max(high, wide))
        rows = ((np.arange(round(high * times)) + 0.5) / times).astype(int)
        columns = ((np.arange(round(wide * times)) + 0.5) / times).astype(int)
        return picture[rows[:, None], columns[None, :]]


class Notices(Control):
    """The newest notices with a button to take each off the list."""

    MOST = 5

    def _show(self, value: Any) -> None:
        self.remove()
        for index, (notice_id, level, text, details) in enumerate(tuple(value or ())[: self.MOST]):
            order = self.order + index / 100
            self.keep(self.gui.add_html(html.notice(level, text, details), order=order))
            if self.widget.action is not None:
                button = self.gui.add_button("Dismiss", order=order + 0.005, color=DARK["line"])
                button.on_click(self._dismissing(notice_id))
                self.keep(button)
        self.narrow(0.4)

    def _dismissing(self, notice_id: int) -> Any:
        async def clicked(event: Any) -> None:
            self.ask(notice_id, event.client_id)

        return clicked
