"""A scene made small for its file: coarser steps, and without the Gaussians that show least.

    rungs     -8 (finest) to 16, 0 is `balanced`: a step is larger by the fourth root of two per rung
    contributions [N]   what each Gaussian adds to all remembered views, in pixels

Below `balanced`, leaving out Gaussians costs less than steps alone (measured on fox): rungs prune
the shares of `_SHARES`. The size asked for is found by trying rungs, and what is found is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from core.base.errors import FormatError
from core.capture.camera import Camera
from core.formats import hyrf
from core.formats.quality import Goal
from core.radiance.field import Snapshot
from core.radiance.parts import SceneParts
from core.render.backend import Renderer
from core.render.evaluate import matrices

LAST_RUNG = 16
_RUNGS, _SHARES = (2, 4, 6, 8, 12, 16), (0.0, 0.05, 0.1, 0.2, 0.45, 0.7)
MOST_VIEWS = 32


def write(
    snapshot: Snapshot, path: Path, goal: Goal, cameras: Sequence[Camera], renderer: Renderer
) -> list[str]:
    """Write a scene as small or as close as asked for; return sentences about what was done for it."""
    parts, rung = snapshot.parts(), goal.quality.rung
    is_pruning = pruned_share(rung) > 0
    found = _Ladder(parts, contributions(snapshot, cameras, renderer) if is_pruning else None)
    if goal.most_bytes is None or found.num_bytes(rung) <= goal.most_bytes:
        found.write(rung, path)
        return found.told(rung)
    if found.shown is None:
        found.shown = contributions(snapshot, cameras, renderer)
    smallest = found.num_bytes(LAST_RUNG)
    if smallest > goal.most_bytes:
        raise FormatError(
            f"{path.name}: this scene needs at least {smallest / 1e6:.3f} MB, "
            f"{goal.most_bytes / 1e6:.3f} MB were asked for. Allow more, or train with fewer Gaussians."
        )
    good, bad = LAST_RUNG, rung
    while good - bad > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if found.num_bytes(middle) <= goal.most_bytes else (good, middle)
    found.write(good, path)
    return found.told(good)


def pruned_share(rung: int) -> float:
    """Return the share of Gaussians that a rung leaves out."""
    return float(np.interp(rung, _RUNGS, _SHARES))


def contributions(snapshot: Snapshot, cameras: Sequence[Camera], renderer: Renderer) -> np.ndarray:
    """Return [N] how much every Gaussian adds to the views: the sum of its blending weights over pixels."""
    total = torch.zeros(snapshot.num_gaussians, device=snapshot.device)
    for index in np.unique(np.linspace(0, len(cameras) - 1, MOST_VIEWS).round().astype(int)):
        camera = cameras[index]
        splats = snapshot.splats(camera)
        if not len(splats):
            continue
        colors = splats.colors.detach().clone().requires_grad_(True)
        viewmats, Ks = matrices(camera, snapshot.device)
        with torch.enable_grad():
            layers = renderer.rasterize(
                replace(splats, colors=colors), viewmats, Ks, camera.width, camera.height
            )
            assert layers is not None  # nobody can cancel this one
            layers.rgb[..., 0].sum().backward()
        assert colors.grad is not None
        rows = slice(None) if splats.ids is None else splats.ids
        total[rows] += colors.grad[:, 0]
    return total.cpu().numpy()


class _Ladder:
    """A scene at different sizes; what a rung weighs is found out once."""

    def __init__(self, parts: SceneParts, shown: np.ndarray | None) -> None:
        self.parts, self.shown = parts, shown
        self._sizes: dict[int, int] = {}

    def num_bytes(self, rung: int) -> int:
        """Return the size of the file at a rung."""
        if rung not in self._sizes:
            self._sizes[rung] = len(hyrf.encoded(self._kept(rung), _coarseness(rung)))
        return self._sizes[rung]

    def write(self, rung: int, path: Path) -> None:
        """Write the file at a rung."""
        hyrf.write(self._kept(rung), path, _coarseness(rung))

    def told(self, rung: int) -> list[str]:
        """Return what was left out."""
        share = pruned_share(rung)
        if not share or self.shown is None:
            return []
        return [f"{share:.0%} of the Gaussians, those that show least, were left out."]

    def _kept(self, rung: int) -> SceneParts:
        share = pruned_share(rung)
        if not share or self.shown is None or not len(self.shown):
            return self.parts
        rows = np.sort(np.argsort(-self.shown, kind="stable")[: _least(len(self.shown), share)])
        parts = {
            name: replace(part, values=part.values[rows]) if part.per_gaussian else part
            for name, part in self.parts.parts.items()
        }
        return replace(self.parts, parts=parts)


def _least(count: int, share: float) -> int:
    return max(1, round(count * (1 - share)))


def _coarseness(rung: int) -> float:
    return float(2.0 ** (rung / 4))
