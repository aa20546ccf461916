"""Neural fields, many in one batch: every object has weights, and planes, of its own.

points     [B, P, 3]         -1..1
logits     [B, P]            occupancy before the sigmoid
planes     [B, 3, C, R, R]   XY, XZ, YZ: the first letter runs along columns, the second along rows
codes      [N, D]            of the fields that share one network

A query adds three bilinear samples, f(x) = XY(x, y) + XZ(x, z) + YZ(y, z), and a SIREN (Sitzmann et
al. 2020) reads f(x) beside the encoding of x. The fields that it is compared with have no planes:
weights alone, or a code of each object for a network that all share. One product of batches serves
all objects, so that 64 small networks cost little more than a large one.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import nn

AXES = ((0, 1), (0, 2), (1, 2))  # of the planes: (columns, rows)
PLANE_SPREAD = 1e-3
CODE_SPREAD = 1e-2
Slots = torch.Tensor | None  # which objects of a batch points belong to, [B]; None is all in order


@dataclass(frozen=True)
class Layers:
    """Sizes of the network of a field: hidden width, layers, omega of its sines, encoding."""

    hidden: int = 32
    layers: int = 2
    omega: float = 5.0
    frequencies: int = 4


def _of(values: torch.Tensor, slots: Slots) -> torch.Tensor:
    return values if slots is None else values[slots]


def encoded(points: torch.Tensor, frequencies: int) -> torch.Tensor:
    """Return points with sines and cosines of doubling frequency, [..., 3 + 6 F]."""
    if frequencies == 0:
        return points
    scales = math.pi * 2.0 ** torch.arange(frequencies, device=points.device)
    angles = (points[..., None, :] * scales[:, None]).flatten(-2)  # [..., 3 F]
    return torch.cat((points, torch.sin(angles), torch.cos(angles)), dim=-1)


def num_encoded(frequencies: int) -> int:
    """Return how many numbers the encoding of a point has."""
    return 3 + 6 * frequencies


class Sirens(nn.Module):
    """As many small networks with sines between their layers as there are objects."""

    def __init__(self, objects: int, inputs: int, sizes: Layers, *, starts: int = 0) -> None:
        super().__init__()
        self.omega = sizes.omega
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        widths = [inputs, *([sizes.hidden] * sizes.layers), 1]
        for at, (before, after) in enumerate(itertools.pairwise(widths)):
            reach = 1 / before if at == 0 else math.sqrt(6 / before) / self.omega
            for values, rows in ((self.weights, before), (self.biases, 1)):
                drawn = reach * (2 * torch.rand(starts or objects, rows, after) - 1)
                values.append(nn.Parameter(drawn.expand(objects, -1, -1).clone()))

    def forward(self, inputs: torch.Tensor, slots: Slots = None) -> torch.Tensor:
        """Return logits [B, P] of inputs [B, P, D], of all objects or of some."""
        h, last = inputs, len(self.weights) - 1
        for at, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(_of(bias, slots), h, _of(weight, slots))
            h = torch.sin(self.omega * h) if at < last else h
        return h[..., 0]

    def flat(self) -> torch.Tensor:
        """Return all weights and biases of every object in a row, [B, W]."""
        pairs = zip(self.weights, self.biases, strict=True)
        return torch.cat([one.flatten(1) for pair in pairs for one in pair], dim=1)


def num_weights(inputs: int, sizes: Layers) -> int:
    """Return how many numbers the network of one object has."""
    widths = [inputs, *([sizes.hidden] * sizes.layers), 1]
    return sum((before + 1) * after for before, after in itertools.pairwise(widths))


def sampled(planes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return the sum of the three planes' bilinear samples, [B, P, C]."""
    count, _, channels = planes.shape[:3]
    places = torch.stack([points[..., pair] for pair in AXES], dim=1)  # [B, 3, P, 2], columns first
    found = nn.functional.grid_sample(
        planes.flatten(0, 1),
        places.flatten(0, 1)[:, :, None],
        align_corners=True,
        padding_mode="border",
    )  # [3 B, C, P, 1]
    return found.view(count, 3, channels, -1).sum(dim=1).transpose(1, 2)


class TriPlanes(nn.Module):
    """Fields of planes and a small network each."""

    def __init__(self, objects: int, side: int, channels: int, sizes: Layers) -> None:
        super().__init__()
        self.frequencies = sizes.frequencies
        self.planes = nn.Parameter(PLANE_SPREAD * torch.randn(objects, 3, channels, side, side))
        self.network = Sirens(objects, channels + num_encoded(sizes.frequencies), sizes)

    def forward(
        self, points: torch.Tensor, slots: Slots = None, *, has_planes: bool = True
    ) -> torch.Tensor:
        """Return logits [B, P]; without planes only what the network knows by itself."""
        features = sampled(_of(self.planes, slots), points)
        features = features if has_planes else torch.zeros_like(features)
        inputs = (features, encoded(points, self.frequencies))
        return self.network(torch.cat(inputs, dim=-1), slots)


class Weights(nn.Module):
    """Fields that are weights alone; each with a start of its own, or all with the same."""

    def __init__(self, objects: int, sizes: Layers, *, is_shared_start: bool = False) -> None:
        super().__init__()
        self.frequencies = sizes.frequencies
        starts = 1 if is_shared_start else objects
        self.network = Sirens(objects, num_encoded(sizes.frequencies), sizes, starts=starts)

    def forward(self, points: torch.Tensor, slots: Slots = None) -> torch.Tensor:
        """Return logits [B, P]."""
        return self.network(encoded(points, self.frequencies), slots)


class Codes(nn.Module):
    """One network for all objects and a code for each: an auto-decoder (Park et al. 2019)."""

    def __init__(self, objects: int, width: int, sizes: Layers) -> None:
        super().__init__()
        self.frequencies = sizes.frequencies
        self.codes = nn.Parameter(CODE_SPREAD * torch.randn(objects, width))
        self.network = Sirens(1, width + num_encoded(sizes.frequencies), sizes)

    def forward(self, points: torch.Tensor, slots: Slots = None) -> torch.Tensor:
        """Return logits [B, P]."""
        count, number = points.shape[:2]
        codes = _of(self.codes, slots)[:, None].expand(-1, number, -1)  # [B, P, D]
        inputs = torch.cat((codes, encoded(points, self.frequencies)), dim=-1)
        return self.network(inputs.reshape(1, count * number, -1)).view(count, number)
