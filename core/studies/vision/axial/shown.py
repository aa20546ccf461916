"""What the study shows: pictures that it draws, bits and entropy by pixel, the audit of the mask.

samples     [picture, y, x] or [picture, y, x, channel]   0..1
influence   [channel, y, x]   must be zero at a value itself and at all that come after it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.nn.attention import AttentionLayer, Trace
from core.studies.vision.axial.sampling import Drawn, draw, gumbel, influence
from core.study import Probe

if TYPE_CHECKING:
    from core.studies.vision.axial.network import AxialTransformer
    from core.studies.vision.axial.study import AxialStudy

PICTURES, LARGE_PICTURES = 8, 4  # in a row
SMALL, DRAWN = 64, 32  # values of pictures that are drawn whole; of larger ones so many are drawn


def probes_of(study: AxialStudy) -> tuple[Probe, ...]:
    """Return samples as they fill up, where the bits of held-out pictures are, and the audit."""
    drawn, keep = samples(study)
    held = study.held[: len(drawn.x)]
    bits = study.held_out_bits(held).cpu().numpy()
    sizes = study.module.sizes
    return (
        _image("Drawn", _unit(drawn.x, sizes.levels), _given(keep)),
        _filling(drawn, sizes.levels, keep),
        _by_channel("Entropy when drawn", drawn.entropy.cpu().numpy(), "Bits"),
        _image("Held out", _unit(held, sizes.levels)),
        _by_channel("Bits of held-out pictures", bits, f"Mean {bits.mean():.3f} bits per value"),
        _audit(study, sizes.channels - 1, sizes.height // 2, sizes.width // 2),
        *_reach(study, sizes.height // 2, sizes.width // 2),
    )


def samples(study: AxialStudy) -> tuple[Drawn, int]:
    """Return pictures drawn with the same noise every time, and how many of their values are given."""
    sizes = study.module.sizes
    values = sizes.height * sizes.width * sizes.channels
    keep, count = (0, PICTURES) if values <= SMALL else (values - DRAWN, LARGE_PICTURES)
    shape = (count, sizes.height, sizes.width, sizes.channels, sizes.levels)
    rng = torch.Generator().manual_seed(study.setup.seed)
    noise = gumbel(shape, rng, study.config.temperature).to(study.setup.device)
    return draw(study.mean, noise, study.held[:count], keep), keep


def inspected(study: AxialStudy, query: Mapping[str, Any]) -> tuple[Probe, ...]:
    """Audit one value {y, x, channel}; show where a {head} of its pixel looks."""
    sizes = study.module.sizes
    channel = int(query.get("channel", 0)) % sizes.channels
    y, x = int(query["y"]) % sizes.height, int(query["x"]) % sizes.width
    head = int(query["head"]) % sizes.heads if "head" in query else None
    return (_audit(study, channel, y, x), *_reach(study, y, x, head))


@torch.no_grad()
def _reach(study: AxialStudy, y: int, x: int, head: int | None = None) -> tuple[Probe, ...]:
    """Return the last outer row and column map of a pixel, and what both reach together."""
    if study.module.sizes.kind != "axial" or len(study.module.outer) < 2:
        return ()
    trace = Trace()
    study.attend(0, trace)
    layers = {layer.name: layer for layer in trace.layers}
    column = study.module.outer[len(study.module.outer) // 2 * 2 - 1].name
    row = study.module.outer[len(study.module.outer) // 2 * 2 - 2].name
    query = y * study.module.sizes.width + x
    hops = two_hops(layers[row], layers[column], query, head)
    single = [
        chosen(layers[name].weights(torch.tensor([query])), head)[0] for name in (row, column)
    ]
    shape = study.module.sizes.height, study.module.sizes.width
    maps = torch.stack([*single, hops]).unflatten(1, shape).numpy()
    whose = "mean of the heads" if head is None else f"head {head + 1}"
    note = f"Pixel in row {y}, column {x}, {whose}; the shift hands it to the row below"
    names = (row, column, "column after row")
    return (
        Probe("Where a pixel looks", "heat", maps, ("map", "y", "x"), {"map": names}, note=note),
    )


def add_two_hops(trace: Trace, network: AxialTransformer) -> None:
    """Add what every row of the outer stack and the column after it reach together, by the column's head."""
    layers = {layer.name: layer for layer in trace.layers}
    stack = network.outer if network.sizes.kind == "axial" else ()
    for first, second in zip(stack[0::2], stack[1::2], strict=False):
        row, column = layers[first.name], layers[second.name]
        if row.is_small:
            reach = column.weights() @ row.weights().mean(dim=0)  # [heads, H * W, H * W]
            name = f"{first.name.partition(',')[0]} and then {second.name.partition(',')[0]}"
            trace.derived(AttentionLayer(name=name, given=reach, grid=row.grid))


