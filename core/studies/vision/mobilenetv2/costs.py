"""What a network costs: counted from its table, counted while it runs, and by the clock.

A stride-1 block costs h w (t k) (k + 9 + k') multiply-adds (the paper's section 3.3); with a stride the
filter and the projection run on the smaller picture, and without an expansion its k is left out.
The authors' published tables leave batch normalisation out of the parameters: it is folded into
the convolutions before a network is shipped. Both counts are given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from core.nn.macs import by_part, multiply_adds
from core.studies.vision.mobilenetv2.network import MobileNet, Table

Result = TypeVar("Result")
REPEATS = 3  # of a measurement by the clock; the quickest counts


@dataclass(frozen=True)
class Cost:
    """The cost of one part: products and weights of its maps, and its normalisation's parameters."""

    name: str
    multiply_adds: int
    weights: int
    norms: int

    @property
    def parameters(self) -> int:
        """Everything that learns."""
        return self.weights + self.norms


def closed_form(table: Table, *, size: int, channels: int, classes: int) -> tuple[Cost, ...]:
    """Return the cost of every part of a network at pictures of size x size, without building it."""
    side = _smaller(size, table.stem_stride)
    stem = 9 * channels * table.stem
    found = [Cost("stem", side * side * stem, stem, 2 * table.stem)]
    inputs, at = table.stem, 0
    for group in table.groups:
        for block in range(group.count):
            stride = group.stride if block == 0 else 1
            after = _smaller(side, stride)
            found.append(
                _block(f"blocks.{at}", inputs, group.channels, group.expansion, side, after)
            )
            inputs, side, at = group.channels, after, at + 1
    if table.last:
        weights = inputs * table.last
        found.append(Cost("last", side * side * weights, weights, 2 * table.last))
    width = table.last or inputs
    found.append(Cost("classify", width * classes, (width + 1) * classes, 0))
    return tuple(found)


def _block(name: str, inputs: int, outputs: int, expansion: int, before: int, after: int) -> Cost:
    """Return the cost of one block from a side before to a side after its stride."""
    wide = (
        max(1, expansion) * inputs
    )  # a block of MobileNetV1 has expansion 0: it filters its input
    expand = inputs * wide if expansion > 1 else 0
    smaller = 9 * wide + wide * outputs  # filter and projection
    norms = 2 * ((wide if expansion > 1 else 0) + wide + outputs)
    return Cost(name, before**2 * expand + after**2 * smaller, expand + smaller, norms)


def _smaller(side: int, stride: int) -> int:
    """Return the side after a stride, with a border of one around a 3x3 kernel."""
    return (side - 1) // stride + 1


def running(module: MobileNet, picture: torch.Tensor) -> dict[str, int]:
    """Return the multiply-adds of every part as counted while one picture [1, C, H, W] runs through."""
    counts = by_part(multiply_adds(module, picture), depth=2)
    found: dict[str, int] = {}
    for name, count in counts.items():
        part = name if name.startswith("blocks.") else name.partition(".")[0]
        found[part] = found.get(part, 0) + count
    return {name: count for name, count in found.items() if count}


@torch.no_grad()
def milliseconds(module: MobileNet, pictures: torch.Tensor) -> dict[str, float]:
    """Return how long every part takes for these pictures, by the clock; the module is in evaluation."""
    found: dict[str, float] = {}
    for _ in range(REPEATS):
        thin, wider = _timed(found, "stem", lambda: (module.stem(pictures), None))
        for at, block in enumerate(module.blocks):
            thin, wider = _timed(found, f"blocks.{at}", lambda b=block, x=thin, w=wider: b(x, w))
        if module.table.last:
            thin, _ = _timed(found, "last", lambda x=thin: (module.last(x), None))
        _timed(found, "classify", lambda x=thin: module.classify(x.mean(dim=(2, 3))))
    return found


def _timed(found: dict[str, float], name: str, call: Callable[[], Result]) -> Result:
    began = time.perf_counter()
    result = call()
    spent = 1000 * (time.perf_counter() - began)
    found[name] = min(spent, found.get(name, spent))
    return result
