"""The two pages of the window: the start page and the scene with its panels."""

from __future__ import annotations

from collections.abc import Iterator

import dearpygui.dearpygui as dpg

from app.desktop.arrange import Area, Arrangement
from app.desktop.draw import Branch, PanelDrawer, Strip
from app.desktop.kit import Item, Kit
from app.desktop.theme import SCROLLBAR
from app.panels import gallery, layout
from app.panels.layout import Panel
from app.store import Store

STRIP_SHARES = (0.58, 0.22, 0.2)
START_WIDTH = 1000


class Column:
    """Panels one below the other in a scrolling child window."""

    def __init__(
        self,
        kit: Kit,
        store: Store,
        panels: tuple[Panel, ...],
        kind: type[Branch] = Branch,
        padding: tuple[int, int] = (16, 4),
        *,
        is_card: bool = False,
    ) -> None:
        self.kit, self.store, self.panels, self.kind = kit, store, panels, kind
        self.padding = padding
        self.box = dpg.add_child_window(border=False, always_use_window_padding=True)
        dpg.bind_item_theme(self.box, kit.theme.ground("panel", padding, is_card=is_card))
        self.drawer: PanelDrawer | None = None
        self._size = (0, 0)

    def place(self, area: Area | None) -> None:
        """Stand in this rectangle, or nowhere; another width draws the panels anew."""
        dpg.configure_item(self.box, show=area is not None)
        if area is None:
            return
        dpg.configure_item(
            self.box, pos=(area.left, area.top), width=area.width, height=area.height
        )
        size = (area.width, area.height if self.kind is Strip else 0)
        if size == self._size:
            return
        self._size = size
        if self.drawer is not None:
            self.drawer.close()
        # The scroll bar has its own room, so that nothing moves when it appears.
        inner = area.width - self.kit.theme.px(2 * self.padding[0] + SCROLLBAR)
        self.kit.strip_height = area.height - self.kit.theme.px(2 * self.padding[1] + 30)
        self.drawer = PanelDrawer(self.box, self.panels, self.store, self.kit, inner, self.kind)

    def shrink(self, tallest: int) -> None:
        """Be only as high as the panels, as far as they are on the screen."""
        if self.drawer is None or not dpg.is_item_shown(self.box):
            return
        state = dpg.get_item_state(self.drawer.slots[-1])
        if "rect_max" in state and state["rect_max"][1] > 0:
            bottom = state["rect_max"][1] - dpg.get_item_pos(self.box)[1]
            bottom += dpg.get_y_scroll(self.box) + self.kit.theme.px(2 * self.padding[1])
            height = int(min(bottom, tallest))
            if height != dpg.get_item_height(self.box) and height > 0:
                dpg.configure_item(self.box, height=height)

    def update(self) -> bool:
        """Draw what changed."""
        return self.drawer is not None and self.drawer.update()


