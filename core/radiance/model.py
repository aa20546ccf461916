"""What the trainer of photographs asks of a set of Gaussians, whichever parameters they are made of.

`explicit` are the numbers every Gaussian owns (first axis N); density control adds and removes rows
of them. A view works on compact `leaves`: the visible rows of each explicit tensor, with gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from core.capture.camera import Camera, Similarity
from core.nn.hashgrid import HashGrid
from core.radiance.field import Snapshot
from core.radiance.splats import Splats

Leaves = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Placement:
    """Gaussians to be: where, how large and how opaque, and which existing ones they take the rest from.

    rows [M] sources, means [M, 3], scales [M, 3], opacities [M]
    """

    rows: torch.Tensor
    means: torch.Tensor
    scales: torch.Tensor
    opacities: torch.Tensor


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a scene remembers of its capture."""

    bounds: np.ndarray
    up: np.ndarray
    to_original: Similarity
    summary: dict[str, Any]

    @property
    def is_antialiased(self) -> bool:
        """Whether the scene was trained with the screen blur compensated."""
        return bool(self.summary.get("is_antialiased", False))


@dataclass(frozen=True, eq=False)
class Shared:
    """What all Gaussians of a model share and learn together."""

    weights: Sequence[torch.nn.Parameter] = ()
    grids: Sequence[HashGrid] = ()


class GaussianModel(Protocol):
    """Gaussians that can be fitted to photographs."""

    explicit: dict[str, torch.Tensor]

    def decode(self, leaves: Leaves, camera: Camera) -> Splats:
        """Activate the gathered rows for a camera; differentiable in leaves and networks."""
        ...

    def background(self, camera: Camera, alpha: torch.Tensor) -> torch.Tensor | None:
        """Return the colour behind the Gaussians where `alpha` [H, W, 1] lets it through, or None.

        [h, w, 3] of the picture's size or coarser; it is enlarged where the two are laid over each other.
        """
        ...

    def activated(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return scales [M, 3], quats [M, 4] and opacities [M] of some Gaussians, without gradient."""
        ...

    def place(self, placement: Placement) -> Leaves:
        """Return explicit rows that have the asked means, scales and opacities once activated."""
        ...

    def limit_opacity(self, highest: float) -> None:
        """Lower every explicit opacity to at most `highest` (3DGS's opacity reset)."""
        ...

    def rates(self, progress: float) -> Mapping[str, float]:
        """Return the learning rate of each explicit tensor at a fraction of the training."""
        ...

    def shared(self) -> Shared:
        """Return what Gaussians share, so that its gradients can be added up over ranks."""
        ...

    def optimise_shared(self, progress: float) -> None:
        """Step what Gaussians share (fields), from the gradients of the last backward pass."""
        ...

    def scene(self, step: int) -> Snapshot:
        """Return a detached copy for drawing and saving."""
        ...

    def state(self) -> dict[str, Any]:
        """Return parameters and optimizer state of what Gaussians share, and the explicit tensors."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        ...
