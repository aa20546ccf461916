"""Encodings of places and directions for neural fields.

    directions  [V, 3]  unit vectors           ->  bands   [V, 9]  real spherical harmonics 0 to 2
    points      [V, 3]  scene units            ->  u       [V, 3]  contracted, inside (0, 1)

The signs and order of the harmonics are tiny-cuda-nn's "degree 3". HyRF hands tiny-cuda-nn
(d + 1) / 2 because that library maps its input back to -1..1 first: what it evaluates is simply the
harmonics of d, and that is what is computed here. Compiled loops on the CPU in float32 where no
gradient is asked for, plain torch elsewhere.
"""

from __future__ import annotations

import numpy as np
import torch

from core.base.shapes import expect
from core.nn import encoding_kernels as kernels

DIRECTION_WIDTH = 9


def sh_bands3(directions: torch.Tensor) -> torch.Tensor:
    """Return the nine real spherical harmonics of bands 0 to 2, [V, 9]."""
    expect(directions, None, 3, name="directions")
    if not _is_compiled(directions):
        return sh_bands3_reference(directions)
    bands = torch.empty(len(directions), DIRECTION_WIDTH)
    kernels.sh_bands3(directions.detach().contiguous().numpy(), bands.numpy())
    return bands


def contract(points: torch.Tensor, low: np.ndarray, high: np.ndarray) -> torch.Tensor:
    """Map all of space into the unit cube; the ball in the box `low` to `high` stays undistorted.

    p' = 2 (x - low) / (high - low) - 1; outside the unit ball p' <- (2 - 1 / |p'|) p' / |p'|;
    u = p' / 4 + 0.5 (HyRF eq. 2, whose printed offset of 1 would leave the cube; Barron et al.
    2022, eq. 10).
    """
    expect(points, None, 3, name="points")
    if not _is_compiled(points):
        return contract_reference(points, low, high)
    u = torch.empty(points.shape)
    kernels.contract(points.detach().contiguous().numpy(), *box_numbers(low, high), u.numpy())
    return u


def sh_bands3_reference(directions: torch.Tensor) -> torch.Tensor:
    """Compute the harmonics with plain torch operations in any precision."""
    x, y, z = directions.unbind(-1)
    k0, k1, k2, k3, k4, k5 = kernels.HARMONICS
    bands = (
        torch.full_like(x, k0),
        -k1 * y,
        k1 * z,
        -k1 * x,
        k2 * x * y,
        -k2 * y * z,
        k3 * z * z - k4,
        -k2 * x * z,
        k5 * (x * x - y * y),
    )
    return torch.stack(bands, dim=-1)


def contract_reference(points: torch.Tensor, low: np.ndarray, high: np.ndarray) -> torch.Tensor:
    """Contract with plain torch operations in any precision."""
    center, scale = (torch.as_tensor(part).to(points) for part in _box(low, high))
    local = (points - center) * scale  # [V, 3], the ball is |p'| <= 1
    largest = local.abs().amax(dim=-1, keepdim=True).clamp(min=1.0)
    # divided by the largest first: squares of far points would overflow
    distance = ((local / largest).norm(dim=-1, keepdim=True) * largest).clamp(min=1.0)  # [V, 1]
    shrink = (2 - 1 / distance) / distance
    end = float(kernels.OPEN_END)
    return (local * shrink * 0.25 + 0.5).clamp(end, 1 - end)


def box_numbers(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return what the compiled contraction needs of a box [2, 3] float32: centre, two over the size."""
    return np.stack(_box(low, high)).astype(np.float32)


def _box(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre of a box and two over its size, in double precision."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    if not (high > low).all():
        raise ValueError(f"contract: the box from {low} to {high} has no volume")
    return (low + high) / 2, 2 / (high - low)


def _is_compiled(tensor: torch.Tensor) -> bool:
    return (
        tensor.device.type == "cpu" and tensor.dtype == torch.float32 and not tensor.requires_grad
    )
