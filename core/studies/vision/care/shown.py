"""What can be seen of CARE: implicit attention row by row, traffic of the groups, gamma, keys times values.

No map of all tokens exists: the row of one query is q_i K^T over its sum, from queries and keys that
one pass over a held-out picture leaves behind. Nothing that training sees changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.nn.attention import AttentionLayer, Trace
from core.nn.labelled import NUM_CLASSES, PHOTOGRAPHS
from core.nn.macs import measuring
from core.studies.vision.care import cost
from core.studies.vision.care.layers import key_values
from core.studies.vision.care.network import GROUPS, Block
from core.study import Probe

if TYPE_CHECKING:
    from core.studies.vision.care.study import CAREStudy

PICTURES = len(PHOTOGRAPHS)  # one of each
WATCHED = 32  # pictures that the groups' traffic is averaged over


def of(study: CAREStudy) -> tuple[Probe, ...]:
    """Return all pictures."""
    layers = traced(study, study.config.shown_picture)
    grids = np.stack([picture(one) for one in study.test.pictures[:PICTURES]])
    names = tuple(
        class_names(study.config.source, study.sizes.classes)[int(label)]
        for label in study.test.labels[:PICTURES]
    )
    axes = ("picture", "y", "x", "channel")[: grids.ndim]
    return (
        Probe("Held-out pictures", "image", grids, axes, {"picture": names}),
        *(_rows(layer, 0.5, 0.5) for layer in layers),
        *((_entropies(layers),) if layers else ()),
        _traffic(study),
        *_gammas(study),
        *_products(study, layers),
        _costs(study),
    )


def asked(study: CAREStudy, query: Mapping[str, Any]) -> tuple[Probe, ...]:
    """Return the row of one query in every block that attends, and how it is spread."""
    at = int(query.get("picture", study.config.shown_picture)) % len(study.test)
    y, x = float(query.get("y", 0.5)), float(query.get("x", 0.5))
    if not (0 <= y <= 1 and 0 <= x <= 1):
        raise ConfigError(
            f"There is no place ({y:g}, {x:g}): y and x are shares of the picture, 0 to 1."
        )
    layers = traced(study, at)
    shown = picture(study.test.pictures[at])
    return (
        Probe("Picture", "image", shown, ("y", "x", "channel")[: shown.ndim]),
        *(_rows(layer, y, x) for layer in layers),
        *((_entropies(layers, y, x),) if layers else ()),
    )


def traced(study: CAREStudy, sample: int) -> list[AttentionLayer]:
    """Return queries and keys of every block that attends, for one held-out picture."""
    trace = Trace()
    with torch.no_grad():
        study.attend(sample, trace)
    return trace.layers


def picture(values: torch.Tensor) -> np.ndarray:
    """Return [C, H, W] as [H, W] or [H, W, 3] of 0..1."""
    found = values[0] if len(values) == 1 else values.movedim(0, -1)
    return _array(found)


def class_names(source: str, count: int) -> tuple[str, ...]:
    """Return what the classes are called."""
    if source == "digits" or count > NUM_CLASSES["photographs"]:
        return tuple(str(label) for label in range(count))
    return tuple(name.partition(".")[0].replace("_", " ") for name in PHOTOGRAPHS)


def _query(layer: AttentionLayer, y: float, x: float) -> torch.Tensor:
    """Return the token at a share of the picture's height and width, [1]."""
    rows, columns = layer.query_shape
    at = (min(int(y * rows), rows - 1), min(int(x * columns), columns - 1))
    return torch.tensor([at[0] * columns + at[1]])


def _rows(layer: AttentionLayer, y: float, x: float) -> Probe:
    query = _query(layer, y, x)
    weights = layer.weights(query)[:, 0]  # [heads, N]
    entropy, most = _entropy(weights), float(np.log(weights.shape[-1]))
    sums = weights.sum(dim=-1)
    place = divmod(int(query), layer.query_shape[1])
    spread = ", ".join(f"{value:.2f}" for value in entropy.tolist())
    return Probe(
        f"Implicit attention of {layer.name}",
        "heat",
        _array(weights.unflatten(-1, layer.query_shape)),
        ("head", "y", "x"),
        note=f"Weights of the query at {place}, from {float(weights.min()):.3g} to "
        f"{float(weights.max()):.3g}, rows sum to {float(sums.mean()):.4f}; entropy by head {spread} "
        f"of at most {most:.2f}",
    )


