"""Real spherical harmonics up to degree 3, in the order and with the signs of 3DGS.

    sh_coeffs   [N, K, 3]  K = 1, 4, 9 or 16 bases, coefficient-major
    directions  [N, 3]     unit vectors from the camera to the Gaussian
    ->
    colors      [N, 3]     0.5 + sum of coefficient times basis, not below 0

The Condon-Shortley phase is kept: degree 1 is -y, +z, -x (Kerbl et al. 2023, official code).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from core.base.shapes import expect

MAX_DEGREE = 3
BASE = 0.5 / np.sqrt(np.pi)  # the constant basis
_LINEAR = np.sqrt(3 / (4 * np.pi))
_SQUARE = np.sqrt(15 / np.pi) / 4
_CUBIC = np.sqrt(35 / (2 * np.pi)) / 4
_CUBIC_SIDE = np.sqrt(21 / (2 * np.pi)) / 4
_CUBIC_AXIS = np.sqrt(7 / np.pi) / 4
_CUBIC_MIXED = np.sqrt(105 / np.pi) / 4


def degree_of(num_bases: int) -> int:
    """Return the degree that has this many bases: 1, 4, 9, 16 are 0, 1, 2, 3."""
    degree = round(num_bases**0.5) - 1
    if (degree + 1) ** 2 != num_bases or not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"{num_bases} spherical-harmonic bases: expected 1, 4, 9 or 16")
    return degree


def sh_basis(directions: Any, degree: int) -> Any:
    """Return the bases [..., K] at unit directions [..., 3], numpy or torch alike."""
    x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
    terms = [x * 0 + BASE]
    if degree >= 1:
        terms += [-_LINEAR * y, _LINEAR * z, -_LINEAR * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        terms += [
            2 * _SQUARE * x * y,
            -2 * _SQUARE * y * z,
            _SQUARE / np.sqrt(3) * (2 * zz - xx - yy),
            -2 * _SQUARE * x * z,
            _SQUARE * (xx - yy),
        ]
    if degree >= 3:
        terms += [
            -_CUBIC * y * (3 * xx - yy),
            2 * _CUBIC_MIXED * x * y * z,
            -_CUBIC_SIDE * y * (4 * zz - xx - yy),
            _CUBIC_AXIS * z * (2 * zz - 3 * xx - 3 * yy),
            -_CUBIC_SIDE * x * (4 * zz - xx - yy),
            _CUBIC_MIXED * z * (xx - yy),
            -_CUBIC * x * (xx - 3 * yy),
        ]
    stack = torch.stack if isinstance(directions, torch.Tensor) else np.stack
    return stack(terms, -1)


def evaluate_sh(sh_coeffs: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Return the colours [N, 3] seen along unit directions; differentiable in both."""
    expect(sh_coeffs, None, None, 3, name="sh_coeffs")
    expect(directions, len(sh_coeffs), 3, name="directions")
    degree = degree_of(sh_coeffs.shape[1])
    if sh_coeffs.device.type == "cpu" and sh_coeffs.dtype == directions.dtype == torch.float32:
        colors = _CompiledColors.apply(sh_coeffs, directions)
    else:
        colors = torch.bmm(sh_basis(directions, degree)[:, None, :], sh_coeffs)[:, 0]
    return (colors + 0.5).clamp(min=0.0)  # [N, 3]


class _CompiledColors(torch.autograd.Function):
    """Sum of coefficients times bases on the CPU; several times faster than the chain of torch calls."""

    @staticmethod
    def forward(ctx: Any, sh_coeffs: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        from core.radiance.sh_kernels import sh_forward

        coeffs, rays = sh_coeffs.detach().contiguous(), directions.detach().contiguous()
        bases, colors = coeffs.new_empty(coeffs.shape[:2]), torch.empty_like(rays)
        sh_forward(coeffs.numpy(), rays.numpy(), bases.numpy(), colors.numpy())
        ctx.save_for_backward(coeffs, rays, bases)
        return colors

    @staticmethod
    def backward(
        ctx: Any, gradients: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        from core.radiance.sh_kernels import sh_backward_coeffs, sh_backward_directions

        coeffs, rays, bases = ctx.saved_tensors
        given = gradients.contiguous().numpy()
        to_coeffs = to_directions = None
        if ctx.needs_input_grad[0]:
            to_coeffs = torch.empty_like(coeffs)
            sh_backward_coeffs(bases.numpy(), given, to_coeffs.numpy())
        if ctx.needs_input_grad[1]:
            to_directions, scratch = torch.empty_like(rays), torch.empty_like(bases)
            sh_backward_directions(
                coeffs.numpy(), rays.numpy(), given, scratch.numpy(), to_directions.numpy()
            )
        return to_coeffs, to_directions


def rotate_sh(sh_coeffs: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return the coefficients [N, K, 3] of the same colours after turning the scene by `rotation` [3, 3].

    A band's bases turn into mixtures of themselves, so the mixture is solved exactly from samples.
    """
    degree = degree_of(sh_coeffs.shape[1])
    samples = np.random.default_rng(0).normal(size=(64, 3))
    samples /= np.linalg.norm(samples, axis=1, keepdims=True)
    after = sh_basis(samples, degree)  # [S, K]
    before = sh_basis(samples @ rotation, degree)  # [S, K] at the unturned directions
    turned = np.empty_like(sh_coeffs)
    for band in range(degree + 1):
        rows = slice(band**2, (band + 1) ** 2)
        mixture = np.linalg.lstsq(after[:, rows], before[:, rows], rcond=None)[0]
        turned[:, rows] = np.einsum(
            "ij,njc->nic", mixture.astype(sh_coeffs.dtype), sh_coeffs[:, rows]
        )
    return turned
