"""What mixes tokens: depthwise and strip convolutions, linear attention, and what they are compared with.

x       [B, C, H, W]
q, k    [B, heads, N, d]  after ELU + 1, so positive; N = H * W, row by row
rows    A_ij = q_i k_j / sum_l q_i k_l, never made: A V = q (K^T V), linear in N

Asymmetrical decoupling: a third of the working channels goes to the global operator, the rest to
depthwise 3x3 and 7x7 filters. Stacked: all channels pass all three, one after the other, each
added to its input, as in the baseline MLLA.
"""

from __future__ import annotations

import torch
from torch import nn

from core.nn.attention import Trace

EPSILON = 1e-6  # in the normaliser of linear attention
STRIP, NARROW, BROAD = 11, 3, 7  # sides of the depthwise filters


def depthwise(channels: int, height: int, width: int | None = None) -> nn.Conv2d:
    """Return a filter of each channel by itself, as many places out as in."""
    kernel = (height, width or height)
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels)


class Strips(nn.Module):
    """Two crossing strips of eleven places instead of attention, in the early stages."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tall, self.wide = depthwise(channels, STRIP, 1), depthwise(channels, 1, STRIP)

    def forward(self, x: torch.Tensor, trace: Trace | None = None, name: str = "") -> torch.Tensor:
        """Return both strips' sum."""
        return self.tall(x) + self.wide(x)


class LinearAttention(nn.Module):
    """Linear attention of x with itself; queries and keys are projected, values are x."""

    def __init__(self, channels: int, head_width: int, is_softmax: bool = False) -> None:
        super().__init__()
        self.head_width, self.is_softmax = head_width, is_softmax
        self.query_key = nn.Conv2d(channels, 2 * channels, 1)

    def projected(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries and keys as they are multiplied, and values, [B, heads, N, d] each."""
        q, k = self.query_key(x).chunk(2, dim=1)
        q, k, v = (
            one.unflatten(1, (-1, self.head_width)).flatten(3).transpose(2, 3) for one in (q, k, x)
        )
        if self.is_softmax:
            return q, k, v
        return nn.functional.elu(q) + 1, nn.functional.elu(k) + 1, v

    def forward(self, x: torch.Tensor, trace: Trace | None = None, name: str = "") -> torch.Tensor:
        """Return what is found, [B, C, H, W]."""
        q, k, v = self.projected(x)
        kind, attend = "linear", linear_attention
        if self.is_softmax:
            kind, attend = "softmax", nn.functional.scaled_dot_product_attention
        found = attend(q, k, v)
        if trace is not None:
            parts = {"kind": kind, "q": q, "k": k, "v": v, "grid": tuple(x.shape[-2:])}
            parts["epsilon"] = 0.0 if self.is_softmax else EPSILON * x.shape[-2] * x.shape[-1]
            found = trace.attended(found, name=name, **parts)
        return found.transpose(2, 3).flatten(1, 2).unflatten(-1, x.shape[-2:])


def linear_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return z_i q_i (K^T V / N) with z_i = 1 / (q_i mean_j k_j + epsilon), [B, heads, N, d].

    The normaliser stays in float32: in half precision ELU + 1 of very negative numbers is zero.
    """
    mean = k.float().mean(dim=2, keepdim=True)  # [B, heads, 1, d]
    z = 1 / (q.float() @ mean.transpose(2, 3) + EPSILON)  # [B, heads, N, 1]
    return ((q @ key_values(k, v)).float() * z).to(q.dtype)


def key_values(k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return K^T V / N, all that is kept of the keys, [B, heads, d, d]."""
    return k.transpose(2, 3) @ (v / k.shape[2])


class Decoupled(nn.Module):
    """Split the channels: global operator | 3x3 | 7x7, a third each, side by side."""

    def __init__(self, width: int, head_width: int, is_softmax: bool = False) -> None:
        super().__init__()
        part = width // 3
        attention = LinearAttention(part, head_width, is_softmax) if head_width else Strips(part)
        self.globally = attention
        self.narrow, self.broad = depthwise(part, NARROW), depthwise(part, BROAD)

    def forward(self, x: torch.Tensor, trace: Trace | None = None, name: str = "") -> torch.Tensor:
        """Return the three groups in the order in which they came."""
        a, b, c = x.chunk(3, dim=1)
        return torch.cat([self.globally(a, trace, name), self.narrow(b), self.broad(c)], dim=1)


class Stacked(nn.Module):
    """All channels pass 3x3, 7x7 and the global operator in turn, each added to its input."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.narrow, self.broad = depthwise(width, NARROW), depthwise(width, BROAD)
        self.globally = LinearAttention(width, head_width) if head_width else Strips(width)

    def forward(self, x: torch.Tensor, trace: Trace | None = None, name: str = "") -> torch.Tensor:
        """Return all channels."""
        x = x + self.narrow(x)
        x = x + self.broad(x)
        return x + self.globally(x, trace, name)