class ScenePage:
    """Columns, strip and tabs around the viewport."""

    LEFT, RIGHT, BOTTOM = layout.LEFT, layout.RIGHT, layout.BOTTOM

    def __init__(self, kit: Kit, store: Store) -> None:
        self.kit = kit
        self.left = Column(kit, store, self.LEFT)
        self.right = Column(kit, store, self.RIGHT)
        self.strip = [Column(kit, store, (panel,), Strip, (16, 10)) for panel in self.BOTTOM]
        self.tabs = self._tabs()
        self._is_right_up = False
        self._arrangement: Arrangement | None = None

    def _tabs(self) -> Item:
        """Below a certain width both columns share one place; these two words choose."""
        theme = self.kit.theme
        with (
            dpg.child_window(
                border=False, always_use_window_padding=True, no_scrollbar=True
            ) as box,
            dpg.group(horizontal=True, horizontal_spacing=theme.px(4)),
        ):
            self.tab_items = [
                dpg.add_button(label=name, callback=lambda _, __, up: self._turn(up), user_data=up)
                for name, up in (("Training", False), ("Scene", True))
            ]
        dpg.bind_item_theme(box, theme.ground("panel", (16, 8)))
        return box

    def _turn(self, is_right_up: bool) -> None:
        self._is_right_up = is_right_up
        if self._arrangement is not None:
            self.place(self._arrangement)

    def place(self, arrangement: Arrangement) -> None:
        """Stand where the arrangement says."""
        self._arrangement = arrangement
        left, right, is_folded = arrangement.left, arrangement.right, arrangement.is_folded
        dpg.configure_item(self.tabs, show=is_folded and left is not None)
        if is_folded and left is not None:
            high = self.kit.theme.px(46)
            dpg.configure_item(self.tabs, pos=(left.left, left.top), width=left.width, height=high)
            body = Area(left.left, left.top + high, left.width, max(left.height - high, 1))
            left, right = (None, body) if self._is_right_up else (body, None)
            for item, is_on in zip(
                self.tab_items, (not self._is_right_up, self._is_right_up), strict=True
            ):
                dpg.bind_item_theme(item, self.kit.theme.button("on:text" if is_on else "plain"))
        self.left.place(left)
        self.right.place(right)
        self._place_strip(arrangement.strip)

    def _place_strip(self, strip: Area | None) -> None:
        count = len(self.strip)
        shares = STRIP_SHARES if count == len(STRIP_SHARES) else (1 / max(count, 1),) * count
        start = 0.0
        for column, share in zip(self.strip, shares, strict=True):
            if strip is None:
                column.place(None)
                continue
            left, right = round(start * strip.width), round((start + share) * strip.width)
            column.place(Area(left, strip.top, max(right - left - 1, 1), strip.height))
            start += share

    def hide(self) -> None:
        """Leave the screen to another page."""
        dpg.configure_item(self.tabs, show=False)
        for column in self.columns():
            column.place(None)

    def columns(self) -> Iterator[Column]:
        """Yield every column."""
        yield from (self.left, self.right, *self.strip)

    def update(self) -> bool:
        """Draw what changed."""
        return any([column.update() for column in self.columns()])


class StudyPage(ScenePage):
    """The same around a study's own pictures."""

    LEFT, RIGHT, BOTTOM = layout.STUDY_LEFT, layout.STUDY_RIGHT, layout.STUDY_BOTTOM

    def __init__(self, kit: Kit, store: Store) -> None:
        self.middle = Column(kit, store, layout.STUDY_PICTURES)
        super().__init__(kit, store)

    def place(self, arrangement: Arrangement) -> None:
        """Stand where the arrangement says."""
        self.middle.place(arrangement.view)
        super().place(arrangement)  # after it: plots are as high as what was placed last

    def columns(self) -> Iterator[Column]:
        """Yield every column."""
        yield self.middle
        yield from super().columns()


class StartPage:
    """Name, ways to begin, what was open and this machine on the left; the studies on the right."""

    def __init__(self, kit: Kit, store: Store) -> None:
        self.kit = kit
        with dpg.child_window(
            border=False, always_use_window_padding=True, no_scrollbar=True
        ) as head:
            self.head = head
            kit.text("HyRF Studio", "text", "display")
        dpg.bind_item_theme(head, kit.theme.ground("window", (0, 0)))
        first = tuple(panel for panel in layout.START if panel is not gallery.panel)
        self.tallest = 1
        self.left = Column(kit, store, first, padding=(20, 10), is_card=True)
        self.right = Column(kit, store, (gallery.panel,), padding=(20, 10), is_card=True)

    def place(self, width: int, top: int, bottom: int) -> None:
        """Stand in the middle between two heights."""
        px = self.kit.theme.px
        whole = min(px(START_WIDTH), width - px(48))
        left, gap = (width - whole) // 2, px(16)
        head_top = top + max((bottom - top) // 14, px(16))
        dpg.configure_item(self.head, show=True, pos=(left, head_top), width=whole, height=px(56))
        body_top = head_top + px(56) + px(12)
        self.tallest = height = max(bottom - body_top - px(24), 1)
        half = (whole - gap) // 2
        self.left.place(Area(left, body_top, half, height))
        self.right.place(Area(left + half + gap, body_top, whole - half - gap, height))

    def hide(self) -> None:
        """Leave the screen to another page."""
        dpg.configure_item(self.head, show=False)
        for column in self.columns():
            column.place(None)

    def columns(self) -> Iterator[Column]:
        """Yield every column."""
        yield from (self.left, self.right)

    def update(self) -> bool:
        """Draw what changed."""
        for column in self.columns():
            column.shrink(self.tallest)
        return any([column.update() for column in self.columns()])
