"""The mean of parameters over the end of training: what is shown, saved and measured.

Steps with a large learning rate keep parameters moving round a good place instead of settling on
what single photographs say; their mean is that place (Polyak and Juditsky 1992; Izmailov et al.
2018, stochastic weight averaging). Training itself goes on with the parameters as they are.

    tensors  name -> any shape  floating point, the parameters themselves, not copies
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

Tensors = Mapping[str, torch.Tensor]


class ParameterMean:
    """A running mean that starts anew when rows come or go."""

    def __init__(self) -> None:
        self.count = 0
        self.means: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def add(self, tensors: Tensors) -> None:
        """Take the parameters of one moment into the mean."""
        if not self._fits(tensors):
            self.count, self.means = 1, {name: t.detach().clone() for name, t in tensors.items()}
            return
        self.count += 1
        for name, tensor in tensors.items():
            self.means[name].lerp_(tensor.detach(), 1 / self.count)

    def forget(self) -> None:
        """Start anew: the rows of the parameters mean something else now."""
        self.count, self.means = 0, {}

    @contextmanager
    @torch.no_grad()
    def shown_in(self, tensors: Tensors) -> Iterator[None]:
        """Put the mean in the place of the parameters for a moment; without a mean change nothing."""
        if not self.count:
            yield
            return
        kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        _write(tensors, self.means)
        try:
            yield
        finally:
            _write(tensors, kept)

    def state(self) -> dict[str, Any]:
        """Return what a resume needs."""
        return {"count": self.count, "means": dict(self.means)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.count = int(state["count"])
        self.means = {name: values.clone() for name, values in state["means"].items()}

    def _fits(self, tensors: Tensors) -> bool:
        return self.count > 0 and all(
            name in self.means and self.means[name].shape == tensor.shape
            for name, tensor in tensors.items()
        )


def _write(tensors: Tensors, values: Tensors) -> None:
    for name, tensor in tensors.items():
        tensor.detach().copy_(values[name])
