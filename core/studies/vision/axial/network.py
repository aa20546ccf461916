"""The Axial Transformer: every value of a picture from the values before it, exactly.

    x         [B, H, W, C]          whole numbers 0..levels - 1
    order     channel by channel, inside a channel row by row, inside a row left to right
    channel   [B]                   the channel that is predicted in each picture
    cond      [B, H, W, D]          what earlier channels say (the exterior)
    upper     [B, H, W, D]          what rows above say (the outer stack, shifted down)
    logits    [B, H, W, levels]     of the channel's values

What logits (r, c) see: earlier channels whole, rows above r, columns left of c in row r.
Two baselines share the class: `full` attends across all earlier pixels of the flattened picture,
`row_only` has rows in place of columns. All three have the same parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from core.nn.attention import Trace
from core.studies.vision.axial.layers import NEARLY_ZERO, Axis, Block, Dense

EMBEDDING = 5.0  # standard deviation of embeddings times the root of their width


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network. The exterior exists where there is more than one channel."""

    height: int = 8
    width: int = 8  # of the picture
    channels: int = 1
    levels: int = 17
    features: int = 64  # of the hidden states: D
    heads: int = 4
    exterior: int = 0
    outer: int = 4
    inner: int = 2
    factor: int = 1
    dropout: float = 0.0
    kind: str = "axial"


class Places(nn.Module):
    """A vector for each place: that of its row plus that of its column."""

    def __init__(self, height: int, width: int, features: int) -> None:
        super().__init__()
        self.rows = embedding(height, features)
        self.columns = embedding(width, features)

    def forward(self) -> torch.Tensor:
        """Return [H, W, D]."""
        return self.rows[:, None] + self.columns


def embedding(count: int, features: int) -> nn.Parameter:
    """Return vectors [count, features] to learn."""
    return nn.Parameter(torch.randn(count, features) * (EMBEDDING / math.sqrt(features)))


class AxialTransformer(nn.Module):
    """The network, and its two baselines."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.table = embedding(sizes.levels, sizes.features)
        self.places = Places(sizes.height, sizes.width, sizes.features)
        self.exterior = nn.ModuleList()
        if sizes.channels > 1:
            self.exterior_input = nn.Conv2d(2 * sizes.channels, sizes.features, 3, padding=1)
            nn.init.trunc_normal_(self.exterior_input.weight, std=(18 * sizes.channels) ** -0.5)
            nn.init.zeros_(self.exterior_input.bias)
            self.exterior_places = Places(sizes.height, sizes.width, sizes.features)
            self.exterior.extend(self._alternating(sizes.exterior, is_causal=False))
        self.outer = nn.ModuleList(self._alternating(sizes.outer, is_causal=True))
        self.inner = nn.ModuleList(self._rows(sizes.inner))
        for stack in ("exterior", "outer", "inner"):
            for at, block in enumerate(getattr(self, stack)):
                block.name = f"{stack} {at + 1}, {block.name}"
        self.norm = nn.LayerNorm(sizes.features, eps=1e-5)
        self.read = Dense(sizes.features, sizes.levels, NEARLY_ZERO)

    def _alternating(self, count: int, *, is_causal: bool) -> list[Block]:
        """Return rows and columns in turn. Rows see both sides: the shift comes after them."""
        if self.sizes.kind == "full":
            return [self._block("all", is_causal=is_causal) for _ in range(count)]
        if self.sizes.kind == "row_only":
            return [self._block("row", is_causal=False) for _ in range(count)]
        return [
            self._block("column", is_causal=is_causal)
            if at % 2
            else self._block("row", is_causal=False)
            for at in range(count)
        ]

    def _rows(self, count: int) -> list[Block]:
        axis: Axis = "all" if self.sizes.kind == "full" else "row"
        return [self._block(axis, is_causal=True) for _ in range(count)]

    def _block(self, axis: Axis, *, is_causal: bool) -> Block:
        sizes = self.sizes
        return Block(
            sizes.features,
            sizes.heads,
            axis,
            is_causal=is_causal,
            factor=sizes.factor,
            dropout=sizes.dropout,
        )

    def forward(
        self,
        x: torch.Tensor,
        channel: torch.Tensor,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
    ) -> torch.Tensor:
        """Return logits [B, H, W, levels] of one channel of each picture."""
        slices = x.gather(-1, channel[:, None, None, None].expand(*x.shape[:3], 1))[..., 0]
        return self.logits(self.scaled(x), self.table[slices], channel, rng, trace)

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        """Return values as the exterior reads them, 0..1."""
        return x.to(self.table.dtype) / (self.sizes.levels - 1)

    def logits(
        self,
        values: torch.Tensor,
        e: torch.Tensor,
        channel: torch.Tensor,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
    ) -> torch.Tensor:
        """Return logits from values [B, H, W, C] of 0..1 and the channel's embedded ones e [B, H, W, D]."""
        cond = self.conditions(values, channel, rng, trace)
        if self.sizes.kind == "full":
            u = shift_on(e) + cond
            for block in (*self.outer, *self.inner):
                u = block(u, rng, trace)
            return self.read(self.norm(u))
        upper = self.upper_context(e, cond, rng, trace)
        return self.row_logits(shift_right(e) + upper + cond, rng, trace)

    def conditions(
        self,
        values: torch.Tensor,
        channel: torch.Tensor,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
    ) -> torch.Tensor:
        """Return places plus what channels before `channel` say, [B, H, W, D]."""
        places = self.places()
        if self.sizes.channels == 1:
            return places[None]
        channels = torch.arange(self.sizes.channels, device=channel.device)
        is_earlier = (channels < channel[:, None])[:, None, None]  # [B, 1, 1, C]
        is_current = (channels == channel[:, None])[:, None, None].expand(values.shape)
        planes = torch.cat((values * is_earlier, is_current.to(values.dtype)), dim=-1)
        h = self.exterior_input(planes.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        h = h + self.exterior_places()
        for block in self.exterior:
            h = block(h, rng, trace)
        return h + places

    def upper_context(
        self,
        e: torch.Tensor,
        cond: torch.Tensor,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
    ) -> torch.Tensor:
        """Return what rows above say, [B, H, W, D]: the shift takes each row's own values out again."""
        u = e + cond
        for block in self.outer:
            u = block(u, rng, trace)
        return shift_down(u)

    def row_logits(
        self, r: torch.Tensor, rng: torch.Generator | None = None, trace: Trace | None = None
    ) -> torch.Tensor:
        """Return logits of whole rows from their inputs r [B, rows, W, D]; nothing passes between rows."""
        for block in self.inner:
            r = block(r, rng, trace)
        return self.read(self.norm(r))


def shift_down(u: torch.Tensor) -> torch.Tensor:
    """Move rows down by one; the first becomes zero."""
    return nn.functional.pad(u[:, :-1], (0, 0, 0, 0, 1, 0))


def shift_right(u: torch.Tensor) -> torch.Tensor:
    """Move columns to the right by one; the first becomes zero."""
    return nn.functional.pad(u[:, :, :-1], (0, 0, 1, 0))


def shift_on(u: torch.Tensor) -> torch.Tensor:
    """Move every pixel to the place after it in reading order; the first becomes zero."""
    return nn.functional.pad(u.flatten(1, 2)[:, :-1], (0, 0, 1, 0)).reshape(u.shape)
