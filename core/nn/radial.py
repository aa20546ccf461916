"""Radial bases: features that sit on kernels in space, and a layer of kernels in feature space.

RadialFeatures   places   [N, rank]    -> features [N, C]   Chen et al. 2023 (NeuRBF)
RadialLayer      features [N, D]       -> values   [N, O]   Bouzidi et al. 2025 (RBFNet, GNF)
SineDecoder      features [N, D]       -> values   [N, O]   NeuRBF's decoder
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

KernelShape = Literal["inverse_quadratic", "hat"]
LOG_WIDTH_LIMIT = 6.0
NARROWEST = 2.0  # log width at first: features that start near zero grow beyond narrower units
INITIAL_RANGE = 1e-4
DISTANCES = 1 << 24  # computed at a time where no tree can be asked


def log_spaced(low: float, high: float, count: int) -> torch.Tensor:
    """Return numbers from low to high, equal in their logarithm."""
    return torch.logspace(math.log10(low), math.log10(high), count)


class RadialFeatures(nn.Module):
    """Features on M kernels of fixed place and shape; a place blends those of its k nearest.

    centers [M, rank]; shapes [M, rank, rank], inverse covariances, or [M], 1 / half width of a hat.
    They are buffers: `place` sets them, and only the features learn.
    """

    def __init__(
        self,
        kernels: int,
        rank: int,
        features: int,
        *,
        shape: KernelShape = "inverse_quadratic",
        neighbours: int = 4,
        octaves: tuple[float, float] | None = (-3.0, 12.0),
        is_normalised: bool = True,
    ) -> None:
        super().__init__()
        self.shape, self.neighbours = shape, min(neighbours, kernels)
        self.octaves, self.is_normalised = octaves, is_normalised
        sizes = (kernels, rank, rank) if shape == "inverse_quadratic" else (kernels,)
        self.register_buffer("centers", torch.zeros(kernels, rank))
        self.register_buffer("shapes", torch.zeros(sizes))
        frequencies = torch.ones(features)
        if octaves is not None:
            frequencies = log_spaced(2.0 ** octaves[0], 2.0 ** octaves[1], features)
        self.register_buffer("frequencies", frequencies)
        weights = torch.empty(kernels, features)
        self.weights = nn.Parameter(weights.uniform_(-INITIAL_RANGE, INITIAL_RANGE))
        self._tree: Any = None

    @property
    def num_geometry(self) -> int:
        """Numbers of centres and shapes; a symmetric matrix counts once."""
        rank = self.centers.shape[1]
        return len(self.centers) * (rank + (rank * (rank + 1) // 2 if self.shapes.ndim == 3 else 1))

    @torch.no_grad()
    def place(self, centers: np.ndarray, shapes: np.ndarray) -> None:
        """Put the kernels to their places."""
        self.centers.copy_(torch.as_tensor(centers))
        self.shapes.copy_(torch.as_tensor(shapes))
        self._tree = None

    @torch.no_grad()
    def nearest(self, places: torch.Tensor) -> torch.Tensor:
        """Return the rows [N, k] of the k nearest centres, nearest first."""
        if places.device.type == "cpu":
            from scipy.spatial import cKDTree

            if self._tree is None or not np.array_equal(self._tree.data, self.centers.numpy()):
                self._tree = cKDTree(self.centers.numpy().astype(np.float64))
            found = self._tree.query(places.numpy(), self.neighbours)[1]
            return torch.from_numpy(found.reshape(len(places), -1))
        parts = places.split(max(1, DISTANCES // len(self.centers)))
        found_parts = [
            torch.cdist(part, self.centers).topk(self.neighbours, largest=False).indices
            for part in parts
        ]
        return (
            torch.cat(found_parts) if found_parts else places.new_zeros(0, self.neighbours).long()
        )

    @torch.no_grad()
    def kernels(self, places: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        """Return phi [N, k], the values of the kernels near each place."""
        offset = places[:, None] - self.centers[near]  # [N, k, rank]
        if self.shape == "hat":  # phi = prod_d max(0, 1 - s |x_d - c_d|)
            phi = (1 - self.shapes[near][..., None] * offset.abs()).clamp(min=0).prod(dim=-1)
        else:  # phi = 1 / (1 + (x - c)^T S (x - c))
            stretched = (self.shapes[near] @ offset[..., None])[..., 0]
            phi = 1 / (1 + (offset * stretched).sum(dim=-1))
        if self.is_normalised:  # by a sum through which no gradient would flow
            phi = phi / (phi.sum(dim=-1, keepdim=True) + 1e-8)
        return phi

    @torch.no_grad()
    def composed(self, phi: torch.Tensor) -> torch.Tensor:
        """Return psi [..., C] = sin(phi w_q), one wave of the kernel's value per feature; or phi itself."""
        if self.octaves is None:
            return phi[..., None].expand(*phi.shape, len(self.frequencies))
        return torch.sin(phi[..., None].float() * self.frequencies)

    def forward(self, places: torch.Tensor, near: torch.Tensor | None = None) -> torch.Tensor:
        """Return features [N, C] = sum_j W_jq psi_jq over the kernels `near` [N, k], searched if not given."""
        near = self.nearest(places) if near is None else near
        psi = self.composed(self.kernels(places, near))  # [N, k, C]
        return _Blend.apply(self.weights, near, psi)


