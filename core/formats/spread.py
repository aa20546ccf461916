"""Directions spread evenly over the sphere: a golden spiral."""

from __future__ import annotations

import numpy as np


def spread(count: int) -> np.ndarray:
    """Return unit directions [count, 3], evenly over the sphere."""
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    ring = np.sqrt(1 - height**2)
    return np.stack((ring * np.cos(turn), height, ring * np.sin(turn)), axis=1)
