"""Multiresolution hash grid: trainable features at the vertices of L grids, blended around a point.

    u        [V, 3]      points, 0..1; receive no gradient
    table    [L, T, F]   the parameter
    ->
    encoded  [V, L * F]  levels side by side, coarsest first

Same numbers as tiny-cuda-nn (Mueller et al. 2022, section 3): level l has scale_l = base * b^l - 1
and ceil(scale_l) + 1 vertices per axis; a point sits at u * scale_l + 0.5; vertices are numbered row
by row while they fit into T, hashed otherwise. Every level owns T rows here, even where a coarse
level needs fewer: one rectangular parameter is simpler than a list of offsets.

Most rows get no gradient in a step. The backward therefore sums into one persistent gradient
(which is also `table.grad`) and marks the rows it touched, so that an optimizer can visit and
clear only those (`RowAdam.step_marked` does). `torch.autograd.grad` does not see the table. On CUDA
the sums are made by atomic additions in no fixed order: two runs agree to rounding, not bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator

from core.base.config import Config
from core.base.shapes import expect
from core.nn import hashgrid_kernels as kernels
from core.nn import triton_probe

INITIAL_RANGE = 1e-4


class HashGridConfig(Config):
    """Multiresolution hash grid that stores the neural half of a hybrid field."""

    levels: int = Field(16, ge=1, le=40, description="Number of resolutions.")
    features: int = Field(2, ge=1, le=8, description="Feature channels per level.")
    log2_table: int = Field(17, ge=6, le=24, description="Log2 of the rows per level.")
    base_resolution: int = Field(64, ge=2, le=1024, description="Coarsest cells per axis.")
    max_resolution: int = Field(1024, ge=2, le=16384, description="Finest cells per axis.")

    @model_validator(mode="after")
    def _levels_become_finer(self) -> HashGridConfig:
        if self.max_resolution < self.base_resolution:
            raise ValueError(
                f"max_resolution is {self.max_resolution}, below base_resolution "
                f"{self.base_resolution}; make it at least as large"
            )
        return self

    @property
    def width(self) -> int:
        """Channels handed to the network."""
        return self.levels * self.features

    @property
    def rows(self) -> int:
        """Rows of the table per level (T)."""
        return 1 << self.log2_table

    def scales(self) -> np.ndarray:
        """Return cells across the unit cube per level [L], float32."""
        growth = np.log2(self.max_resolution / self.base_resolution) / max(self.levels - 1, 1)
        return (self.base_resolution * 2.0 ** (np.arange(self.levels) * growth) - 1).astype(
            np.float32
        )

    def resolutions(self) -> np.ndarray:
        """Return vertices per axis of every level [L]."""
        return np.ceil(self.scales()).astype(np.int64) + 1

    def strides(self) -> np.ndarray:
        """Return vertices per axis where a level is stored densely, 0 where it is hashed, [L] uint32."""
        resolutions = self.resolutions()
        return np.where(resolutions**3 <= self.rows, resolutions, 0).astype(np.uint32)

    def used_rows(self) -> np.ndarray:
        """Return the rows each level can reach [L] uint32: dense levels are rounded up to eights."""
        return np.minimum((self.resolutions() ** 3 + 7) // 8 * 8, self.rows).astype(np.uint32)


class HashGrid(torch.nn.Module):
    """Trainable hash grid: in float32 compiled loops on the CPU and Triton on CUDA, else plain torch.

    Where Triton runs, `reads_half` makes it read the table in float16; the parameter stays float32.
    """

    reads_half = False

    def __init__(self, config: HashGridConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        shape = (config.levels, config.rows, config.features)
        device = generator.device if generator is not None else None
        table = torch.empty(shape, device=device).uniform_(
            -INITIAL_RANGE, INITIAL_RANGE, generator=generator
        )
        self.table = torch.nn.Parameter(table)
        self.layout = (config.scales(), config.strides(), config.used_rows())
        self._gradient: torch.Tensor | None = None  # [L, T, F], made by the first backward
        self._touched: torch.Tensor | None = None  # [L, T] uint8

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Encode points [V, 3] of the unit cube, [V, L * F]."""
        expect(u, None, 3, name="u")
        return _Encode.apply(self.table, u.detach(), self)

    def gradient(self) -> torch.Tensor:
        """Return the gradient summed since it was last cleared [L, T, F]; it is `table.grad`."""
        self._attach_gradient()
        return self._gradient

    def touched(self) -> torch.Tensor:
        """Return the mask [L, T] uint8 of rows whose gradient was written since it was last cleared."""
        self._attach_gradient()
        return self._touched

    def _attach_gradient(self) -> None:
        """Make `table.grad` the persistent gradient; one dropped or replaced by others starts from it."""
        table, gradient = self.table, self._gradient
        if gradient is None or gradient.device != table.device or gradient.dtype != table.dtype:
            self._gradient = torch.zeros_like(table, requires_grad=False)
            self._touched = torch.zeros(table.shape[:2], dtype=torch.uint8, device=table.device)
        elif table.grad is not gradient:  # somebody set it to None, as optimizers do
            self._gradient.zero_()
            self._touched.zero_()
        if table.grad is not None and table.grad is not self._gradient:
            self._gradient.copy_(table.grad)
            self._touched.copy_((table.grad != 0).any(-1))
        table.grad = self._gradient


