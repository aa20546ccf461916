"""The study: pictures, variants, training, gates and distances over time, and the paper's claims."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from core.base.errors import ConfigError
from core.base.verdicts import AllOf, Better, Shrinks, Within
from core.nn.attention import Trace
from core.nn.labelled import NUM_CLASSES, Labelled, labelled, shifted
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import seeded
from core.studies.vision.convit import shown
from core.studies.vision.convit.attention import FIRST_GATE, non_locality
from core.studies.vision.convit.config import ConViTConfig
from core.studies.vision.convit.network import ConViT, Sizes
from core.study import Attended, Case, Claim, Metrics, Probe, Setup, Study

FEW, SOME, MANY = 100, 300, 1000  # digits to learn from
LONGER = 4  # times the steps in the claim about gates, which move slowly
RECORDS = 100  # of gates and distances over a training
WATCHED = 32  # held-out pictures that distances are averaged over
MOVED = 0.01  # a block's mean gate has left its start where it is this far away


def sizes_of(config: ConViTConfig, variant: str) -> Sizes:
    """Return the sizes of a variant's network."""
    is_plain = variant in ("late_token", "plain")
    if config.gated > config.depth - 1:
        raise ConfigError(
            f"{config.gated} gated blocks of {config.depth} leave none that the class token joins. "
            f"Set gated to at most {config.depth - 1}."
        )
    if config.size % config.patch or config.width % config.heads:
        raise ConfigError(
            f"A side of {config.size} pixels needs whole patches of {config.patch}, a width of "
            f"{config.width} whole heads ({config.heads}). Change patch or heads."
        )
    return Sizes(
        size=config.size,
        patch=config.patch,
        channels=config.channels,
        classes=config.classes or NUM_CLASSES[config.source],
        width=config.width,
        heads=config.heads,
        depth=config.depth,
        gated=0 if is_plain else config.gated,
        late=0 if variant == "plain" else config.gated,
        strength=config.strength if variant == "convit" else 0.0,
        spread=config.spread,
        paths=config.paths,
    )


def _few() -> Claim:
    cases, better = [], []
    for count in (FEW, SOME, MANY):
        names = (f"ConViT, {count}", f"plain, {count}")
        better.append(names)
        for name, variant in zip(names, ("convit", "plain"), strict=True):
            cases.append(Case(name, variant, {"examples": count}))
    return Claim(
        "sample_efficiency",
        says="Gated positional attention beats plain attention, the more so the fewer the examples.",
        cases=tuple(cases),
        rule=AllOf((Better(*better[0], "accuracy"), Shrinks(better[0], better[-1], "accuracy"))),
        metrics=("accuracy", "loss"),
        seeds=5,
        source="sample efficiency: a fixed share of every class kept, ConViT against DeiT",
    )


