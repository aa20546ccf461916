"""Maps of attention, chosen and coloured: the numbers under the pictures of the attention panel.

    Choices x Look  ->  Map: values over the keys, one per key, with the formula that made them

Nothing is rescaled silently: a map says its smallest and largest number and the sum of its row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from app.attention_choices import MAX, MEAN, METHODS, Choices
from app.panels.words import three_digits
from core.engine.looking import Look
from core.nn import attention_measures as measured
from core.nn.attention import AttentionLayer

DECADES = 4
MOST_ROWS = 256  # of a region: their mean stands for all


@dataclass(frozen=True, eq=False)
class Map:
    """Values [K] of one map, NaN where nothing is visible; `low` and `high` are the ends of the colours."""

    values: np.ndarray
    low: float
    high: float
    words: str
    layer: AttentionLayer
    is_signed: bool = False


def methods_of(look: Look, layer: AttentionLayer) -> tuple[str, ...]:
    """Return the methods that the layer and its neighbours allow."""
    found = ["row"]
    if layer.kind != "gradcam":
        found.append("column")
    if layer.kind == "gated" and layer.position is not None:
        found += ["content", "places"]
    if layer.v is not None:
        found.append("values")
    if measured.are_square(look.layers):
        found.append("rollout")
        if len(look.outputs):
            found.append("relevance")
    return tuple(found)


def mapped(look: Look, choices: Choices) -> Map:
    """Return the map that is chosen; of two queries their difference."""
    layer = look.layers[min(choices.layer, len(look.layers) - 1)]
    method = choices.method if choices.method in methods_of(look, layer) else "row"
    choices = replace(choices, method=method, query=min(choices.query, layer.num_queries - 1))
    by_head, whole = _weights(look, layer, choices)
    values = fused(by_head, choices.head)
    is_signed = choices.second is not None and method not in ("column",)
    if is_signed:
        assert choices.second is not None
        other = replace(choices, query=min(choices.second, layer.num_queries - 1), region=())
        values = values - fused(_weights(look, layer, other)[0], choices.head)
    total = float(np.nansum(values))
    values, notes = _shown(values, layer, choices, method)
    low, high = _ends(values, whole, choices, is_signed)
    words = _words(look, layer, choices, method, (values, total), notes)
    return Map(values, low, high, words, layer, is_signed)


def fused(by_head: torch.Tensor, head: int) -> np.ndarray:
    """Return one head [K] of [H, K], or their mean or largest."""
    if head == MAX:
        chosen = by_head.amax(dim=0)
    else:
        chosen = by_head.mean(dim=0) if head < 0 or head >= len(by_head) else by_head[head]
    values: np.ndarray = chosen.double().numpy()
    return values


def _weights(look: Look, layer: AttentionLayer, choices: Choices) -> tuple[torch.Tensor, Any]:
    """Return the map of every head [H, K], NaN where a key is not visible, and all numbers of the layer's."""
    rows = torch.tensor(choices.region or (choices.query,))
    rows = rows[rows < layer.num_queries]
    if len(rows) > MOST_ROWS:
        rows = rows[torch.linspace(0, len(rows) - 1, MOST_ROWS).round().long()]
    if choices.method == "column":
        return layer.column(min(choices.query, layer.num_keys - 1)), None
    if choices.method in ("rollout", "relevance"):
        if choices.method == "rollout":
            found = measured.rollout(look.layers, min(choices.first, len(look.layers) - 1))
        elif any(one.gradient is None for one in look.layers if not one.is_derived):
            return torch.zeros(1, layer.num_keys), None  # asked for, comes with the next look
        else:
            found = measured.relevance(look.layers)
        return found[rows].mean(dim=0, keepdim=True), found
    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "row": layer.weights,
        "content": layer.content,
        "places": layer.places,
        "values": lambda rows: measured.value_norms(layer, rows),
    }
    found = ways[choices.method](rows)  # [H, n, K]
    seen = layer.visible(rows)
    if seen is not None:
        found = found.masked_fill(~seen, torch.nan)
    return found.nanmean(dim=1), found


def _shown(
    values: np.ndarray, layer: AttentionLayer, choices: Choices, method: str
) -> tuple[np.ndarray, list[str]]:
    """Return the values that are drawn, and what was left out of them."""
    values, notes = values.copy(), []
    if choices.hides_sinks and method != "column":
        hidden = sorted({*range(layer.prefix_keys), *measured.sinks(layer)})
        if hidden:
            notes.append(f"{len(hidden)} prefix and sink keys hidden: {_listed(hidden)}")
            values[hidden] = np.nan
    if choices.keep < 1:
        size = np.nan_to_num(np.abs(values))
        order = np.argsort(-size)
        held = np.cumsum(size[order])
        kept = order[: int((held < choices.keep * held[-1] - 1e-12).sum()) + 1]
        notes.append(f"the {len(kept)} keys that hold {choices.keep:.0%}")
        values[np.setdiff1d(order, kept)] = 0.0
    return values, notes


