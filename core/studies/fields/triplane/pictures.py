"""What the three tasks show: fields while they learn, channels as tokens, parts and what points read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.nn.attention import Trace
from core.nn.macs import measuring
from core.studies.fields.triplane.drawing import around_a_cube, colored, shaded
from core.studies.fields.triplane.fitting import volume
from core.studies.fields.triplane.readers import ChannelTransformer
from core.studies.fields.triplane.shapes import PARTS
from core.study import Probe

if TYPE_CHECKING:
    from core.studies.fields.triplane.board import Board
    from core.studies.fields.triplane.parts import Parts
    from core.studies.fields.triplane.reading import Reading

SLICE, SOLID, ROUNDS = 24, 36, 96  # sides: of a slice, of a shaded view, of a drawing of points
PLANES = ("XY", "XZ", "YZ")
SLANT = 0.4  # how far depth goes to the side and down in a drawing of points
ASKING = 12  # points whose attention is drawn


@torch.no_grad()
def of_board(board: Board) -> tuple[Probe, ...]:
    """Return slices and losses of all slots, the shown slot, and the two fits of the first object."""
    first, second = (board.module.planes[slot].detach() for slot in (0, 1))
    both = torch.stack((first[0], second[0]))  # [2, C, R, R]: the XY planes
    flat = torch.nn.functional.normalize(both.flatten(2) - both.mean(dim=(2, 3))[..., None], dim=-1)
    alike = flat[0] @ flat[1].T  # [C, C]
    axes = ("fit", "channel", "y", "x")
    return (
        Probe("Slices of all objects", "image", _slices(board), ("object", "y", "x")),
        *of_slot(board, board.config.shown % board.slots),
        Probe("Loss of each object", "bars", _array(board.fit.losses), ("object",)),
        Probe("Two fits of one object: XY planes", "heat", _up(_array(both)), axes, is_signed=True),
        Probe(
            "Two fits of one object: likeness of channels",
            "heat",
            _array(alike),
            ("first", "second"),
            is_signed=True,
            note="Correlation: what one fit has in a channel the other has in another, or negated",
        ),
    )


@torch.no_grad()
def of_slot(board: Board, slot: int) -> tuple[Probe, ...]:
    """Return planes and reconstruction of one slot, beside the other fit where it has one."""
    shown = (0, 1) if slot < 2 else (slot,)
    grid = volume(SOLID)
    rows = board.fit.rows[[slot]]
    solids = [board.fit.objects.shapes.occupied(rows, grid)[0]]
    solids += [board.fit.inside(grid, one) for one in shown]
    views = np.stack([shaded(solid.view(SOLID, SOLID, SOLID)) for solid in solids])
    names = ("object", *(f"fit in slot {one}" for one in shown))
    colors = colored(board.module.planes[slot].detach().cpu())
    pictures = ("picture", "y", "x")
    return (
        Probe(
            f"Planes of slot {slot}",
            "image",
            _up(colors, axis=1),
            ("plane", "y", "x", "channel"),
            {"plane": PLANES},
            note="The first three principal components of the channels",
        ),
        Probe(
            f"Planes of slot {slot} around a cube",
            "image",
            around_a_cube(colors),
            ("y", "x", "channel"),
            note="XY in front, XZ on top, YZ on the right",
        ),
        Probe(f"Reconstruction in slot {slot}", "image", views, pictures, {"picture": names}),
    )


def _slices(board: Board) -> np.ndarray:
    """Return the occupancy of every slot in the middle plane, [slots, y, x]."""
    line = torch.linspace(-0.95, 0.95, SLICE)
    y, x = torch.meshgrid(line.flip(0), line, indexing="ij")
    points = torch.stack((x, y, torch.zeros_like(x)), dim=-1).reshape(1, -1, 3)
    points = points.expand(board.slots, -1, -1).to(board.fit.device)
    logits = board.module(points)
    return _array(torch.sigmoid(logits).view(-1, SLICE, SLICE))


@torch.no_grad()
def of_reading(task: Reading, shown: int | None = None) -> tuple[Probe, ...]:
    """Return channels, attention and winners of a held-out object, and who is taken for whom."""
    row = task.test[[(task.config.shown if shown is None else shown) % len(task.test)]]
    with measuring(task.module):
        inputs, everything = task.inputs(row), task.inputs(task.test)
        logits = task.module(inputs)[0]
        read = task.module(everything).argmax(dim=1)
    names = task.objects.shapes.classes
    truth = task.labels[task.test]
    count = len(names)
    table = torch.bincount(truth * count + read, minlength=count * count).view(count, count)
    ticks = {"truth": names, "read": names}
    note = f"The shown object is {names[int(task.labels[row])]}"
    found = [
        Probe("Who is taken for whom", "heat", _array(table.double()), ("truth", "read"), ticks),
        Probe("Logits", "bars", _array(logits), ("class",), {"class": names}, note=note),
    ]
    if inputs.ndim == 4:
        channels = _up(_array(inputs[0]))
        probe = Probe("Channels", "heat", channels, ("token", "y", "x"), is_signed=True, note=note)
        found.insert(0, probe)
    if isinstance(task.module, ChannelTransformer):
        found += _tokens(task.module, inputs, names)
    return tuple(found)


def _tokens(
    module: ChannelTransformer, planes: torch.Tensor, names: tuple[str, ...]
) -> list[Probe]:
    """Return the attention of every layer, and what each token brings to each class."""
    trace = Trace()
    with measuring(module):
        tokens = module.tokens(planes, trace)[0]  # [T, width]
    axes = ("head", "token", "read token")
    found = [
        Probe(f"Attention of {layer.name}", "attention", _array(layer.weights()), axes)
        for layer in trace.layers
    ]
    largest, winner = tokens.max(dim=0)
    brought = module.classify.weight * largest  # [classes, width]
    shares = torch.zeros(len(names), len(tokens)).index_add_(1, winner.cpu(), brought.cpu())
    found.append(
        Probe(
            "What the winning tokens bring",
            "heat",
            _array(shares),
            ("class", "token"),
            {"class": names},
            is_signed=True,
            note="Of each logit, through the numbers in which a token is the largest",
        )
    )
    return found


@torch.no_grad()
def of_parts(task: Parts) -> tuple[Probe, ...]:
    """Return the parts of a held-out object as they are and as they are read, and some attention."""
    row = task.test[[task.config.shown % len(task.test)]]
    trace = Trace()
    with measuring(task.module):
        read = task.logits(row, task.points[row])[0].argmax(dim=-1)
        task.logits(row, task.points[row, :ASKING], trace=trace)
    truth, points = task.labels[row][0], task.points[row][0]
    drawn = np.stack([_dots(points, parts) for parts in (truth, read)])
    last = trace.layers[-1].weights()
    return (
        Probe(
            "Parts",
            "image",
            drawn,
            ("picture", "y", "x", "channel"),
            {"picture": ("as they are", "as they are read")},
        ),
        Probe("What points read", "attention", _array(last), ("head", "point", "channel")),
        *_channels(task, row),
    )


@torch.no_grad()
def of_point(task: Parts, query: Mapping[str, Any]) -> tuple[Probe, ...]:
    """Return which channels a point reads in every layer, and the part it is taken for."""
    row = task.test[[int(query.get("object", task.config.shown)) % len(task.test)]]
    place = torch.tensor([[[float(query[axis]) for axis in "xyz"]]], device=task.points.device)
    trace = Trace()
    with measuring(task.module):
        part = int(task.logits(row, place, trace=trace)[0, 0].argmax())
    asking = [layer.weights()[:, 0] for layer in trace.layers if layer.kind == "cross"]
    rows = torch.cat(asking)  # [layers * heads, channels]
    note = f"Taken for {PARTS[part]}"
    read = Probe(
        "Channels that the point reads", "heat", _array(rows), ("head", "channel"), note=note
    )
    return (read, *_channels(task, row))


def _channels(task: Parts, row: torch.Tensor) -> tuple[Probe, ...]:
    planes = _up(_array(task.planes[row][0]))
    return (Probe("Channels", "heat", planes, ("channel", "y", "x"), is_signed=True),)


def strip(planes: torch.Tensor) -> np.ndarray:
    """Return channels [3 C, R, R] beside each other, [R, 3 C R], from 0 to 1 with zero in the middle."""
    reach = planes.abs().amax().clamp_min(1e-9)
    flat = _up(_array(0.5 + 0.5 * planes / reach))
    return np.concatenate(list(flat), axis=1)


def _dots(points: torch.Tensor, parts: torch.Tensor) -> np.ndarray:
    """Draw points from above the front, a colour for each part, nearer ones on top, [ROUNDS, ROUNDS, 3]."""
    order = points[:, 2].argsort()
    turns = (5 * np.arange(len(PARTS)) % len(PARTS)) / len(PARTS)  # neighbours far apart in hue
    colors = 0.55 + 0.4 * np.cos(2 * np.pi * (turns[:, None] + np.array([0.0, 1 / 3, 2 / 3])))
    x, y, z = _array(points[order]).T
    across, down = (x + SLANT * z) / (1 + SLANT), (SLANT * z - y) / (1 + SLANT)
    columns, rows = (((value + 1) / 2 * (ROUNDS - 2)).astype(int) for value in (across, down))
    picture = np.zeros((ROUNDS, ROUNDS, 3))
    for below in (0, 1):
        for right in (0, 1):
            picture[rows + below, columns + right] = colors[_array(parts[order])]
    return picture


def _up(values: np.ndarray, axis: int = -2) -> np.ndarray:
    """Turn rows so that the second letter of a plane points up."""
    return np.flip(values, axis).copy()


def _array(values: torch.Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().cpu().numpy().copy()
    return found
