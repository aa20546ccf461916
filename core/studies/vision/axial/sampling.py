"""Draw pictures value by value, complete them, and audit what a value depends on.

    x          [B, H, W, C]          whole numbers
    noise      [B, H, W, C, levels]  Gumbel noise: the largest of logits + noise is an exact sample
    entropy    [B, H, W, C]          bits of uncertainty at each value when it was drawn
    influence  [C, H, W]             size of the gradient of one value's logits, by value

The quick sampler computes the exterior once a channel, the outer stack once a row and the inner
stack, on one row, for each value (Ho et al. 2019, section 3.2.2); the slow one the whole network
for each value. Both give the same picture for the same noise. Of the baseline that attends across
all pixels the pixels up to each one are computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from core.studies.vision.axial.network import AxialTransformer, shift_on, shift_right


@dataclass(frozen=True)
class Drawn:
    """A picture x [B, H, W, C] and the entropy in bits of what its values were drawn from."""

    x: torch.Tensor
    entropy: torch.Tensor


def gumbel(
    shape: tuple[int, ...], rng: torch.Generator, temperature: float = 1.0, device: str = "cpu"
) -> torch.Tensor:
    """Return Gumbel noise times a temperature."""
    uniform = torch.rand(shape, generator=rng).clamp_(1e-20, 1 - 1e-7)
    return (temperature * -torch.log(-torch.log(uniform))).to(device)


@torch.no_grad()
def draw(
    network: AxialTransformer,
    noise: torch.Tensor,
    known: torch.Tensor | None = None,
    keep: int = 0,
    *,
    is_quick: bool = True,
) -> Drawn:
    """Draw pictures; the first `keep` values in order are taken from `known` [B, H, W, C]."""
    height, width, channels = noise.shape[1:4]
    x = torch.zeros(noise.shape[:-1], dtype=torch.long, device=noise.device)
    entropy = torch.zeros(noise.shape[:-1], device=noise.device)
    if known is not None:
        order = torch.arange(channels * height * width, device=x.device)
        is_kept = (order < keep).reshape(channels, height, width).permute(1, 2, 0)
        x = torch.where(is_kept, known, x)
    quick = _prefix_logits if network.sizes.kind == "full" else _quick_logits
    pixels = quick if is_quick else _slow_logits
    for channel in range(channels):
        if (channel + 1) * height * width > keep:
            for r, c, logits in pixels(network, x, channel):
                if (channel * height + r) * width + c >= keep:
                    x[:, r, c, channel] = (logits + noise[:, r, c, channel]).argmax(dim=-1)
                    entropy[:, r, c, channel] = bits_of_entropy(logits)
    return Drawn(x, entropy)


def _slow_logits(
    network: AxialTransformer, x: torch.Tensor, channel: int
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Run the whole network for every value; x is filled in between by who iterates."""
    chosen = torch.full((len(x),), channel, device=x.device)
    for r in range(x.shape[1]):
        for c in range(x.shape[2]):
            yield r, c, network(x, chosen)[:, r, c]


def _quick_logits(
    network: AxialTransformer, x: torch.Tensor, channel: int
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Keep what does not change: the exterior in a channel, the outer stack in a row."""
    chosen = torch.full((len(x),), channel, device=x.device)
    cond = network.conditions(network.scaled(x), chosen)
    cond = cond.expand(len(x), -1, -1, -1)
    for r in range(x.shape[1]):
        upper = network.upper_context(network.table[x[..., channel]], cond)
        fixed = (upper + cond)[:, r : r + 1]
        for c in range(x.shape[2]):
            e = network.table[x[:, r : r + 1, :, channel]]  # [B, 1, W, D]
            yield r, c, network.row_logits(shift_right(e) + fixed)[:, 0, c]


def _prefix_logits(
    network: AxialTransformer, x: torch.Tensor, channel: int
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Attend across all pixels up to each one: what comes later has no say."""
    chosen = torch.full((len(x),), channel, device=x.device)
    cond = network.conditions(network.scaled(x), chosen).expand(len(x), -1, -1, -1)
    for r in range(x.shape[1]):
        for c in range(x.shape[2]):
            u = shift_on(network.table[x[..., channel]]) + cond
            u = u.flatten(1, 2)[:, None, : r * x.shape[2] + c + 1]  # [B, 1, n, D]
            for block in (*network.outer, *network.inner):
                u = block(u)
            yield r, c, network.read(network.norm(u[:, 0, -1]))


def bits_of_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy in bits of logits [..., levels]."""
    logs = torch.log_softmax(logits, dim=-1)
    return -(logs.exp() * logs).sum(dim=-1) / math.log(2)


def influence(
    network: AxialTransformer, x: torch.Tensor, places: Sequence[tuple[int, int, int]]
) -> torch.Tensor:
    """Return how strongly the logits at each (channel, row, column) depend on each value of x [1, H, W, C].

    The current channel counts by its embedding, others by their value: what has no path to the
    logits is exactly zero. One pass serves all places: each has a copy of the picture.
    """
    where = torch.tensor(places, device=x.device)  # [P, 3]
    copies, every = x.expand(len(where), -1, -1, -1), torch.arange(len(where), device=x.device)
    chosen = copies.gather(-1, where[:, 0, None, None, None].expand(*copies.shape[:3], 1))[..., 0]
    values = network.scaled(copies).clone().requires_grad_(True)
    e = network.table[chosen].detach().requires_grad_(True)
    logits = network.logits(values, e, where[:, 0])[every, where[:, 1], where[:, 2]]  # [P, levels]
    weights = torch.randn(logits.shape[1], generator=torch.Generator().manual_seed(0))
    total = (logits * weights.to(logits)).sum()
    by_value, by_embedding = torch.autograd.grad(total, (values, e), allow_unused=True)
    found = logits.new_zeros((len(where), x.shape[3], *x.shape[1:3]))
    if by_value is not None:
        found += by_value.permute(0, 3, 1, 2).abs()
    if by_embedding is not None:
        found[every, where[:, 0]] += by_embedding.norm(dim=-1)
    return found.detach()
