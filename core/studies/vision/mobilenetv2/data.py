"""Small pictures with labels, in two parts that share nothing.

pictures  [N, 1, side, side]  float32, 0..1, at their own size
labels    [N]                 int64

digits    handwritten, 8 pixels, 10 classes
textures  parts of 32 pixels out of 10 photographs, the class is the photograph: to learn from out of
          its left half, to measure on out of its right half
faces     25 pixels, a face or not
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from core.base.errors import ConfigError
from core.nn.bundled import FACES, digits, faces, photograph

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
)
WHOLE = 256  # pixels along a side of a photograph
PART = 32
NUM_CLASSES = {"digits": 10, "textures": len(PHOTOGRAPHS), "faces": 2}
MIDDLE, SPREAD = 0.5, 0.25  # of the grey levels that a network reads as 0 and 1


@dataclass(frozen=True)
class Pictures:
    """Pictures and their labels."""

    pictures: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> Pictures:
        """Return the same on a device."""
        return Pictures(self.pictures.to(device), self.labels.to(device))

    def inputs(self, rows: torch.Tensor | slice, size: int, channels: int) -> torch.Tensor:
        """Return pictures as a network reads them, [B, channels, size, size], channels last in memory."""
        found = torch.nn.functional.interpolate(
            self.pictures[rows], size=(size, size), mode="bilinear", align_corners=False
        )
        found = ((found - MIDDLE) / SPREAD).expand(-1, channels, -1, -1)
        return found.contiguous(memory_format=torch.channels_last)


def split(
    source: str, train: int, test: int, rng: np.random.Generator
) -> tuple[Pictures, Pictures]:
    """Return pictures to learn from and others to measure on."""
    if source == "textures":
        return _textures(train, rng, left=True), _textures(test, rng, left=False)
    if source == "faces":
        found = faces().astype(np.float32)
        labels = (np.arange(len(found)) < FACES).astype(np.int64)
    else:
        images, labels = digits()
        found = images.astype(np.float32)
    if train >= len(found):
        raise ConfigError(
            f"There are {len(found)} {source}: {train} to learn from leave none to measure on. "
            f"Set examples below {len(found)}."
        )
    order = rng.permutation(len(found))
    parts = (order[:train], order[train : train + test])
    return _made(found[parts[0]], labels[parts[0]]), _made(found[parts[1]], labels[parts[1]])


def _textures(count: int, rng: np.random.Generator, *, left: bool) -> Pictures:
    """Cut parts out of one half of every photograph; no part reaches into the other half."""
    labels = np.arange(count) % len(PHOTOGRAPHS)
    tops = rng.integers(WHOLE - PART + 1, size=count)
    lefts = rng.integers(WHOLE // 2 - PART + 1, size=count) + (0 if left else WHOLE // 2)
    grey = np.stack([photograph(name, WHOLE).mean(axis=-1) for name in PHOTOGRAPHS])
    rows = tops[:, None, None] + np.arange(PART)[:, None]
    columns = lefts[:, None, None] + np.arange(PART)
    return _made(grey[labels[:, None, None], rows, columns], labels)


def _made(pictures: np.ndarray, labels: np.ndarray) -> Pictures:
    numbers = torch.from_numpy(np.asarray(pictures, dtype=np.float32))[:, None]
    return Pictures(numbers, torch.from_numpy(labels.astype(np.int64)))
