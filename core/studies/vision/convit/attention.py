"""Two kinds of self-attention over patches: gated by position (GPSA), and plain.

x     [B, N, C]     tokens; N = rows * columns of the grid, row by row; plain ones may lead with a class token
q, k  [B, h, N, d]  of each head, d = C / h
A     [B, h, N, N]  rows sum to one

d'Ascoli et al. 2021: multi-head attention eq. 1-3, the convolutional start eq. 5, the gate eq. 6-7,
non-locality eq. 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from core.nn.attention import Grid, Trace

CHUNK = 1024  # queries whose maps are made at a time
FIRST_LAMBDA = 1.0
FIRST_GATE = 1 / (1 + math.exp(-FIRST_LAMBDA))  # 0.731


@dataclass(frozen=True)
class Maps:
    """Weights by content [B, h, N, N], by position [h, N, N] (none in plain attention), and both mixed."""

    mix: torch.Tensor
    content: torch.Tensor
    places: torch.Tensor | None = None


def offsets(grid: Grid, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return r_ij = (dx, dy, dx^2 + dy^2) from query i to key j in patches, [N, N, 3]."""
    y, x = torch.meshgrid(*(torch.arange(size, device=device) for size in grid), indexing="ij")
    dx, dy = (one.flatten()[None, :] - one.flatten()[:, None] for one in (x, y))
    return torch.stack([dx, dy, dx**2 + dy**2], dim=-1).float()


def convolution_offsets(heads: int) -> list[tuple[float, float]]:
    """Return the offset (dx, dy) that each head starts at: a square of k x k heads, others have none."""
    side = math.isqrt(heads)
    middle = (side - 1) / 2 if side % 2 == 0 else side // 2
    return [(b - middle, a - middle) for a in range(side) for b in range(side)]


class PlainAttention(nn.Module):
    """Multi-head self-attention without biases on queries, keys and values (eq. 1-3)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key = nn.Linear(width, 2 * width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)

    def _split(self, values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, h, N, d]

    def projected(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values of all heads."""
        q, k = self.query_key(x).chunk(2, dim=-1)
        return self._split(q), self._split(k), self._split(self.value(x))

    def forward(
        self, x: torch.Tensor, grid: Grid, trace: Trace | None = None, name: str = ""
    ) -> torch.Tensor:
        """Return what all heads found, [B, N, C]; tokens before the grid are prefix tokens."""
        q, k, v = self.projected(x)
        found = nn.functional.scaled_dot_product_attention(q, k, v)
        if trace is not None:
            parts = {"q": q, "k": k, "v": v, "project": self.out.weight, "grid": grid}
            found = trace.attended(found, name=name, prefix=x.shape[1] - grid[0] * grid[1], **parts)
        return self.out(found.transpose(1, 2).flatten(2))

    def maps(self, x: torch.Tensor, grid: Grid) -> Maps:
        """Return the weights of whole batches."""
        content = _content(*self.projected(x)[:2])
        return Maps(content, content)


class GatedAttention(PlainAttention):
    """Gated positional self-attention: A = (1 - g) A_content + g A_position, one gate a head (eq. 6-7)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.position = nn.Linear(3, heads)
        self.gates = nn.Parameter(torch.full((heads,), FIRST_LAMBDA))  # lambda_h
        self.forced: float | None = None  # a gate that takes the place of all learned ones
        self._offsets: dict[tuple[Grid, torch.device], torch.Tensor] = {}

    @torch.no_grad()
    def start_local(self, strength: float) -> None:
        """Let every head look at one offset like a pixel of a convolution's kernel (eq. 5).

        w_h = strength (2 Delta_x, 2 Delta_y, -1), so that logits are -strength |delta - Delta|^2 + const.
        """
        if self.position.weight.is_meta:
            return
        self.value.weight.copy_(torch.eye(len(self.value.weight)))
        for head, (dx, dy) in enumerate(convolution_offsets(self.heads)):
            self.position.weight[head] = torch.tensor([2 * dx, 2 * dy, -1.0])
        self.position.weight.mul_(strength)

    @property
    def share(self) -> torch.Tensor:
        """The share of position in each head, [h]: 1 is position alone."""
        learned = torch.sigmoid(self.gates)
        return learned if self.forced is None else torch.full_like(learned, self.forced)

    def position_logits(self, grid: Grid) -> torch.Tensor:
        """Return w_h r_ij + b_h, [h, N, N]; offsets are kept by the grid's shape."""
        key = (grid, self.gates.device)
        if key not in self._offsets:
            self._offsets[key] = offsets(*key)
        return self.position(self._offsets[key]).movedim(-1, 0)

    def forward(
        self, x: torch.Tensor, grid: Grid, trace: Trace | None = None, name: str = ""
    ) -> torch.Tensor:
        """Return what all heads found, [B, N, C]; there is no class token yet."""
        assert x.shape[1] == grid[0] * grid[1], f"{x.shape[1]} tokens on a grid of {grid}"
        q, k, v = self.projected(x)
        logits = self.position_logits(grid)
        gate = self.share[:, None, None]
        found = torch.cat(
            [
                _mixed(_content(one, k), torch.softmax(places, dim=-1), gate) @ v
                for one, places in zip(q.split(CHUNK, 2), logits.split(CHUNK, 1), strict=True)
            ],
            dim=2,
        )
        if trace is not None:
            parts = {"q": q, "k": k, "v": v, "project": self.out.weight, "grid": grid}
            gated = {"kind": "gated", "position": logits, "gate": gate.flatten()}
            found = trace.attended(found, name=name, **parts, **gated)
        return self.out(found.transpose(1, 2).flatten(2))

    def maps(self, x: torch.Tensor, grid: Grid) -> Maps:
        """Return the weights of whole batches, by content, by position and mixed."""
        content = _content(*self.projected(x)[:2])
        places = torch.softmax(self.position_logits(grid), dim=-1)
        return Maps(_mixed(content, places, self.share[:, None, None]), content, places)


def _content(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), dim=-1)


def _mixed(content: torch.Tensor, places: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Mix two normalised maps; positions are the same for the whole batch and not repeated over it."""
    mix = torch.lerp(content, places, gate)
    return mix / mix.sum(dim=-1, keepdim=True)


def non_locality(weights: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Return D_h = (1/N) sum_ij A_ij |delta_ij| of each head in patches, averaged over pictures, [h] (eq. 8)."""
    count = grid[0] * grid[1]
    distance = offsets(grid, weights.device)[..., 2].sqrt()
    patches = weights[..., -count:, -count:]  # without the class token
    return (patches * distance).sum(dim=-1).mean(dim=(0, 2))
