"""Whole numbers to few bytes and back: a range coder around the loops of entropy_kernels.py.

code(loop, contexts, *arrays)            -> bytes         what the loop coded of its arrays
decode(loop, contexts, content, *arrays)                  fills the arrays that the loop codes
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from core.formats import entropy_kernels as kernels

Loop = Callable[..., Any]
_ROOM = 1 << 12


def code(loop: Loop, contexts: int, values: int, *arrays: Any) -> bytes:
    """Return the bytes that a loop makes of about so many values; the arrays stay as they are."""
    room = _ROOM + 2 * values
    while True:
        content = np.zeros(room, np.uint8)
        numbers = kernels.started(content, False)
        loop(numbers, content, *_fresh(contexts), *arrays)
        kernels.finish(numbers, content)
        if not numbers[kernels.OVERFLOW]:
            return content[: int(numbers[kernels.PLACE])].tobytes().rstrip(b"\0")
        room *= 4


def decode(loop: Loop, contexts: int, content: bytes, *arrays: Any) -> None:
    """Let a loop fill its arrays from bytes; bytes that are missing count as zeros."""
    held = np.frombuffer(
        content, np.uint8
    ).copy()  # loops are compiled for arrays that can be written
    loop(kernels.started(held, True), held, *_fresh(contexts), *arrays)


def _fresh(contexts: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((contexts, 2), 1 << 15, np.uint16), np.zeros(contexts, np.uint16)
