"""Random numbers of a study alone: nobody else's numbers change them, and they change nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Build modules on a device with weights that depend on the seed alone.

    On the `meta` device shapes are made and no memory is taken.
    """
    target = torch.device(device)
    devices = [target] if target.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), target:
        torch.manual_seed(seed)
        yield


def dropped(values: torch.Tensor, share: float, rng: torch.Generator | None) -> torch.Tensor:
    """Set a share of the values to zero and raise the others to the same mean; without rng change nothing."""
    if rng is None or share <= 0:
        return values
    kept = torch.rand(values.shape, generator=rng, device=values.device) >= share
    return values * kept / (1 - share)


def paths_dropped(branch: torch.Tensor, share: float, rng: torch.Generator | None) -> torch.Tensor:
    """Leave a whole branch [B, ...] out for a share of the samples (stochastic depth); without rng change nothing."""
    if rng is None or share <= 0:
        return branch
    ones = torch.ones(len(branch), *(1,) * (branch.dim() - 1), device=branch.device)
    return branch * dropped(ones, share, rng)
