"""The continuous Hopfield network: energy, update rule, and the classical network it replaces.

    stored      [N, d]   patterns
    states      [Q, d]   what is recalled from
    attention   [Q, N]   softmax(beta * states @ stored.T)

Ramsauer et al. 2021; the equations are numbered as there. The softmax is computed in the states'
own precision, at least float32: with patterns of d numbers of size one its exponents reach beta * d.
"""

from __future__ import annotations

import math

import torch


def associations(states: torch.Tensor, stored: torch.Tensor, beta: float) -> torch.Tensor:
    """Return the weight of every stored pattern for every state, [Q, N]; rows sum to one."""
    return torch.softmax(beta * (states @ stored.T), dim=-1)


def updated(states: torch.Tensor, stored: torch.Tensor, beta: float) -> torch.Tensor:
    """Return the new states, eq. 3: `X softmax(beta X^T xi)`, [Q, d]."""
    return associations(states, stored, beta) @ stored


def updated_in_chunks(
    states: torch.Tensor, stored: torch.Tensor, beta: float, chunk: int
) -> torch.Tensor:
    """Return the same as `updated` with `chunk` stored patterns in memory at a time.

    The largest exponent so far is taken out of the sums, which are corrected when it grows.
    """
    largest = states.new_full((len(states), 1), -math.inf)
    weights = states.new_zeros(len(states), 1)
    sums = torch.zeros_like(states)
    for part in stored.split(chunk):
        exponents = beta * (states @ part.T)  # [Q, chunk]
        now = torch.maximum(largest, exponents.amax(dim=-1, keepdim=True))
        kept, grown = torch.exp(largest - now), torch.exp(exponents - now)
        weights = weights * kept + grown.sum(dim=-1, keepdim=True)
        sums = sums * kept + grown @ part
        largest = now
    return sums / weights


def energies(states: torch.Tensor, stored: torch.Tensor, beta: float) -> torch.Tensor:
    """Return the energy of every state in float64, [Q], eq. 2; it lies between 0 and 2 M^2."""
    states, stored = states.double(), stored.double()
    lse = torch.logsumexp(beta * (states @ stored.T), dim=-1) / beta
    largest = stored.square().sum(dim=-1).max()  # M^2
    own = 0.5 * states.square().sum(dim=-1)
    return own - lse + math.log(len(stored)) / beta + 0.5 * largest


def separations(stored: torch.Tensor) -> torch.Tensor:
    """Return how far each pattern stands out, [N], definition 2: its own product less the largest other."""
    products = stored @ stored.T
    own = products.diagonal().clone()
    others = products.masked_fill(torch.eye(len(stored), dtype=torch.bool), -math.inf)
    return own - others.amax(dim=-1)


def retrieved(attention: torch.Tensor) -> torch.Tensor:
    """Return the effective number of patterns behind each row, exp(entropy): from 1 to N."""
    logs = torch.log(attention.clamp_min(torch.finfo(attention.dtype).tiny))
    return torch.exp(-(attention * logs).sum(dim=-1))


def keys_for(attention: torch.Tensor, mass: float = 0.9) -> torch.Tensor:
    """Return the smallest number of keys that hold `mass` of each row: 1 or 2 is retrieval, many an average."""
    ordered = attention.sort(dim=-1, descending=True).values.cumsum(dim=-1)
    return (ordered < mass).sum(dim=-1) + 1


def jacobian(state: torch.Tensor, stored: torch.Tensor, beta: float) -> torch.Tensor:
    """Return d updated / d state at one state [d], [d, d]: beta X (diag(a) - a a^T) X^T."""
    weights = associations(state[None], stored, beta)[0]  # [N]
    mean = weights @ stored  # [d]
    return beta * ((stored * weights[:, None]).T @ stored - torch.outer(mean, mean))


def hebbian(bits: torch.Tensor) -> torch.Tensor:
    """Return the weights of the classical network that stores patterns of -1 and 1, [d, d]."""
    weights = bits.T @ bits / bits.shape[1]
    return weights.fill_diagonal_(0)


def settled(states: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the classical network's next states, sign(W s), [Q, d]; a unit without input keeps its sign."""
    fields = states @ weights
    return torch.where(fields == 0, states, fields.sign())


def normalised(patterns: torch.Tensor) -> torch.Tensor:
    """Centre every pattern and give its numbers a variance of one (LayerNorm without parameters)."""
    return torch.nn.functional.layer_norm(patterns, patterns.shape[-1:])
