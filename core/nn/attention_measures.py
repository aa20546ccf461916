"""What can be computed from weights of attention: statistics of heads, and maps across layers.

    entropy         -sum_j A_ij log A_ij, nats
    effective keys  exp(entropy)
    keys to a share the fewest keys that hold so much of a row
    mean distance   mean_i sum_j A_ij |p_i - p_j|, cells of the grid
    rollout         B_L ... B_1 with B = rownorm(mean_h A + I)                (Abnar and Zuidema 2020)
    relevance       R <- R + mean_h relu(dA * A) R, R = I at first            (Chefer et al. 2021)
    value norm      |A_ij v_j W_o| of each head                               (Kobayashi et al. 2020)

Maps across layers need square ones: every layer attends from the same tokens to the same tokens.
Weights are weights, not explanations: `shuffled` gives the control with weights that mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from core.nn.attention import AttentionLayer

SAMPLE = 256  # queries whose rows stand for a layer's
SINK_SHARE = 0.5  # of a row's weight on one key
HELD = 0.9


def sampled(layer: AttentionLayer) -> torch.Tensor:
    """Return evenly spread queries [n] that stand for all of them."""
    count = layer.num_queries
    return torch.linspace(0, count - 1, min(count, SAMPLE)).round().long().unique()


def entropy(weights: torch.Tensor) -> torch.Tensor:
    """Return the entropy of rows [..., K], nats; negative weights count as none."""
    positive = weights.clamp(min=0)
    return -torch.xlogy(positive, positive).sum(dim=-1)


def keys_to(weights: torch.Tensor, share: float = HELD) -> torch.Tensor:
    """Return how many of the largest weights [..., K] hold a share of their row."""
    ordered = weights.clamp(min=0).sort(dim=-1, descending=True).values
    held = ordered.cumsum(dim=-1) / ordered.sum(dim=-1, keepdim=True).clamp(min=1e-12)
    return (held < share - 1e-6).sum(dim=-1) + 1


def distance(layer: AttentionLayer, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the mean distance [H] that rows look, in cells; prefix tokens stand nowhere and do not count."""
    own = rows >= layer.prefix
    if not own.any() or layer.key_shape != layer.query_shape:
        return torch.full((len(weights),), torch.nan)
    columns = layer.query_shape[1]
    keys = torch.arange(layer.num_keys - layer.prefix_keys)
    places = torch.stack((keys // columns, keys % columns), dim=1).float()  # [K, 2]
    away = torch.cdist(places[rows[own] - layer.prefix], places)  # [n, K]
    shown = weights[:, own][..., layer.prefix_keys :]
    return (shown * away).sum(dim=-1).mean(dim=-1) / shown.sum(dim=-1).mean(dim=-1).clamp(min=1e-12)


def of_heads(layer: AttentionLayer) -> dict[str, torch.Tensor]:
    """Return statistics of every head, each [H]: means over `sampled` queries."""
    rows = sampled(layer)
    weights = layer.weights(rows)
    spread = entropy(weights)
    found = {
        "entropy": spread.mean(dim=-1),
        "effective keys": spread.exp().mean(dim=-1),
        "keys to 90 %": keys_to(weights).float().mean(dim=-1),
        "distance": distance(layer, rows, weights),
    }
    if layer.gate is not None:
        found["gate"] = layer.gate.float().reshape(-1).expand(layer.num_heads)
    return found


def sinks(layer: AttentionLayer) -> list[int]:
    """Return keys that take more than half of the weight in more than half of the rows, in some head."""
    if layer.kind == "gradcam" or min(layer.num_keys, layer.num_queries) < 3:
        return []  # no weights, or too few of them to say what is usual
    weights = layer.weights(sampled(layer))
    often = (weights > SINK_SHARE).float().mean(dim=1) > SINK_SHARE  # [H, K]
    return [int(key) for key in often.any(dim=0).nonzero()[:, 0]]


def value_norms(layer: AttentionLayer, rows: torch.Tensor) -> torch.Tensor:
    """Return the length of what each key adds, [H, n, K]; through the output projection, if it is known."""
    assert layer.v is not None
    values = layer.v.float()
    if layer.project is not None:
        heads, _, width = values.shape
        by_head = layer.project.float().unflatten(1, (heads, width))  # [out, H, e]
        values = torch.einsum("hke,ohe->hko", values, by_head)
    return layer.weights(rows).abs() * values.norm(dim=-1)[:, None]


def are_square(layers: Sequence[AttentionLayer]) -> bool:
    """Whether maps of the layers can be multiplied: small, and from the same tokens to the same tokens."""
    steps = [layer for layer in layers if not layer.is_derived]
    sizes = {(layer.num_queries, layer.num_keys) for layer in steps}
    return len(sizes) == 1 and all(
        one.num_queries == one.num_keys and one.is_small for one in steps
    )


def rollout(layers: Sequence[AttentionLayer], first: int = 0) -> torch.Tensor:
    """Return what reaches the tokens through the layers from `first` on, [N, N]; rows sum to one."""
    together = torch.eye(layers[0].num_queries)
    for layer in (one for one in layers[first:] if not one.is_derived):
        step = layer.weights().mean(dim=0) + torch.eye(layer.num_queries)
        together = step / step.sum(dim=-1, keepdim=True) @ together
    return together


def relevance(layers: Sequence[AttentionLayer]) -> torch.Tensor:
    """Return what counts for the output whose gradients the layers hold, [N, N]."""
    found = torch.eye(layers[0].num_queries)
    for layer in (one for one in layers if not one.is_derived):
        assert layer.gradient is not None
        found = found + torch.relu(layer.gradient * layer.weights()).mean(dim=0) @ found
    return found


def modules_of(owner: Any, depth: int = 3) -> list[nn.Module]:
    """Return the modules that an object of ours holds, directly or in its parts."""
    found: list[nn.Module] = []
    for value in vars(owner).values():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, nn.Module):
                found.append(one)
            elif depth and type(one).__module__.startswith("core.studies"):
                found += modules_of(one, depth - 1) if hasattr(one, "__dict__") else []
    return found


@contextmanager
def evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Put modules, and whatever they hold, into eval mode for a while."""
    training = [one for module in modules for one in module.modules() if one.training]
    try:
        for one in training:
            one.training = False
        yield
    finally:
        for one in training:
            one.training = True


@contextmanager
def shuffled(modules: Sequence[nn.Module], seed: int = 0) -> Iterator[None]:
    """Give every array of weights its own numbers in another order for a while."""
    rng = torch.Generator().manual_seed(seed)
    weights = list({id(p): p for module in modules for p in module.parameters()}.values())
    own = [one.data for one in weights]
    try:
        for one in weights:
            order = torch.randperm(one.numel(), generator=rng).to(one.device)
            one.data = one.data.reshape(-1)[order].view_as(one)
        yield
    finally:
        for one, values in zip(weights, own, strict=True):
            one.data = values