def _ends(values: np.ndarray, whole: Any, choices: Choices, is_signed: bool) -> tuple[float, float]:
    """Return the numbers at the ends of the colours."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if choices.scale == "one":
        low, high = 0.0, 1.0
    elif choices.scale == "layer" and whole is not None:
        low, high = 0.0, float(torch.nan_to_num(whole).max())
    if is_signed:
        high = max(abs(low), abs(high))
        low = -high
    return low, high


def _words(
    look: Look,
    layer: AttentionLayer,
    choices: Choices,
    method: str,
    found: tuple[np.ndarray, float],
    notes: list[str],
) -> str:
    """Say what is shown, in one line: formula, layer, head, query, range, step."""
    values, total = found
    finite = values[np.isfinite(values)]
    name, formula = METHODS[method]
    head = {MEAN: "mean of the heads", MAX: "largest of the heads"}.get(choices.head, "")
    head = head or layer.head_name(choices.head)
    if method in ("rollout", "relevance"):
        head = (
            "all layers"
            if not choices.first or method == "relevance"
            else f"from layer {choices.first + 1}"
        )
    query = token(layer, choices.query)
    if layer.kind == "gradcam":
        name, formula = "Grad-CAM", "relu(sum of mean(dY/dF) F), not attention"
        query = f"Y is {_output(look)}"
    if choices.region:
        query = f"mean of {len(choices.region)} queries"
        query += f", {MOST_ROWS} of them" if len(choices.region) > MOST_ROWS else ""
    if choices.second is not None:
        query = f"{query} minus {token(layer, choices.second)}"
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    span = f"{three_digits(float(low))} to {three_digits(float(high))}, sum {three_digits(total)}"
    parts = [
        f"{name}: {formula}",
        layer.name if layer.kind == "gradcam" else f"{layer.name}, {head}",
        query,
        span,
        f"step {look.step}",
        *notes,
    ]
    if float(low) < 0 and choices.second is None:
        parts.append("weights below zero: no shares of attention")
    return "; ".join(parts) + "."


def _output(look: Look) -> str:
    """Return what to call the output that gradients were asked for: without a wish the largest."""
    target = look.wish.target
    at = int(look.outputs.argmax()) if target is None else target % len(look.outputs)
    return look.attended.names[at] if look.attended.names else f"output {at}"


def legend(found: Map, scale: str) -> str:
    """Say which numbers the ends of the colours stand for."""
    low, high = three_digits(found.low), three_digits(found.high)
    if low == high:
        return f"about {low} everywhere (colours span {three_digits(found.high - found.low)})"
    if found.is_signed:
        return f"{low} (blue) to {high} (red)"
    if scale == "log":
        return f"{high} (bright) and {DECADES} decades below"
    return f"{low} (dark) to {high} (bright)"


def middle(layer: AttentionLayer) -> int:
    """Return the query in the middle of the grid: what is shown first."""
    rows, columns = layer.query_shape
    return min(layer.prefix + rows // 2 * columns + columns // 2, layer.num_queries - 1)


def token(layer: AttentionLayer, index: int) -> str:
    """Return what to call a query."""
    if index < layer.prefix:
        return f"prefix token {index + 1}"
    if index < len(layer.queries):
        return layer.queries[index]
    rows, columns = layer.query_shape
    place = index - layer.prefix
    if rows > 1:
        return f"query at row {place // columns + 1}, column {place % columns + 1}"
    return f"query {place + 1}"


def board(look: Look, choices: Choices) -> tuple[list[tuple[int, int]], list[np.ndarray]]:
    """Return (layer, head) in the chosen order and each head's map of the query, [rows, columns]."""
    places, maps, ranks = [], [], []
    for at, layer in enumerate(look.layers):
        query = min(choices.query, layer.num_queries - 1)
        rows = layer.weights(torch.tensor([query]))[:, 0]
        statistic = (
            measured.of_heads(layer).get(choices.order) if choices.order != "layer" else None
        )
        for head in range(layer.num_heads):
            places.append((at, head))
            maps.append(on_grid(layer, rows[head].double().numpy()))
            rank = float("nan") if statistic is None else float(statistic[head])
            ranks.append(math.inf if math.isnan(rank) else rank)
    order = sorted(range(len(places)), key=lambda i: ranks[i]) if choices.order != "layer" else None
    if order is not None:
        places, maps = [places[i] for i in order], [maps[i] for i in order]
    return places, maps


def on_grid(layer: AttentionLayer, values: np.ndarray, *, of_queries: bool = False) -> np.ndarray:
    """Lay values of keys (of queries, for a column) out on their grid [rows, columns], prefix tokens left out."""
    prefix, shape = layer.prefix_keys, layer.key_shape
    if of_queries:
        prefix, shape = layer.prefix, layer.query_shape
    return np.asarray(values[prefix : prefix + shape[0] * shape[1]]).reshape(shape)


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(str(number + 1) for number in numbers[:5])
    return shown if len(numbers) <= 5 else f"{shown}, ..."
