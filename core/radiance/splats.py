"""The flat currency of rendering: activated Gaussians, ready to be drawn.

means      [N, 3]  scene units  centres
quats      [N, 4]  -            rotations (w, x, y, z), any length above zero
scales     [N, 3]  scene units  standard deviations
opacities  [N]     0..1
colors     [N, 3]  0..1 sRGB    for the view they were made for
ids        [N]     int64        rows of the scene these Gaussians are, None when all of them in order
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True, eq=False)
class Splats:
    """Activated Gaussians of one view."""

    means: torch.Tensor
    quats: torch.Tensor
    scales: torch.Tensor
    opacities: torch.Tensor
    colors: torch.Tensor
    ids: torch.Tensor | None = None

    def __len__(self) -> int:
        return int(self.means.shape[0])

    @staticmethod
    def none(device: str | torch.device = "cpu") -> Splats:
        """Return no Gaussians at all."""
        return Splats(
            *(torch.zeros(0, *tail, device=device) for tail in ((3,), (4,), (3,), (), (3,)))
        )


def unit_directions(means: torch.Tensor, center: np.ndarray) -> torch.Tensor:
    """Return unit vectors [V, 3] from a camera centre to each Gaussian."""
    offset = means - torch.as_tensor(center, dtype=means.dtype, device=means.device)
    return F.normalize(offset, dim=-1)
