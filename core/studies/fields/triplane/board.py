"""The fitting board: a batch of objects learns before one's eyes, the first of them twice.

Slots 0 and 1 hold the same object with starts of their own: their planes differ in the order and
sign of channels, their reconstructions do not.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.nn.seeded import seeded
from core.radiance.ray_scene import RayScene
from core.radiance.sphere_trace import SurfaceAsk
from core.studies.fields.triplane import pictures
from core.studies.fields.triplane.config import TriplaneConfig
from core.studies.fields.triplane.fields import TriPlanes
from core.studies.fields.triplane.fitting import SURFACE, Fit, Objects, field_of, objects_of
from core.studies.fields.triplane.shapes import Digits, surfaces
from core.study import Probe, Setup

SLOPE = 60.0  # of a fitted logit across a surface, about: it makes a distance of it
STRIDE = 0.05  # the longest that a ray goes at a time: an occupancy says nothing of places far away


class Board:
    """A batch of tri-plane fields while they learn."""

    def __init__(self, config: TriplaneConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.slots = min(config.fields.batch, config.objects + 1)
        with seeded(setup.seed, setup.device):
            field = field_of("planes", self.slots, config.fields)
        assert isinstance(field, TriPlanes)
        self.module, self.morphed = field, 0.0

    @property
    def total_steps(self) -> int:
        """Steps of the whole batch."""
        return self.config.fields.steps

    def prepare(self) -> None:
        """Make the objects; the first stands in two slots."""
        objects = objects_of(self.config, self.setup.seed)
        rows = torch.arange(-1, self.slots - 1).clamp_min(0)
        self.fit = Fit(self.module, objects, rows, self.config.fields, self.setup.seed)
        self._morph(self.config.morph)

    def step(self) -> dict[str, float]:
        """Let every object learn from a few points."""
        return {"loss": self.fit.step(self.total_steps)}

    def measure(self, options: Mapping[str, Any]) -> dict[str, float]:
        """Measure how well objects are reconstructed, with and without their planes."""
        if options:
            raise ConfigError(f"The board is measured without options, not with {dict(options)}.")
        bare = self.fit.iou(has_planes=False)
        return {"iou": float(self.fit.iou().mean()), "iou_without_planes": float(bare.mean())}

    def probes(self) -> tuple[Probe, ...]:
        """Draw all objects, the planes of the shown one, and the two fits of the first."""
        return pictures.of_board(self)

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Show the planes and the reconstruction of one slot {object}."""
        return pictures.of_slot(self, int(query.get("object", self.config.shown)) % self.slots)

    def snapshot(self) -> RayScene:
        """Return the shown reconstruction as it is now, to be orbited and made a mesh of."""
        field, slot = copy.deepcopy(self.module), torch.tensor([self.config.shown % self.slots])

        def distance(points: torch.Tensor) -> torch.Tensor:
            logits = field(points[None].float(), slot)[0]
            return (-logits / SLOPE).clamp(-STRIDE, STRIDE)

        bounds = np.array([[-1.0] * 3, [1.0] * 3])
        ask = SurfaceAsk(distance, bounds)
        return RayScene(ask, self.fit.steps_done, bounds, np.array([0.0, 1.0, 0.0]))

    def configure(self, config: TriplaneConfig) -> None:
        """Apply live edits; a morph changes the first object, and its planes follow."""
        self.config = config
        self._morph(config.morph)

    def _morph(self, share: float) -> None:
        objects = self.fit.objects
        if share == self.morphed or not isinstance(objects.shapes, Digits):
            return
        objects.shapes.morph(0, share)
        self.morphed = share
        self.fit.objects = Objects(
            objects.shapes, surfaces(objects.shapes, SURFACE, self.setup.seed)
        )

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the objects follow from the seed."""
        return {
            "module": dict(self.module.state_dict()),
            "optimizer": self.fit.optimizer.state(),
            "rng": self.fit.rng.get_state(),
            "losses": self.fit.losses.clone(),
            "steps_done": self.fit.steps_done,
            "morphed": self.morphed,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.module.load_state_dict(state["module"])
        self.fit.optimizer.load(state["optimizer"])
        self.fit.rng.set_state(state["rng"])
        self.fit.losses = state["losses"].clone()
        self.fit.steps_done = int(state["steps_done"])
        self._morph(float(state["morphed"]))