def encode_reference(
    table: torch.Tensor, u: torch.Tensor, layout: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> torch.Tensor:
    """Encode with plain torch operations in any precision; autograd differentiates it."""
    levels, _, features = table.shape
    rows, weights = zip(*(_corners(u, *level) for level in zip(*layout, strict=True)), strict=True)
    blended = [
        (table[level][rows[level]] * weights[level][..., None]).sum(1) for level in range(levels)
    ]  # L of [V, F]
    return torch.stack(blended, dim=1).reshape(len(u), levels * features)


def _corners(
    u: torch.Tensor, scale: np.float32, stride: np.uint32, used: np.uint32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows [V, 8] and weights [V, 8] of one level; rows in 64 bits."""
    position = u * float(scale) + 0.5  # [V, 3]
    cell = position.floor()
    fraction = position - cell
    corner = torch.arange(8, device=u.device)
    offsets = torch.stack((corner & 1, corner >> 1 & 1, corner >> 2 & 1), dim=-1)  # [8, 3]
    x, y, z = (cell.long()[:, None] + offsets).unbind(-1)  # each [V, 8]
    if stride > 0:
        rows = (x + y * int(stride) + z * int(stride) ** 2) % int(used)
    else:
        rows = (x ^ (y * int(kernels.PRIME_Y)) ^ (z * int(kernels.PRIME_Z))) & (int(used) - 1)
    near = torch.where(offsets.bool(), fraction[:, None], 1 - fraction[:, None])  # [V, 8, 3]
    return rows, near.prod(-1)


class _Encode(torch.autograd.Function):
    """Encoding whose backward sums into the grid's persistent gradient."""

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, u: torch.Tensor, grid: HashGrid) -> torch.Tensor:
        u = u.to(table.dtype).contiguous()
        ctx.save_for_backward(u)
        ctx.grid = grid
        if triton_probe.is_usable(grid.reads_half, table, u):
            from core.nn import triton_hashgrid

            return triton_hashgrid.encode(u, table, grid.layout, grid.reads_half)
        if not _is_compiled(table):
            return encode_reference(table, u, grid.layout)
        encoded = torch.empty(len(u), grid.config.width)
        kernels.encode(u.numpy(), table.detach().numpy(), *grid.layout, encoded.numpy())
        return encoded

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[None, None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None, None
        (u,), grid = ctx.saved_tensors, ctx.grid
        gradient, touched = grid.gradient(), grid.touched()
        if _is_compiled(gradient):
            upstream = upstream.contiguous()
            kernels.encode_backward(
                u.numpy(), upstream.numpy(), *grid.layout, gradient.numpy(), touched.numpy()
            )
            return None, None, None
        if triton_probe.is_usable(grid.reads_half, gradient, u, upstream):
            from core.nn import triton_hashgrid

            triton_hashgrid.encode_backward(u, upstream, grid.layout, gradient, touched)
            return None, None, None
        features = grid.config.features
        for level, settings in enumerate(zip(*grid.layout, strict=True)):
            rows, weights = _corners(u, *settings)
            given = upstream[:, level * features : (level + 1) * features]
            shares = weights[..., None] * given[:, None]  # [V, 8, F]
            gradient[level].index_add_(0, rows.reshape(-1), shares.reshape(-1, features))
            touched[level].index_fill_(0, rows.reshape(-1), 1)
        return None, None, None


def _is_compiled(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32
