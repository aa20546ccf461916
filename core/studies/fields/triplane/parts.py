"""Part segmentation: which part of its object a point belongs to, read from planes alone.

queries   [B, P, 3 + 6 * 10 + classes]   the encoding of a point and the class of its object
parts     [B, P]                         the part of the nearest primitive
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from core.base.errors import ConfigError
from core.nn.attention import Trace
from core.nn.macs import measuring
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import seeded
from core.studies.fields.triplane import pictures
from core.studies.fields.triplane.config import TriplaneConfig
from core.studies.fields.triplane.fields import encoded, num_encoded
from core.studies.fields.triplane.fitting import SURFACE, fitted, objects_of
from core.studies.fields.triplane.readers import PartDecoder, normalised
from core.studies.fields.triplane.reading import one_cycle, split_of, windowed
from core.studies.fields.triplane.shapes import MODELS, PARTS, Solids
from core.study import Attended, Probe, Setup

FREQUENCIES = 10  # of the queries
ASKING = 64  # points whose attention is inspected
TESTED = 256  # points of each held-out object


class Parts:
    """Solids out of parts, their planes, and the decoder that tells the parts apart."""

    def __init__(self, config: TriplaneConfig, setup: Setup) -> None:
        self.config, self.setup = config.model_copy(update={"shapes": "solids"}), setup
        side = config.reader.crop or config.fields.side
        sizes = (num_encoded(FREQUENCIES), len(MODELS), len(PARTS))
        with seeded(setup.seed, setup.device):
            self.module = PartDecoder(side, *sizes, config.reader)
        reader = config.reader
        self.optimizer = ModuleAdam(self.module.parameters(), reader.rate, decay=reader.decay)
        self.steps_done = 0

    @property
    def total_steps(self) -> int:
        """Batches of objects to learn from."""
        return self.config.reader.steps

    def prepare(self) -> None:
        """Fit the planes of all solids and ask the solids for the parts of their surface points."""
        objects = objects_of(self.config, self.setup.seed)
        assert isinstance(objects.shapes, Solids)
        found = fitted("planes", self.config, objects, self.setup)
        device = self.setup.device
        self.planes, self.iou = found["features"].to(device), found["iou"]
        rows = torch.arange(len(objects))
        self.points = objects.surface.to(device)
        self.labels = objects.shapes.part_of(rows, objects.surface).to(device)  # [N, SURFACE]
        self.kinds = objects.shapes.labels.to(device)
        self.train, self.test = split_of(len(objects), self.config.test, self.setup.seed)
        self.rng = torch.Generator(device).manual_seed(self.setup.seed)

    def logits(
        self,
        rows: torch.Tensor,
        points: torch.Tensor,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
    ) -> torch.Tensor:
        """Return logits [B, P, parts] of points [B, P, 3] of objects rows [B]."""
        planes = normalised(windowed(self.planes[rows], self.config.reader.crop, rng))
        kinds = nn.functional.one_hot(self.kinds[rows], len(MODELS)).to(points)
        kinds = kinds[:, None].expand(-1, points.shape[1], -1)
        queries = torch.cat((encoded(points, FREQUENCIES), kinds), dim=-1)
        found: torch.Tensor = self.module(planes, queries, trace)
        return found

    def step(self) -> dict[str, float]:
        """Learn from some points of a batch of objects."""
        reader, device = self.config.reader, self.setup.device
        picked = torch.randint(len(self.train), (reader.batch,), generator=self.rng, device=device)
        rows = self.train.to(device)[picked]
        size = (len(rows), min(reader.points, SURFACE))
        at = torch.randint(SURFACE, size, generator=self.rng, device=device)
        points = self.points[rows].gather(1, at[..., None].expand(-1, -1, 3))
        labels = self.labels[rows].gather(1, at)
        self.module.train()
        logits = self.logits(rows, points, self.rng)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.rate = reader.rate * one_cycle(self.steps_done / reader.steps)
        self.optimizer.step()
        self.steps_done += 1
        right = (logits.detach().argmax(dim=-1) == labels).double().mean()
        return {"loss": float(loss.detach()), "accuracy_learned": float(right)}

    @torch.no_grad()
    def measure(self, options: Mapping[str, Any]) -> dict[str, float]:
        """Measure on points of held-out objects: the share that is right, and the mean IoU of parts.

        With {other: true} each object is read from the planes of another one of its class.
        """
        if unknown := set(options) - {"other"}:
            raise ConfigError(f"Parts cannot be measured with {sorted(unknown)}; known: 'other'.")
        labels = self.labels[self.test, :TESTED]
        read_rows = self._others() if options.get("other") else self.test
        with measuring(self.module):
            read = self.logits(read_rows, self.points[self.test, :TESTED]).argmax(dim=-1)
        shares = []
        for part in range(len(PARTS)):
            either = ((read == part) | (labels == part)).sum()
            if either:
                shares.append(float(((read == part) & (labels == part)).sum() / either))
        return {
            "accuracy": float((read == labels).double().mean()),
            "part_iou": sum(shares) / len(shares),
            "iou": float(self.iou[self.test].mean()),
        }

    def _others(self) -> torch.Tensor:
        """Return for every held-out object the next of its class."""
        others = self.test.clone()
        kinds = self.kinds[self.test].cpu()
        for kind in kinds.unique():
            others[kinds == kind] = self.test[kinds == kind].roll(1)
        return others

    def probes(self) -> tuple[Probe, ...]:
        """Draw the parts of a held-out object and what some of its points read."""
        return pictures.of_parts(self)

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Show which channels a point {x, y, z} of a held-out object {object} reads."""
        return pictures.of_point(self, query)

    def attend(self, sample: int, trace: Trace) -> Attended:
        """Let points of one held-out object ask its channels for their parts."""
        at = sample % len(self.test)
        row = self.test[[at]]
        logits = self.logits(row, self.points[row, :ASKING], trace=trace)[0]
        return Attended(
            outputs=logits.mean(dim=0),
            names=PARTS,
            key_picture=pictures.strip(self.planes[row][0]),
            samples=len(self.test),
            note=f"Held-out object {at}, {tuple(MODELS)[int(self.kinds[row])]}: points of its surface "
            "read channels",
        )

    def configure(self, config: TriplaneConfig) -> None:
        """Apply live edits."""
        self.config = config.model_copy(update={"shapes": "solids"})

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; planes and split follow from the seed."""
        return {
            "module": dict(self.module.state_dict()),
            "optimizer": self.optimizer.state(),
            "rng": self.rng.get_state(),
            "steps_done": self.steps_done,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load(state["optimizer"])
        self.rng.set_state(state["rng"])
        self.steps_done = int(state["steps_done"])
