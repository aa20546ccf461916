"""Training that knows the scene file: parameters are seen rounded to the file's steps while they learn.

The steps are chosen once, where rounding begins, and stay. A training step draws and compares the
rounded values; its gradients go to the parameters as they are (straight-through, Bengio et al.
2013), so that what the file will lose is made up for by everything that can still move.
Entries of hash tables that no photograph needs are drawn to zero meanwhile, where they cost least.

    tensors  name -> any shape  floating point, the parameters themselves, not copies
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import Field

from core.base.config import Config, live
from core.formats import precision
from core.formats.quality import Quality
from core.radiance.parts import Coding

Tensors = Mapping[str, torch.Tensor]
PLACES = "means"
TABLES = {1: ("radiance_grid",), 2: ("geometry_grid", "radiance_grid")}  # in a scene's file


class RoundingConfig(Config):
    """Learning as a scene file will round."""

    start: float = Field(
        1.0,
        ge=0,
        le=1,
        title="Round from",
        description="Share of training after which the model learns as its file will round it; 1 for never.",
    )
    quality: Quality = Field(
        Quality.BALANCED,
        title="Round for",
        description="Quality of the scene file that is learnt for; coarser files are smaller.",
    )
    draw_to_zero: float = live(
        0.001,
        ge=0,
        le=0.1,
        title="Draw fields to zero",
        description="While rounding: steps by which entries of the fields' tables shrink each time.",
    )


class Rounding:
    """The steps that parameters are rounded to; none before it has started."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}  # of steps in precision.py
        self.unit = 0  # log2, of positions

    @torch.no_grad()
    def follow(self, config: RoundingConfig, progress: float, tensors: Tensors) -> None:
        """Choose the steps once training has come so far, and draw tables to zero from then on."""
        if progress < config.start or config.start >= 1:
            return
        tables = [name for name in tensors if name.startswith("table")]
        if not self.numbers:
            kept_as = dict(zip(tables, TABLES.get(len(tables), ()), strict=False))
            for name, tensor in tensors.items():
                self._choose(name, kept_as.get(name, name), tensor, config.quality.coarseness)
        for name in tables:
            values = tensors[name].detach()
            less = values.abs() - config.draw_to_zero * precision.step_of(self.numbers[name])
            values.copy_(torch.copysign(less.clamp_(min=0), values))

    def _choose(self, name: str, kept_as: str, tensor: torch.Tensor, coarseness: float) -> None:
        """Take the step that a file of this coarseness would have now."""
        values = tensor.detach().cpu().numpy()
        if name == PLACES:
            self.unit, self.numbers[name] = precision.position_grid(values, coarseness)
        else:
            number = precision.wanted_number(kept_as, Coding.FLOAT16, values, coarseness)
            self.numbers[name] = number

    @contextmanager
    @torch.no_grad()
    def shown_in(self, tensors: Tensors) -> Iterator[None]:
        """Put rounded values in the place of the parameters for a moment; before the start change nothing."""
        if not self.numbers:
            yield
            return
        kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            tensor.detach().copy_(self._rounded(name, tensor.detach()))
        try:
            with torch.enable_grad():
                yield
        finally:
            for name, tensor in tensors.items():
                tensor.detach().copy_(kept[name])

    def state(self) -> dict[str, Any]:
        """Return what a resume needs."""
        return {"numbers": dict(self.numbers), "unit": self.unit}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.numbers = {name: int(number) for name, number in state.get("numbers", {}).items()}
        self.unit = int(state.get("unit", 0))

    def _rounded(self, name: str, values: torch.Tensor) -> torch.Tensor:
        step = precision.step_of(self.numbers[name])
        if name != PLACES:
            return torch.round(values / step) * step
        wide = values.double() / 2.0**self.unit
        places = torch.round(torch.copysign(torch.log1p(wide.abs()), wide) / step) * step
        return torch.copysign(torch.expm1(places.abs()), places) * 2.0**self.unit
