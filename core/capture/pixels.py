"""Decode picture files of every kind to the same pixels: 8 bits per channel, sRGB, straight alpha.

    decode(data) -> [H, W, 3] or [H, W, 4] uint8

16 bits are scaled, never clipped; grey and palettes are spread to three channels, CMYK is converted.
EXR holds linear light, so it gets the sRGB curve, and what is brighter than 1 is clipped. libheif
turns HEIC pictures by itself: their stored pixels are upright.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

ORIENTATION_TAG = 0x0112
EXR_START = b"\x76\x2f\x31\x01"
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


class MissingPackage(ValueError):
    """A picture is of a kind whose package is not installed."""


def decode(data: bytes, is_turned: bool = False) -> np.ndarray:
    """Decode to [H, W, 3] uint8, or [H, W, 4] where the file has transparency; turned by its tag if asked."""
    if data.startswith(EXR_START):
        return _decode_exr(data)
    with opened(data) as image:
        if is_deep(image, data):
            return _decode_deep(data, orientation_of(image) if is_turned else 1)
        upright = ImageOps.exif_transpose(image) if is_turned else image
        is_transparent = "transparency" in upright.info or upright.mode in ALPHA_MODES
        return np.array(upright.convert("RGBA" if is_transparent else "RGB"))


@contextmanager
def opened(source: bytes | Path) -> Iterator[Image.Image]:
    """Open a picture that Pillow reads, or reads with the help of pillow-heif."""
    start = source[:12] if isinstance(source, bytes) else first_bytes(source)
    if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS:
        _package("pillow_heif", "pillow-heif").register_heif_opener()
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        yield image


def first_bytes(path: Path) -> bytes:
    """Return what tells a file's kind."""
    with path.open("rb") as file:
        return file.read(12)


def orientation_of(image: Image.Image) -> int:
    """Return a picture's EXIF orientation, 1 where it tells none."""
    told = image.getexif().get(ORIENTATION_TAG, 1)
    return int(told) if told in range(1, 9) else 1


def is_deep(image: Image.Image, data: bytes) -> bool:
    """Return whether the file stores 16 bits per channel (PIL would clip grey and cut colour)."""
    if image.format == "PNG":
        return data[24:25] == b"\x10"
    return image.mode.startswith("I") or image.mode == "F"


def exr_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) of an EXR picture."""
    with _exr(data) as file:
        return _window(file)


def _decode_deep(data: bytes, orientation: int) -> np.ndarray:
    import cv2

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype not in (np.uint8, np.uint16):
        raise ValueError("unsupported number of bits per channel; convert it to 8 or 16 bits")
    if values.dtype == np.uint16:
        values = np.rint(values / 257.0).astype(np.uint8)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    else:
        values = values[..., (2, 1, 0, 3)[: values.shape[2]]]
    return turned(values, orientation)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return stored pixels [H, W, ...] as a viewer shows them by EXIF's orientation 1 to 8."""
    if orientation in (5, 6, 7, 8):  # stored on its side: rows and columns change places first
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _decode_exr(data: bytes) -> np.ndarray:
    with _exr(data) as file:
        width, height = _window(file)
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    layers = [channels.get(name) for name in "RGBA"]
    if channels.keys() <= {"Y", "A"} and "Y" in channels:
        layers[:3] = [channels["Y"]] * 3
    if any(layer is None or layer.shape != (height, width) for layer in layers[:3]):
        raise ValueError(f"has the channels {', '.join(channels)}; save it with R, G and B")
    light = np.stack([np.nan_to_num(layer.astype(np.float32)) for layer in layers[:3]], axis=-1)
    if layers[3] is None or (layers[3] >= 1).all():
        return _displayed(light)
    alpha = np.clip(np.nan_to_num(layers[3].astype(np.float32)), 0, 1)[..., None]
    # EXR keeps colours multiplied by their alpha
    color = _displayed(light / np.maximum(alpha, 1e-6))
    return np.concatenate([color, np.rint(alpha * 255).astype(np.uint8)], axis=-1)


def _displayed(light: np.ndarray) -> np.ndarray:
    """Apply the sRGB curve (IEC 61966-2-1) to linear light [H, W, 3] and round to 8 bits."""
    light = np.clip(light, 0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(curve * 255).astype(np.uint8)


@contextmanager
def _exr(data: bytes) -> Iterator[Any]:
    """Open an EXR picture, whose library reads files only."""
    import tempfile

    library = _package("OpenEXR", "OpenEXR")
    with tempfile.TemporaryDirectory(prefix="hyrf-exr-") as folder:
        path = Path(folder) / "picture.exr"
        path.write_bytes(data)
        try:
            file = library.File(str(path), separate_channels=True)
        except (RuntimeError, TypeError, MemoryError) as error:
            raise ValueError(str(error).strip() or "its content contradicts itself") from None
        with file:
            yield file


def _window(file: Any) -> tuple[int, int]:
    low, high = file.header()["dataWindow"]
    width, height = (int(b) - int(a) + 1 for a, b in zip(low, high, strict=True))
    return width, height


def _package(module: str, package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingPackage(f"the package {package}") from None
