"""Networks that read fields: the Transformer over channels of the paper, and those it is compared with.

planes   [B, 3 C, R, R]   normalised along the channels of every cell
tokens   [B, 3 C, width]  one for each channel, without any position
logits   [B, classes]
trace    takes queries, keys and values of every layer, of one object at a time (core/nn/attention.py)
"""

from __future__ import annotations

import math

import torch
from torch import nn

from core.nn.attention import Trace
from core.studies.fields.triplane.config import ReaderConfig


def normalised(planes: torch.Tensor) -> torch.Tensor:
    """Give the channels of every cell, those of all three planes together, a length of one."""
    return nn.functional.normalize(planes, dim=1)


class Attend(nn.Module):
    """Multi-head attention, softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self,
        queries: torch.Tensor,
        tokens: torch.Tensor,
        trace: Trace | None = None,
        name: str = "",
    ) -> torch.Tensor:
        """Return what queries [B, Q, D] read of tokens [B, K, D]."""
        q, k, v = (
            part(values).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, ., D / heads]
            for part, values in ((self.query, queries), (self.key, tokens), (self.value, tokens))
        )
        read = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), dim=-1) @ v
        if trace is not None:
            kind = "softmax" if queries is tokens else "cross"
            project = self.out.weight
            read = trace.attended(read, name=name, kind=kind, q=q, k=k, v=v, project=project)
        return self.out(read.transpose(1, 2).flatten(-2))


class Layer(nn.Module):
    """Attention and a feed-forward network, each added and then normalised."""

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.attend = Attend(width, heads)
        self.mix = nn.Sequential(
            nn.Linear(width, feed_forward), nn.ReLU(), nn.Linear(feed_forward, width)
        )
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self,
        queries: torch.Tensor,
        tokens: torch.Tensor,
        trace: Trace | None = None,
        name: str = "",
    ) -> torch.Tensor:
        """Return the queries' new values; for self-attention the tokens are the queries."""
        h = self.first(queries + self.attend(queries, tokens, trace, name))
        return self.second(h + self.mix(h))


class ChannelTransformer(nn.Module):
    """Each channel is a token; nothing says which channel it is, so that their order cannot matter."""

    def __init__(self, side: int, classes: int, config: ReaderConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(side * side, config.width)
        self.layers = nn.ModuleList(
            Layer(config.width, config.heads, config.feed_forward) for _ in range(config.layers)
        )
        self.classify = nn.Linear(config.width, classes)

    def tokens(self, planes: torch.Tensor, trace: Trace | None = None) -> torch.Tensor:
        """Return the encoded channels [B, 3 C, width] of normalised planes."""
        h = self.embed(planes.flatten(2))
        for at, layer in enumerate(self.layers):
            h = layer(h, h, trace, f"channels, layer {at + 1}")
        return h

    def forward(self, planes: torch.Tensor, trace: Trace | None = None) -> torch.Tensor:
        """Return logits [B, classes]: of the largest value that any channel has."""
        return self.classify(self.tokens(planes, trace).amax(dim=1))


class PlaneCnn(nn.Module):
    """A convolutional network whose input channels are the planes' channels: their order matters."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.convolve = nn.Sequential(
            *_convolved(channels, half, 1),
            *_convolved(half, width, 2),
            *_convolved(width, width, 2),
        )
        self.classify = nn.Linear(width, classes)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return logits [B, classes]."""
        return self.classify(self.convolve(planes).mean(dim=(2, 3)))


def _convolved(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


class PlainReader(nn.Module):
    """Two hidden layers over a row of numbers: all weights of a field, or its code."""

    def __init__(self, inputs: int, classes: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(inputs, 2 * width), nn.ReLU(), nn.Linear(2 * width, width), nn.ReLU()),
            nn.Linear(width, classes),
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return logits [B, classes] of rows [B, inputs]."""
        return self.layers(rows)


class PointNet(nn.Module):
    """Every point by itself, then the largest of each feature (Qi et al. 2017, without its transforms)."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.each = nn.Sequential(
            *_mapped(3, width // 2), *_mapped(width // 2, width), *_mapped(width, 4 * width)
        )
        self.read = nn.Sequential(*_mapped(4 * width, width), nn.Linear(width, classes))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Return logits [B, classes] of points [B, P, 3]."""
        features = self.each(points.flatten(0, 1)).view(*points.shape[:2], -1)
        return self.read(features.amax(dim=1))


def _mapped(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]


class PartDecoder(nn.Module):
    """Points ask the channels of their object which part they belong to.

    A query is a point's encoding beside the class of its object; it reads the channels and no other
    point, so that one point asked by itself gets the answer it gets among many.
    """

    def __init__(
        self, side: int, encoding: int, classes: int, parts: int, config: ReaderConfig
    ) -> None:
        super().__init__()
        self.encoder = ChannelTransformer(side, classes, config)
        self.embed = nn.Linear(encoding + classes, config.width)
        self.layers = nn.ModuleList(
            Layer(config.width, config.decoder_heads, config.feed_forward)
            for _ in range(config.decoder_layers)
        )
        self.classify = nn.Linear(config.width, parts)

    def forward(
        self, planes: torch.Tensor, queries: torch.Tensor, trace: Trace | None = None
    ) -> torch.Tensor:
        """Return logits [B, P, parts] of queries [B, P, encoding + classes]."""
        tokens, h = self.encoder.tokens(planes, trace), self.embed(queries)
        for at, layer in enumerate(self.layers):
            h = layer(h, tokens, trace, f"points, layer {at + 1}")
        return self.classify(h)
