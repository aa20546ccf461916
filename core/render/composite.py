"""Gaussians over the neural background, with one number between the two.

rgb         [C, H, W, 3]  Gaussians over black
alpha       [C, H, W, 1]
background  [C, H, W, 3]  colour behind them, black where there is none
blend       0 Gaussians alone, 0.5 the scene as trained, 1 the background alone; linear between

Nothing is rendered again when the blend changes.
"""

from __future__ import annotations

import numpy as np
import torch

from core.nn.compiled import parallel_kernel, prange
from core.render.backend import Layers
from core.render.view import BOTH


def composite(
    layers: Layers, background: torch.Tensor | None = None, blend: float = BOTH
) -> torch.Tensor:
    """Return the picture [C, H, W, 3] at one blend; differentiable in the layers and the background."""
    blend = min(max(float(blend), 0.0), 1.0)
    gaussians, behind = min(1.0, 2 - 2 * blend), min(1.0, 2 * blend)  # how much of either is shown
    if background is None:
        return gaussians * layers.rgb
    # Gaussians that have faded out cover less of the background
    return gaussians * layers.rgb + behind * (1 - gaussians * layers.alpha) * background


def to_uint8(picture: torch.Tensor | np.ndarray) -> np.ndarray:
    """Return a picture [H, W, 3] of 0..1 as uint8, clamped and rounded; NaN becomes black."""
    if isinstance(picture, torch.Tensor):
        picture = picture.detach().to("cpu", torch.float32).numpy()
    picture = np.ascontiguousarray(picture, np.float32)
    image = np.empty(picture.shape, np.uint8)
    _quantise(picture.reshape(-1), image.reshape(-1))
    return image


@parallel_kernel
def _quantise(values, image):
    """Round 0..1 to 0..255."""
    for i in prange(len(values)):
        value = values[i] * np.float32(255.0) + np.float32(0.5)
        # the comparison is written so that NaN fails it
        bounded = min(value, np.float32(255.0)) if value > np.float32(0.0) else np.float32(0.0)
        image[i] = np.uint8(bounded)
