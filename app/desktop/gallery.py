"""Thumbnails to click. All of one gallery share one texture, made anew only when the gallery changes."""

from __future__ import annotations

from typing import Any

import dearpygui.dearpygui as dpg
import numpy as np

from app.desktop.kit import Drawn, Kit, inside
from app.panels.widgets import Gallery

ACROSS, DOWN = 96, 64  # pixels of a thumbnail in the texture
MOST = 120  # thumbnails; more make a long list and no better choice
IN_A_ROW = 16  # of the texture, which keeps it below 1600 x 600


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
