"""Real data that travel with well-known packages: nothing is downloaded.

faces()             [200, 25, 25]  0..1      scikit-image, cropped faces
photograph(name)    [H, W, 3]      0..1      scikit-image
digits()            [1797, 8, 8]   0..1      scikit-learn, and labels [1797]
table(name)         [rows, columns] float64  scikit-learn, and labels [rows]
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import ConfigError

TABLES = ("wine", "breast_cancer", "digits")
FACES = 100  # of the 200 pictures the rest shows no faces


def _package(name: str, install: str) -> Any:
    """Import a package of data, or say how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"This needs the package {install}. Install it with: pip install {install}"
        ) from None


def learning(module: str) -> Any:
    """Return a module of scikit-learn."""
    return _package(f"sklearn.{module}", "scikit-learn")


def _shipped(name: str) -> Path:
    package = _package("skimage", "scikit-image")
    return Path(package.__file__).parent / "data" / name


def faces() -> np.ndarray:
    """Return pictures [200, 25, 25] of 0..1: first the faces, then parts of other photographs."""
    return np.asarray(np.load(_shipped("lfw_subset.npy")), dtype=np.float64)


def photograph(name: str, size: int) -> np.ndarray:
    """Return the middle square of a photograph as [size, size, 3] of 0..1, each pixel a mean."""
    from PIL import Image

    with Image.open(_shipped(name)) as opened:
        picture = opened.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    cut = picture.crop((left, top, left + side, top + side))
    small = cut.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return handwritten digits [1797, 8, 8] of 0..1 and their labels [1797]."""
    found = learning("datasets").load_digits()
    return found.images / 16, found.target


def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows [rows, columns] and labels [rows] of a small table."""
    rows, labels = getattr(learning("datasets"), f"load_{name}")(return_X_y=True)
    return np.asarray(rows, dtype=np.float64), np.asarray(labels)
