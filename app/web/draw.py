"""Draw panel descriptions on the page and keep them up to date, from the app loop alone.

What is described the same as before stays untouched (a folder keeps its open or closed state);
of the values only those are sent whose keys changed in the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import viser

from app.panels import widgets as w
from app.panels.layout import Panel, described
from app.panels.widgets import Group, Row, Widget
from app.store import Store
from app.web import displays, inputs, lists
from app.web.controls import Control, Post

Container = AbstractContextManager[Any]

KINDS: dict[type[w.Widget], type[Control]] = {
    w.Slider: inputs.Slider,
    w.Number: inputs.Number,
    w.Toggle: inputs.Toggle,
    w.Path: inputs.Path,
    w.Button: inputs.Button,
    w.Readout: displays.Readout,
    w.Text: displays.Text,
    w.Progress: displays.Progress,
    w.Plot: displays.Plot,
    w.Shares: displays.Shares,
    w.Table: displays.Table,
    w.Gallery: lists.Gallery,
    w.Notices: lists.Notices,
    w.Picture: lists.Picture,
}


def control(gui: viser.GuiApi, widget: w.Widget | Row, order: float, post: Post) -> Control:
    """Create the control of a widget, or of pictures side by side, in the current container."""
    if isinstance(widget, Row):
        return lists.Side(gui, widget, order, post)
    if isinstance(widget, w.Choice):
        return (inputs.Radio if widget.is_radio else inputs.Dropdown)(gui, widget, order, post)
    return KINDS[type(widget)](gui, widget, order, post)


@dataclass
class Node:
    """A widget or a group that stands on the page."""

    description: Widget | Group | Row
    order: float
    share: float = 1.0
    control: Control | None = None
    folder: Any = None
    children: list[Node] = field(default_factory=list)
    is_due: bool = True

    def fits(self, description: Widget | Group | Row) -> bool:
        """Return whether this node can stay for a description."""
        if isinstance(self.description, Group):
            return isinstance(description, Group) and description.title == self.description.title
        return self.description == description

    def move(self, order: float) -> None:
        """Stand somewhere else among the siblings."""
        if order == self.order:
            return
        handles = [self.folder] if self.control is None else self.control.handles
        for handle in handles:
            if handle.order >= 0:
                handle.order += order - self.order
        if self.control is not None:
            self.control.order = order
        self.order = order

    def remove(self) -> None:
        """Leave the page."""
        if self.control is not None:
            self.control.remove()
        else:
            self.folder.remove()


class Drawer:
    """The panels of one container: the control panel, or a tab."""

    def __init__(self, gui: viser.GuiApi, container: Container, store: Store, post: Post) -> None:
        self.gui, self.container, self.store, self.post = gui, container, store, post
        self.nodes: list[Node] = []
        self.version = 0

    def draw(self, panels: Sequence[Panel]) -> None:
        """Bring the page up to date with what the panels describe and the store holds."""
        groups = [group for group in (described(p, self.store) for p in panels) if group.children]
        self._arrange(self.container, self.nodes, [(g, i, 1.0) for i, g in enumerate(groups)])
        changed = self.store.changed_since(self.version)
        self.version = self.store.version
        self._show(self.container, self.nodes, changed)

    def clear(self) -> None:
        """Take everything off the page."""
        for node in self.nodes:
            node.remove()
        self.nodes = []

    def _arrange(
        self,
        container: Container,
        nodes: list[Node],
        wanted: Sequence[tuple[Widget | Group | Row, float, float]],
    ) -> None:
        """Make `nodes` stand for the `wanted` (description, order, share), reusing what fits."""
        spare, arranged = list(nodes), []
        for description, order, share in wanted:
            node = next((n for n in spare if n.fits(description) and n.share == share), None)
            if node is None:
                arranged.append(Node(description, order, share))
                continue
            spare.remove(node)
            node.description = description
            node.move(order)
            arranged.append(node)
        for node in spare:
            node.remove()
        nodes[:] = arranged
        for node in nodes:
            self._build(container, node)

    def _build(self, container: Container, node: Node) -> None:
        description = node.description
        if isinstance(description, Group):
            if node.folder is None:
                with container:
                    node.folder = self.gui.add_folder(
                        description.title, order=node.order, expand_by_default=description.is_open
                    )
            self._arrange(node.folder, node.children, _in_order(description))
        elif node.control is None:
            with container:
                node.control = control(self.gui, description, node.order, self.post)
                node.control.narrow(node.share)

    def _show(self, container: Container, nodes: list[Node], changed: frozenset[str]) -> None:
        for node in nodes:
            if node.control is None:
                self._show(node.folder, node.children, changed)
                continue
            if changed.intersection(node.control.keys) or node.control.was_touched:
                node.control.was_touched, node.is_due = False, True
            if node.is_due and not node.control.is_busy:
                node.is_due = False
                with container:
                    node.control.show(node.control.read(self.store))


def _in_order(group: Group) -> list[tuple[Widget | Group | Row, float, float]]:
    """Return the children with their order and share of the width; buttons of a row share it, pictures are one."""
    places: list[tuple[Widget | Group | Row, float, float]] = []
    for index, child in enumerate(group.children):
        if not isinstance(child, Row):
            places.append((child, index, 1.0))
            continue
        if child.columns and all(isinstance(widget, w.Picture) for widget in child.children):
            places.append((child, index, 1.0))
            continue
        is_narrow = all(isinstance(widget, w.Button) for widget in child.children)
        share = 1.0 / len(child.children) if is_narrow else 1.0
        places += [(part, index + place / 10, share) for place, part in enumerate(child.children)]
    return places