def _entropies(layers: list[AttentionLayer], y: float = 0.5, x: float = 0.5) -> Probe:
    values = [
        float(_entropy(layer.weights(_query(layer, y, x))[:, 0]).mean()) / np.log(layer.num_keys)
        for layer in layers
    ]
    return Probe(
        "Spread of the row",
        "bars",
        np.array(values),
        ("block",),
        {"block": tuple(layer.name for layer in layers)},
        note="Entropy as a share of the largest: 1 looks everywhere alike",
    )


def _entropy(weights: torch.Tensor) -> torch.Tensor:
    return -(weights * weights.clamp_min(1e-12).log()).sum(dim=-1)


def _traffic(study: CAREStudy) -> Probe:
    """Return the size of memory, global, 3x3 and 7x7 channels in the second interaction of every block."""
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        for name, block in study.module.blocks():

            def keep(_module: Any, inputs: Any, name: str = name, block: Block = block) -> None:
                found[name] = _sizes_of_groups(inputs[0], block)

            stack.callback(block.recall.register_forward_pre_hook(keep).remove)
        stack.enter_context(measuring(study.module))
        with torch.no_grad():
            study.module(study.inputs(study.test.pictures[:WATCHED]))
    return Probe(
        "Traffic of the groups",
        "curve",
        np.array(list(found.values())).T.copy(),
        ("group", "block"),
        {"group": GROUPS, "block": tuple(float(at + 1) for at in range(len(found)))},
        note="Root mean square of what enters the second interaction, by block from the picture on",
    )


def _sizes_of_groups(x: torch.Tensor, block: Block) -> list[float]:
    """Return the root mean square of [memory | global | 3x3 | 7x7], each third of the rest."""
    memory, working = x[:, : block.memory], x[:, block.memory :]
    return [
        float(part.square().mean().sqrt()) for part in (memory, *working.tensor_split(3, dim=1))
    ]


def _gammas(study: CAREStudy) -> tuple[Probe, ...]:
    if not study.history or len(study.history[0]) == 1:
        return ()
    table = np.array(study.history)
    names = tuple(name for name, block in study.module.blocks() if block.gamma is not None)
    ticks = {"block": names, "step": tuple(table[:, 0].tolist())}
    values = table[:, 1:].T.copy()
    note = f"Mean size over channels; starts at {study.config.gamma:g}"
    return (Probe("Gamma over steps", "curve", values, ("block", "step"), ticks, note=note),)


def _products(study: CAREStudy, layers: list[AttentionLayer]) -> tuple[Probe, ...]:
    """Return K^T V / N of the shown block."""
    names = [name for name, _ in study.module.blocks()]
    name = names[study.config.shown_block % len(names)]
    chosen = [layer for layer in layers if layer.name == name] or layers[:1]
    if not chosen or chosen[0].kind != "linear" or chosen[0].k is None or chosen[0].v is None:
        return ()
    values = _array(key_values(chosen[0].k[None], chosen[0].v[None])[0])
    title = f"Keys times values of {chosen[0].name}"
    note = "All that linear attention keeps of a picture, for each head"
    axes = ("head", "key", "value")
    return (Probe(title, "heat", values, axes, is_signed=True, note=note),)


def _costs(study: CAREStudy) -> Probe:
    parts = cost.multiply_adds(study.sizes, study.config.size)
    rows = {name: float(count) for name, count in parts.items()}
    rows |= {"all": float(sum(parts.values())), "parameters": float(study.num_parameters)}
    rows["milliseconds"] = study.latency()
    return Probe(
        "Cost of a picture",
        "table",
        np.array([[value] for value in rows.values()]),
        ("part", "cost"),
        {"part": tuple(rows), "cost": ("count",)},
        note="Multiply-adds of token mixing, interactions and the rest; one picture on one thread",
    )


def _array(values: torch.Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().cpu().numpy().copy()
    return found
