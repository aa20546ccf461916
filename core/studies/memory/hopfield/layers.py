"""The three Hopfield layers, eq. 10: association of two sets, pooling of one, lookup in a trained one.

    state   [B, L, state width]     raw state patterns R
    stored  [B, S, stored width]    raw stored patterns Y
    keep    [B, S]                  false where a stored pattern is padding
    ->      [B, L, out width]       after `updates` further updates in the association space of each head

Ramsauer et al. 2021, section 3 and their published layers' defaults: one association
(`updates = 0`, which is attention), LayerNorm on both inputs and on the projections.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from core.nn.attention import Trace
from core.nn.seeded import dropped


@dataclass(frozen=True)
class LayerOptions:
    """How a layer associates. `beta` of None is one over the root of the width of a head."""

    heads: int = 1
    head_width: int = 8
    out_width: int = 8
    beta: float | tuple[float, ...] | None = None
    updates: int | None = 0  # None: until nothing changes
    tolerance: float = 1e-4
    most_updates: int = 50
    has_norms: bool = True
    is_static: bool = False  # the raw patterns themselves, not projections of them
    has_out_projection: bool = True
    dropout: float = 0.0


class Hopfield(nn.Module):
    """Associate state patterns with stored patterns: Z = softmax(beta R Wq (Y Wk)^T) Y Wk Wv."""

    def __init__(self, state_width: int, stored_width: int, options: LayerOptions) -> None:
        super().__init__()
        self.options, inner = options, options.heads * options.head_width
        if options.is_static and {state_width, stored_width} != {inner}:
            raise ValueError(f"static patterns need widths of {inner}, heads times their width")
        own, norms = options.is_static, options.has_norms
        self.norm_state = _norm(state_width, norms)
        self.norm_stored = _norm(stored_width, norms)
        self.query = nn.Identity() if own else nn.Linear(state_width, inner)
        self.key = nn.Identity() if own else nn.Linear(stored_width, inner)
        self.norm_query, self.norm_key = _norm(inner, norms), _norm(inner, norms)
        self.value = nn.Identity() if own else nn.Linear(inner, inner)
        is_direct = not options.has_out_projection
        self.out = nn.Identity() if is_direct else nn.Linear(inner, options.out_width)
        beta = 1 / math.sqrt(options.head_width) if options.beta is None else options.beta
        betas = torch.tensor([beta] if isinstance(beta, float) else list(beta))
        self.register_buffer("beta", betas.expand(options.heads).clone())  # [heads]

    def forward(
        self,
        state: torch.Tensor,
        stored: torch.Tensor,
        keep: torch.Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
        name: str = "association",
    ) -> torch.Tensor:
        """Return the associations' results; `trace` is given queries, keys and mask under a name."""
        mask = None if keep is None else keep[:, None, None, :]
        queries, keys, values = self._projected(state, stored)
        queries, attention = self._converged(queries, keys, mask)
        found = dropped(attention, self.options.dropout, rng) @ values  # [B, H, L, d]
        if trace is not None:
            found = trace.attended(
                found,
                name=name,
                kind="hopfield",
                q=queries,
                k=keys,
                v=values,
                scale=self.beta,
                keep=None if mask is None else mask[0],
                project=getattr(self.out, "weight", None),
            )
        return self.out(found.transpose(1, 2).flatten(2))

    def weights(
        self, state: torch.Tensor, stored: torch.Tensor, keep: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the weight of every stored pattern for every state, [B, heads, L, S]."""
        mask = None if keep is None else keep[:, None, None, :]
        queries, keys, _ = self._projected(state, stored)
        return self._converged(queries, keys, mask)[1]

    def _projected(
        self, state: torch.Tensor, stored: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        queries = self._split(self.norm_query(self.query(self.norm_state(state))))  # [B, H, L, d]
        projected = self.norm_key(self.key(self.norm_stored(stored)))  # [B, S, H d]
        return queries, self._split(projected), self._split(self.value(projected))  # [B, H, S, d]

    def _split(self, values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (self.options.heads, -1)).transpose(1, 2)

    def _associate(
        self, queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        exponents = self.beta[None, :, None, None] * (queries @ keys.transpose(-1, -2))
        if mask is not None:
            exponents = exponents.masked_fill(~mask, -math.inf)
        return torch.softmax(exponents.float(), dim=-1).to(queries.dtype)  # [B, H, L, S]

    def _converged(
        self, queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Update the queries of every head until its own associations rest; return both."""
        options = self.options
        attention = self._associate(queries, keys, mask)
        moves = torch.ones_like(self.beta, dtype=torch.bool)  # [heads]
        for _ in range(options.most_updates if options.updates is None else options.updates):
            queries = torch.where(moves[None, :, None, None], attention @ keys, queries)
            now = self._associate(queries, keys, mask)
            change = (now - attention).abs().amax(dim=(0, 2, 3))  # [heads]: over the whole batch
            attention, moves = now, moves & (change > options.tolerance)
            if not moves.any():
                break
        return queries, attention


class HopfieldPooling(nn.Module):
    """Pool a set: the state patterns are trained constants, `queries` of them."""

    def __init__(self, stored_width: int, options: LayerOptions, queries: int = 1) -> None:
        super().__init__()
        inner = options.heads * options.head_width
        self.state = nn.Parameter(torch.randn(1, queries, inner) * 0.02)
        self.association = Hopfield(inner, stored_width, options)

    def forward(
        self,
        stored: torch.Tensor,
        keep: torch.Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
    ) -> torch.Tensor:
        """Return [B, queries, out width]."""
        state = self.state.expand(len(stored), -1, -1)
        return self.association(state, stored, keep, rng=rng, trace=trace, name="pooling")

    def weights(self, stored: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Return the weight of every instance, [B, heads, queries, S]."""
        return self.association.weights(self.state.expand(len(stored), -1, -1), stored, keep)


class HopfieldLayer(nn.Module):
    """Look inputs up in `quantity` trained stored patterns."""

    def __init__(self, state_width: int, options: LayerOptions, quantity: int) -> None:
        super().__init__()
        inner = options.heads * options.head_width
        self.stored = nn.Parameter(torch.randn(1, quantity, inner) * 0.02)
        self.association = Hopfield(state_width, inner, options)

    def forward(
        self,
        state: torch.Tensor,
        *,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
    ) -> torch.Tensor:
        """Return [B, L, out width]."""
        stored = self.stored.expand(len(state), -1, -1)
        return self.association(state, stored, rng=rng, trace=trace, name="lookup")


def _norm(width: int, is_on: bool) -> nn.Module:
    return nn.LayerNorm(width) if is_on else nn.Identity()
