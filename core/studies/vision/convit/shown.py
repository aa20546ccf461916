"""What can be seen of ConViT: where heads look by content, by position and mixed, gates, distances.

Everything is computed from held-out pictures in evaluation; nothing that training sees changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.nn.labelled import Labelled
from core.studies.vision.convit.attention import Maps, offsets
from core.study import Probe

if TYPE_CHECKING:
    from core.studies.vision.convit.study import ConViTStudy

PICTURES = 16
MEASURED = 200  # pictures for the curve of forced gates
GATES = (0.0, 0.25, 0.5, 0.75, 1.0)
ARROW = 33  # pixels along a side of a drawn offset
LIKED = 0.9  # of the largest weight by position


def of(study: ConViTStudy) -> tuple[Probe, ...]:
    """Return all pictures."""
    at = study.config.shown_picture % len(study.test)
    maps = study.module.maps(study.inputs(study.test.pictures[at : at + 1]))
    rows, columns = study.module.grid
    middle = rows // 2 * columns + columns // 2
    block = study.config.shown_block % len(maps)
    gated = [one.places for one in maps if one.places is not None]
    grids = np.stack([picture(one) for one in study.test.pictures[:PICTURES]])
    axes = ("picture", "y", "x", "channel")[: grids.ndim]
    return (
        *(_arrows(gated, study.module.grid) if gated else ()),
        Probe("Held-out pictures", "image", grids, axes),
        _sides(maps[block], study.module.grid, middle, f"Maps of block {block + 1}"),
        _all_mixes(maps, study.module.grid, middle),
        *_gates(study),
        *_over_time(study),
    )


def asked(study: ConViTStudy, query: Mapping[str, Any]) -> tuple[Probe, ...]:
    """Return one query's maps in one block, beside the picture."""
    rows, columns = study.module.grid
    at = int(query.get("picture", study.config.shown_picture)) % len(study.test)
    block = int(query.get("block", study.config.shown_block))
    y, x = int(query.get("y", rows // 2)), int(query.get("x", columns // 2))
    if not (0 <= y < rows and 0 <= x < columns and 0 <= block < study.sizes.depth):
        raise ConfigError(
            f"There is no patch ({y}, {x}) or no block {block}: patches are {rows} x {columns}, "
            f"blocks 0 to {study.sizes.depth - 1}."
        )
    maps = study.module.maps(study.inputs(study.test.pictures[at : at + 1]))[block]
    shown = picture(study.test.pictures[at])
    name = f"Maps of block {block + 1} from patch ({y}, {x})"
    return (
        Probe("Picture", "image", shown, ("y", "x", "channel")[: shown.ndim]),
        _sides(maps, study.module.grid, y * columns + x, name),
    )


def picture(values: torch.Tensor) -> np.ndarray:
    """Return [C, H, W] as [H, W] or [H, W, 3] of 0..1."""
    found = values[0] if len(values) == 1 else values.movedim(0, -1)
    return _array(found)


def _row(weights: torch.Tensor, grid: tuple[int, int], query: int) -> torch.Tensor:
    """Return one patch's weights on the grid, [h, y, x]; a class token in front is left out."""
    prefix = weights.shape[-1] - grid[0] * grid[1]
    return weights[:, query + prefix, prefix:].unflatten(-1, grid)


def _sides(maps: Maps, grid: tuple[int, int], query: int, name: str) -> Probe:
    """Return content, position and mix of one query side by side, [part, head, y, x]."""
    parts = {"content": maps.content[0], "position": maps.places, "mix": maps.mix[0]}
    if maps.places is None:
        parts = {"content": maps.content[0]}
    rows = {part: _row(values, grid, query) for part, values in parts.items() if values is not None}
    y, x = divmod(query, grid[1])
    values = _array(torch.stack(list(rows.values())))
    lost = 1 - float(rows["content"].sum(dim=(1, 2)).mean())
    token = f"; {lost:.3f} of the mass is on the class token" if lost > 1e-4 else ""
    note = (
        f"Weights of the query at ({y}, {x}), from {values.min():.3g} to {values.max():.3g}{token}"
    )
    return Probe(name, "heat", values, ("part", "head", "y", "x"), {"part": tuple(rows)}, note=note)


def _all_mixes(maps: list[Maps], grid: tuple[int, int], query: int) -> Probe:
    values = _array(torch.stack([_row(one.mix[0], grid, query) for one in maps]))
    names = {"block": tuple(f"block {at + 1}" for at in range(len(maps)))}
    note = "Weights of the middle patch, as they are used"
    return Probe("Every head", "heat", values, ("block", "head", "y", "x"), names, note=note)


def _arrows(places: list[torch.Tensor], grid: tuple[int, int]) -> tuple[Probe, ...]:
    """Return the offset that each head's position likes best, as arrows and as numbers."""
    rows, columns = grid
    middle = (rows - 1) // 2 * columns + (columns - 1) // 2
    found = np.stack([_liked(one[:, middle], offsets(grid)[middle, :, :2]) for one in places])
    reach = max(1.0, float(np.abs(found).max()))
    pictures = np.stack([[_arrow(head / reach) for head in block] for block in found])
    names = tuple(f"block {at + 1}" for at in range(len(found)))
    heads = tuple(f"{name}, head {head + 1}" for name in names for head in range(found.shape[1]))
    note = f"From the query (bright) to the largest weights by position; the edge is {reach:.3g} patches away"
    axes = ("block", "head", "y", "x")
    return (
        Probe("Where positions point", "image", pictures, axes, {"block": names}, note=note),
        Probe(
            "Offsets that positions like best",
            "table",
            found.reshape(-1, 2),
            ("head", "offset"),
            {"head": heads, "offset": ("dx", "dy")},
        ),
    )


def _liked(weights: torch.Tensor, offset: torch.Tensor) -> np.ndarray:
    """Return the mean offset [h, 2] of the patches that get the most: an even square of heads starts with ties."""
    weights = weights.detach().cpu()
    most = (weights > LIKED * weights.amax(dim=1, keepdim=True)).float()  # [h, N]
    return _array(most @ offset / most.sum(dim=1, keepdim=True))


def _arrow(offset: np.ndarray) -> np.ndarray:
    """Draw a line from the middle towards an offset (dx, dy) of -1..1, [ARROW, ARROW] of 0..1."""
    drawn = np.full((ARROW, ARROW), 0.15, dtype=np.float32)
    middle = ARROW // 2
    along = np.linspace(0, 1, 2 * ARROW)[:, None] * offset * middle + middle
    columns, rows = np.rint(along).astype(int).T
    drawn[rows, columns] = 0.7
    drawn[middle - 1 : middle + 2, middle - 1 : middle + 2] = 1.0
    return drawn


def _gates(study: ConViTStudy) -> tuple[Probe, ...]:
    """Return the board of gates and what forcing all of them does to the accuracy."""
    if not study.module.gated:
        return ()
    gates = study.module.gates()
    names = {"block": tuple(f"block {at + 1}" for at in range(len(gates)))}
    test = Labelled(study.test.pictures[:MEASURED], study.test.labels[:MEASURED])
    accuracy = [study.accuracy(test, gate)["accuracy"] for gate in (None, *GATES)]
    forced = tuple("learned" if gate is None else f"{gate:g}" for gate in (None, *GATES))
    return (
        Probe(
            "Gates",
            "heat",
            _array(gates),
            ("block", "head"),
            names,
            note="Share of position: 1 is position alone, 0 content alone; 0.731 at the start",
        ),
        Probe(
            "Accuracy with all gates forced",
            "bars",
            np.array(accuracy),
            ("gate",),
            {"gate": forced},
            note=f"On {len(test)} held-out pictures",
        ),
    )


def _over_time(study: ConViTStudy) -> tuple[Probe, ...]:
    """Return gates and non-locality by block over the steps."""
    if not study.history:
        return ()
    steps, gates, distances = study.recorded()
    found = [("Gates over steps", gates)] if gates.shape[1] else []
    found.append(("Non-locality over steps, in patches", distances))
    times = tuple(steps.tolist())
    return tuple(
        Probe(
            name,
            "curve",
            _array(values.mean(dim=-1).T),
            ("block", "step"),
            {"block": tuple(f"block {at + 1}" for at in range(values.shape[1])), "step": times},
            note="Mean of the heads",
        )
        for name, values in found
    )


def _array(values: torch.Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().cpu().numpy().copy()
    return found
