"""What lies behind the Gaussians as one equirectangular picture, as if it were infinitely far away.

    picture     [H, 2H, 3]  uint8  rows from up to down, columns once around
    directions  [..., 3]    unit vectors, x right, y down, z forward, in the coordinates of the capture's files

The middle of the picture looks along +z, a quarter to the right of it along +x, its upper border along -y.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from core.radiance.parts import Coding, Part


class Equirect:
    """A picture that answers what is seen in a direction, bilinear between its pixels."""

    def __init__(self, picture: np.ndarray, device: torch.device | str = "cpu") -> None:
        height = len(picture)
        if picture.shape != (height, 2 * height, 3) or picture.dtype != np.uint8 or not height:
            raise ValueError(f"an all-round picture of {picture.shape} {picture.dtype} is none")
        self.picture = picture
        colors = torch.from_numpy(np.array(picture)).to(device).float() / 255
        # a column of the other end on each side closes the circle
        self._colors = F.pad(colors.permute(2, 0, 1)[None], (1, 1, 0, 0), mode="circular")

    def colors(self, directions: torch.Tensor) -> torch.Tensor:
        """Return the colours [H, W, 3] that unit directions [H, W, 3] see."""
        width = self.picture.shape[1]
        x, y, z = directions.unbind(-1)
        around = torch.atan2(x, z) / (2 * math.pi)  # -0.5 .. 0.5
        below = torch.asin(y.clamp(-1, 1)) / math.pi  # -0.5 .. 0.5
        places = torch.stack((2 * around * width / (width + 2), 2 * below), dim=-1)[None]
        found = F.grid_sample(
            self._colors, places, "bilinear", padding_mode="border", align_corners=False
        )
        return found[0].permute(1, 2, 0)


def directions(height: int) -> np.ndarray:
    """Return the directions [H, 2H, 3] float32 that the pixels of a picture stand for."""
    around = ((np.arange(2 * height) + 0.5) / height - 1) * np.pi
    below = ((np.arange(height) + 0.5) / height - 0.5) * np.pi
    level = np.cos(below)[:, None]
    rays = (level * np.sin(around), np.sin(below)[:, None], level * np.cos(around))
    return np.stack(np.broadcast_arrays(*rays), axis=-1).astype(np.float32)


def equirect_part(picture: np.ndarray) -> Part:
    """Name and code the picture for a file."""
    return Part(picture, "background", Coding.RAW)
