"""Tables, notices and thumbnails: lists that are drawn anew when their value changes.

All thumbnails of a gallery share one texture, made anew only when the gallery changes.
"""

from __future__ import annotations

from typing import Any

import dearpygui.dearpygui as dpg
import numpy as np

from app.desktop.kit import Drawn, Kit, inside
from app.desktop.theme import Theme
from app.panels.widgets import Gallery, Notices, Picture, Table
from app.panels.words import is_number

ACROSS, DOWN = 96, 64  # pixels of a thumbnail in the texture
MOST = 120  # thumbnails; more make a long list and no better choice
DRAG_PX = 6  # a hand that moves less has clicked
IN_A_ROW = 16  # of the texture, which keeps it below 1600 x 600


def draw_table(widget: Table, kit: Kit, width: int) -> Drawn:
    """Draw rows of text; columns whose every value begins like a number stand at the right."""
    theme = kit.theme
    with dpg.group() as box:
        pass

    def show(value: Any) -> None:
        dpg.delete_item(box, children_only=True)
        rows = [tuple(str(cell) for cell in row) for row in (value or ())]
        columns = len(widget.columns) or (len(rows[0]) if rows else 0)
        if not columns:
            return
        at_right = [bool(rows) and all(is_number(row[at]) for row in rows) for at in range(columns)]
        lines = [widget.columns, *rows] if widget.columns else rows
        widths = _column_widths(theme, lines, at_right, width)
        with dpg.table(
            parent=box,
            header_row=False,
            borders_innerH=True,
            policy=dpg.mvTable_SizingFixedFit,
            pad_outerX=False,
        ):
            for column in widths:
                dpg.add_table_column(width_fixed=True, init_width_or_weight=column)
            for at, line in enumerate(lines):
                _table_line(kit, line, widths, at_right, at == 0 and bool(widget.columns))

    return Drawn(show)


def _column_widths(theme: Theme, lines: Any, at_right: list[bool], width: int) -> list[int]:
    """Numbers get what they need, text columns share what is left by their own needs."""
    needs = [
        max(theme.text_width(line[at], "caption") for line in lines) + 4
        for at in range(len(at_right))
    ]
    free = width - theme.px(8) * len(needs)
    free -= sum(need for need, fixed in zip(needs, at_right, strict=True) if fixed)
    wanted = sum(need for need, fixed in zip(needs, at_right, strict=True) if not fixed) or 1
    stretch = free / wanted
    return [
        int(need if fixed else max(need * stretch, theme.px(40)))
        for need, fixed in zip(needs, at_right, strict=True)
    ]


def _table_line(
    kit: Kit, line: Any, widths: list[int], at_right: list[bool], is_head: bool
) -> None:
    role = "secondary" if is_head else "text"
    with dpg.table_row():
        for cell, room, is_right in zip(line, widths, at_right, strict=True):
            if not is_right:
                shown = kit.theme.shortened(cell, room, "caption")
                item = kit.text(shown, role, "caption")
                if shown != cell:
                    kit.tip(item, cell)
                continue
            with dpg.group(horizontal=True, horizontal_spacing=0):
                spare = room - kit.theme.text_width(cell, "caption")
                dpg.add_spacer(width=max(int(spare), 1))
                kit.text(cell, role, "caption")


def draw_notices(widget: Notices, kit: Kit, width: int) -> Drawn:
    """Draw sentences with their level, details to unfold and a way to dismiss each."""
    theme = kit.theme
    with dpg.group() as box:
        pass
    unfolded: set[int] = set()
    shown: list[Any] = [()]
    roles = {"info": "secondary"}

    def toggle(_: Any, __: Any, number: int) -> None:
        unfolded.symmetric_difference_update({number})
        show(shown[0])

    def show(value: Any) -> None:
        shown[0] = value or ()
        dpg.delete_item(box, children_only=True)
        with inside(box):
            for number, level, text, details in shown[0]:
                role = roles.get(level, level)
                with dpg.group(horizontal=True, horizontal_spacing=theme.px(8)):
                    with dpg.drawlist(theme.px(4), theme.px(18)):
                        color = theme.color(role)
                        dpg.draw_rectangle(
                            (0, 0), (theme.px(3), theme.px(18)), color=color, fill=color
                        )
                    kit.text(text, "text", "caption", wrap=width - theme.px(12))
                with dpg.group(horizontal=True, horizontal_spacing=theme.px(4)):
                    dpg.add_spacer(width=theme.px(4))
                    if details:
                        words = "Hide details" if number in unfolded else "Details"
                        _quiet(kit, words, toggle, number)
                        _quiet(kit, "Copy", lambda _, __, t: dpg.set_clipboard_text(t), details)
                    _quiet(
                        kit, "Dismiss", lambda _, __, n: kit.post(widget.action, value=n), number
                    )
                if details and number in unfolded:
                    kit.text(details, "secondary", "caption", wrap=width)

    return Drawn(show)


