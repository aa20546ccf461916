"""The task of the paper: tell which object a field holds, from the field's own numbers.

What is read depends on the variant: planes (by the Transformer over channels, or by a convolutional
network), all weights of a field without planes, a code, or points on the surface of the object.
The loss is cross-entropy; the rate follows one cycle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from core.base.errors import ConfigError
from core.nn.attention import Trace
from core.nn.macs import measuring
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import dropped, seeded
from core.studies.fields.triplane import pictures
from core.studies.fields.triplane.config import TriplaneConfig
from core.studies.fields.triplane.fields import num_weights
from core.studies.fields.triplane.fitting import SURFACE, fitted, layers_of, objects_of
from core.studies.fields.triplane.readers import (
    ChannelTransformer,
    PlainReader,
    PlaneCnn,
    PointNet,
    normalised,
)
from core.study import Attended, Probe, Setup

KINDS = {  # of the field that a variant reads
    "planes": "planes",
    "planes_cnn": "planes",
    "weights": "weights",
    "weights_shared": "weights_shared",
    "codes": "codes",
}
NUM_CLASSES = {"digits": 10, "solids": 5}
WARM = 0.3  # share of the steps in which the rate rises
SMALLEST_WINDOW = 0.8  # share of a plane's side
DROPPED = 0.2  # of the numbers of a row


def one_cycle(share: float) -> float:
    """Return the factor on the rate after a share of all steps: up along a cosine, then down to zero."""
    if share < WARM:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * share / WARM))
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (share - WARM) / (1 - WARM))))


def split_of(count: int, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the objects to learn from and those to measure on."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(count))
    held = max(1, round(share * count))
    return order[held:], order[:held]


def windowed(
    planes: torch.Tensor, crop: int, rng: torch.Generator | None, size: float = SMALLEST_WINDOW
) -> torch.Tensor:
    """Return a window of the planes as [B, 3 C, crop, crop]: random and resized, or the middle."""
    side = planes.shape[-1]
    if crop == 0:
        return planes
    if rng is None:
        at = (side - crop) // 2
        return planes[..., at : at + crop, at : at + crop]
    share = size + (1 - size) * float(torch.rand((), generator=rng, device=rng.device))
    wide = max(1, round(share * side))
    top, left = torch.randint(side - wide + 1, (2,), generator=rng, device=rng.device).tolist()
    part = planes[..., top : top + wide, left : left + wide]
    return nn.functional.interpolate(part, size=(crop, crop), mode="bilinear", align_corners=False)


def reader_of(variant: str, config: TriplaneConfig) -> nn.Module:
    """Return the untrained network of a variant."""
    fields, reader, classes = config.fields, config.reader, NUM_CLASSES[config.shapes]
    if variant == "planes":
        return ChannelTransformer(reader.crop or fields.side, classes, reader)
    if variant == "planes_cnn":
        return PlaneCnn(3 * fields.channels, classes, reader.width)
    if variant == "points":
        return PointNet(classes, reader.width)
    width = fields.code if variant == "codes" else num_weights(3, layers_of(variant, fields))
    return PlainReader(width, classes, reader.width)


class Reading:
    """Fields, a network that reads them, and the order in which it sees them."""

    def __init__(self, config: TriplaneConfig, setup: Setup) -> None:
        if config.reader.crop > config.fields.side:
            raise ConfigError(
                f"A crop of {config.reader.crop} does not fit planes of {config.fields.side} cells. "
                "Set reader.crop to 0 or to fewer cells."
            )
        self.config, self.setup = config, setup
        self.is_row = setup.variant in ("weights", "weights_shared", "codes")
        with seeded(setup.seed, setup.device):
            self.module = reader_of(setup.variant, config)
        reader = config.reader
        self.optimizer = ModuleAdam(self.module.parameters(), reader.rate, decay=reader.decay)
        self.steps_done = 0

    @property
    def total_steps(self) -> int:
        """Batches of fields to learn from."""
        return self.config.reader.steps

    def prepare(self) -> None:
        """Fit all fields, or take them from an earlier run, and split the objects."""
        config, seed, device = self.config, self.setup.seed, self.setup.device
        objects = objects_of(config, seed)
        self.objects, self.quality = objects, {}
        if kind := KINDS.get(self.setup.variant):
            found = fitted(kind, config, objects, self.setup)
            self.features = found["features"].to(device)
            self.quality = {name: found[name] for name in ("iou", "iou_without_planes")}
        else:
            self.features = objects.surface.to(device)  # [N, SURFACE, 3]
        self.labels = objects.shapes.labels.to(device)
        self.train, self.test = split_of(len(objects), config.test, seed)
        self.rng = torch.Generator(device).manual_seed(seed)
        known = self.features[self.train]
        self.mean, self.spread = known.mean(dim=0), known.std(dim=0).clamp_min(1e-6)

    def inputs(self, rows: torch.Tensor, rng: torch.Generator | None = None) -> torch.Tensor:
        """Return what the network reads of objects rows [B]; with rng as it is seen while training."""
        found = self.features[rows]
        if self.is_row:
            return dropped((found - self.mean) / self.spread, DROPPED, rng)
        if self.setup.variant != "points":
            return normalised(windowed(found, self.config.reader.crop, rng))
        count = min(self.config.reader.points, SURFACE)
        if rng is None:
            return found[:, :count]
        chosen = torch.randint(SURFACE, (len(rows), count, 1), generator=rng, device=found.device)
        return found.gather(1, chosen.expand(-1, -1, 3))

    def step(self) -> dict[str, float]:
        """Learn from one batch."""
        reader, device = self.config.reader, self.setup.device
        picked = torch.randint(len(self.train), (reader.batch,), generator=self.rng, device=device)
        rows = self.train.to(device)[picked]
        self.module.train()
        logits, labels = self.module(self.inputs(rows, self.rng)), self.labels[rows]
        loss = nn.functional.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.rate = reader.rate * one_cycle(self.steps_done / reader.steps)
        self.optimizer.step()
        self.steps_done += 1
        right = (logits.detach().argmax(dim=1) == labels).double().mean()
        return {"loss": float(loss.detach()), "accuracy_learned": float(right)}

    @torch.no_grad()
    def measure(self, options: Mapping[str, Any]) -> dict[str, float]:
        """Measure on held-out objects; {shuffle: true} mixes the channels of each object before."""
        if unknown := set(options) - {"shuffle"}:
            raise ConfigError(
                f"Fields cannot be measured with {sorted(unknown)}; known: 'shuffle'."
            )
        inputs, labels = self.inputs(self.test), self.labels[self.test]
        with measuring(self.module):
            logits = plain = self.module(inputs)
            if options.get("shuffle"):
                if self.setup.variant not in ("planes", "planes_cnn"):
                    raise ConfigError(
                        "Only planes have channels to shuffle. Choose planes or planes_cnn."
                    )
                logits = self.module(shuffled(inputs, self.setup.seed))
        found = {
            "accuracy": float((logits.argmax(dim=1) == labels).double().mean()),
            "loss": float(nn.functional.cross_entropy(logits, labels)),
        }
        found.update(
            {name: float(values[self.test].mean()) for name, values in self.quality.items()}
        )
        if options.get("shuffle"):
            found["moved"] = float((logits - plain).abs().max())
        return found

    def probes(self) -> tuple[Probe, ...]:
        """Return what the network sees and what it makes of it."""
        return pictures.of_reading(self)

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Show another held-out object {object: its number}."""
        return pictures.of_reading(self, int(query.get("object", self.config.shown)))

    def attend(self, sample: int, trace: Trace) -> Attended | None:
        """Pass one held-out object through the Transformer; its channels are queries and keys."""
        if not isinstance(self.module, ChannelTransformer):
            return None
        at = sample % len(self.test)
        row = self.test[[at]]
        planes = self.inputs(row)
        names = self.objects.shapes.classes
        return Attended(
            outputs=self.module(planes, trace)[0],
            names=names,
            picture=pictures.strip(planes[0]),
            samples=len(self.test),
            note=f"Held-out object {at}, {names[int(self.labels[row])]}; tokens are channels, "
            f"{self.config.fields.channels} of each plane: {', '.join(pictures.PLANES)}",
        )

    def configure(self, config: TriplaneConfig) -> None:
        """Apply live edits."""
        self.config = config

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; fields and split follow from the seed."""
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


def shuffled(planes: torch.Tensor, seed: int) -> torch.Tensor:
    """Return planes [B, 3 C, R, R] with the channels of every object in another order."""
    rng = torch.Generator(planes.device).manual_seed(seed)
    order = torch.rand(planes.shape[:2], generator=rng, device=planes.device).argsort(dim=1)
    return planes.gather(1, order[..., None, None].expand_as(planes))
