"""Adam for the parameters of a module (Kingma and Ba 2015; decoupled decay: Loshchilov and Hutter 2019).

torch's own optimizers load its compiler, whose LLVM crashes a process whose window draws through
another (software OpenGL); this one is a few lines over whole lists of parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch


class ModuleAdam:
    """Adam over a list of parameters in a fixed order; `rate` may change between steps."""

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        rate: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        decay: float = 0.0,
    ) -> None:
        self.parameters = [one for one in parameters if one.requires_grad]
        self.rate, self.betas, self.eps, self.decay = rate, betas, eps, decay
        self.steps = 0
        self.means = [torch.zeros_like(one) for one in self.parameters]
        self.squares = [torch.zeros_like(one) for one in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter; one without a gradient has a gradient of zero."""
        if not self.parameters:
            return
        self.steps += 1
        values: list[torch.Tensor] = [one.data for one in self.parameters]
        gradients = [
            one.grad if one.grad is not None else torch.zeros_like(one) for one in self.parameters
        ]
        first, second = self.betas
        torch._foreach_lerp_(self.means, gradients, 1 - first)
        torch._foreach_mul_(self.squares, second)
        torch._foreach_addcmul_(self.squares, gradients, gradients, 1 - second)
        roots = torch._foreach_sqrt(self.squares)
        torch._foreach_div_(roots, (1 - second**self.steps) ** 0.5)
        torch._foreach_add_(roots, self.eps)
        if self.decay:
            torch._foreach_mul_(values, 1 - self.rate * self.decay)
        torch._foreach_addcdiv_(values, self.means, roots, -self.rate / (1 - first**self.steps))

    def state(self) -> dict[str, Any]:
        """Return what an exact resume needs."""
        return {"steps": self.steps, "means": list(self.means), "squares": list(self.squares)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.steps = int(state["steps"])
        for name in ("means", "squares"):
            for own, kept in zip(getattr(self, name), state[name], strict=True):
                own.copy_(kept)
