"""Adam on single rows of parameters: only what was seen in a step is updated, nothing else is read.

    params   name -> [N, ...]           Gaussians, or [L, T, F] tables of hash grids
    grads    name -> [V, ...] or [N, ...]
    rows     [V] int64                  rows the gradients belong to, none twice

A row that is not updated keeps its moments as they are: with an epsilon of 1e-15, dense Adam would
go on moving it by momentum alone. Where every row is updated in each step the result is
torch.optim.Adam's. The bias correction counts steps per parameter, not per row, as 3DGS does: it
needs no extra array through pruning, splitting and files, and a row that is seen for the first time
late, or rarely, takes longer steps (up to 3 times), which makes up for those it missed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from core.base.errors import RunError
from core.nn import adam_kernels as kernels


class RowAdam:
    """Adam for parameters whose first axis is rows; `rates` may be changed between steps.

    The tensors in `params` are written in place. When rows come or go, call `keep` or `append`, then
    `bind` the new tensors. Compiled loops on the CPU in float32, torch elsewhere.
    """

    def __init__(
        self,
        params: Mapping[str, torch.Tensor],
        rates: Mapping[str, float],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-15,
    ) -> None:
        self.params: dict[str, torch.Tensor] = {}
        self.rates = dict(rates)
        self.betas, self.eps = betas, eps
        self.first = {name: _zeros(param) for name, param in params.items()}
        self.second = {name: _zeros(param) for name, param in params.items()}
        self.counts = dict.fromkeys(params, 0)
        self.bind(params)

    def bind(self, params: Mapping[str, torch.Tensor]) -> None:
        """Work on these tensors from now on, after `keep` or `append` changed the number of rows."""
        for name, param in params.items():
            if param.shape != self.first[name].shape:
                raise ValueError(
                    f"{name}: the parameter is {tuple(param.shape)}, its moments are "
                    f"{tuple(self.first[name].shape)}; call keep or append first"
                )
            if not param.is_contiguous():
                raise ValueError(f"{name}: the parameter must be contiguous")
        self.params = dict(params)

    @torch.no_grad()
    def step(self, grads: Mapping[str, torch.Tensor], rows: torch.Tensor | None = None) -> None:
        """Update `rows` (indices or a mask) with gradients in their order; without rows, everything."""
        if rows is not None and rows.dtype == torch.bool:
            rows = rows.nonzero()[:, 0]
        for name, grad in grads.items():
            values, first, second = self._flat(name, len(self.params[name]))
            numbers = self._next(name)
            count = len(values) if rows is None else len(rows)
            if rows is not None and count and not 0 <= rows.min() <= rows.max() < len(values):
                raise IndexError(f"{name}: rows {rows.min()} to {rows.max()} of {len(values)}")
            if grad.shape != (count, *self.params[name].shape[1:]):
                raise ValueError(
                    f"{name}: gradient is {tuple(grad.shape)} for {count} rows "
                    f"of {tuple(self.params[name].shape)}"
                )
            grad = grad.detach().contiguous().view(count, values.shape[1])
            if not _is_compiled(values):
                chosen = slice(None) if rows is None else rows
                self._update((values, first, second), grad, chosen, numbers)
            elif rows is None:
                flat = (tensor.view(-1).numpy() for tensor in (values, first, second, grad))
                kernels.update_all(*flat, numbers)
            else:
                arrays = (tensor.numpy() for tensor in (values, first, second, grad))
                kernels.update_rows(*arrays, rows.contiguous().numpy(), numbers)

    @torch.no_grad()
    def step_marked(
        self, grads: Mapping[str, torch.Tensor], marks: Mapping[str, torch.Tensor]
    ) -> None:
        """Update the marked rows, then clear their marks and gradients.

        Gradients have the shape of the parameter; marks are uint8 over its leading axes, for
        example [L, T] for a table [L, T, F] (`HashGrid.gradient`, `HashGrid.touched`).
        """
        for name, grad in grads.items():
            marked = marks[name].view(-1)
            values, first, second = self._flat(name, len(marked))
            numbers = self._next(name)
            flat_grad = grad.view(values.shape)
            if _is_compiled(values):
                arrays = (tensor.numpy() for tensor in (values, first, second, flat_grad, marked))
                kernels.update_marked(*arrays, numbers)
                continue
            chosen = marked.nonzero()[:, 0]
            self._update((values, first, second), flat_grad[chosen], chosen, numbers)
            flat_grad[chosen] = 0
            marked[chosen] = 0

    def reset(self, name: str) -> None:
        """Forget the moments of one parameter and start counting its steps again."""
        self.first[name].zero_()
        self.second[name].zero_()
        self.counts[name] = 0

    def forget(self, rows: torch.Tensor) -> None:
        """Forget the moments of some rows of all parameters, which now hold something else."""
        for moments in (self.first, self.second):
            for moment in moments.values():
                moment[rows] = 0

    def keep(self, rows: torch.Tensor) -> None:
        """Keep only these rows of all moments (indices or a mask), in their order."""
        for moments in (self.first, self.second):
            for name, moment in moments.items():
                moments[name] = moment[rows]

    def append(self, count: int) -> None:
        """Add rows with zero moments at the end of all parameters."""
        for moments in (self.first, self.second):
            for name, moment in moments.items():
                moments[name] = torch.cat((moment, moment.new_zeros(count, *moment.shape[1:])))

    def state(self) -> dict[str, torch.Tensor]:
        """Return moments and step counts as copies, for a checkpoint."""
        saved: dict[str, torch.Tensor] = {}
        for name, count in self.counts.items():
            saved[f"{name}.first"] = self.first[name].clone()
            saved[f"{name}.second"] = self.second[name].clone()
            saved[f"{name}.count"] = torch.tensor(count)
        return saved

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `state` returned, for parameters of the same shapes."""
        for name, param in self.params.items():
            for part in ("first", "second"):
                saved = state.get(f"{name}.{part}")
                if saved is None or saved.shape != param.shape or f"{name}.count" not in state:
                    found = "none" if saved is None else f"shape {tuple(saved.shape)}"
                    raise RunError(
                        f"The checkpoint's optimizer does not fit: '{name}' needs moments of shape "
                        f"{tuple(param.shape)}, found {found}. Start a new run."
                    )
        for name, param in self.params.items():
            self.first[name] = state[f"{name}.first"].to(param.device, param.dtype, copy=True)
            self.second[name] = state[f"{name}.second"].to(param.device, param.dtype, copy=True)
            self.counts[name] = int(state[f"{name}.count"])

    def _flat(self, name: str, num_rows: int) -> tuple[torch.Tensor, ...]:
        """Return parameter and moments as [num_rows, C] views of the same memory."""
        param, first, second = self.params[name].detach(), self.first[name], self.second[name]
        width = param.numel() // num_rows if num_rows else 1
        return tuple(tensor.view(num_rows, width) for tensor in (param, first, second))

    def _next(self, name: str) -> tuple[np.float32, ...]:
        """Count a step of one parameter and return the numbers it needs."""
        self.counts[name] += 1
        return kernels.settings(self.rates[name], self.betas, self.eps, self.counts[name])

    @staticmethod
    def _update(
        state: tuple[torch.Tensor, ...],
        grad: torch.Tensor,
        chosen: torch.Tensor | slice,
        numbers: tuple[np.float32, ...],
    ) -> None:
        """Do in torch what the kernels do."""
        values, first, second = state
        rate, correction, keep1, take1, keep2, take2, eps = (float(number) for number in numbers)
        moment = keep1 * first[chosen] + take1 * grad
        square = keep2 * second[chosen] + take2 * grad * grad
        first[chosen], second[chosen] = moment, square
        values[chosen] -= rate * moment / (square.sqrt() * correction + eps)


def _zeros(param: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(param, requires_grad=False, memory_format=torch.contiguous_format)


def _is_compiled(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32
