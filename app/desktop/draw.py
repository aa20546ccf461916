"""Draw panels: create items once, push only changed keys, rebuild only what is described differently.

A panel is a function from the store to a `Group`. Its description is compared with the one on the
screen; a leaf that differs is built again in its place, a group whose children differ in number
or kind is filled again, everything else stays, with its scroll position and its focus.
A value is not pushed into a control while a hand holds it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import dearpygui.dearpygui as dpg

from app.desktop.controls import (
    draw_button,
    draw_choice,
    draw_number,
    draw_path,
    draw_slider,
    draw_toggle,
)
from app.desktop.curves import draw_plot
from app.desktop.displays import draw_progress, draw_readout, draw_shares, draw_text
from app.desktop.kit import Drawn, Item, Kit, inside
from app.desktop.lists import draw_gallery, draw_notices, draw_picture, draw_table
from app.panels.layout import Panel, not_shown
from app.panels.widgets import (
    Button,
    Choice,
    Gallery,
    Group,
    Notices,
    Number,
    Path,
    Picture,
    Plot,
    Progress,
    Readout,
    Row,
    Shares,
    Slider,
    Table,
    Text,
    Toggle,
    Widget,
)
from app.store import Store

REFUSED_AFTER_S = 1.0
LOG = logging.getLogger(__name__)
DRAWERS = {
    Slider: draw_slider,
    Number: draw_number,
    Toggle: draw_toggle,
    Choice: draw_choice,
    Path: draw_path,
    Button: draw_button,
    Readout: draw_readout,
    Text: draw_text,
    Progress: draw_progress,
    Plot: lambda widget, kit, width: draw_plot(widget, kit, width, kit.strip_height),
    Shares: draw_shares,
    Table: draw_table,
    Gallery: draw_gallery,
    Notices: draw_notices,
    Picture: draw_picture,
}
"""How to draw each kind: (description, kit, width in pixels) -> Drawn."""


LINES = (Readout, Text, Progress, Plot, Shares, Table, Notices)


class Leaf:
    """One widget on the screen, in a slot of its own."""

    def __init__(self, widget: Widget, kit: Kit, width: int, store: Store) -> None:
        self.kit, self.width, self.store = kit, width, store
        outside = dpg.add_group()
        if isinstance(widget, LINES):
            self.slot = outside
            dpg.bind_item_theme(self.slot, kit.theme.lines())
        else:
            # Inside a control things stand closer than controls to each other.
            self.slot = dpg.add_group(parent=outside)
            dpg.bind_item_theme(self.slot, kit.theme.control())
        self._build(widget)

    def _build(self, widget: Widget) -> None:
        self.widget, self.is_late = widget, False
        with inside(self.slot):
            self.drawn: Drawn = DRAWERS[type(widget)](widget, self.kit, self.width)
        self.show()

    def update(self, widget: Widget, changed: frozenset[str]) -> bool:
        """Bring the screen up to date; False where another kind of widget is asked for."""
        if type(widget) is not type(self.widget):
            return False
        if widget != self.widget:
            self.close()
            dpg.delete_item(self.slot, children_only=True)
            self._build(widget)
        elif self.is_late or self.widget.key in changed:
            self.show()
        return True

    def show(self) -> None:
        """Push the store's value, or later if a hand holds the control."""
        if not self.widget.key or self.drawn.show is None:
            return
        self.is_late = self.drawn.item is not None and dpg.is_item_active(self.drawn.item)
        if not self.is_late:
            self.drawn.show(self.store.get(self.widget.key))

    def leaves(self) -> Iterator[Leaf]:
        """Yield this widget."""
        yield self

    def close(self) -> None:
        """Give back what does not go with the slot."""
        if self.drawn.close:
            self.drawn.close()


