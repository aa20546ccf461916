"""A neural background as an all-round picture: asked for, kept beside a file as JPEG, read again.

    picture  [H, 2H, 3]  uint8  as core/radiance/equirect.py describes it

The background is taken as seen from the middle of the cameras; its sphere is far away, so that little
changes between their places. What that little costs is part of every export's stated loss.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from core.base.errors import FormatError
from core.capture.camera import Camera
from core.formats.files import checked_file, read_bytes, replacing
from core.radiance.equirect import directions, equirect_part
from core.radiance.field import Snapshot
from core.radiance.parts import SceneParts

NAME = "equirect"  # among the parts of a scene
HEIGHT = 512  # rows; a scene of fox (1500 steps): 512 rows 44.3 dB and 0.23 MB, 1024 rows 43.8 dB and 0.74 MB
MOST_ROWS = 8192
QUALITY = 92
ROWS_AT_ONCE = 64


@torch.no_grad()
def bake(snapshot: Snapshot, cameras: Sequence[Camera]) -> np.ndarray | None:
    """Return the background in all directions, or None where a scene has none on a far sphere."""
    sphere = snapshot.sphere()
    if sphere is None:
        return None
    center = np.mean([camera.center for camera in cameras], axis=0)
    rays = directions(HEIGHT) @ snapshot.to_original.rotation.astype(np.float32)
    picture = np.empty(rays.shape, np.uint8)
    for top in range(0, HEIGHT, ROWS_AT_ONCE):
        band = torch.from_numpy(rays[top : top + ROWS_AT_ONCE]).to(snapshot.device)
        colors = sphere.colors(center, band.reshape(-1, 3)).clamp(0, 1) * 255
        picture[top : top + ROWS_AT_ONCE] = colors.round().byte().reshape(band.shape).cpu()
    return picture


def added(scene: SceneParts, picture: np.ndarray) -> SceneParts:
    """Return the scene with a picture behind it."""
    return replace(scene, parts={**scene.parts, NAME: equirect_part(picture)})


def beside(path: Path) -> Path:
    """Return where the background of a file lies."""
    return path.with_name(f"{path.name}.background.jpg")


def write_beside(scene: SceneParts, path: Path) -> Path:
    """Write a scene's picture beside its file; return where."""
    place = beside(path)
    with replacing(place) as temporary:
        temporary.write_bytes(to_jpeg(scene.parts[NAME].values))
    return place


def read_picture(path: Path) -> np.ndarray:
    """Read a picture that lies beside a file."""
    return from_jpeg(read_bytes(path, checked_file(path)), path.name)


def to_jpeg(picture: np.ndarray) -> bytes:
    """Return a picture as JPEG with full colour resolution."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=QUALITY, subsampling=0)
    return content.getvalue()


def from_jpeg(content: bytes, name: str) -> np.ndarray:
    """Return the picture of a JPEG; its size is checked before it is decoded."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():  # of very large pictures, which are refused below
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=("JPEG",))
        with image:
            width, height = image.size
            if width != 2 * height or not 0 < height <= MOST_ROWS:
                raise FormatError(
                    f"{name}: its background of {width} x {height} pixels is no all-round picture, "
                    f"which is twice as wide as high and at most {MOST_ROWS} high."
                )
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(f"{name}: its background cannot be decoded ({error}).") from None
