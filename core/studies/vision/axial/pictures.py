"""Pictures as whole numbers, and what can be said about them without a network.

digits   [1797, 8, 8, 1]     0..16, as they were scanned
crops    [N, size, size, 3]  0..levels - 1, squares cut out of photographs; those to measure on
                             come from the lowest quarter of each photograph, the rest from above
"""

from __future__ import annotations

import math

import numpy as np

from core.nn.bundled import digits, photograph

PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png")
SIDE = 192  # pixels of a photograph that is cut up
DIGIT_LEVELS, HELD_OUT_DIGITS, HELD_OUT_CROPS = 17, 360, 120


def pictures(
    source: str, size: int, levels: int, seed: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures to learn from, at most `most`, and pictures to measure on, [N, H, W, C] int64."""
    rng = np.random.default_rng(seed)
    if source == "digits":
        found, _ = digits()
        whole = np.round(found * (DIGIT_LEVELS - 1)).astype(np.int64)[..., None]
        whole = whole[rng.permutation(len(whole))]
        return whole[HELD_OUT_DIGITS:][:most], whole[:HELD_OUT_DIGITS][:most]
    side = max(SIDE, 4 * size)
    middle = side - max(side // 4, size)
    learned, held = [], []
    for name in PHOTOGRAPHS:
        whole = photograph(name, side)
        values = np.minimum((whole * levels).astype(np.int64), levels - 1)
        learned.append(_crops(values[:middle], size, most // len(PHOTOGRAPHS) + 1, rng))
        count = min(most, HELD_OUT_CROPS) // len(PHOTOGRAPHS)
        held.append(_crops(values[middle:], size, count, rng))
    return np.concatenate(learned)[:most], np.concatenate(held)[:most]


def _crops(picture: np.ndarray, size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return squares [count, size, size, 3] from anywhere in a picture [H, W, 3]."""
    tops = rng.integers(picture.shape[0] - size + 1, size=count)
    lefts = rng.integers(picture.shape[1] - size + 1, size=count)
    return np.stack([picture[y : y + size, x : x + size] for y, x in zip(tops, lefts, strict=True)])


def marginal_bits(learned: np.ndarray, held: np.ndarray, levels: int) -> float:
    """Return bits per value of the model that knows each pixel's own frequencies alone.

    One is added to every count, so that no value is impossible.
    """
    seen = np.eye(levels)[learned].sum(axis=0) + 1  # [H, W, C, levels]
    logs = np.log(seen / seen.sum(axis=-1, keepdims=True))
    chosen = np.take_along_axis(logs[None], held[..., None], axis=-1)
    return float(-chosen.mean() / math.log(2))
