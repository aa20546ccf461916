"""Blocks of self-attention along one axis of a picture, and how their weights start.

    u        [B, H, W, D]   hidden states of a picture
    row      attends across the columns of one row     (H rows at a time, length W)
    column   attends across the rows of one column     (W columns at a time, length H)
    all      attends across all pixels, row by row     (one sequence, length H * W): the baseline

Ho et al. 2019, section 3; widths, activation and starting weights as in their released code.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from core.nn.attention import Trace
from core.nn.seeded import dropped

Axis = Literal["row", "column", "all"]
NEARLY_ZERO = 1e-10  # variance factor of what ends a residual: blocks start close to the identity


class Dense(nn.Linear):
    """A linear map whose weights have the variance `scale / inputs`."""

    def __init__(self, inputs: int, outputs: int, scale: float = 1.0) -> None:
        self.scale = scale
        super().__init__(inputs, outputs)

    def reset_parameters(self) -> None:
        """Draw the weights; biases are zero."""
        nn.init.trunc_normal_(self.weight, std=math.sqrt(self.scale / self.in_features))
        nn.init.zeros_(self.bias)


class Attention(nn.Module):
    """Multi-head dot-product attention along one axis; a mask keeps what is earlier, and itself."""

    def __init__(self, width: int, heads: int, axis: Axis, *, is_causal: bool) -> None:
        super().__init__()
        self.heads, self.axis, self.is_causal = heads, axis, is_causal
        self.query, self.key, self.value = (Dense(width, width) for _ in range(3))
        self.out = Dense(width, width, NEARLY_ZERO)

    def forward(
        self, u: torch.Tensor, trace: Trace | None = None, name: str = "attention"
    ) -> torch.Tensor:
        """Return what each place gathers along its axis, [B, H, W, D]."""
        lines = along(u, self.axis)  # [B, L, T, D]
        q, k, v = (self._split(part(lines)) for part in (self.query, self.key, self.value))
        found = attend(q, k, v, is_causal=self.is_causal)  # [B, L, heads, T, d]
        if trace is not None:
            found = self._traced(found, (q, k, v), u.shape, trace, name)
        joined = found.transpose(2, 3).flatten(3)  # [B, L, T, D]
        return self.out(back(joined, self.axis, u.shape))

    def _traced(
        self,
        found: torch.Tensor,
        parts: tuple[torch.Tensor, ...],
        shape: torch.Size,
        trace: Trace,
        name: str,
    ) -> torch.Tensor:
        """Hand over what was multiplied, all lines as one list of pixels; go on with what comes back."""
        q, k, v = (_pixels(part, self.axis) for part in parts)
        changed = trace.attended(
            _pixels(found, self.axis),
            name=name,
            kind="softmax" if self.axis == "all" else "axial",
            q=q,
            k=k,
            v=v,
            axis="" if self.axis == "all" else self.axis,
            is_causal=self.is_causal,
            project=self.out.weight,
            grid=(shape[1], shape[2]),
        )
        return _lines(changed, self.axis, shape)

    def _split(self, lines: torch.Tensor) -> torch.Tensor:
        return lines.unflatten(-1, (self.heads, -1)).transpose(2, 3)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, is_causal: bool) -> torch.Tensor:
    """Return softmax(q k^T / sqrt(d)) v for lines [..., T, d]."""
    if q.is_cuda:
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
    exponents = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)  # [..., T, T]
    if is_causal:  # on lines this short the fused kernel of processors is no quicker
        is_later = torch.ones(exponents.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        exponents = exponents.masked_fill(is_later, -math.inf)
    return torch.softmax(exponents, dim=-1) @ v


def along(u: torch.Tensor, axis: Axis) -> torch.Tensor:
    """Return the lines [B, L, T, D] of a picture's states [B, H, W, D] along an axis."""
    if axis == "row":
        return u
    return u.transpose(1, 2) if axis == "column" else u.flatten(1, 2)[:, None]


def back(lines: torch.Tensor, axis: Axis, shape: torch.Size) -> torch.Tensor:
    """Put lines [B, L, T, D] back where `along` took them from, [B, H, W, D]."""
    if axis == "row":
        return lines
    return lines.transpose(1, 2) if axis == "column" else lines.reshape(shape)


def _pixels(lines: torch.Tensor, axis: Axis) -> torch.Tensor:
    """Return lines [B, L, heads, T, d] as pixels in reading order, [B, heads, H * W, d]."""
    by_head = lines.permute(0, 2, 3, 1, 4) if axis == "column" else lines.transpose(1, 2)
    return by_head.flatten(2, 3)


def _lines(pixels: torch.Tensor, axis: Axis, shape: torch.Size) -> torch.Tensor:
    """Return pixels [B, heads, H * W, d] of a picture [B, H, W, D] as lines, what `_pixels` took."""
    if axis == "all":
        return pixels[:, None]
    by_head = pixels.unflatten(2, shape[1:3])  # [B, heads, H, W, d]
    return by_head.permute(0, 3, 1, 2, 4) if axis == "column" else by_head.transpose(1, 2)


class Block(nn.Module):
    """Attention along an axis, then a small network at each place; both add to what they are given."""

    def __init__(
        self, width: int, heads: int, axis: Axis, *, is_causal: bool, factor: int, dropout: float
    ) -> None:
        super().__init__()
        self.name: str = axis
        self.attention = Attention(width, heads, axis, is_causal=is_causal)
        self.before, self.between = nn.LayerNorm(width, eps=1e-5), nn.LayerNorm(width, eps=1e-5)
        self.wide = Dense(width, factor * width)
        self.narrow = Dense(factor * width, width, NEARLY_ZERO)
        self.dropout = dropout

    def forward(
        self, u: torch.Tensor, rng: torch.Generator | None = None, trace: Trace | None = None
    ) -> torch.Tensor:
        """Return the next states [B, H, W, D]; values are dropped where rng is given."""
        found = self.attention(self.before(u), trace, self.name)
        u = u + dropped(found, self.dropout, rng)
        z = self.wide(self.between(u))
        z = z * torch.sigmoid(1.702 * z)
        return u + dropped(self.narrow(z), self.dropout, rng)
