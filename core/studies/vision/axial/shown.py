"""What the study shows: pictures that it draws, bits and entropy by pixel, the audit of the mask.

samples     [picture, y, x] or [picture, y, x, channel]   0..1
influence   [channel, y, x]   must be zero at a value itself and at all that come after it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.studies.vision.axial.sampling import Drawn, draw, gumbel, influence
from core.study import Probe

if TYPE_CHECKING:
    from core.studies.vision.axial.study import AxialStudy

PICTURES = 8  # in a row
DRAWN_VALUES = 64  # the most that is drawn for a probe; of larger pictures the rest is given


def probes_of(study: AxialStudy) -> tuple[Probe, ...]:
    """Return samples as they fill up, where the bits of held-out pictures are, and the audit."""
    drawn, keep = samples(study)
    held = study.held[:PICTURES]
    bits = study.held_out_bits(held).cpu().numpy()
    sizes = study.module.sizes
    return (
        _image("Drawn", _unit(drawn.x, sizes.levels), _given(keep)),
        _filling(drawn, sizes.levels, keep),
        _by_channel("Entropy when drawn", drawn.entropy.cpu().numpy(), "Bits"),
        _image("Held out", _unit(held, sizes.levels)),
        _by_channel("Bits of held-out pictures", bits, f"Mean {bits.mean():.3f} bits per value"),
        _audit(study, sizes.channels - 1, sizes.height // 2, sizes.width // 2),
    )


def samples(study: AxialStudy) -> tuple[Drawn, int]:
    """Return pictures drawn with the same noise every time, and how many of their values are given."""
    sizes = study.module.sizes
    shape = (PICTURES, sizes.height, sizes.width, sizes.channels, sizes.levels)
    rng = torch.Generator().manual_seed(study.setup.seed)
    noise = gumbel(shape, rng, study.config.temperature).to(study.setup.device)
    keep = max(0, sizes.height * sizes.width * sizes.channels - DRAWN_VALUES)
    with study.averaged() as network:
        return draw(network, noise, study.held[:PICTURES], keep), keep


def inspected(study: AxialStudy, query: dict[str, Any]) -> tuple[Probe, ...]:
    """Audit one value {y, x, channel}."""
    sizes = study.module.sizes
    channel = int(query.get("channel", 0)) % sizes.channels
    place = channel, int(query["y"]) % sizes.height, int(query["x"]) % sizes.width
    return (_audit(study, *place),)


def _audit(study: AxialStudy, channel: int, y: int, x: int) -> Probe:
    with study.averaged() as network, torch.enable_grad():
        found = influence(network, study.held[:1], (channel, y, x)).cpu().numpy()
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
