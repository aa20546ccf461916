"""The transformer: patches, blocks gated by position, then plain ones that a class token joins.

pictures [B, 3, H, W] -> tokens [B, N, C] -> blocks -> class token [B, C] -> logits [B, classes]

Pre-norm blocks x + GPSA(LN(x)), x + MLP(LN(x)); all weights of truncated normals first, the
convolutional start afterwards, so that nothing overwrites it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from core.nn.attention import Grid, Trace
from core.nn.seeded import paths_dropped
from core.studies.vision.convit.attention import GatedAttention, Maps, PlainAttention


@dataclass(frozen=True)
class Sizes:
    """What a network is made of. `gated` blocks come first; the class token joins after `late` blocks."""

    size: int
    patch: int
    channels: int
    classes: int
    width: int
    heads: int
    depth: int
    gated: int
    late: int
    strength: float = 1.0  # locality strength alpha of eq. 5; 0 starts with random positions
    spread: float = 0.0  # of first weights; 0 is one over the root of the width
    paths: float = 0.0  # share of branches dropped in the last block, rising from 0


class Block(nn.Module):
    """Attention, then a network of two layers, each added to its input."""

    def __init__(self, sizes: Sizes, at: int) -> None:
        super().__init__()
        kind = GatedAttention if at < sizes.gated else PlainAttention
        self.attention_norm = nn.LayerNorm(sizes.width, eps=1e-6)
        self.attention = kind(sizes.width, sizes.heads)
        self.mlp_norm = nn.LayerNorm(sizes.width, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(sizes.width, 4 * sizes.width),
            nn.GELU(),
            nn.Linear(4 * sizes.width, sizes.width),
        )
        self.paths = sizes.paths * at / max(sizes.depth - 1, 1)

    def forward(
        self,
        x: torch.Tensor,
        grid: Grid,
        rng: torch.Generator | None,
        trace: Trace | None = None,
        name: str = "",
    ) -> torch.Tensor:
        """Return tokens of the same shape; branches are dropped where an rng is given."""
        found = self.attention(self.attention_norm(x), grid, trace, name)
        x = x + paths_dropped(found, self.paths, rng)
        return x + paths_dropped(self.mlp(self.mlp_norm(x)), self.paths, rng)


class ConViT(nn.Module):
    """ConViT, and with no gated block the plain transformer it is compared with."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes, self.grid = sizes, (sizes.size // sizes.patch,) * 2
        count = self.grid[0] * self.grid[1]
        self.embed = nn.Conv2d(sizes.channels, sizes.width, sizes.patch, sizes.patch)
        self.places = nn.Parameter(torch.zeros(1, count, sizes.width))
        self.token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.blocks = nn.ModuleList(Block(sizes, at) for at in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width, eps=1e-6)
        self.classify = nn.Linear(sizes.width, sizes.classes)
        self._start()

    def _start(self) -> None:
        """Draw all weights, then lay the convolutional start over them."""
        if self.token.is_meta:
            return
        spread = self.sizes.spread or self.sizes.width**-0.5
        for part in (self.places, self.token):
            nn.init.trunc_normal_(part, std=spread)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=spread)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        if self.sizes.strength:
            for attention in self.gated:
                attention.start_local(self.sizes.strength)

    @property
    def gated(self) -> list[GatedAttention]:
        """The attention of every gated block."""
        found = (block.attention for block in self.blocks)
        return [one for one in found if isinstance(one, GatedAttention)]

    def decayed(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters that weight decay acts on, and gates, biases, places and token."""
        every = [*self.parameters()]
        kept = {id(self.places), id(self.token)} | {id(one) for one in every if one.dim() == 1}
        return [one for one in every if id(one) not in kept], [
            one for one in every if id(one) in kept
        ]

    def gates(self) -> torch.Tensor:
        """Return the share of position, [gated blocks, heads]."""
        found = [attention.share.detach() for attention in self.gated]
        return torch.stack(found) if found else torch.zeros(0, self.sizes.heads)

    def tokens(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return embedded patches with their places, row by row, [B, N, C]."""
        return self.embed(pictures).flatten(2).transpose(1, 2) + self.places

    def joined(self, x: torch.Tensor, at: int) -> torch.Tensor:
        """Put the class token in front where a block is the first to have it."""
        if at != self.sizes.late:
            return x
        return torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)

    def forward(
        self,
        pictures: torch.Tensor,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
    ) -> torch.Tensor:
        """Return logits [B, classes]."""
        x = self.tokens(pictures)
        for at, block in enumerate(self.blocks):
            x = block(self.joined(x, at), self.grid, rng, trace, f"block {at + 1}")
        return self.classify(self.norm(x[:, 0]))

    @torch.no_grad()
    def maps(self, pictures: torch.Tensor) -> list[Maps]:
        """Return the weights of every block for whole batches."""
        x, found = self.tokens(pictures), []
        for at, block in enumerate(self.blocks):
            x = self.joined(x, at)
            found.append(block.attention.maps(block.attention_norm(x), self.grid))
            x = block(x, self.grid, None)
        return found
