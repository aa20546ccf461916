"""Small pictures with labels, in two parts that share nothing: to learn from and to measure on.

pictures  [N, C, side, side]  float32, 0..1
labels    [N]                 int64

digits       handwritten, C = 1, 8 pixels, 10 classes, as many to learn from in each
photographs  parts of 12 photographs, the class is the photograph: to learn from out of its left
             60 %, to measure on out of the rest, so that no pixel is in both
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from core.base.errors import ConfigError
from core.nn.bundled import digits, photograph

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "retina.jpg",
    "rocket.jpg",
)
WHOLE = 256  # pixels along a side of a photograph
LEFT = 154  # of its columns to learn from, 60 %
NUM_CLASSES = {"digits": 10, "photographs": len(PHOTOGRAPHS)}


@dataclass(frozen=True)
class Labelled:
    """Pictures and the class of each."""

    pictures: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> Labelled:
        """Return the same on a device."""
        return Labelled(self.pictures.to(device), self.labels.to(device))


def labelled(
    source: str, learned: int, held: int, *, side: int = 32, channels: int = 1, seed: int = 0
) -> tuple[Labelled, Labelled]:
    """Return pictures to learn from and others to measure on; digits keep their side and channel."""
    rng = np.random.default_rng(seed)
    if source == "digits":
        return _digits(learned, held, rng)
    if side >= WHOLE - LEFT:
        raise ConfigError(
            f"Parts of photographs have at most {WHOLE - LEFT - 1} pixels along a side, not {side}."
        )
    wholes = np.stack([photograph(name, WHOLE) for name in PHOTOGRAPHS])  # [12, H, W, 3]
    if channels == 1:
        wholes = wholes.mean(axis=-1, keepdims=True)
    parts = ((learned, 0, LEFT), (held, LEFT, WHOLE))
    first, second = (_parts(wholes, count, low, high, side, rng) for count, low, high in parts)
    return first, second


def shifted(pictures: torch.Tensor, most: int, rng: torch.Generator) -> torch.Tensor:
    """Move every picture by up to `most` pixels along both axes; what comes in is black."""
    count, _, height, width = pictures.shape
    moves = torch.randint(2 * most + 1, (2, count), generator=rng, device=pictures.device)
    wide = torch.nn.functional.pad(pictures, (most,) * 4)
    rows = moves[0][:, None] + torch.arange(height, device=pictures.device)  # [B, H]
    columns = moves[1][:, None] + torch.arange(width, device=pictures.device)  # [B, W]
    at = torch.arange(count, device=pictures.device)[:, None, None]
    return wide[at, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)  # [B, C, H, W]


def _digits(learned: int, held: int, rng: np.random.Generator) -> tuple[Labelled, Labelled]:
    pictures, labels = digits()
    if learned + held > len(labels):
        raise ConfigError(
            f"There are {len(labels)} digits: {learned} to learn from and {held} to measure on are too many."
        )
    order = rng.permutation(len(labels))
    test, rest = order[:held], order[held:]
    turn = np.zeros(len(rest), dtype=np.int64)  # each digit's place among those of its class
    for label in range(NUM_CLASSES["digits"]):
        own = np.flatnonzero(labels[rest] == label)
        turn[own] = np.arange(len(own))
    train = rest[np.argsort(turn, kind="stable")[:learned]]
    first, second = (_made(pictures[rows][:, None], labels[rows]) for rows in (train, test))
    return first, second


def _parts(
    wholes: np.ndarray, count: int, low: int, high: int, side: int, rng: np.random.Generator
) -> Labelled:
    """Cut parts out of the columns from low to high, as many out of every photograph."""
    labels = np.arange(count) % len(wholes)
    tops = rng.integers(WHOLE - side + 1, size=count)
    lefts = rng.integers(low, high - side + 1, size=count)
    rows = tops[:, None, None] + np.arange(side)[:, None]
    columns = lefts[:, None, None] + np.arange(side)
    found = wholes[labels[:, None, None], rows, columns]  # [N, side, side, C]
    return _made(np.moveaxis(found, -1, 1), labels)


def _made(pictures: np.ndarray, labels: np.ndarray) -> Labelled:
    numbers = np.ascontiguousarray(pictures, dtype=np.float32)
    return Labelled(torch.from_numpy(numbers), torch.from_numpy(labels.astype(np.int64)))
