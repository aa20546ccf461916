"""The picture's way to the screen: frames [H, W, 3] uint8 in, a texture to draw out.

Each frame becomes a static texture of its own size, and the last one is deleted once no drawn
frame can still show it. A texture that is kept and written to would reach the screen one drawn
frame late, because Dear PyGui copies it through a pixel buffer, and would be copied again for
every drawn frame, new picture or not.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import dearpygui.dearpygui as dpg
import numpy as np

LARGEST = 8192  # pixels a side
FRAMES_IN_FLIGHT = 3


class StreamTexture:
    """Holds the newest frame; it fills the texture between `uv_min` and `uv_max`."""

    def __init__(self) -> None:
        self._registry = dpg.add_texture_registry()
        self._graves: list[tuple[int, int | str]] = []  # drawn frame to wait for, texture
        self.item: int | str = 0
        self._pixels = np.zeros((0, 0, 4), np.float32)
        self.show(np.zeros((1, 1, 3), np.uint8))

    @property
    def num_alive(self) -> int:
        """Textures that are not deleted yet."""
        return len(self._graves) + 1

    def show(self, image: np.ndarray) -> None:
        """Take in a frame; one that is too large for a texture is thinned out."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"a frame is [H, W, 3] uint8, not {image.shape} {image.dtype}")
        stride = -(-max(image.shape[:2]) // LARGEST)
        pixels = self._framed(image[::stride, ::stride])
        height, width = pixels.shape[:2]
        now = dpg.get_frame_count()
        if self.item:
            self._graves.append((now + FRAMES_IN_FLIGHT, self.item))
        self.item = dpg.add_static_texture(width, height, pixels, parent=self._registry)
        self.uv_min = (1 / width, 1 / height)
        self.uv_max = (1 - 1 / width, 1 - 1 / height)
        for _, texture in [grave for grave in self._graves if grave[0] <= now]:
            dpg.delete_item(texture)
        self._graves = [grave for grave in self._graves if grave[0] > now]

    def _framed(self, image: np.ndarray) -> np.ndarray:
        """Return the frame as float32 RGBA with its edges repeated once.

        Linear sampling reaches half a pixel beyond the picture, and textures go around there.
        """
        height, width = image.shape[0] + 2, image.shape[1] + 2
        if self._pixels.shape[:2] != (height, width):
            self._pixels = np.ones((height, width, 4), np.float32)
        inside = self._pixels[1:-1, 1:-1, :3]
        np.multiply(image, np.float32(1 / 255), out=inside, casting="unsafe")
        colors = self._pixels[..., :3]
        colors[0], colors[-1] = colors[1], colors[-2]
        colors[:, 0], colors[:, -1] = colors[:, 1], colors[:, -2]
        return self._pixels


def save_frame(path: Path, limit_s: float) -> bool:
    """Write what is on the screen to a PNG file; return whether it is there in time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError:
        return False
    dpg.output_frame_buffer(str(path))
    end = time.monotonic() + limit_s
    while time.monotonic() < end and dpg.is_dearpygui_running():
        dpg.render_dearpygui_frame()
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            if data.startswith(b"\x89PNG") and data.rstrip().endswith(b"IEND\xaeB`\x82"):
                return True
    return False
