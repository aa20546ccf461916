"""Small pictures of studies: what their last training showed, from the user's cache or the published ones."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from app.palette import DARK
from assets import RESULTS
from core.base.cache import cache_folder, keep

WIDE, HIGH = 144, 96
GalleryRows = tuple[
    tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...], dict[str, np.ndarray]
]


def thumbnail(name: str) -> np.ndarray:
    """Return the thumbnail of a study, [HIGH, WIDE, 3] uint8; a pattern of its own before its first training."""
    for folder in (cache_folder("thumbnails"), RESULTS):
        try:
            with Image.open(folder / f"{name}.png") as opened:
                return cut(np.asarray(opened.convert("RGB")))
        except (OSError, UnidentifiedImageError, ValueError):
            continue  # none yet, or not readable: the next place, else the pattern
    return _pattern(name)


def keep_thumbnail(name: str, picture: np.ndarray) -> None:
    """Keep a picture [h, w, 3] uint8 as the thumbnail of a study."""
    content = io.BytesIO()
    Image.fromarray(cut(picture)).save(content, "PNG")
    keep(cache_folder("thumbnails") / f"{name}.png", content.getvalue())


def cut(picture: np.ndarray) -> np.ndarray:
    """Fit a picture [h, w, 3] uint8 into [HIGH, WIDE, 3] on the panel's ground."""
    height, width = picture.shape[:2]
    scale = min(WIDE / width, HIGH / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(picture).resize(size, Image.Resampling.BOX)
    found = Image.new("RGB", (WIDE, HIGH), DARK["raised"])
    found.paste(small, ((WIDE - size[0]) // 2, (HIGH - size[1]) // 2))
    return np.asarray(found)


def _pattern(name: str) -> np.ndarray:
    """Return a mirrored pattern that belongs to a name."""
    bits = np.unpackbits(np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint8))
    half = bits[:72].reshape(12, 6)
    whole = np.concatenate((half, half[:, ::-1]), axis=1)  # [12, 12]
    cells = np.kron(whole, np.ones((HIGH // 12, WIDE // 12), np.uint8))[..., None]
    one, other = (np.array(DARK[role], dtype=np.uint8) for role in ("line", "raised"))
    return np.where(cells > 0, one, other).astype(np.uint8)
