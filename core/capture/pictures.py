"""Picture files: find them, and check that they decode completely (how they decode: pixels.py).

The program has one rule for orientation tags. Where poses come with the pictures, the cameras' size
decides: they were solved on the stored pixels when it fits those (COLMAP ignores the tag), else on
the turned ones. Where poses are estimated here, every picture is turned upright first.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from core.capture.pixels import (
    EXR_START,
    MissingPackage,
    decode,
    exr_size,
    first_bytes,
    is_deep,
    opened,
    orientation_of,
)

SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"),
    *(".heic", ".heif", ".exr"),
)
LFS_START = b"version https://git-lfs"


@dataclass(frozen=True)
class Picture:
    """What a complete check of one picture file found; `problem` is empty when it decodes."""

    width: int = 0
    height: int = 0
    orientation: int = 1
    digest: str = ""
    problem: str = ""

    @property
    def is_sideways(self) -> bool:
        """Whether its orientation tag exchanges width and height."""
        return self.orientation in (5, 6, 7, 8)


def check(path: Path) -> Picture:
    """Read one picture to its last byte and report its size, or why it cannot be used."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return Picture(problem=f"cannot be read ({error.strerror})")
    if data.startswith(LFS_START):
        return Picture(problem="is a Git LFS pointer, not the picture; run 'git lfs pull'")
    try:
        width, height, orientation = _measured(data)
    except UnidentifiedImageError:
        return Picture(problem=f"is not a picture ({len(data)} bytes)")
    except MissingPackage as missing:
        return Picture(problem=f"cannot be read without {missing}")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return Picture(problem=f"does not decode ({error})")
    return Picture(width, height, orientation, hashlib.blake2b(data, digest_size=16).hexdigest())


def _measured(data: bytes) -> tuple[int, int, int]:
    """Decode a picture completely and return its width, height and orientation as stored."""
    if data.startswith(EXR_START):
        height, width = decode(data).shape[:2]
        return width, height, 1
    with opened(data) as image:
        width, height = image.size
        orientation = orientation_of(image)
        if is_deep(image, data):
            decode(data)
        else:
            # a JPEG at 1/8 size still reads every coded byte but skips most arithmetic
            image.draft("RGB", (max(1, width // 8), max(1, height // 8)))
            image.load()
    return width, height, orientation


def over(picture: np.ndarray, level: int) -> np.ndarray:
    """Composite [H, W, 4] uint8 over grey of `level` (255 is white); [H, W, 3] passes through."""
    if picture.shape[2] == 3:
        return picture
    color, alpha = picture[..., :3].astype(np.uint16), picture[..., 3:].astype(np.uint16)
    return ((color * alpha + level * (255 - alpha) + 127) // 255).astype(np.uint8)


def over_white(picture: np.ndarray) -> np.ndarray:
    """Composite [H, W, 4] uint8 over white; [H, W, 3] passes through."""
    return over(picture, 255)


def header_size(path: Path) -> tuple[int, int] | None:
    """Return (width, height) as stored, from the header alone; None when there is no readable header."""
    try:
        if first_bytes(path).startswith(EXR_START):
            return exr_size(path.read_bytes())
        with opened(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


class PictureFolder:
    """Look up pictures by the names that camera files use for them."""

    def __init__(self, *roots: Path) -> None:
        self.roots = roots
        self._listings: dict[Path, dict[str, Path]] = {}

    def find(self, name: str) -> Path | None:
        """Return the picture called `name` under the first root that holds it; suffix and Unicode form may differ."""
        relative = name.replace("\\", "/")
        for root in self.roots:
            path = root / relative
            for candidate in (path, *(path.with_name(path.name + suffix) for suffix in SUFFIXES)):
                # os.path: a name that is too long for the disk is one that is not there
                if candidate.suffix.lower() in SUFFIXES and os.path.isfile(candidate):
                    return candidate
            listed = self._listing(path.parent).get(unicodedata.normalize("NFC", path.name))
            if listed is not None:
                return listed
        return None

    def _listing(self, folder: Path) -> dict[str, Path]:
        """Return the folder's pictures by composed name, with and without suffix."""
        if folder not in self._listings:
            found: dict[str, Path] = {}
            for path in sorted(folder.iterdir()) if os.path.isdir(folder) else ():
                if path.suffix.lower() in SUFFIXES:
                    composed = unicodedata.normalize("NFC", path.name)
                    found.setdefault(composed, path)
                    found.setdefault(composed[: -len(path.suffix)], path)
            self._listings[folder] = found
        return self._listings[folder]


def pictures_in(folder: Path) -> list[Path]:
    """List every picture file below `folder`."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