class _Blend(torch.autograd.Function):
    """sum_j W[near_j] psi_j; the backward adds rows where torch's own would sort them first."""

    @staticmethod
    def forward(
        ctx: Any, weights: torch.Tensor, near: torch.Tensor, psi: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(near, psi)
        ctx.shape = weights.shape
        return (weights[near] * psi).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        near, psi = ctx.saved_tensors
        shares = (upstream[:, None] * psi).flatten(0, 1)
        gradient = upstream.new_zeros(ctx.shape).index_add_(0, near.flatten(), shares)
        return gradient, None, None


class SineDecoder(nn.Module):
    """Three linear maps; h + sin(h v) after the first, v log-spaced over its units, ReLU after the second."""

    def __init__(
        self, inputs: int, width: int, outputs: int, frequencies: tuple[float, float] | None
    ) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
        self.out = nn.Linear(width, outputs)
        self.has_sine = frequencies is not None
        self.register_buffer("frequencies", log_spaced(*(frequencies or (1.0, 1.0)), width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return values [N, outputs]; without frequencies the first map ends in a ReLU too."""
        h = self.first(features)
        h = h + torch.sin(h * self.frequencies) if self.has_sine else torch.relu(h)
        return self.out(torch.relu(self.second(h)))


class RadialLayer(nn.Module):
    """M Gaussian units on feature vectors and a linear map of what they say.

    u_m = sum_j exp(b_mj) (f_j - c_mj)^2;  phi_m = exp(-u_m / 2);  y = A phi + a
    """

    def __init__(self, inputs: int, units: int, outputs: int) -> None:
        super().__init__()
        centers = torch.empty(units, inputs)
        self.centers = nn.Parameter(centers.uniform_(-INITIAL_RANGE, INITIAL_RANGE))
        self.log_widths = nn.Parameter(torch.zeros(units, inputs))
        self.readout = nn.Linear(units, outputs)
        self.register_buffer("gain", torch.ones(units))  # 0 mutes a unit

    def widths(self) -> torch.Tensor:
        """Return exp(b) [M, D], b kept within limits: nothing else keeps it from growing."""
        return self.log_widths.clamp(-LOG_WIDTH_LIMIT, LOG_WIDTH_LIMIT).exp()

    def activations(self, features: torch.Tensor) -> torch.Tensor:
        """Return phi [N, M] by two matrix products; rounding can leave u below zero, phi never above one."""
        features, widths = features.float(), self.widths()
        scaled = widths * self.centers  # [M, D]
        u = (features * features) @ widths.T - 2 * features @ scaled.T
        u = u + (scaled * self.centers).sum(dim=-1)
        return torch.exp(-0.5 * u.clamp(min=0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return values [N, O]."""
        return self.readout(self.activations(features) * self.gain)

    @torch.no_grad()
    def spread(self, features: torch.Tensor, rng: torch.Generator) -> None:
        """Put the centres over a sample of features [N, D] (k-means++), widths to its scale."""
        chosen = [int(torch.randint(len(features), (1,), generator=rng))]
        gap = (features - features[chosen[0]]).square().sum(dim=-1)
        while len(chosen) < len(self.centers):
            weights = gap if float(gap.sum()) > 0 else torch.ones_like(gap)
            chosen.append(int(torch.multinomial(weights.cpu(), 1, generator=rng)))
            gap = torch.minimum(gap, (features - features[chosen[-1]]).square().sum(dim=-1))
        self.centers.copy_(features[chosen])
        # u of a typical pair becomes 2, the middle of where a Gaussian has slope
        variance = features.var(dim=0, unbiased=False).sum().clamp(min=1e-12)
        self.log_widths.fill_(float(torch.log(1 / variance).clamp(-LOG_WIDTH_LIMIT, NARROWEST)))

    @torch.no_grad()
    def dead_share(self, features: torch.Tensor) -> float:
        """Return the share of units that vary by less than a thousandth over features [N, D]."""
        phi = self.activations(features)
        return float((phi.amax(dim=0) - phi.amin(dim=0) < 1e-3).float().mean())
