"""The backbone: stages of decoupled blocks whose groups of channels interact twice.

x       [B, C, H, W], C = M + F: memory channels first, then the working ones: global | 3x3 | 7x7
f       first interaction, local with global:  f + project(filter(GELU(expand(BN(f)))))
y       second interaction, with the memory:   the same over [m | f]; memory is read and written here alone
block   x + gamma y, gamma of each channel close to zero at first

The last block keeps its expansion: no projection, no residuals, no gamma; its width is what two heads read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from core.nn.attention import Trace
from core.nn.seeded import paths_dropped
from core.studies.vision.care.layers import Decoupled, Stacked, depthwise

GROUPS = ("memory", "global", "3x3", "7x7")
SPREAD = 0.02  # of all first weights


@dataclass(frozen=True)
class Stage:
    """Blocks of one resolution; a head width of 0 has strips instead of attention."""

    depth: int
    width: int  # F, working channels
    memory: int  # M
    ratios: tuple[int, int]  # of both interactions' expansions
    head_width: int = 0

    @property
    def channels(self) -> int:
        """All of them."""
        return self.width + self.memory


@dataclass(frozen=True)
class Sizes:
    """What a network is made of. `kind` is how blocks mix tokens: decoupled, softmax or stacked."""

    stages: tuple[Stage, ...]
    channels: int
    classes: int
    stem: int  # pixels along a side of the first tokens
    first_gamma: float
    paths: float = 0.0
    kind: str = "decoupled"


def _stages(
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    ratios: tuple[tuple[int, int], ...],
    head_widths: tuple[int, ...],
) -> tuple[Stage, ...]:
    parts = zip(depths, widths, ratios, head_widths, strict=True)
    return tuple(Stage(d, width, width // 3, r, head) for d, width, r, head in parts)


HEADS = (0, 0, 16, 32)
PAPER = {
    "S0": _stages((2, 4, 8, 4), (24, 48, 96, 192), ((2, 2), (2, 4), (4, 4), (4, 4)), HEADS),
    "S1": _stages((3, 6, 10, 6), (24, 48, 96, 192), ((2, 4), (2, 4), (4, 4), (4, 4)), HEADS),
    "S2": _stages((3, 6, 10, 6), (24, 48, 144, 288), ((4, 4),) * 4, HEADS),
}
TABLES = {
    **PAPER,
    "small": _stages((1, 2, 2), (24, 48, 72), ((2, 2),) * 3, (0, 8, 8)),
    "tiny": _stages((1, 1), (24, 24), ((2, 2),) * 2, (0, 8)),
}


class Interaction(nn.Module):
    """BN, expand by a 1x1, GELU, filter by a depthwise 3x3, project by a 1x1, added to the input."""

    def __init__(self, channels: int, ratio: int, is_last: bool = False) -> None:
        super().__init__()
        wide = ratio * channels
        self.norm = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, wide, 1)
        self.filter = depthwise(wide, 3)
        self.project = None if is_last else nn.Conv2d(wide, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x with what has been exchanged; where it is the last, the wide channels alone."""
        wide = self.filter(nn.functional.gelu(self.expand(self.norm(x))))
        return wide if self.project is None else x + self.project(wide)


class Block(nn.Module):
    """Mix tokens group by group, let the groups interact, let them interact with the memory."""

    def __init__(self, stage: Stage, sizes: Sizes, paths: float, is_last: bool) -> None:
        super().__init__()
        self.memory, self.paths = stage.memory, paths
        if sizes.kind == "stacked":
            self.mix: nn.Module = Stacked(stage.width, stage.head_width)
        else:
            self.mix = Decoupled(stage.width, stage.head_width, sizes.kind == "softmax")
        self.locally = Interaction(stage.width, stage.ratios[0])
        self.recall = Interaction(stage.channels, stage.ratios[1], is_last)
        first = torch.full((stage.channels, 1, 1), sizes.first_gamma)
        self.gamma = None if is_last else nn.Parameter(first)

    def forward(
        self,
        x: torch.Tensor,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
        name: str = "",
    ) -> torch.Tensor:
        """Return [B, C, H, W], of the last block [B, ratio * C, H, W]."""
        memory, working = x.split([self.memory, x.shape[1] - self.memory], dim=1)
        working = self.locally(self.mix(working, trace, name))
        found = self.recall(torch.cat([memory, working], dim=1))
        return (
            found if self.gamma is None else x + paths_dropped(self.gamma * found, self.paths, rng)
        )


class Head(nn.Module):
    """Mean over places, GELU, LayerNorm, a linear map."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm, self.classify = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [B, classes]."""
        return self.classify(self.norm(nn.functional.gelu(x.mean(dim=(2, 3)))))


class CARE(nn.Module):
    """The backbone with two heads: one for the class, one for what a teacher says."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes, stages = sizes, sizes.stages
        first = nn.Conv2d(sizes.channels, stages[0].channels, sizes.stem, sizes.stem)
        self.downs = nn.ModuleList([nn.Sequential(first, nn.BatchNorm2d(stages[0].channels))])
        for before, after in itertools.pairwise(stages):
            down = nn.Conv2d(before.channels, after.channels, 2, 2)
            self.downs.append(nn.Sequential(nn.BatchNorm2d(before.channels), down))
        count = sum(stage.depth for stage in stages)
        shares = (sizes.paths * at / max(count - 1, 1) for at in range(count))
        self.stages = nn.ModuleList(
            nn.ModuleList(
                Block(stage, sizes, next(shares), stage is stages[-1] and at == stage.depth - 1)
                for at in range(stage.depth)
            )
            for stage in stages
        )
        width = stages[-1].ratios[1] * stages[-1].channels
        self.heads = nn.ModuleList(Head(width, sizes.classes) for _ in range(2))
        for part in self.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)) and not part.weight.is_meta:
                nn.init.trunc_normal_(part.weight, std=SPREAD)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def blocks(self) -> Iterator[tuple[str, Block]]:
        """Return every block with its name, from the pictures on."""
        for stage, blocks in enumerate(self.stages):
            for at, block in enumerate(blocks):
                yield f"stage {stage + 1}, block {at + 1}", block

    def features(
        self, pictures: torch.Tensor, rng: torch.Generator | None = None, trace: Trace | None = None
    ) -> torch.Tensor:
        """Return what the heads read, [B, width, H, W]."""
        x = pictures
        for stage, (down, blocks) in enumerate(zip(self.downs, self.stages, strict=True)):
            x = down(x)
            for at, block in enumerate(blocks):
                x = block(x, rng, trace, f"stage {stage + 1}, block {at + 1}")
            if trace is not None:
                x = trace.features(x, name=f"stage {stage + 1}")
        return x

    def both(
        self, pictures: torch.Tensor, rng: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of the class and of the teacher's class, for training."""
        x = self.features(pictures, rng)
        return self.heads[0](x), self.heads[1](x)

    def forward(self, pictures: torch.Tensor, trace: Trace | None = None) -> torch.Tensor:
        """Return the mean of both heads' logits [B, classes]."""
        x = self.features(pictures, trace=trace)
        return (self.heads[0](x) + self.heads[1](x)) / 2
