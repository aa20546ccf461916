"""Picture files: find them, check that they decode completely, and decode them the same way everywhere.

    decode(data) -> [H, W, 3] or [H, W, 4] uint8, sRGB, straight alpha

The program has one rule for orientation tags: pixels are used as stored, because camera poses refer
to stored pixels. The one exception is a camera whose declared size fits only the turned picture.
"""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")
ORIENTATION_TAG = 0x0112
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
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            orientation = int(image.getexif().get(ORIENTATION_TAG, 1))
            if is_deep(image, data):
                decode(data)
            else:
                # a JPEG at 1/8 size still reads every coded byte but skips most arithmetic
                image.draft("RGB", (max(1, width // 8), max(1, height // 8)))
                image.load()
    except UnidentifiedImageError:
        return Picture(problem=f"is not a picture ({len(data)} bytes)")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return Picture(problem=f"does not decode ({error})")
    return Picture(width, height, orientation, hashlib.blake2b(data, digest_size=16).hexdigest())


def decode(data: bytes, is_turned: bool = False) -> np.ndarray:
    """Decode to [H, W, 3] uint8, or [H, W, 4] where the file has transparency; 16 bits are scaled, never clipped."""
    with Image.open(io.BytesIO(data)) as image:
        if is_deep(image, data):
            return _decode_deep(data)
        upright = ImageOps.exif_transpose(image) if is_turned else image
        is_transparent = "transparency" in upright.info or upright.mode in (
            "RGBA",
            "LA",
            "PA",
            "La",
            "RGBa",
        )
        return np.array(upright.convert("RGBA" if is_transparent else "RGB"))


def is_deep(image: Image.Image, data: bytes) -> bool:
    """Return whether the file stores 16 bits per channel (PIL would clip grey and cut colour)."""
    if image.format == "PNG":
        return data[24:25] == b"\x10"
    return image.mode.startswith("I") or image.mode == "F"


def _decode_deep(data: bytes) -> np.ndarray:
    import cv2

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype not in (np.uint8, np.uint16):
        raise ValueError("unsupported number of bits per channel; convert it to 8 or 16 bits")
    if values.dtype == np.uint16:
        values = np.rint(values / 257.0).astype(np.uint8)
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=2)
    order = (2, 1, 0, 3)[: values.shape[2]]
    return np.ascontiguousarray(values[..., order])


def over_white(picture: np.ndarray) -> np.ndarray:
    """Composite [H, W, 4] uint8 over white; [H, W, 3] passes through."""
    if picture.shape[2] == 3:
        return picture
    color, alpha = picture[..., :3].astype(np.uint16), picture[..., 3:].astype(np.uint16)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def header_size(path: Path) -> tuple[int, int] | None:
    """Return (width, height) as stored, from the header alone; None when there is no readable header."""
    try:
        with Image.open(path) as image:
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
