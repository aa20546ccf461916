"""What the attention panel can be asked to show; nothing here needs the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEAN, MAX = -1, -2  # of the heads
METHODS = {
    "row": ("What the query looks at", "A[query, :]"),
    "column": ("Who looks at it", "A[:, key]"),
    "content": ("By content alone", "softmax(q k)[query, :]"),
    "places": ("By position alone", "softmax(position)[query, :]"),
    "values": ("Weights times lengths of values", "|A v W|[query, :]"),
    "rollout": ("Rollout through the layers", "B_L ... B_1, B = rows of mean(A) + 1, to sum 1"),
    "relevance": ("Relevance by gradients", "R + mean(relu(dA A)) R through the layers"),
}
ORDERS = ("layer", "entropy", "effective keys", "keys to 90 %", "distance", "gate")
SCALES = {
    "map": "each map by itself",
    "layer": "all heads of the layer alike",
    "one": "0 to 1",
    "log": "logarithm, four decades",
}
TRIED: Mapping[str, Any] = {  # what is tried out, and its value where nothing is
    "muted": False,
    "hidden": False,
    "beta": None,
    "gate": None,
    "shuffled": False,
    "target": 0,
}


@dataclass(frozen=True)
class Choices:
    """What the panel shows. `query` counts prefix tokens; `region` takes its place where it is given."""

    sample: int = 0
    layer: int = 0
    head: int = MEAN
    method: str = "row"
    query: int = 0
    second: int | None = None
    region: tuple[int, ...] = ()
    order: str = "layer"
    scale: str = "map"
    keep: float = 1.0  # share of the weight that is shown
    first: int = 0  # layer that a rollout starts at
    opacity: float = 0.75
    hides_sinks: bool = False