def two_hops(
    row: AttentionLayer, column: AttentionLayer, query: int, head: int | None = None
) -> torch.Tensor:
    """Return the weights [H * W] of a column step after a row step: A_col[r, r'] A_row[r', c']."""
    first = chosen(column.weights(torch.tensor([query])), head)[0]  # [H * W], its column alone
    passed = first.nonzero()[:, 0]
    return first[passed] @ chosen(row.weights(passed), head)


def chosen(weights: torch.Tensor, head: int | None) -> torch.Tensor:
    """Return one head's weights [n, K] of [heads, n, K], or the mean over heads."""
    return weights.mean(dim=0) if head is None else weights[head]


def _audit(study: AxialStudy, channel: int, y: int, x: int) -> Probe:
    with torch.enable_grad():
        found = influence(study.mean, study.held[:1], [(channel, y, x)])[0].cpu().numpy()
    order = np.arange(found.size).reshape(found.shape)
    leaks = int((found[order >= order[channel, y, x]] != 0).sum())
    before = int((found[order < order[channel, y, x]] != 0).sum())
    note = (
        f"Gradient of the logits at channel {channel}, row {y}, column {x}: {before} of "
        f"{order[channel, y, x]} earlier values reach them, {leaks} of itself and the later ones"
    )
    return Probe("Audit of the mask", "heat", found, ("channel", "y", "x"), note=note)


def _filling(drawn: Drawn, levels: int, keep: int) -> Probe:
    """Return the first picture after each of its rows, a channel a line where there are several."""
    x = _unit(drawn.x[:1], levels)[0]  # [H, W, C]
    height, _, channels = x.shape
    row = np.arange(height)
    stages = np.where((row <= row[:, None])[..., None, None], x, 0.0)  # [stage, H, W, C]
    if channels == 1:
        names = tuple(f"row {at + 1}" for at in row)
        return Probe(
            "Filling row by row", "image", stages[..., 0], ("stage", "y", "x"), {"stage": names}
        )
    parts = stages.transpose(3, 0, 1, 2)[:, :: max(1, height // 8)].copy()
    return Probe("Filling row by row", "image", parts, ("channel", "stage", "y", "x"))


def _given(keep: int) -> str:
    return f"The first {keep} values of each are given by held-out pictures" if keep else ""


def _unit(x: torch.Tensor, levels: int) -> np.ndarray:
    values: np.ndarray = (x.double() / (levels - 1)).cpu().numpy()
    return values


def _image(name: str, values: np.ndarray, note: str = "") -> Probe:
    if values.shape[-1] == 1:
        return Probe(name, "image", values[..., 0].copy(), ("picture", "y", "x"), note=note)
    return Probe(name, "image", values, ("picture", "y", "x", "channel"), note=note)


def _by_channel(name: str, values: np.ndarray, note: str) -> Probe:
    """Return numbers [N, H, W, C] as pictures, a line for each channel where there are several."""
    if values.shape[-1] == 1:
        return Probe(name, "heat", values[..., 0].copy(), ("picture", "y", "x"), note=note)
    lines = values.transpose(3, 0, 1, 2).copy()
    return Probe(name, "heat", lines, ("channel", "picture", "y", "x"), note=note)
