"""The network: a table of groups becomes blocks; a block expands, filters each channel, projects linearly.

    pictures   [B, channels, H, W]
    logits     [B, classes]
    record     {"0.before", "0.expanded", "0.filtered", "0.projected", ..., "last": [B, C, h, w]}

Sandler et al. 2018: the block is their table 1, the network table 2, the order of its layers figure 4d.
No convolution has a bias: batch normalisation brings it. ReLU6 is min(max(z, 0), 6), a range that
few bits hold. MobileNetV1 (Howard et al. 2017, table 1) stands beside it from the same kind of table.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from core.nn.attention import Trace

Record = dict[str, torch.Tensor]
Skips = Literal["bottlenecks", "expansions", "none"]
SMALLEST_SHARE = 0.9  # rounding never takes more than a tenth of the channels that were asked for


@dataclass(frozen=True)
class Group:
    """One row of the paper's table 2, (t, c, n, s); an expansion of 0 is a block of MobileNetV1."""

    expansion: int
    channels: int
    count: int
    stride: int


@dataclass(frozen=True)
class Table:
    """A whole network: its first convolution, its groups and its last 1x1 convolution (0: none)."""

    stem: int
    stem_stride: int
    groups: tuple[Group, ...]
    last: int


PAPER = Table(
    32,
    2,
    (
        Group(1, 16, 1, 1),
        Group(6, 24, 2, 2),
        Group(6, 32, 3, 2),
        Group(6, 64, 4, 2),
        Group(6, 96, 3, 1),
        Group(6, 160, 3, 2),
        Group(6, 320, 1, 1),
    ),
    1280,
)
SMALL = Table(
    8, 1, (Group(1, 8, 1, 1), Group(6, 8, 2, 2), Group(6, 16, 3, 2), Group(6, 24, 2, 1)), 96
)
PAPER_V1 = Table(
    32,
    2,
    (
        Group(0, 64, 1, 1),
        Group(0, 128, 1, 2),
        Group(0, 128, 1, 1),
        Group(0, 256, 1, 2),
        Group(0, 256, 1, 1),
        Group(0, 512, 1, 2),
        Group(0, 512, 5, 1),
        Group(0, 1024, 1, 2),
        Group(0, 1024, 1, 1),
    ),
    0,
)
SMALL_V1 = Table(
    8,
    1,
    (
        Group(0, 16, 1, 1),
        Group(0, 32, 1, 2),
        Group(0, 48, 2, 1),
        Group(0, 88, 1, 2),
        Group(0, 96, 2, 1),
    ),
    0,
)