class ConViTStudy(Study):
    """A transformer learns to tell small pictures apart; its gates are watched."""

    Config = ConViTConfig
    variants = ("convit", "random_positions", "late_token", "plain")
    claims = (
        _few(),
        Claim(
            "convolutional_start",
            says="Gated attention that starts at random positions lies between the convolutional start "
            "and plain attention.",
            cases=(
                Case(f"ConViT, {FEW}", "convit", {"examples": FEW}),
                Case("random positions", "random_positions", {"examples": FEW}),
                Case(f"plain, {FEW}", "plain", {"examples": FEW}),
                Case("plain, late token", "late_token", {"examples": FEW}),
            ),
            rule=AllOf(
                (
                    Better(f"ConViT, {FEW}", "random positions", "accuracy"),
                    Better("random positions", f"plain, {FEW}", "accuracy"),
                )
            ),
            metrics=("accuracy", "loss"),
            seeds=5,
            source="the ablation of gating and convolutional initialisation",
        ),
        Claim(
            "gates_leave",
            says="Gates start at 0.731 and leave it while learning, first in the blocks nearest the output.",
            cases=(Case("ConViT, longer", "convit", {"examples": MANY, "times": LONGER}),),
            rule=AllOf(
                (
                    Within("ConViT, longer", "gate_moved", low=MOVED),
                    Within("ConViT, longer", "last_block_leads", low=1),
                )
            ),
            metrics=("gate_moved", "gate_mean", "left_first_block", "left_last_block"),
            source="gates over training, by layer and head",
            if_lost="Some thousand steps instead of 750 thousand, and digits that position alone tells "
            "apart nearly as well (accuracy_position): little pulls at the gates.",
        ),
    )
    config: ConViTConfig

    def __init__(self, config: ConViTConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.sizes = sizes_of(config, setup.variant)
        with seeded(setup.seed, setup.device):
            self.module = ConViT(self.sizes)
        decayed, kept = self.module.decayed()
        self.optimizers = (
            ModuleAdam(decayed, config.rate, decay=config.decay),
            ModuleAdam(
                kept, config.rate
            ),  # gates and biases do not decay, as in the published code
        )
        self.steps_done = 0
        self.history: list[list[float]] = []  # step, gates by block and head, distances likewise

    def prepare(self) -> None:
        """Split the pictures; the split depends on the seed alone."""
        config = self.config
        parts = labelled(
            config.source,
            config.examples,
            config.held,
            channels=config.channels,
            seed=self.setup.seed,
        )
        self.train, self.test = (part.to(self.setup.device) for part in parts)
        self.rng = torch.Generator(self.setup.device).manual_seed(self.setup.seed)

    @property
    def total_steps(self) -> int:
        """Batches to learn from."""
        return self.config.steps * self.config.times

    def inputs(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return pictures as the network reads them, [B, C, size, size] around 0."""
        if pictures.shape[-1] != self.config.size:
            side = (self.config.size,) * 2
            pictures = torch.nn.functional.interpolate(pictures, size=side, mode="bilinear")
        return (pictures - 0.5) / 0.25

    def step(self) -> Metrics:
        """Learn from one batch of moved pictures; the loss is the smoothed cross-entropy."""
        config = self.config
        if self.steps_done % max(1, self.total_steps // RECORDS) == 0:
            self._record()
        rows = torch.randint(
            len(self.train), (config.batch,), generator=self.rng, device=self.setup.device
        )
        pictures = shifted(self.train.pictures[rows], config.shift, self.rng)
        self.module.train()
        logits = self.module(self.inputs(pictures), self.rng)
        loss = torch.nn.functional.cross_entropy(
            logits, self.train.labels[rows], label_smoothing=config.smoothing
        )
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.rate = config.rate * self._schedule()
            optimizer.step()
        self.steps_done += 1
        right = (logits.detach().argmax(dim=1) == self.train.labels[rows]).double().mean()
        return {"loss": float(loss.detach()), "accuracy_learned": float(right)}

    def _schedule(self) -> float:
        """Return the share of the learning rate: a straight rise, then a cosine to zero."""
        steps = self.total_steps
        warm = min(self.config.warm_up, steps - 1)
        if self.steps_done < warm:
            return (self.steps_done + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (self.steps_done - warm) / (steps - warm))))

    def _record(self) -> None:
        """Keep the gates and the distances of now."""
        maps = self.module.maps(self.inputs(self.test.pictures[:WATCHED]))
        distances = torch.stack([non_locality(one.mix, self.module.grid) for one in maps])
        values = torch.cat([self.module.gates().flatten(), distances.flatten()])
        self.history.append([float(self.steps_done), *values.tolist()])

    def recorded(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return steps [R], gates [R, gated blocks, heads] and distances [R, blocks, heads] in patches."""
        heads, gated = self.sizes.heads, len(self.module.gated)
        table = torch.tensor(self.history, dtype=torch.float64).reshape(len(self.history), -1)
        gates = (
            table[:, 1 : 1 + gated * heads].unflatten(1, (gated, heads)) if gated else table[:, :0]
        )
        return table[:, 0], gates, table[:, 1 + gated * heads :].unflatten(1, (-1, heads))

    @torch.no_grad()
    def accuracy(self, test: Labelled, gate: float | None = None) -> dict[str, float]:
        """Measure on pictures, with all gates as learned or as given."""
        with self._forced(gate):
            parts = zip(test.pictures.split(250), test.labels.split(250), strict=True)
            found = [(self.module(self.inputs(one)), labels) for one, labels in parts]
        losses = [torch.nn.functional.cross_entropy(*one, reduction="sum") for one in found]
        right = sum(int((logits.argmax(dim=1) == labels).sum()) for logits, labels in found)
        return {"accuracy": right / len(test), "loss": float(sum(losses)) / len(test)}

    @contextmanager
    def _forced(self, gate: float | None) -> Iterator[None]:
        for attention in self.module.gated:
            attention.forced = gate
        try:
            yield
        finally:
            for attention in self.module.gated:
                attention.forced = None

    def evaluate(self) -> Metrics:
        """Measure on held-out pictures, with gates as learned and forced, and how far gates have moved."""
        measured = self.accuracy(self.test)
        if not self.module.gated:
            return measured
        forced = self.config.forced_gate
        for name, gate in (("content", 0.0), ("position", 1.0), ("forced", forced)):
            found = measured if gate < 0 else self.accuracy(self.test, gate)
            measured[f"accuracy_{name}"] = found["accuracy"]
        return measured | self._gates_moved()

    def _gates_moved(self) -> dict[str, float]:
        gates = self.module.gates().double()
        first, last = (self._left(block) for block in (0, -1))
        return {
            "gate_mean": float(gates.mean()),
            "gate_moved": float((gates - FIRST_GATE).abs().mean()),
            "left_first_block": first,
            "left_last_block": last,
            "last_block_leads": first - last,
        }

    def _left(self, block: int) -> float:
        """Return the step at which a block's mean gate had left its start; the next one, if it has not."""
        if self.history:
            steps, gates, _ = self.recorded()
            away = (gates[:, block].mean(dim=-1) - FIRST_GATE).abs() > MOVED
            if away.any():
                return float(steps[away][0])
        return float(self.steps_done + 1)

    def probes(self) -> tuple[Probe, ...]:
        """Return the pictures of shown.py."""
        return shown.of(self)

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Show one query's maps by content, by position and mixed {picture, block, y, x}."""
        return shown.asked(self, query)

    def attend(self, sample: int, trace: Trace) -> Attended | None:
        """Pass one held-out picture through; gated blocks hand over content, position and gate."""
        at = sample % len(self.test)
        logits = self.module(self.inputs(self.test.pictures[at : at + 1]), trace=trace)[0]
        return Attended(
            outputs=logits,
            names=tuple(str(label) for label in range(len(logits))),
            picture=shown.picture(self.test.pictures[at]),
            samples=len(self.test),
            note=f"held-out picture {at} of class {int(self.test.labels[at])}",
        )

    def configure(self, config: ConViTConfig) -> None:
        """Apply live edits."""
        self.config = config

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the pictures follow from the seed."""
        return {
            "module": dict(self.module.state_dict()),
            "optimizers": [optimizer.state() for optimizer in self.optimizers],
            "rng": self.rng.get_state(),
            "steps_done": self.steps_done,
            "history": [list(row) for row in self.history],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.module.load_state_dict(state["module"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load(kept)
        self.rng.set_state(state["rng"])
        self.steps_done = int(state["steps_done"])
        self.history = [list(row) for row in state["history"]]
