"""How many pixels a moving picture can afford.

A frame costs  decode + pixels * ms_per_pixel.  Both are measured on the frames themselves; what
does not grow with the pixels is counted among them, and repeating the estimate still settles at
the size that takes the target time.
"""

from __future__ import annotations

import math

TARGET_MS = 16.0  # with what the window adds, an input is answered within a tenth of a second
FLOOR = 320, 180  # a moving picture is no smaller: below, saving pixels saves little time
SMALLEST = 1 / 4  # of the width and of the height
STEPS = 16  # sizes are multiples of a sixteenth, so that they do not flicker from frame to frame
MEMORY = 0.3  # weight of the newest measurement


class Resolution:
    """Learn from each frame what the next one may cost; `limit` shrinks when memory runs out."""

    def __init__(self) -> None:
        self.limit = 1.0
        self._decode_ms: float | None = None
        self._ms_per_pixel: float | None = None

    def learn(self, pixels: int, decode_ms: float, total_ms: float) -> None:
        """Take in a finished frame."""
        self._decode_ms = _blend(self._decode_ms, decode_ms)
        self._ms_per_pixel = _blend(self._ms_per_pixel, (total_ms - decode_ms) / max(pixels, 1))

    def expected_ms(self, pixels: int) -> float:
        """Estimate a frame's time; infinite before the first one was seen."""
        if self._decode_ms is None or self._ms_per_pixel is None:
            return math.inf
        return self._decode_ms + pixels * self._ms_per_pixel

    def moving(self, width: int, height: int) -> tuple[int, int]:
        """Return the size to draw at while the camera moves."""
        full = width * height
        if self._decode_ms is None or self._ms_per_pixel is None:
            wanted = 0.0
        else:
            left_ms = max(TARGET_MS - self._decode_ms, 0.0)
            wanted = left_ms / max(self._ms_per_pixel, 1e-9)
        scale = max(math.sqrt(wanted / full), FLOOR[0] / width, FLOOR[1] / height)
        scale = math.ceil(scale * STEPS - 1e-6) / STEPS
        return self._sized(width, height, min(max(scale, SMALLEST), 1.0))

    def full(self, width: int, height: int) -> tuple[int, int]:
        """Return the size to draw at when the camera rests."""
        return self._sized(width, height, 1.0)

    def shrink(self) -> bool:
        """Halve the limit after memory ran out; return False when it cannot get any smaller."""
        if self.limit <= 1 / 8:
            return False
        self.limit /= 2
        return True

    def _sized(self, width: int, height: int, scale: float) -> tuple[int, int]:
        scale = min(scale, self.limit)
        return max(1, round(width * scale)), max(1, round(height * scale))


def _blend(old: float | None, new: float) -> float:
    return new if old is None else old + MEMORY * (new - old)
