"""Rotations with their largest component left out: three numbers within +- sqrt(1/2) and which one it was.

quats    [N, 4]  any order of components, any length above zero
three    [N, 3]  the other components in order, the largest one positive
largest  [N]     0..3
"""

from __future__ import annotations

import numpy as np


def keep_three(quats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the three components to keep and which one is left out."""
    unit = quats.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    largest = np.abs(unit).argmax(axis=1)
    every = np.arange(len(unit))
    unit *= np.where(unit[every, largest] < 0, -1.0, 1.0)[:, None]
    kept = unit[np.arange(4) != largest[:, None]].reshape(len(unit), 3)
    return kept, largest


def restore_four(three: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return unit rotations [N, 4] in the order of components they were left out from."""
    quats = np.empty((len(three), 4), np.float64)
    others = np.arange(4) != largest[:, None]
    quats[others] = three.reshape(-1)
    quats[~others] = np.sqrt(np.maximum(0.0, 1 - (three**2).sum(axis=1)))
    return quats.astype(np.float32)
