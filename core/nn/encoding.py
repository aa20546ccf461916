"""Encodings of places and directions for neural fields.

    directions  [V, 3]  unit vectors           ->  bands   [V, 9]  real spherical harmonics 0 to 2
    points      [V, 3]  scene units            ->  u       [V, 3]  contracted, inside (0, 1)

The signs and order of the harmonics are tiny-cuda-nn's "degree 3". HyRF hands tiny-cuda-nn
(d + 1) / 2 because that library maps its input back to -1..1 first: what it evaluates is simply the
harmonics of d, and that is what is computed here.
"""

from __future__ import annotations

import numpy as np
import torch

DIRECTION_WIDTH = 9
OPEN_END = 6e-8  # half a float32 step below one: u never reaches 0 or 1


def sh_bands3(directions: torch.Tensor) -> torch.Tensor:
    """Return the nine real spherical harmonics of bands 0 to 2, [V, 9]."""
    x, y, z = directions.unbind(-1)
    bands = torch.empty(
        *directions.shape[:-1], DIRECTION_WIDTH, dtype=directions.dtype, device=directions.device
    )
    bands[..., 0] = 0.28209479177387814  # 1 / (2 sqrt(pi))
    bands[..., 1] = -0.48860251190291987 * y  # sqrt(3 / (4 pi))
    bands[..., 2] = 0.48860251190291987 * z
    bands[..., 3] = -0.48860251190291987 * x
    bands[..., 4] = 1.0925484305920792 * x * y  # sqrt(15 / (4 pi))
    bands[..., 5] = -1.0925484305920792 * y * z
    bands[..., 6] = (
        0.94617469575755997 * z * z - 0.31539156525251999
    )  # sqrt(5 / (16 pi)) (3 z^2 - 1)
    bands[..., 7] = -1.0925484305920792 * x * z
    bands[..., 8] = 0.54627421529603959 * (x * x - y * y)  # sqrt(15 / (16 pi))
    return bands


def contract(points: torch.Tensor, low: np.ndarray, high: np.ndarray) -> torch.Tensor:
    """Map all of space into the unit cube; the ball in the box `low` to `high` stays undistorted.

    p' = 2 (x - low) / (high - low) - 1; outside the unit ball p' <- (2 - 1 / |p'|) p' / |p'|;
    u = p' / 4 + 0.5 (HyRF eq. 2, whose printed offset of 1 would leave the cube; Barron et al. 2022, eq. 10).
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    scale = torch.as_tensor(2 / (high - low), dtype=points.dtype, device=points.device)
    center = torch.as_tensor((low + high) / 2, dtype=points.dtype, device=points.device)
    local = (points - center) * scale  # [V, 3], the ball is |p'| <= 1
    distance = local.norm(dim=-1, keepdim=True).clamp(min=1.0)  # [V, 1]
    shrink = (2 - 1 / distance) / distance
    return (local * shrink * 0.25 + 0.5).clamp(OPEN_END, 1 - OPEN_END)