class Branch:
    """A group or a row on the screen with what it holds."""

    def __init__(
        self, described: Group | Row, kit: Kit, width: int, store: Store, depth: int
    ) -> None:
        self.kit, self.width, self.store, self.depth = kit, width, store, depth
        self.described = described
        self.slot = self._container(described)
        self.nodes: list[Leaf | Branch] = []
        self._fill()

    def _container(self, described: Group | Row) -> Item:
        theme = self.kit.theme
        if isinstance(described, Row):
            return dpg.add_group(horizontal=True, horizontal_spacing=theme.px(8))
        header = dpg.add_collapsing_header(label=described.title, default_open=described.is_open)
        dpg.bind_item_theme(header, theme.header())
        dpg.bind_item_font(header, theme.fonts["title" if self.depth == 0 else "strong"])
        return self._indented(header)

    def _indented(self, header: Item) -> Item:
        """Contents keep the text's own font: a font bound to the header reaches its children."""
        inside = dpg.add_group(parent=header)
        dpg.bind_item_theme(inside, self.kit.theme.contents())
        dpg.bind_item_font(inside, self.kit.theme.fonts["text"])
        return inside

    def _fill(self) -> None:
        children = self.described.children
        widths = self._widths()
        with inside(self.slot):
            for child, width in zip(children, widths, strict=True):
                with self._cell(width):
                    self._add(child, width)
            if self.depth == 0 and not isinstance(self, Strip | Bar):
                dpg.add_spacer(height=self.kit.theme.px(6))

    def _add(self, child: Widget | Group | Row, width: int) -> None:
        if isinstance(child, Widget):
            self.nodes.append(Leaf(child, self.kit, width, self.store))
        else:
            self.nodes.append(Branch(child, self.kit, width, self.store, self.depth + 1))

    @contextlib.contextmanager
    def _cell(self, width: int) -> Iterator[None]:
        """Keep a column as wide as the others, and its neighbours at one height.

        What is drawn beside text stands on the text's line, and so would the next control beside the
        last line of this one; an empty item below it ends that line.
        """
        if not (isinstance(self.described, Row) and self.described.columns):
            yield
            return
        with dpg.group() as cell:
            yield
            dpg.add_spacer(width=width, height=1)
        dpg.bind_item_theme(cell, self.kit.theme.control())

    def _widths(self) -> list[int]:
        count = len(self.described.children)
        if isinstance(self.described, Group):
            return [self.width] * count
        gap, columns = self.kit.theme.px(8), max(count, self.described.columns, 1)
        return [(self.width - gap * (columns - 1)) // columns] * count

    def update(self, described: Any, changed: frozenset[str]) -> bool:
        """Bring the screen up to date; False where something else is asked for in this place."""
        if type(described) is not type(self.described):
            return False
        if isinstance(described, Group) and described.title != self.described.title:
            return False
        is_same_length = len(described.children) == len(self.nodes)
        self.described = described
        if is_same_length and all(
            node.update(child, changed)
            for node, child in zip(self.nodes, described.children, strict=True)
        ):
            return True
        self.close()
        dpg.delete_item(self.slot, children_only=True)
        self.nodes = []
        self._fill()
        return True

    def leaves(self) -> Iterator[Leaf]:
        """Yield every widget inside."""
        for node in self.nodes:
            yield from node.leaves()

    def close(self) -> None:
        """Give back what the widgets inside hold."""
        for node in self.nodes:
            node.close()


class Strip(Branch):
    """A panel of the bottom strip: a plain title, its plots side by side, never collapsed."""

    def _container(self, described: Group | Row) -> Item:
        assert isinstance(described, Group)
        with dpg.group() as line:
            self.kit.text(described.title, "text", "title")
        dpg.bind_item_theme(line, self.kit.theme.lines())
        return dpg.add_group(horizontal=self._is_plots(), horizontal_spacing=self.kit.theme.px(16))

    def _is_plots(self) -> bool:
        children = self.described.children
        return bool(children) and all(isinstance(child, Plot) for child in children)

    def _widths(self) -> list[int]:
        count = len(self.described.children)
        if not self._is_plots():
            return [self.width] * count
        gap = self.kit.theme.px(16)
        return [(self.width - gap * (count - 1)) // count] * count

    def update(self, described: Any, changed: frozenset[str]) -> bool:
        """Bring the screen up to date; False where plots give way to something else."""
        was_plots, before = self._is_plots(), self.described
        self.described = described
        is_plots, self.described = self._is_plots(), before
        return was_plots == is_plots and super().update(described, changed)


class Bar(Branch):
    """A row of buttons without a title."""

    def _container(self, described: Group | Row) -> Item:
        return dpg.add_group()


class PanelDrawer:
    """All panels of one container."""

    def __init__(
        self,
        parent: Item,
        panels: tuple[Panel, ...],
        store: Store,
        kit: Kit,
        width: int,
        kind: type[Branch] = Branch,
    ) -> None:
        self.parent, self.panels, self.store = parent, panels, store
        self.kit, self.width, self.kind = kit, width, kind
        self.branches: list[Branch] = []
        self.slots: list[Item] = []
        self.version, self._num_answered = -1, kit.num_posted
        for _ in panels:
            self.slots.append(dpg.add_group(parent=parent))
        self.update()

    def update(self) -> bool:
        """Draw what changed in the store since the last time; return whether anything did."""
        self._return_refused()
        is_late = any(leaf.is_late for leaf in self.leaves())
        if self.store.version == self.version and not is_late:
            return False
        changed = self.store.changed_since(self.version)
        self.version = self.store.version
        for at, panel in enumerate(self.panels):
            try:
                self._draw(at, panel(self.store), changed)
            except Exception as error:
                # One broken panel must not close the window over a running training.
                LOG.exception("panel %s", getattr(panel, "__module__", at))
                self._replace(at, not_shown(error))
        return True

    def _return_refused(self) -> None:
        """Show the store's values again a moment after a post: what was refused changed no key."""
        is_settled = time.monotonic() - self.kit.posted_at > REFUSED_AFTER_S
        if self.kit.num_posted == self._num_answered or not is_settled:
            return
        self._num_answered = self.kit.num_posted
        for leaf in self.leaves():
            if getattr(leaf.widget, "action", None) and not isinstance(leaf.widget, Path):
                leaf.show()

    def _draw(self, at: int, described: Group, changed: frozenset[str]) -> None:
        if at >= len(self.branches) or not self.branches[at].update(described, changed):
            self._replace(at, described)
        is_shown = bool(described.children)
        if is_shown != dpg.is_item_shown(self.slots[at]):
            dpg.configure_item(self.slots[at], show=is_shown)

    def _replace(self, at: int, described: Group) -> None:
        if at < len(self.branches):
            self.branches.pop(at).close()
        dpg.delete_item(self.slots[at], children_only=True)
        with inside(self.slots[at]):
            branch = self.kind(described, self.kit, self.width, self.store, 0)
        self.branches.insert(at, branch)

    def leaves(self) -> Iterator[Leaf]:
        """Yield every widget."""
        for branch in self.branches:
            yield from branch.leaves()

    def is_typing(self) -> bool:
        """Whether keys belong to a control."""
        return any(
            leaf.drawn.is_typed and dpg.is_item_active(leaf.drawn.item) for leaf in self.leaves()
        )

    def animate(self, now: float) -> bool:
        """Move what moves by itself; return whether anything does."""
        moving = [leaf.drawn.animate(now) for leaf in self.leaves() if leaf.drawn.animate]
        return any(moving)

    def fine_step(self, notches: int) -> bool:
        """Move the slider under the pointer a little."""
        for leaf in self.leaves():
            if leaf.drawn.fine_step and dpg.is_item_hovered(leaf.drawn.item):
                leaf.drawn.fine_step(notches)
                return True
        return False

    def close(self) -> None:
        """Remove every panel."""
        for branch in self.branches:
            branch.close()
        for slot in self.slots:
            dpg.delete_item(slot)
        self.branches, self.slots = [], []
