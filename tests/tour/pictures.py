"""Which pictures docs/tour.md shows, and how one is kept small; nothing here needs a window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from app.palette import DARK

FOLDER = Path(__file__).parents[2] / "docs" / "tour"
STORIES = {  # each is told by a process of its own and makes these pictures
    "demo": ("training", "layers", "pixel", "export"),
    "study": ("study",),
    "convit": ("convit",),
    "care": ("care",),
    "axial": ("axial",),
    "hopfield": ("hopfield",),
    "mobilenetv2": ("mobilenetv2",),
    "web": ("web-convit", "web-care"),
    "start": ("start", "gallery"),  # last: thumbnails and recent scenes come from the others
}
MOST_BYTES = 200_000
WIDEST = 1280
COLORS = 256
SHRINK = 0.95


def names() -> tuple[str, ...]:
    """Return the names of all pictures."""
    return tuple(name for made in STORIES.values() for name in made)


def keep(picture: np.ndarray, path: Path) -> None:
    """Write a picture [H, W, 3] uint8 with a palette, made smaller until it fits."""
    image = Image.fromarray(picture)
    width = min(image.width, WIDEST)
    while True:
        height = round(image.height * width / image.width)
        small = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
        both = Image.fromarray(np.concatenate((small, _own_colors(width))))
        both.quantize(COLORS, kmeans=3).crop((0, 0, width, height)).save(path, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            return
        width = round(width * SHRINK)


def _own_colors(width: int) -> np.ndarray:
    """Return rows [h, width, 3] of the window's colours: each gets its place in the palette, however rare."""
    colors = np.array([color[:3] for color in DARK.values()], np.uint8)
    return np.repeat(colors, 2, axis=0)[:, None].repeat(width, axis=1)


def beside(pictures: list[np.ndarray], gap: int = 6) -> np.ndarray:
    """Return pictures of one height side by side."""
    space = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, space)]
    return np.concatenate(parts[:-1], axis=1)
