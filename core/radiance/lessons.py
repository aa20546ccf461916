"""What pictures teach the Gaussians they show, added up over the pictures of a step and over ranks.

    rows       [V]                  Gaussians that can be seen
    gradients  name -> [V, ...]     of the step's loss, the mean over all its pictures
    sizes      [V]                  largest standard deviation, scene units
    strengths  [V]                  absolute screen gradient where drawn, else 0
    views      [V]                  pictures that draw the Gaussian
    numbers    [2]                  share of the step's loss and PSNR
    shapes                          scales [V, 3], quats [V, 4], opacities [V]; of one picture alone

Several pictures teach every row that any of them shows: a row's moments and values are then the
same on every rank, and the same as when one process learns from all the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from core.base.late import LateMetrics
from core.nn.ranks import Ranks
from core.radiance.model import Shared
from core.study import Metrics

UNSEEN = -1.0  # no Gaussian is that large


@dataclass(frozen=True, eq=False)
class Lesson:
    """What one picture teaches, or several together."""

    rows: torch.Tensor
    gradients: dict[str, torch.Tensor]
    sizes: torch.Tensor
    strengths: torch.Tensor
    views: torch.Tensor
    numbers: torch.Tensor
    shapes: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def metrics(self, num_gaussians: int) -> Metrics:
        """Return the step's numbers; a GPU is not waited for before somebody looks at them."""
        counts = {"gaussians": float(num_gaussians), "visible": float(len(self.rows))}
        if self.numbers.device.type == "cpu":
            return _named(self.numbers, counts)
        held = self.numbers.to("cpu", non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()

        def read() -> Metrics:
            copied.synchronize()
            return _named(held, counts)

        return LateMetrics(read)


def _named(numbers: torch.Tensor, counts: Metrics) -> Metrics:
    loss, psnr = numbers.tolist()
    return {"loss": loss, "psnr": psnr, **counts}


def together(parts: Sequence[Lesson], count: int, ranks: Ranks) -> Lesson:
    """Add up lessons about some of `count` Gaussians over the pictures of this rank, then over ranks."""
    if len(parts) == 1 and ranks.is_alone:
        return parts[0]
    sizes = torch.full((count,), UNSEEN, device=parts[0].sizes.device)  # [N]
    for part in parts:
        sizes[part.rows] = torch.maximum(sizes[part.rows], part.sizes)
    ranks.highest(sizes)
    rows = (sizes > UNSEEN).nonzero().flatten()  # [U] seen by any picture of any rank
    places = torch.empty(count, dtype=torch.int64, device=rows.device)
    places[rows] = torch.arange(len(rows), device=rows.device)
    total = Lesson(
        rows,
        {
            name: values.new_zeros(len(rows), *values.shape[1:])
            for name, values in parts[0].gradients.items()
        },
        sizes[rows],
        sizes.new_zeros(len(rows)),
        sizes.new_zeros(len(rows)),
        torch.zeros_like(parts[0].numbers),
    )
    for part in parts:
        _add_part(total, part, places[part.rows])
    ranks.add([*total.gradients.values(), total.strengths, total.views, total.numbers])
    return total


def _add_part(total: Lesson, part: Lesson, at: torch.Tensor) -> None:
    for name, gradient in part.gradients.items():
        total.gradients[name].index_add_(0, at, gradient)
    total.strengths.index_add_(0, at, part.strengths)
    total.views.index_add_(0, at, part.views)
    total.numbers.add_(part.numbers)


@torch.no_grad()
def add_shared(shared: Shared, ranks: Ranks) -> None:
    """Add up the gradients of networks and tables over ranks; touched anywhere is touched everywhere."""
    if ranks.is_alone:
        return
    sums, targets = [], []
    for grid in shared.grids:
        touched = grid.touched()
        ranks.highest(touched)
        gradient = grid.gradient().view(-1, grid.config.features)  # [L * T, F]
        rows = touched.view(-1).nonzero().flatten()
        sums.append(gradient[rows])
        targets.append((gradient, rows))
    for weight in shared.weights:
        if weight.grad is None:  # this rank's pictures showed nothing
            weight.grad = torch.zeros_like(weight)
    ranks.add([*sums, *(weight.grad for weight in shared.weights)])
    for (gradient, rows), values in zip(targets, sums, strict=True):
        gradient[rows] = values
