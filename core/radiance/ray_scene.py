"""A snapshot without Gaussians: a field of density and colour, or of distance, that is asked along rays.

`ask` gets origins and directions [R, 3] and returns what a `Trace` names; it must neither learn nor
change. Everybody who draws, measures or exports a scene asks it through `core/render/traced.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from core.capture.camera import Camera, Similarity
from core.radiance.field import Sphere, Trace
from core.radiance.parts import Coding, Part, SceneParts
from core.radiance.splats import Splats

KIND = "rays"  # of its parts: no scene file holds one
Ask = Callable[[torch.Tensor, torch.Tensor], Trace]


@dataclass(frozen=True, eq=False)
class RayScene:
    """What a renderer asks of a field. `weights` are only weighed; `summary` is what a file would remember."""

    ask: Ask
    step: int
    bounds: np.ndarray
    up: np.ndarray
    to_original: Similarity = field(default_factory=Similarity.identity)
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    num_gaussians: int = 0
    is_antialiased: bool = False

    def trace(self, origins: torch.Tensor, directions: torch.Tensor) -> Trace:
        """Follow rays [R, 3] and return what they meet."""
        return self.ask(origins, directions)

    def splats(self, camera: Camera) -> Splats:
        """Return no Gaussians."""
        return Splats.none(self.device)

    def all_splats(self, center: np.ndarray) -> Splats:
        """Return no Gaussians."""
        return Splats.none(self.device)

    def background(self, camera: Camera) -> torch.Tensor | None:
        """Return None: what lies behind is part of the field."""
        return None

    def sphere(self) -> Sphere | None:
        """Return None: there is no far sphere."""
        return None

    def parts(self) -> SceneParts:
        """Return the field's arrays, to be weighed, and what it remembers of its capture."""
        arrays = {
            name: Part(values.detach().cpu().numpy(), "networks", Coding.RAW)
            for name, values in self.weights.items()
        }
        return SceneParts(
            KIND,
            arrays,
            step=self.step,
            bounds=self.bounds,
            up=self.up,
            to_original=self.to_original,
            summary=dict(self.summary),
        )
