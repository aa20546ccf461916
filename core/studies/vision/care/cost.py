"""What a network costs: multiply-adds in closed form, a stacked one of equal cost, and the clock.

Convolutions, linear maps and the products of linear attention count, for one picture:
a 1x1 from C to D channels on N places N C D, a depthwise k x l filter N C k l, linear attention
with heads of width d on C channels N C (2 d + 1); softmax attention 2 N^2 C.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from dataclasses import replace

import torch
from torch import nn

from core.nn.seeded import seeded
from core.studies.vision.care.layers import BROAD, NARROW, STRIP, LinearAttention
from core.studies.vision.care.network import Sizes, Stage

SIDES = (8, 16, 32, 64, 128)  # tokens along a side where attention is timed
WIDTH, HEAD_WIDTH = 48, 16
REPEATS, WARM, MOST_S = 50, 3, 2.0
FEWEST = 3  # repeats of what takes long
SHARES = [share / 100 for share in range(50, 101)]  # of the width that are tried
UNEVEN = 0.02  # how much stages that have shrunk unevenly count beside the cost


def multiply_adds(sizes: Sizes, size: int) -> dict[str, int]:
    """Return the multiply-adds for one picture of size x size: tokens mixed, interactions, the rest."""
    side = size // sizes.stem
    before = sizes.channels
    found = {"mixing": 0, "interactions": 0, "rest": 0}
    for at, stage in enumerate(sizes.stages):
        kernel = sizes.stem if at == 0 else 2
        side = side if at == 0 else side // 2
        found["rest"] += side**2 * kernel**2 * before * stage.channels
        before = stage.channels
        found["mixing"] += stage.depth * side**2 * _mixing(stage, sizes.kind, side**2)
        for channels, ratio in zip((stage.width, stage.channels), stage.ratios, strict=True):
            each = 2 * ratio * channels**2 + 9 * ratio * channels
            found["interactions"] += stage.depth * side**2 * each
    last = sizes.stages[-1]
    wide = last.ratios[1] * last.channels
    found["interactions"] -= side**2 * wide * last.channels  # the last block projects nothing
    found["rest"] += 2 * wide * sizes.classes
    return found


def _mixing(stage: Stage, kind: str, count: int) -> int:
    """Return the multiply-adds of one place in one block before its interactions."""
    channels = stage.width if kind == "stacked" else stage.width // 3
    filters = (NARROW**2 + BROAD**2) * channels
    if not stage.head_width:
        return filters + 2 * STRIP * channels
    products = 2 * count if kind == "softmax" else 2 * stage.head_width + 1
    return filters + 2 * channels**2 + products * channels


def matched(sizes: Sizes, size: int) -> Sizes:
    """Return stacked blocks, narrower in whole heads and memory alike, that cost as much as these do."""
    wanted = sum(multiply_adds(sizes, size).values())
    tried = {
        _shrunk(sizes, share, above)
        for share in SHARES
        for above in itertools.product((0, 1), repeat=len(sizes.stages))
    }

    def distance(one: Sizes) -> tuple[float, tuple[int, ...]]:
        pairs = zip(one.stages, sizes.stages, strict=True)
        shares = [own.width / other.width for own, other in pairs]
        cost = sum(multiply_adds(one, size).values()) / wanted
        widths = tuple(stage.width for stage in one.stages)  # decides where others are equal
        return abs(cost - 1) + UNEVEN * (max(shares) - min(shares)), widths

    return min(tried, key=distance)


def _shrunk(sizes: Sizes, share: float, above: tuple[int, ...]) -> Sizes:
    """Return stacked stages of about a share of the width, rounded down or up to whole heads."""
    stages = []
    for stage, up in zip(sizes.stages, above, strict=True):
        whole = stage.head_width or 1
        width = max(1, math.floor(share * stage.width / whole) + up) * whole
        width = min(width, stage.width)
        memory = round(stage.memory * width / stage.width)
        stages.append(replace(stage, width=width, memory=memory))
    return replace(sizes, stages=tuple(stages), kind="stacked")


@torch.no_grad()
def milliseconds(module: nn.Module, x: torch.Tensor) -> float:
    """Return the median time of a pass with one thread; the module is in evaluation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times: list[float] = []
        spent = 0.0
        while len(times) < REPEATS + WARM and (len(times) < FEWEST or spent < MOST_S):
            began = _now(x.device)
            module(x)
            times.append(_now(x.device) - began)
            spent += times[-1]
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(times[WARM:] or times[1:])


def attention_times(is_softmax: bool, largest: int, device: str = "cpu") -> dict[int, float]:
    """Return the milliseconds of one attention by number of tokens, at equal width."""
    with seeded(0, device):
        attention = LinearAttention(WIDTH, HEAD_WIDTH, is_softmax).eval()
    sides = [side for side in SIDES if side <= largest]
    return {
        side**2: milliseconds(attention, torch.zeros(1, WIDTH, side, side, device=device))
        for side in sides
    }


def growth(times: dict[int, float]) -> float:
    """Return the exponent with which the time grows between the two largest numbers of tokens."""
    (few, before), (many, after) = list(times.items())[-2:]
    return math.log(after / before) / math.log(many / few)


def crossover(linear: dict[int, float], softmax: dict[int, float]) -> float:
    """Return from how many tokens on linear attention takes less time; 0 if always, -1 if never."""
    leads = [(count, math.log(softmax[count] / linear[count])) for count in linear]
    if leads[-1][1] <= 0:
        return -1.0
    found = 0.0
    for (few, before), (many, after) in itertools.pairwise(leads):
        if before <= 0 < after:
            share = -before / (after - before)
            found = math.exp(math.log(few) + share * math.log(many / few))
    return found


def _now(device: torch.device) -> float:
    """Return a time in seconds: the processor's own where it does the work."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()
