"""What NeuRBF shows of itself: ellipses, rings, where kernels crowd, what grid and kernels add."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from core.studies.signals import everywhere, lattice
from core.study import Probe

SIDE = 96
WINDOW = 0.25  # of the picture, enlarged to see single ellipses
RIM = (0.75, 1.25)  # of x^T S x: an ellipse's outline
CROWD = 32  # cells of the picture of how many kernels stand where


def plane(study: Any, side: int, low: float = 0.0, size: float = 1.0) -> torch.Tensor:
    """Return places [side^2, rank] of a window of the picture, or of the slice at z = 0.5, y down."""
    flat = low + size * lattice(2, side)
    if study.signal.rank == 3:
        flat = torch.cat((flat.flip(-1), torch.full((len(flat), 1), 0.5)), dim=-1)
    return flat.to(study.setup.device)


def probes(study: Any) -> tuple[Probe, ...]:
    """Return everything that a plane through the signal shows."""
    found = [_ellipses(study), _crowd(study), *_kernels(study)]
    if study.config.signal == "picture":
        found.append(_parts(study))
    return tuple(found)


def _ellipses(study: Any) -> Probe:
    """Outline the kernels in a window, brighter the larger their features."""
    radial, side = study.module.radial, 2 * SIDE
    places = plane(study, side, 0.5 - WINDOW / 2, WINDOW)
    near = radial.nearest(places)
    phi = _alone(radial, places, near)
    squared = 1 / phi.clamp(min=1e-6) - 1  # x^T S x of inverse quadratics, [N, k]
    if radial.shape == "hat":
        squared = 4 * (1 - phi)  # outlined where a hat is at three quarters
    is_rim = (squared > RIM[0]) & (squared < RIM[1])
    size = radial.weights.norm(dim=-1)[near]
    drawn = torch.where(is_rim, size + 0.25 * size.max(), 0 * size).amax(dim=1)
    values = drawn.reshape(side, side).cpu().numpy().copy()
    note = (
        "A quarter of the picture's side around its middle; brightness is the norm of the features"
    )
    return Probe("Kernels", "heat", values, ("y", "x"), note=note)


def _alone(radial: Any, places: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """Return phi [N, k] before it is divided by its sum."""
    was, radial.is_normalised = radial.is_normalised, False
    try:
        found: torch.Tensor = radial.kernels(places, near)
    finally:
        radial.is_normalised = was
    return found


def _crowd(study: Any) -> Probe:
    """Count kernels over the plane, as drawn by weight and after clustering."""
    centers = study.module.radial.centers.cpu().numpy()
    axes = (0, 1) if centers.shape[1] == 2 else (1, 0)
    pictures = [
        np.histogram2d(one[:, axes[0]], one[:, axes[1]], CROWD, ((0, 1), (0, 1)))[0]
        for one in (study.start if len(study.start) else centers, centers)
    ]
    return Probe(
        "Kernels per place", "heat", np.stack(pictures), ("picture", "y", "x"),
        {"picture": ("drawn", "placed")}, note=f"{len(centers)} kernels",
    )  # fmt: skip


def _kernels(study: Any) -> list[Probe]:
    """Show the value of the nearest kernel, and rings: the sine of it in some channels."""
    radial, places = study.module.radial, plane(study, SIDE, 0.5 - WINDOW / 2, WINDOW)
    phi = radial.kernels(places, radial.nearest(places))[:, :1]
    value = phi.reshape(SIDE, SIDE).cpu().numpy().copy()
    found = [Probe("Value of the nearest kernel", "heat", value, ("y", "x"))]
    if radial.octaves is None:
        return found
    psi = radial.composed(phi)[:, 0]  # [N, C]
    chosen = np.linspace(0, psi.shape[1] - 1, min(4, psi.shape[1])).round().astype(int)
    rings = psi[:, chosen].T.reshape(-1, SIDE, SIDE).cpu().numpy().copy()
    names = tuple(f"w = {float(radial.frequencies[at]):.3g}" for at in chosen)
    note = "The sine acts on the kernel's value, not on the place: rings around its middle"
    rows = {"channel": names}
    axes = ("channel", "y", "x")
    return [
        *found,
        Probe("Sine of the value", "heat", rings, axes, rows, is_signed=True, note=note),
    ]


def _parts(study: Any) -> Probe:
    """Decode the grid alone, the kernels alone, and both."""
    signal = study.signal
    pictures = [
        signal.shaped(
            everywhere(
                lambda places, rows, parts=parts: study.module(places, study.near[rows], parts),
                signal.places,
                are_rows=True,
            )
        )
        for parts in ((True, False), (False, True), (True, True))
    ]
    return Probe(
        "What each part adds", "image", np.stack(pictures).clip(0, 1),
        ("part", "y", "x", "channel"), {"part": ("grid", "kernels", "both")},
    )  # fmt: skip


def near_one(study: Any, place: torch.Tensor) -> tuple[Probe, ...]:
    """Show the kernels near one place [1, rank]."""
    radial = study.module.radial
    near = radial.nearest(place)
    phi = radial.kernels(place, near)
    names = tuple(f"kernel {int(at)}" for at in near[0])
    weight = Probe("Weights of the nearest kernels", "bars", phi[0].cpu().numpy().copy(), ("kernel",),
                   {"kernel": names})  # fmt: skip
    psi = radial.composed(phi)[0].cpu().numpy().copy()
    return weight, Probe("Sines", "curve", psi, ("kernel", "channel"), {"kernel": names})
