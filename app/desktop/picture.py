"""The one streaming texture: frames [H, W, 3] uint8 in, something to draw out.

Dear PyGui reads a raw texture's memory without checking its size, once per drawn frame, and a
deleted texture never gives its pixel buffer back. So this is the only place that makes one or
sets its value: sizes go in steps of 128 pixels, a texture only grows, and only after the window's
size has settled; each frame goes into the one of two arrays that is not on the screen.
"""

from __future__ import annotations

import dearpygui.dearpygui as dpg
import numpy as np

STEP = 128
LARGEST = 8192
SETTLED_S = 0.4


class StreamTexture:
    """A texture that shows the newest frame; its used part is `uv_max`."""

    def __init__(self) -> None:
        self.num_made = 0
        self.uv_max = (1.0, 1.0)
        self.item: int | str = 0
        self._wanted = (0, 0)
        self._wanted_since = 0.0
        self._registry = dpg.add_texture_registry()
        self._allocate(STEP, STEP)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the texture in pixels."""
        return self._arrays[0].shape[1], self._arrays[0].shape[0]

    def reserve(self, width: int, height: int, now: float) -> bool:
        """Ask for room for frames of this size; return whether the texture was made anew."""
        wanted = (_stepped(width), _stepped(height))
        if wanted != self._wanted:
            self._wanted, self._wanted_since = wanted, now
        have = self.size
        is_enough = have[0] >= wanted[0] and have[1] >= wanted[1]
        is_first = self.num_made == 1
        if is_enough or not (is_first or now - self._wanted_since >= SETTLED_S):
            return False
        self._allocate(max(have[0], wanted[0]), max(have[1], wanted[1]))
        return True

    def show(self, image: np.ndarray) -> None:
        """Show a frame; one larger than the texture is thinned out until there is room."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"a frame is [H, W, 3] uint8, not {image.shape} {image.dtype}")
        wide, high = self.size
        stride = max(-(-image.shape[1] // wide), -(-image.shape[0] // high))
        image = image[::stride, ::stride]
        height, width = image.shape[:2]
        back = self._arrays[1]
        np.multiply(image, np.float32(1 / 255), out=back[:height, :width, :3], casting="unsafe")
        # Linear sampling reaches half a pixel beyond the used part.
        if width < wide:
            back[:height, width, :3] = back[:height, width - 1, :3]
        if height < high:
            back[height, :width, :3] = back[height - 1, :width, :3]
        self.uv_max = (width / wide, height / high)
        self._arrays.reverse()
        self._set(back)

    def _set(self, array: np.ndarray) -> None:
        """Hand an array to the toolkit after checking everything that it does not check."""
        wide, high = self.size
        is_sound = (
            array.dtype == np.float32
            and array.shape == (high, wide, 4)
            and array.flags.c_contiguous
            and bool(np.isfinite(array[0]).all())  # uint8 / 255 is finite; a row guards the rest
        )
        if not is_sound:
            raise ValueError(f"not a picture for a {wide} x {high} texture: {array.shape}")
        dpg.set_value(self.item, array)

    def _allocate(self, width: int, height: int) -> None:
        old = self.item
        self._arrays = [np.zeros((height, width, 4), dtype=np.float32) for _ in range(2)]
        for array in self._arrays:
            array[..., 3] = 1.0
        self.item = dpg.add_raw_texture(
            width,
            height,
            self._arrays[0],
            format=dpg.mvFormat_Float_rgba,
            parent=self._registry,
        )
        self.num_made += 1
        if old:
            dpg.delete_item(old)


def _stepped(length: int) -> int:
    return min(-(-max(length, 1) // STEP) * STEP, LARGEST)
