"""Recall of stored patterns from damaged ones, by the modern network and by the classical one.

    stored   [N, d]  patterns; pictures are centred and scaled one by one unless told otherwise
    queries  [Q, d]  damaged copies of the first Q patterns
    states   [Q, d]  where the queries have got to

One step updates every state once; it needs no gradient. The classical network stores signs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from core.base.config import Config, live
from core.base.errors import ConfigError
from core.nn.attention import Trace
from core.nn.bundled import FACES, digits, faces, photograph
from core.studies.memory.hopfield import network
from core.study import Attended, Probe, Setup

SHOWN = 12  # patterns in a strip of pictures
PHOTOGRAPHS = ("astronaut.png", "camera.png", "coffee.png", "chelsea.png")
PATCH = 32  # pixels along the side of a patch
EXACT = 1e-3  # largest difference of a recalled number from the stored one
PLANE = 48  # points along each side of the energy's picture


class RetrievalConfig(Config):
    """Which patterns are stored, how their copies are damaged and how they are recalled."""

    source: Literal["random", "faces", "digits", "patches", "plane"] = Field(
        "faces",
        title="Patterns",
        description="Random signs, pictures from scikit-image or scikit-learn, or points of a plane.",
    )
    patterns: int = Field(
        100, ge=2, le=100_000, title="Stored patterns", description="How many patterns are stored."
    )
    width: int = Field(64, ge=2, le=4096, title="Width", description="Numbers in a random pattern.")
    queries: int = Field(
        256, ge=1, le=4096, title="Queries", description="How many of them are recalled."
    )
    damage: Literal["flip", "half", "noise"] = Field(
        "half",
        title="Damage",
        description="Flip signs, blank the lower half of a picture, or add noise.",
    )
    amount: float = Field(
        0.1,
        ge=0,
        le=2,
        title="Amount of damage",
        description="Share of flipped signs, or size of the noise.",
    )
    beta: float = live(
        0.25,
        gt=0,
        le=100,
        title="Beta",
        description="Inverse temperature: small averages all patterns, large picks one.",
    )
    normalises: bool = Field(
        True,
        title="Normalise patterns",
        description="Centre and scale every pattern; raw pictures are recalled by brightness.",
    )
    tolerance: float = live(
        1e-4,
        gt=0,
        le=0.1,
        title="Tolerance",
        description="The states rest when no association changes by more.",
    )
    updates: int = Field(
        5, ge=1, le=1000, title="Updates", description="Steps: updates of every state."
    )


class Retrieval:
    """The memory task: stored patterns, damaged queries and the states between them."""

    def __init__(self, config: RetrievalConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.is_modern = setup.variant == "retrieval"
        self.module: torch.nn.Module | None = None
        self.change = float("inf")

    @property
    def total_steps(self) -> int:
        """Updates asked for."""
        return self.config.updates

    def prepare(self) -> None:
        """Draw or load the patterns and damage their copies."""
        rng = torch.Generator().manual_seed(self.setup.seed)
        stored = self._patterns(rng)
        if not self.is_modern:
            stored = torch.where(stored - stored.mean(dim=-1, keepdim=True) < 0, -1.0, 1.0)
        queries = self._damaged(stored[: self.config.queries], rng)
        if self.is_modern and self.config.normalises and self.config.source != "plane":
            stored, queries = network.normalised(stored), network.normalised(queries)
        device = self.setup.device
        self.stored, self.queries = stored.to(device), queries.to(device)
        self.states = self.queries.clone()
        self.weights = None if self.is_modern else network.hebbian(self.stored)

    def _patterns(self, rng: torch.Generator) -> torch.Tensor:
        config, count = self.config, self.config.patterns
        if config.source == "random":
            return torch.randint(0, 2, (count, config.width), generator=rng).float() * 2 - 1
        if config.source == "plane":
            return torch.rand(count, 2, generator=rng) * 2 - 1
        pictures = _pictures(config.source, rng)
        if count > len(pictures):
            raise ConfigError(
                f"There are {len(pictures)} patterns of '{config.source}', {count} were asked for. "
                "Set patterns to at most that."
            )
        if config.source != "faces" or count < FACES:  # which ones depends on the seed
            pictures = pictures[torch.randperm(len(pictures), generator=rng)]
        return pictures[:count]

    def _damaged(self, patterns: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        config = self.config
        if config.damage == "flip":
            flips = torch.rand(patterns.shape, generator=rng) < config.amount
            return torch.where(flips, -patterns, patterns)
        if config.damage == "noise":
            return patterns + config.amount * torch.randn(patterns.shape, generator=rng)
        half = patterns.clone()
        rest = patterns.shape[-1] - patterns.shape[-1] // 2
        half[:, rest:] = patterns[:, :rest].mean(dim=-1, keepdim=True) if self.is_modern else 0
        return half

    @torch.no_grad()
    def step(self) -> dict[str, float]:
        """Update every state once."""
        before = self.states
        if self.is_modern:
            old = network.associations(before, self.stored, self.config.beta)
            self.states = old @ self.stored
            new = network.associations(self.states, self.stored, self.config.beta)
            self.change = float((new - old).abs().max())
        else:
            assert self.weights is not None
            self.states = network.settled(before, self.weights)
            self.change = float((self.states != before).double().mean())
        rests = self.change <= self.config.tolerance
        return {"change": self.change, "at_rest": float(rests), **self._energy(before)}

    def _energy(self, before: torch.Tensor) -> dict[str, float]:
        """Return the mean energy and its largest rise in the step, as a share of M^2."""
        if not self.is_modern:
            energy = -0.5 * (self.states @ self.weights * self.states).sum(dim=-1)
            return {"energy": float(energy.mean())}
        beta, stored = self.config.beta, self.stored
        energy = network.energies(self.states, stored, beta)
        rise = (energy - network.energies(before, stored, beta)).max()
        largest = stored.double().square().sum(dim=-1).max()
        return {"energy": float(energy.mean()), "energy_rise": float(rise / largest)}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measure how many queries have become their own pattern, or are nearest to it."""
        count = len(self.states)
        own = self.stored[:count]
        distances = torch.cdist(self.states, self.stored)  # [Q, N]
        nearest = distances.argmin(dim=-1).cpu() == torch.arange(count)
        exact = (self.states - own).abs().amax(dim=-1) <= EXACT
        found = {
            "recalled": float(nearest.double().mean()),
            "exact": float(exact.double().mean()),
            "distance": float((self.states - own).square().mean().sqrt()),
        }
        if self.is_modern:
            attention = network.associations(self.states, self.stored, self.config.beta)
            found["effective"] = float(network.retrieved(attention).mean())
            found["keys_90"] = float(network.keys_for(attention).double().median())
        return found

    def probes(self) -> tuple[Probe, ...]:
        """Return pictures of the recall, the association weights and the energy of a plane."""
        side = round(self.stored.shape[-1] ** 0.5)
        found = []
        if self.config.source not in ("random", "plane") and side**2 == self.stored.shape[-1]:
            found.append(self._strip(side))
        if self.config.source == "plane" and self.is_modern:
            found.append(self._landscape())
        if self.is_modern:
            shown = network.associations(self.states[:SHOWN], self.stored[:FACES], self.config.beta)
            found.append(
                Probe("Association weights", "heat", shown.cpu().numpy(), ("query", "pattern"))
            )
            apart = network.separations(self.stored[:FACES].cpu())
            found.append(Probe("Separation of the patterns", "bars", apart.numpy(), ("pattern",)))
        else:
            signs = self.states[:SHOWN].cpu().numpy().copy()
            found.append(Probe("States", "heat", signs, ("query", "unit"), is_signed=True))
        return tuple(found)

    def _strip(self, side: int) -> Probe:
        """Return three rows of pictures: damaged, now, stored."""
        rows = (self.queries[:SHOWN], self.states[:SHOWN], self.stored[:SHOWN])
        pictures = torch.stack(rows).unflatten(-1, (side, side)).cpu()
        low = pictures.amin(dim=(2, 3), keepdim=True)
        pictures = (pictures - low) / (pictures.amax(dim=(2, 3), keepdim=True) - low + 1e-9)
        names = ("damaged", "recalled so far", "stored")
        axes = ("row", "query", "y", "x")
        return Probe("Recall", "image", pictures.numpy(), axes, {"row": names})

    def _landscape(self) -> Probe:
        places = torch.linspace(-1.2, 1.2, PLANE)
        y, x = torch.meshgrid(places.flip(0), places, indexing="ij")
        points = torch.stack((x, y), dim=-1).reshape(-1, 2)
        energy = network.energies(points, self.stored.cpu(), self.config.beta).reshape(PLANE, PLANE)
        return Probe("Energy", "heat", energy.numpy(), ("y", "x"))

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Follow a state: from a point of the plane {x, y}, or from a query {query: its number}."""
        if "query" in query:
            state = self.queries[int(query["query"]) % len(self.queries)]
        else:
            state = torch.tensor([float(query["x"]), float(query["y"])])
        path = [state]
        for _ in range(self.config.updates if self.is_modern else 0):
            path.append(network.updated(path[-1][None], self.stored, self.config.beta)[0])
        values = torch.stack(path).cpu().numpy()
        return (Probe("Trajectory", "table", values, ("step", "coordinate")),)

    def attend(self, sample: int, trace: Trace) -> Attended | None:
        """Show what one damaged pattern recalls next from among all that are stored."""
        if not self.is_modern:
            return None
        row, count = sample % len(self.states), len(self.stored)
        state, beta = self.states[row][None], self.config.beta
        recalled = trace.attended(
            network.updated(state, self.stored, beta)[None, None],
            name="association",
            kind="hopfield",
            q=state[None, None],
            k=self.stored[None, None],
            v=self.stored[None, None],
            scale=beta,
            keys=tuple(f"pattern {at}" for at in range(count)),
        )[0, 0]
        side = round(self.stored.shape[-1] ** 0.5)
        is_picture = self.config.source not in ("random", "plane") and count <= FACES
        patterns = (
            self.stored.unflatten(-1, (side, side)) if is_picture else None
        )  # [N, side, side]
        return Attended(
            outputs=-torch.cdist(recalled, self.stored[: len(self.queries)])[0],
            picture=None if patterns is None else _shown(self.queries[row].view(side, side)),
            key_picture=None if patterns is None else _shown(patterns.movedim(0, 1).flatten(1)),
            samples=len(self.states),
            note=f"query {row}",
        )

    def state(self) -> dict[str, Any]:
        """Return patterns and states."""
        return {"stored": self.stored, "queries": self.queries, "states": self.states}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        for name in ("stored", "queries", "states"):
            setattr(self, name, state[name].clone())
        self.weights = None if self.is_modern else network.hebbian(self.stored)


def _shown(picture: torch.Tensor) -> np.ndarray:
    """Return a picture as 0..1; patterns are centred."""
    low, high = picture.min(), picture.max()
    return ((picture - low) / (high - low + 1e-9)).cpu().numpy()


def _pictures(source: str, rng: torch.Generator) -> torch.Tensor:
    """Return real pictures as rows, [count, pixels]."""
    if source == "faces":
        found = faces()
    elif source == "digits":
        found = digits()[0]
    else:
        found = np.concatenate([_patches(photograph(name, 256).mean(-1)) for name in PHOTOGRAPHS])
    return torch.from_numpy(np.ascontiguousarray(found.reshape(len(found), -1))).float()


def _patches(picture: np.ndarray) -> np.ndarray:
    """Cut a picture [H, W] into squares, [count, PATCH, PATCH]."""
    rows, columns = picture.shape[0] // PATCH, picture.shape[1] // PATCH
    cut = picture[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH)
    return cut.swapaxes(1, 2).reshape(-1, PATCH, PATCH)