def divisible(wanted: float, by: int = 8) -> int:
    """Round channels to a multiple of 8, never below 90 % of what was asked for."""
    found = max(by, int(wanted + by / 2) // by * by)
    return found + by if found < SMALLEST_SHARE * wanted else found


def scaled(table: Table, width: float) -> Table:
    """Return the table of a width multiplier; the last layer only grows with it."""
    groups = tuple(
        replace(group, channels=divisible(width * group.channels)) for group in table.groups
    )
    last = divisible(max(1.0, width) * table.last) if table.last else 0
    return replace(table, stem=divisible(width * table.stem), groups=groups, last=last)


def convolution(
    inputs: int, outputs: int, *, side: int = 1, stride: int = 1, is_depthwise: bool = False
) -> list[nn.Module]:
    """Return a convolution and its batch normalisation."""
    groups = inputs if is_depthwise else 1
    return [
        nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class InvertedResidual(nn.Module):
    """Expand thin to wide, filter every channel by itself, project to thin without an activation."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, *, is_linear: bool = True
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.hidden, self.stride = (
            inputs,
            outputs,
            expansion * inputs,
            stride,
        )
        self.has_skip = stride == 1 and inputs == outputs
        self.joins_expansions = False
        wide = self.hidden
        expand = [*convolution(inputs, wide), nn.ReLU6()] if expansion > 1 else []
        self.expand = nn.Sequential(*expand)
        self.filter = nn.Sequential(
            *convolution(wide, wide, side=3, stride=stride, is_depthwise=True), nn.ReLU6()
        )
        after = [] if is_linear else [nn.ReLU6()]
        self.project = nn.Sequential(*convolution(wide, outputs), *after)

    def forward(
        self, thin: torch.Tensor, wider: torch.Tensor | None = None, record: Record | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the thin output and the expanded tensor; `wider` is that of the block before."""
        expanded = self.expand(thin)  # [B, t k, h, w]
        if self.joins_expansions and wider is not None:
            expanded = expanded + wider
        filtered = self.filter(expanded)  # [B, t k, h / s, w / s]
        projected = self.project(filtered)  # [B, k', h / s, w / s]
        if record is not None:
            record.update(before=thin, expanded=expanded, filtered=filtered, projected=projected)
        return (thin + projected if self.has_skip else projected), expanded


class Separable(nn.Module):
    """A block of MobileNetV1: filter every channel by itself, then mix; an activation after both."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inputs, self.outputs, self.hidden, self.stride = inputs, outputs, inputs, stride
        self.has_skip = self.joins_expansions = False
        depthwise = convolution(inputs, inputs, side=3, stride=stride, is_depthwise=True)
        self.filter = nn.Sequential(*depthwise, nn.ReLU6())
        self.project = nn.Sequential(*convolution(inputs, outputs), nn.ReLU6())

    def forward(
        self, thin: torch.Tensor, _wider: torch.Tensor | None = None, record: Record | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the output and the input, as an inverted residual does."""
        filtered = self.filter(thin)
        projected = self.project(filtered)
        if record is not None:
            record.update(before=thin, expanded=thin, filtered=filtered, projected=projected)
        return projected, thin


class MobileNet(nn.Module):
    """A network out of a table; which tensors its skips join, and what follows a projection, are choices."""

    def __init__(
        self,
        table: Table,
        *,
        channels: int,
        classes: int,
        is_linear: bool = True,
        skips: Skips = "bottlenecks",
    ) -> None:
        super().__init__()
        self.table = table
        first = convolution(channels, table.stem, side=3, stride=table.stem_stride)
        self.stem = nn.Sequential(*first, nn.ReLU6())
        self.blocks = nn.ModuleList(_blocks(table, is_linear))
        _join(self.blocks, skips)
        width = self.blocks[-1].outputs
        last = [*convolution(width, table.last), nn.ReLU6()] if table.last else []
        self.last = nn.Sequential(*last)
        self.classify = nn.Linear(table.last or width, classes)
        _initialise(self)

    def forward(
        self, pictures: torch.Tensor, record: Record | None = None, trace: Trace | None = None
    ) -> torch.Tensor:
        """Return logits [B, classes]; a record receives all tensors, a trace what each part gives."""
        thin, wider = self.stem(pictures), None
        for at, block in enumerate(self.blocks):
            own: Record | None = None if record is None else {}
            thin, wider = block(thin, wider, own)
            if trace is not None:
                thin = trace.features(thin, name=f"block {at}")
            if record is not None and own is not None:
                record.update({f"{at}.{name}": found for name, found in own.items()})
        features = self.last(thin)  # [B, last, h, w]
        if trace is not None and self.table.last:
            features = trace.features(features, name="last layer")
        if record is not None:
            record["last"] = features
        return self.classify(features.mean(dim=(2, 3)))


def _blocks(table: Table, is_linear: bool) -> list[nn.Module]:
    """Return the blocks of all groups; the stride belongs to the first of a group."""
    found: list[nn.Module] = []
    inputs = table.stem
    for group in table.groups:
        for at in range(group.count):
            stride = group.stride if at == 0 else 1
            if group.expansion == 0:
                found.append(Separable(inputs, group.channels, stride))
            else:
                sizes = (inputs, group.channels, group.expansion, stride)
                found.append(InvertedResidual(*sizes, is_linear=is_linear))
            inputs = group.channels
    return found


def _join(blocks: nn.ModuleList, skips: Skips) -> None:
    """Leave the skips as they are, take them out, or put them between expansions (figure 6b)."""
    if skips == "bottlenecks":
        return
    for block in blocks:
        block.has_skip = False
    if skips == "expansions":
        for before, block in itertools.pairwise(blocks):
            block.joins_expansions = before.stride == 1 and before.hidden == block.hidden


def _initialise(module: nn.Module) -> None:
    """Draw convolutions by their outputs' fan (He et al. 2015) and the classifier near zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out")
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.01)
            nn.init.zeros_(part.bias)
