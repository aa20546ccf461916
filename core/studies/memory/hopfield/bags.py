"""Multiple-instance learning: a bag is positive when one instance says so, and nobody says which.

    instances  [bags, S, width]   digits as 64 numbers of 0..1, or 8 bits as -1 and 1
    labels     [bags]             digits: a nine is among them; bits: one secret pattern is
    logits     [bags]

Every variant embeds instances the same way and pools them its own way (mean, max, gated attention
of Ilse et al. 2018, HopfieldPooling); the width of the embedding's hidden layer makes up for the
parameters a pooling lacks, so that all have about as many.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from core.base.config import Config, live
from core.nn.attention import Trace
from core.nn.bundled import digits
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import dropped, seeded
from core.studies.memory.hopfield.layers import HopfieldPooling, LayerOptions
from core.studies.memory.hopfield.network import keys_for
from core.study import Attended, Probe, Setup

POSITIVE = 9  # the digit that makes a bag positive
BITS = 8
WIDEST = 512
SHOWN_BAGS = 4


class BagConfig(Config):
    """Bags, the model that reads them and its training."""

    source: Literal["digits", "bits"] = Field(
        "digits", title="Bags of", description="Handwritten digits, or patterns of eight bits."
    )
    size: int = Field(
        12,
        ge=2,
        le=10_000,
        title="Bag size",
        description="Most instances in a bag; the least is half.",
    )
    train: int = Field(200, ge=4, title="Training bags", description="Bags to learn from.")
    test: int = Field(400, ge=4, title="Held-out bags", description="Bags to measure on.")
    width: int = Field(32, ge=4, le=1024, title="Embedding", description="Numbers for an instance.")
    hidden: int = Field(32, ge=4, le=1024, title="Hidden width", description="Of the embedding.")
    heads: int = Field(4, ge=1, le=16, title="Heads", description="Hopfield heads.")
    head_width: int = Field(8, ge=1, le=64, title="Head width", description="Of the association.")
    beta: float = Field(
        0.25, gt=0, le=100, title="Beta", description="Inverse temperature of the association."
    )
    updates: int = Field(
        0, ge=0, le=50, title="Further updates", description="0 is attention; more iterate."
    )
    dropout: float = Field(
        0.1, ge=0, le=0.9, title="Dropout", description="Of association weights while training."
    )
    batch: int = Field(32, ge=1, title="Batch", description="Bags in a step.")
    rate: float = live(
        3e-3, gt=0, le=0.1, title="Learning rate", description="Of AdamW, in every variant."
    )
    steps: int = Field(600, ge=1, title="Steps", description="Batches to learn from.")


class GatedAttention(nn.Module):
    """Pool by a trained gate: weights softmax(w (tanh(V h) * sigmoid(U h))) (Ilse et al. 2018, eq. 9)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.values, self.gates = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.weights = nn.Linear(hidden, 1, bias=False)

    def forward(self, h: torch.Tensor, keep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the pooled [B, width] and the weights [B, S]."""
        scores = self.weights(torch.tanh(self.values(h)) * torch.sigmoid(self.gates(h)))[..., 0]
        weights = torch.softmax(scores.masked_fill(~keep, -torch.inf), dim=-1)
        return (weights[..., None] * h).sum(dim=1), weights


class BagModel(nn.Module):
    """Embed instances, pool them, read one logit."""

    def __init__(self, config: BagConfig, pooling: str, hidden: int) -> None:
        super().__init__()
        width = BITS if config.source == "bits" else 64
        self.pooling = pooling
        self.embed = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, config.width), nn.ReLU()
        )
        if pooling == "pooling":
            options = LayerOptions(
                heads=config.heads,
                head_width=config.head_width,
                out_width=config.width,
                beta=config.beta,
                updates=config.updates,
                dropout=config.dropout,
            )
            self.pool = HopfieldPooling(config.width, options)
        elif pooling == "attention_pooling":
            self.pool = GatedAttention(config.width, config.width)
        self.dropout = config.dropout
        self.read = nn.Linear(config.width, 1)

    def forward(
        self,
        instances: torch.Tensor,
        keep: torch.Tensor,
        rng: torch.Generator | None = None,
        trace: Trace | None = None,
    ) -> torch.Tensor:
        """Return logits [B]; a trace is given the weights of the instances of one bag."""
        h = self.embed(instances)  # [B, S, width]
        if self.pooling == "pooling":
            pooled = self.pool(h, keep, rng=rng, trace=trace)[:, 0]
            return self.read(pooled)[:, 0]
        if self.pooling == "attention_pooling":
            pooled, weights = self.pool(h, keep)
            if trace is not None:
                given = {"given": weights[:, None], "v": h[:, None]}  # [1, 1, S], [1, 1, S, width]
                pooled = trace.attended(pooled[None, None], name="gate", **given)[0, 0]
        elif self.pooling == "max_pooling":
            pooled = h.masked_fill(~keep[..., None], -torch.inf).amax(dim=1)
        else:
            pooled = self.weights(instances, keep).transpose(1, 2).mul(h).sum(dim=1)
        if self.pooling != "attention_pooling":
            pooled = dropped(pooled, self.dropout, rng)
        return self.read(pooled)[:, 0]

    def weights(self, instances: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Return the weight of every instance, [B, heads, S]; equal ones where nothing attends."""
        if self.pooling == "pooling":
            return self.pool.weights(self.embed(instances), keep)[:, :, 0]
        if self.pooling == "attention_pooling":
            return self.pool(self.embed(instances), keep)[1][:, None]
        return (keep / keep.sum(dim=1, keepdim=True))[:, None]


def hidden_width(config: BagConfig, pooling: str) -> int:
    """Return the hidden width that gives a pooling about as many parameters as HopfieldPooling has."""
    if pooling == "pooling":
        return config.hidden

    def size(kind: str, hidden: int) -> int:
        # not on the meta device: its arithmetic loads torch's compiler
        return sum(one.numel() for one in BagModel(config, kind, hidden).parameters())

    wanted, least = size("pooling", config.hidden), size(pooling, 1)
    each = size(pooling, 2) - least
    return max(1, min(WIDEST, 1 + round((wanted - least) / each)))


class Bags:
    """The bag task: two sets of bags and a model that learns from one of them."""

    def __init__(self, config: BagConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        with seeded(setup.seed, setup.device):
            self.module = BagModel(config, setup.variant, hidden_width(config, setup.variant))
        self.optimizer = ModuleAdam(self.module.parameters(), config.rate, decay=0.01)

    @property
    def total_steps(self) -> int:
        """Batches to learn from."""
        return self.config.steps

    def prepare(self) -> None:
        """Fill the bags; those to measure on hold other instances than those to learn from."""
        rng, device = np.random.default_rng(self.setup.seed), self.setup.device
        instances, is_key = _instances(self.config.source, rng)
        middle = len(instances) // 2
        halves = ((slice(None, middle), self.config.train), (slice(middle, None), self.config.test))
        self.train, self.test = (
            tuple(
                torch.from_numpy(part).to(device)
                for part in _bags(instances[half], is_key[half], count, self.config.size, rng)
            )
            for half, count in halves
        )
        self.rng = torch.Generator(device).manual_seed(self.setup.seed)

    def step(self) -> dict[str, float]:
        """Learn from one batch."""
        instances, keep, labels = self.train
        device = instances.device
        rows = torch.randint(len(labels), (self.config.batch,), generator=self.rng, device=device)
        logits = self.module(instances[rows], keep[rows], self.rng)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels[rows])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.rate = self.config.rate
        self.optimizer.step()
        return {"loss": float(loss.detach())}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measure the area under the curve on held-out bags, and how many keys the weights spread over."""
        instances, keep, labels = self.test
        logits, weights = self.module(instances, keep), self.module.weights(instances, keep)
        right = ((logits > 0) == (labels > 0.5)).double().mean()
        return {
            "auc": ranked_area(logits.cpu().numpy(), labels.cpu().numpy()),
            "accuracy": float(right),
            "keys_90": float(keys_for(weights).double().median()),
        }

    @torch.no_grad()
    def probes(self) -> tuple[Probe, ...]:
        """Return held-out positive bags with the weight of every instance."""
        instances, keep, labels = self.test
        rows = (labels > 0.5).nonzero()[:SHOWN_BAGS, 0]
        weights = self.module.weights(instances[rows], keep[rows])  # [B, heads, S]
        found = [
            Probe(
                "Weights of the instances",
                "attention",
                weights.transpose(0, 1).cpu().numpy().copy(),
                ("head", "bag", "instance"),
            )
        ]
        if self.config.source == "digits":
            pictures = instances[rows].unflatten(-1, (8, 8)).cpu().numpy().copy()
            note = (
                f"Held-out bags that hold a {POSITIVE}, one in each row; black where one is shorter"
            )
            axes = ("bag", "instance", "y", "x")
            found.insert(0, Probe("Bags", "image", pictures, axes, note=note))
        return tuple(found)

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Return the weights in one held-out bag {bag: its number}."""
        row = int(query["bag"]) % len(self.test[2])
        with torch.no_grad():
            weights = self.module.weights(self.test[0][row][None], self.test[1][row][None])[0]
        return (Probe("Weights of the bag", "heat", weights.cpu().numpy(), ("head", "instance")),)

    def attend(self, sample: int, trace: Trace) -> Attended | None:
        """Show which instances of a held-out bag the pooling weighs how much."""
        if self.setup.variant not in ("pooling", "attention_pooling"):
            return None
        instances, keep, labels = self.test
        row = sample % len(labels)
        shown = instances[row][keep[row]]  # [S, width]
        logits = self.module(shown[None], keep[row][keep[row]][None], trace=trace)
        is_digits = self.config.source == "digits"
        strip = shown.unflatten(-1, (-1, 8)).movedim(0, 1).flatten(1)  # [8, S * 8] of digits
        return Attended(
            outputs=logits,
            names=("positive",),
            key_picture=strip.cpu().numpy() if is_digits else None,
            samples=len(labels),
            note=f"held-out bag {row}, {'positive' if labels[row] > 0.5 else 'negative'}",
        )

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the bags follow from the seed."""
        return {
            "module": dict(self.module.state_dict()),
            "optimizer": self.optimizer.state(),
            "rng": self.rng.get_state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load(state["optimizer"])
        self.rng.set_state(state["rng"])


def ranked_area(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the area under the receiver's curve: how often a positive scores above a negative, ties half."""
    positive, negative = scores[labels > 0.5], scores[labels <= 0.5]
    above = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    return float(above)


def _instances(source: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return instances [n, width] in random order and which of them make a bag positive, [n]."""
    if source == "digits":
        pictures, labels = digits()
        order = rng.permutation(len(pictures))
        rows = pictures.reshape(len(pictures), -1).astype(np.float32)
        return rows[order], (labels == POSITIVE)[order]
    codes = np.tile(rng.permutation(2**BITS), 2)  # both halves hold every pattern once
    bits = (codes[:, None] >> np.arange(BITS)) & 1
    return (2 * bits - 1).astype(np.float32), codes == codes[0]


def _bags(
    instances: np.ndarray, is_key: np.ndarray, count: int, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return bags [count, size, width], which places are filled, and labels; every other one is positive."""
    keys, others = np.flatnonzero(is_key), np.flatnonzero(~is_key)
    lengths = rng.integers(max(1, size // 2), size + 1, count)
    keep = np.arange(size) < lengths[:, None]
    rows = others[rng.integers(len(others), size=(count, size))]
    labels = (np.arange(count) % 2).astype(np.float32)
    places = rng.integers(lengths)
    chosen = keys[rng.integers(len(keys), size=count)]
    rows[np.arange(count), places] = np.where(labels > 0, chosen, rows[np.arange(count), places])
    bags = instances[rows] * keep[..., None]
    return bags.astype(np.float32), keep, labels
