"""What can be seen of a network at work: relevance, channels thin and wide, kernels, units at rest, costs.

Everything comes from one pass over held-out pictures in evaluation; nothing that training sees changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.nn.macs import measuring
from core.studies.vision.mobilenetv2.costs import closed_form, milliseconds
from core.studies.vision.mobilenetv2.network import Record
from core.studies.vision.mobilenetv2.relevance import enlarged, grad_cam
from core.study import Probe

if TYPE_CHECKING:
    from core.studies.vision.mobilenetv2.classifier import Classifier

SHOWN = 8  # pictures with their relevance
WATCHED = 64  # pictures that units at rest are counted over
SIX = 6.0
STAGES = (
    ("before", "Thin channels before the block", True),
    ("expanded", "Wide channels after the expansion", False),
    ("filtered", "Wide channels after the depthwise filter", False),
    ("projected", "Thin channels after the projection", True),
)


def of(task: Classifier) -> tuple[Probe, ...]:
    """Return all pictures of a classifier."""
    config = task.config
    block = config.shown_block % len(task.module.blocks)
    record: Record = {}
    with torch.no_grad(), measuring(task.module):
        rows = slice(0, WATCHED)
        task.module(task.test.inputs(rows, config.size, config.channels), record)
    at = config.shown_picture % min(len(task.test), WATCHED)
    return (
        *_relevance(task),
        *(
            _mosaic(f"{name}, block {block}", record[f"{block}.{key}"][at], is_signed)
            for key, name, is_signed in STAGES
        ),
        _kernels(task, block),
        *_units_at_rest(task, record, block),
        *_costs(task),
    )


def _relevance(task: Classifier) -> tuple[Probe, ...]:
    config = task.config
    inputs = task.test.inputs(slice(0, SHOWN), config.size, config.channels)
    with torch.no_grad(), measuring(task.module):
        found = task.module(inputs).argmax(dim=1)
    maps = enlarged(grad_cam(task.module, inputs, found), config.size)
    labels = task.test.labels[:SHOWN]
    pairs = zip(labels.tolist(), found.tolist(), strict=True)
    names = tuple(f"{label} read as {read}" for label, read in pairs)
    grey = _between(inputs[:, 0])
    return (
        Probe(
            "Held-out pictures", "image", _array(grey), ("picture", "y", "x"), {"picture": names}
        ),
        Probe(
            "Grad-CAM of the class that is read",
            "heat",
            _array(maps),
            ("picture", "y", "x"),
            {"picture": names},
            note="relu(sum_c mean(d logit / d F_c) F_c) at the last layer, each picture's largest is 1",
        ),
    )


def asked(task: Classifier, query: Mapping[str, Any]) -> tuple[Probe, ...]:
    """Return Grad-CAM of one picture for one class at one layer."""
    config = task.config
    at = int(query.get("picture", config.shown_picture)) % len(task.test)
    inputs = task.test.inputs(slice(at, at + 1), config.size, config.channels)
    with torch.no_grad(), measuring(task.module):
        logits = task.module(inputs)
    wanted = int(query.get("class", logits.argmax()))
    layer = str(query.get("layer", "last"))
    layers = ("last", *(f"{b}.{key}" for b in range(len(task.module.blocks)) for key, *_ in STAGES))
    if layer not in layers or not 0 <= wanted < task.classes:
        raise ConfigError(
            f"There is no class {wanted} or no layer '{layer}': classes are 0 to {task.classes - 1}, "
            f"layers 'last' and '0.before' to '{layers[-1]}'."
        )
    chosen = torch.tensor([wanted], device=inputs.device)
    maps = grad_cam(task.module, inputs, chosen, layer)
    note = f"Class {wanted}, layer {layer}, logit {float(logits[0, wanted]):.3f}"
    return (
        Probe("Picture", "image", _array(_between(inputs[0, 0])), ("y", "x")),
        Probe("Grad-CAM", "heat", _array(enlarged(maps, config.size)[0]), ("y", "x"), note=note),
        Probe("Logits", "bars", _array(logits[0]), ("class",)),
    )


def _mosaic(name: str, values: torch.Tensor, is_signed: bool) -> Probe:
    return Probe(name, "heat", _array(values), ("channel", "y", "x"), is_signed=is_signed)


def _kernels(task: Classifier, block: int) -> Probe:
    weights = task.module.blocks[block].filter[0].weight[:, 0]  # [C, 3, 3]
    name = f"Depthwise kernels, block {block}"
    return Probe(name, "heat", _array(weights), ("channel", "y", "x"), is_signed=True)


def _units_at_rest(task: Classifier, record: Record, block: int) -> tuple[Probe, ...]:
    """Return how often units are zero or at six, by channel of one block and over all blocks."""
    filtered = record[f"{block}.filtered"]
    rows = []
    for at in range(len(task.module.blocks)):
        row = []
        for key in ("expanded", "filtered", "projected"):
            values = record[f"{at}.{key}"]
            is_dead = (values == 0).all(dim=(0, 2, 3)).double().mean()
            row += [_share(values == 0), _share(values == SIX), float(is_dead)]
        rows.append(row)
    heads = tuple(
        f"{key} {what}"
        for key in ("expanded", "filtered", "projected")
        for what in ("at 0", "at 6", "dead")
    )
    names = tuple(f"block {at}" for at in range(len(rows)))
    by_channel = (("Units at zero", 0.0), ("Units at six", SIX))
    return (
        *(
            Probe(
                f"{name} by channel, block {block}",
                "bars",
                _array((filtered == value).double().mean(dim=(0, 2, 3))),
                ("channel",),
                note="Share of places and pictures, after the depthwise filter",
            )
            for name, value in by_channel
        ),
        Probe(
            "Units at rest",
            "table",
            np.array(rows),
            ("block", "share"),
            {"block": names, "share": heads},
            note="A channel is dead that is zero everywhere in all pictures watched",
        ),
    )


def _costs(task: Classifier) -> tuple[Probe, ...]:
    config = task.config
    parts = closed_form(
        task.table, size=config.size, channels=config.channels, classes=task.classes
    )
    with measuring(task.module):
        spent = milliseconds(
            task.module, task.test.inputs(slice(0, 1), config.size, config.channels)
        )
    names = tuple(part.name for part in parts)
    table = np.array(
        [[part.multiply_adds, part.parameters, spent[part.name]] for part in parts],
        dtype=np.float64,
    )
    heads = ("multiply-adds", "parameters", "milliseconds")
    return (
        *(
            Probe(
                f"{head.capitalize()} of each part",
                "bars",
                table[:, at].copy(),
                ("part",),
                {"part": names},
            )
            for at, head in enumerate(heads)
        ),
        Probe(
            "Cost of each part",
            "table",
            table,
            ("part", "cost"),
            {"part": names, "cost": heads},
            note="For one picture; depthwise filters wait for memory, so products are not time",
        ),
    )


def _share(values: torch.Tensor) -> float:
    return float(values.double().mean())


def grey(inputs: torch.Tensor) -> np.ndarray:
    """Return the grey levels [size, size] of the first picture that a network reads, 0..1."""
    return _array(_between(inputs[0, 0]))


def _between(values: torch.Tensor) -> torch.Tensor:
    """Return grey levels of 0..1 from what a network reads."""
    return values / 4 + 0.5


def _array(values: torch.Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().cpu().numpy().copy()
    return found
