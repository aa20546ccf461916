"""What attention along axes costs beside attention across all pixels, measured.

    pixels      N = side * side
    map bytes   of the attention weights that one training step keeps, counted as they are kept
    seconds     processor time of one step (forward and backward) of two blocks

The exponent of a cost is its slope between the two largest sides, log(cost) over log(N): where
N is small, what does not depend on attention hides it. The paper has 3/2 for axes and 2 for all.
"""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

import torch

from core.nn.seeded import seeded
from core.studies.vision.axial.layers import Axis, Block

WIDTH, HEADS = 24, 2  # a head of 12 numbers: no side of a picture, so that maps are told apart
LEAST_S, MOST_REPEATS = 0.3, 15
AXES: dict[str, tuple[Axis, Axis]] = {
    "axial": ("row", "column"),
    "row_only": ("row", "row"),
    "full": ("all", "all"),
}


def costs(kind: str, sides: tuple[int, ...], device: str = "cpu") -> dict[str, float]:
    """Return map bytes and seconds by side, and their exponents."""
    with seeded(0, device):
        blocks = [
            Block(WIDTH, HEADS, axis, is_causal=True, factor=1, dropout=0.0) for axis in AXES[kind]
        ]
    found: dict[str, float] = {}
    for side in sides:
        u = torch.zeros(1, side, side, WIDTH, device=device)
        length = side * side if kind == "full" else side
        found[f"map_bytes_{side}"] = map_bytes(blocks, u, length)
        found[f"step_{side}_s"] = step_seconds(blocks, u)
    before, last = sides[-2:]
    growth = 2 * math.log(last / before)
    for name, low, high in (
        ("map_exponent", f"map_bytes_{before}", f"map_bytes_{last}"),
        ("step_exponent_s", f"step_{before}_s", f"step_{last}_s"),
    ):
        found[name] = math.log(found[high] / found[low]) / growth
    return found


def map_bytes(blocks: list[Block], u: torch.Tensor, length: int) -> float:
    """Return the bytes of all weights [..., length, length] that are kept for the gradient."""
    kept: dict[int, int] = {}

    def keep(values: torch.Tensor) -> torch.Tensor:
        if values.shape[-2:] == (length, length) and values.is_floating_point():
            kept[values.data_ptr()] = values.numel() * values.element_size()
        return values

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
        held = [u := block(u) for block in blocks]
    del held
    return float(sum(kept.values()))


def step_seconds(blocks: list[Block], u: torch.Tensor) -> float:
    """Return the median time of forward and backward."""
    times: list[float] = []
    while len(times) < MOST_REPEATS and (len(times) < 2 or sum(times) < LEAST_S):
        began = _now(u.device)
        out: Any = u
        for block in blocks:
            out = block(out)
        out.square().mean().backward()
        times.append(_now(u.device) - began)
        for block in blocks:
            block.zero_grad()
    return statistics.median(times[1:])  # the first one warms up


def _now(device: torch.device) -> float:
    """Return a time in seconds: the processor's own where it does the work."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()
