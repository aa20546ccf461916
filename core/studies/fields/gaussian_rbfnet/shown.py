"""What the layer of Gaussians shows: where each unit answers, which features it uses, features in the plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from core.studies.signals import lattice
from core.study import Probe

SIDE = 64
CELLS = 96  # of the picture of features
MOST = 36  # units that are shown


def probes(study: Any) -> tuple[Probe, ...]:
    """Return maps, widths and features of the layer."""
    module = study.module
    flat = lattice(2, SIDE)
    if study.signal.rank == 3:  # a slice through the middle, y down
        flat = torch.cat((flat.flip(-1), torch.full((len(flat), 1), 0.5)), dim=-1)
    phi = module.decoder.activations(module.features(flat.to(study.setup.device)))
    maps = phi[:, :MOST].T.reshape(-1, SIDE, SIDE).cpu().numpy().copy()
    names = tuple(f"{unit}" for unit in range(len(maps)))
    widths = module.decoder.widths().log().cpu().numpy().copy()
    shares = module.decoder.dead_share(module.features(study.looked_at))
    return (
        Probe(
            "Where each unit answers", "heat", maps, ("unit", "y", "x"), {"unit": names},
            note=f"{100 * shares:.0f} % of the units answer the same everywhere",
        ),
        Probe(
            "Log of the widths exp(b)", "heat", widths, ("unit", "feature"), is_signed=True,
            note="Features coarsest first; red ones the unit looks at closely",
        ),
        _plane(study),
    )  # fmt: skip


def _plane(study: Any) -> Probe:
    """Draw features in the plane of their two main axes, and the units' ellipses u = 1 in it."""
    module = study.module
    features = module.features(study.looked_at).cpu().numpy().astype(np.float64)
    middle = features.mean(axis=0)
    _, _, axes = np.linalg.svd(features - middle, full_matrices=False)
    axes = axes[:2] if len(axes) > 1 else np.vstack((axes, np.zeros_like(axes)))
    points = (features - middle) @ axes.T  # [N, 2]
    reach = max(float(np.abs(points).max()), 1e-9)
    edges = np.linspace(-reach, reach, CELLS + 1)
    crowd = np.histogram2d(points[:, 1], points[:, 0], (edges, edges))[0]
    drawn = 0.6 * np.log1p(crowd) / max(float(np.log1p(crowd).max()), 1e-9)
    picture = np.repeat(drawn[..., None], 3, axis=-1)
    centers = (module.decoder.centers.cpu().numpy() - middle) @ axes.T  # [M, 2]
    widths = module.decoder.widths().cpu().numpy().astype(np.float64)  # [M, D]
    # the section of u = 1 along each axis a: radius 1 / sqrt(sum_j exp(b_j) a_j^2)
    radii = 1 / np.sqrt(np.maximum(widths @ np.square(axes).T, 1e-12))  # [M, 2]
    angle = np.linspace(0, 2 * np.pi, 128)
    rings = centers[:, None] + radii[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    for where, color in ((rings.reshape(-1, 2), (0.9, 0.5, 0.1)), (centers, (1.0, 0.9, 0.2))):
        cell = np.floor((where + reach) / (2 * reach) * CELLS).astype(int)
        cell = cell[((cell >= 0) & (cell < CELLS)).all(axis=1)]
        picture[cell[:, 1], cell[:, 0]] = color
    note = "Grey: features at places; yellow: centres; orange: where u = 1 in this plane"
    return Probe("Features and units", "image", picture, ("y", "x", "channel"), note=note)