def _quiet(kit: Kit, words: str, callback: Any, data: Any) -> None:
    button = dpg.add_button(label=words, small=True, callback=callback, user_data=data)
    dpg.bind_item_theme(button, kit.theme.button("quiet"))
    dpg.bind_item_font(button, kit.theme.fonts["caption"])


def draw_gallery(widget: Gallery, kit: Kit, width: int) -> Drawn:
    """Draw thumbnails in rows; the action gets the index of the one that was clicked."""
    theme = kit.theme
    gap = theme.px(6)
    per_row = max(width // theme.px(66), 1)
    size = (width - gap * (per_row - 1)) // per_row - 2 * theme.px(2)  # less the frame
    texture: list[int | str] = []
    with dpg.group() as box:
        pass

    def close() -> None:
        while texture:
            kit.bury(texture.pop())

    def show(value: Any) -> None:
        dpg.delete_item(box, children_only=True)
        close()
        pictures = tuple(value or ())
        shown = pictures[:MOST]
        if not shown:
            return
        atlas = _atlas([image for _, image in shown])
        rows, columns = atlas.shape[0] // DOWN, atlas.shape[1] // ACROSS
        with dpg.texture_registry():
            texture.append(dpg.add_static_texture(atlas.shape[1], atlas.shape[0], atlas.ravel()))
        with inside(box):
            for start in range(0, len(shown), per_row):
                with dpg.group(horizontal=True, horizontal_spacing=gap):
                    for at in range(start, min(start + per_row, len(shown))):
                        row, column = divmod(at, IN_A_ROW)
                        item = dpg.add_image_button(
                            texture[0],
                            width=size,
                            height=size * DOWN // ACROSS,
                            uv_min=(column / columns, row / rows),
                            uv_max=((column + 1) / columns, (row + 1) / rows),
                            user_data=at,
                            enabled=widget.is_enabled,
                            callback=lambda _, __, index: kit.post(widget.action, value=index),
                        )
                        dpg.bind_item_theme(item, theme.thumbnail())
                        kit.tip(item, shown[at][0])
            if len(pictures) > MOST:
                kit.text(f"{len(pictures) - MOST} more with [ and ]", "secondary", "caption")

    return Drawn(show, close=close)


def draw_picture(widget: Picture, kit: Kit, width: int) -> Drawn:
    """Draw a picture as large as the width and its height allow; one with an action is a button.

    A picture of the same size goes into the texture that is there; other sizes get another.
    """
    texture: list[int | str] = []
    handlers: list[int | str] = []
    shape: list[tuple[int, int]] = []
    with dpg.group() as box:
        pass

    def close() -> None:
        while texture:
            kit.bury(texture.pop())
        while handlers:
            dpg.delete_item(handlers.pop())

    def show(image: Any) -> None:
        if image is None:
            dpg.delete_item(box, children_only=True)
            close()
            return
        high, wide = image.shape[:2]
        pixels = np.ones((high, wide, 4), dtype=np.float32)
        pixels[..., :3] = image / np.float32(255)
        if texture and shape[0] == (high, wide):
            dpg.set_value(texture[0], pixels.ravel())
            return
        dpg.delete_item(box, children_only=True)
        close()
        shape[:] = [(high, wide)]
        with dpg.texture_registry():
            texture.append(dpg.add_dynamic_texture(wide, high, pixels.ravel()))
        scale = min(width / wide, kit.theme.px(widget.height) / high)
        size = {"width": round(wide * scale), "height": round(high * scale)}
        with inside(box):
            if widget.action is None:
                item = dpg.add_image(texture[0], **size)
            else:
                item = dpg.add_image_button(texture[0], **size)
                dpg.bind_item_theme(item, kit.theme.thumbnail())
                if not widget.follows:
                    dpg.set_item_callback(item, lambda: _point(widget, kit, item, _how()))
                if hasattr(widget.action, "how"):
                    _listen(widget, kit, item, handlers)
            kit.tooltip(widget, item)

    return Drawn(show, close=close)


def _listen(widget: Picture, kit: Kit, item: int | str, handlers: list[int | str]) -> None:
    """Post where the right button clicks and, for a picture that follows, what the pointer does in it."""
    with dpg.item_handler_registry() as registry:
        dpg.add_item_clicked_handler(
            button=dpg.mvMouseButton_Right, callback=lambda: _point(widget, kit, item, "column")
        )
        if widget.follows:
            hand = _Hand(widget, kit, item)
            dpg.add_item_hover_handler(callback=hand.move)
            dpg.add_item_activated_handler(callback=hand.press)
            dpg.add_item_deactivated_handler(callback=hand.release)
    dpg.bind_item_handler_registry(item, registry)
    handlers.append(registry)


class _Hand:
    """A pointer that clicks into a picture or drags over it; areas are posted while it moves."""

    def __init__(self, widget: Picture, kit: Kit, item: int | str) -> None:
        self.widget, self.kit, self.item = widget, kit, item
        self.began: tuple[float, float] | None = None  # in pixels of the window
        self.is_dragging = False

    def press(self) -> None:
        """Begin a click, or a drag."""
        self.began, self.is_dragging = tuple(dpg.get_mouse_pos(local=False)), False

    def move(self) -> None:
        """Follow the pointer."""
        if self.began is None:
            _point(self.widget, self.kit, self.item, "hover")
            return
        x, y = dpg.get_mouse_pos(local=False)
        self.is_dragging |= max(abs(x - self.began[0]), abs(y - self.began[1])) > DRAG_PX
        if self.is_dragging:
            (left, top), (right, bottom) = _place(self.item, self.began), _place(self.item, (x, y))
            self.kit.post(self.widget.action, x=left, y=top, how="area", to_x=right, to_y=bottom)

    def release(self) -> None:
        """End it."""
        self.move()
        if not self.is_dragging and self.began is not None:
            _point(self.widget, self.kit, self.item, _how())
        self.began = None


def _how() -> str:
    """Return what the keys that are held make of a click."""
    if dpg.is_key_down(dpg.mvKey_LShift) or dpg.is_key_down(dpg.mvKey_RShift):
        return "second"
    is_region = dpg.is_key_down(dpg.mvKey_LControl) or dpg.is_key_down(dpg.mvKey_RControl)
    return "region" if is_region else "click"


def _point(widget: Picture, kit: Kit, item: int | str, how: str) -> None:
    """Post the pointer's place in a picture, 0 to 1 from its left and top."""
    across, down = _place(item, tuple(dpg.get_mouse_pos(local=False)))
    kit.post(widget.action, x=across, y=down, how=how)


def _place(item: int | str, pixel: tuple[float, ...]) -> tuple[float, float]:
    """Return where a pixel of the window is in a picture, 0 to 1; the edge for one outside."""
    (left, top), (wide, high) = dpg.get_item_rect_min(item), dpg.get_item_rect_size(item)
    across, down = (pixel[0] - left) / max(wide, 1), (pixel[1] - top) / max(high, 1)
    return min(max(across, 0.0), 0.999), min(max(down, 0.0), 0.999)


def _atlas(images: list[np.ndarray]) -> np.ndarray:
    """Lay pictures [h, w, 3] uint8 out in rows; float32 [rows * DOWN, columns * ACROSS, 4]."""
    columns = min(len(images), IN_A_ROW)
    rows = -(-len(images) // IN_A_ROW)
    atlas = np.zeros((rows * DOWN, columns * ACROSS, 4), dtype=np.float32)
    atlas[..., 3] = 1.0
    for at, image in enumerate(images):
        top, left = (at // IN_A_ROW) * DOWN, (at % IN_A_ROW) * ACROSS
        atlas[top : top + DOWN, left : left + ACROSS, :3] = _cropped(image) / np.float32(255)
    return atlas


def _cropped(image: np.ndarray) -> np.ndarray:
    """Cut the middle of a picture to the thumbnails' shape and take its nearest pixels."""
    height, width = image.shape[:2]
    wide = min(width, height * ACROSS / DOWN)
    high = wide * DOWN / ACROSS
    x = (width - wide) / 2 + (np.arange(ACROSS) + 0.5) * wide / ACROSS
    y = (height - high) / 2 + (np.arange(DOWN) + 0.5) * high / DOWN
    columns = np.clip(x.astype(int), 0, width - 1)
    rows = np.clip(y.astype(int), 0, height - 1)
    return image[rows[:, None], columns[None, :], :3]
