"""The study: settings, variants, thresholds that a training passes, claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from core.base.config import live
from core.base.verdicts import AllOf, Better
from core.nn.radial import RadialLayer
from core.nn.seeded import seeded
from core.studies.field_fit import FieldFit, start_density
from core.studies.fields.gaussian_rbfnet import network, shown
from core.studies.fields.gaussian_rbfnet.network import Field as NeuralField
from core.studies.fields.gaussian_rbfnet.network import SawtoothGrids
from core.studies.signals import SignalConfig, psnr
from core.study import Case, Claim, Metrics, Probe

GRIDS = {  # cells and channels of each level, and how often it repeats
    "small": ((16, 24, 32, 48), (4, 4, 4, 4), (2.0, 3.2, 4.4, 5.6)),
    "paper": (
        (32, 51, 70, 89, 108, 128),
        (4, 4, 4, 2, 2, 2),
        (2.0, 3.2, 4.4, 5.6, 6.8, 8.0),
    ),
}
THRESHOLDS = (20, 22, 24, 26, 28, 30)  # dB
CLOCKS = (1, 2, 4)  # seconds of training
LOOKED_AT = 4096  # places at which features are looked at


class GaussianRbfConfig(SignalConfig):
    """The signal, the encoder and the decoder."""

    encoder: Literal["dense", "hash"] = Field(
        "dense", title="Encoder", description="Dense grids, or a hash grid."
    )
    grids: Literal["small", "paper"] = Field("small", title="Grids", description="Their sizes.")
    repeats: Literal["once", "configured", "released"] = Field(
        "once", title="Sawtooth", description="Grids repeat w_l times, or once a cell, or never."
    )
    start_scale: float = Field(
        0.1, gt=0, le=10, description="Standard deviation of dense grids at first; released: 1."
    )
    levels: int = Field(8, ge=1, le=32, description="Levels of the hash grid.")
    coarsest: int = Field(8, ge=2, le=1024, description="Cells of its coarsest level.")
    finest: int = Field(128, ge=4, le=65536, description="Cells of its finest level.")
    log2_table: int = Field(12, ge=4, le=24, description="Log2 of its rows in a level.")
    units: int = Field(32, ge=1, le=1024, title="Units", description="Gaussians of the layer.")
    width: int = Field(64, ge=4, le=1024, description="Of the network compared with.")
    rate: float = live(1e-2, gt=0, le=1, title="Learning rate", description="Of everything.")
    last_rate: float = live(0.1, gt=0, le=1, description="Share of the rate left at the end.")
    muted: int = live(-1, ge=-1, le=1023, title="Muted unit", description="-1: none.")
    steps: int = Field(400, ge=1, title="Steps", description="Batches to learn from.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "size": 32,
            "samples": 512,
            "points": 1500,
            "mesh_cells": 24,
            "view_size": 12,
            "ray_samples": 12,
            "units": 8,
            "width": 16,
            "steps": 40,
        },
        "full": {},
        "paper": {
            "size": 2048,
            "grids": "paper",
            "repeats": "configured",
            "start_scale": 1.0,
            "levels": 16,
            "coarsest": 16,
            "finest": 512,
            "log2_table": 19,
            "units": 64,
            "samples": 2**18,
            "steps": 15_000,
        },
    }


OTHERS = ("three layers", "equal products", "one layer")
DECODERS = (
    Case("Gaussians", "rbf"),
    Case("three layers", "mlp"),
    Case("equal products", "mlp_equal_products"),
    Case("one layer", "mlp_one_layer"),
)
HASHED = tuple(Case(one.name, one.variant, {"encoder": "hash"}) for one in DECODERS)
SHAPE = {"signal": "shape", "steps": 400}
SCENE = {"signal": "views", "samples": 512, "steps": 250}
SHAPED = tuple(Case(one.name, one.variant, SHAPE) for one in DECODERS[:3])

BUMPS_FADE = (
    "Distances and densities have no ends to their range, and a few hundred steps: rectified units carry "
    "a slope on wherever features go, bumps fade to nothing outside of where a centre stands and have to "
    "be brought there first (photographs, of values between 0 and 1, are learned sooner)."
)


class GaussianRbfStudy(FieldFit):
    """Fit one signal through a layer of Gaussian units."""

    Config = GaussianRbfConfig
    variants = (
        "rbf",
        "mlp",
        "mlp_equal_products",
        "mlp_one_layer",
        "released_start",
        "coordinates",
    )
    is_absolute = True
    claims = (
        Claim(
            "earlier",
            says="A photograph reaches 22 dB in fewer steps than through networks as costly or as large.",
            cases=DECODERS,
            rule=AllOf(
                tuple(
                    Better("Gaussians", other, "steps_to_22", is_lower_better=True)
                    for other in OTHERS
                )
            ),
            metrics=("steps_to_22", "steps_to_20", "psnr", "psnr_at_1_s", "psnr_at_2_s"),
            seeds=5,
            source="project page; convergence",
        ),
        Claim(
            "earlier_on_a_hash_grid",
            says="So it does behind a hash grid.",
            cases=HASHED,
            rule=AllOf(
                tuple(
                    Better("Gaussians", other, "steps_to_22", is_lower_better=True)
                    for other in OTHERS
                )
            ),
            metrics=("steps_to_22", "steps_to_20", "psnr", "psnr_at_1_s", "psnr_at_2_s"),
            seeds=5,
            source="release: encoders",
        ),
        Claim(
            "as_good_at_the_end",
            says="In the end it is as good as a network of three layers, within half a decibel.",
            cases=DECODERS[:2],
            rule=Better("Gaussians", "three layers", "psnr", margin=-0.5),
            metrics=("psnr",),
            seeds=5,
            source="abstract",
        ),
        Claim(
            "feature_space",
            says="As many Gaussians on the coordinates themselves are far worse, by 5 dB.",
            cases=(Case("Gaussians", "rbf"), Case("on coordinates", "coordinates")),
            rule=Better("Gaussians", "on coordinates", "psnr", margin=5.0),
            metrics=("psnr",),
            seeds=5,
            source="a control of our own",
        ),
        Claim(
            "start",
            says="Spread centres break the symmetry that the released start leaves to training.",
            cases=(Case("spread", "rbf"), Case("released", "released_start")),
            rule=AllOf(
                (
                    Better("spread", "released", "steps_to_22", is_lower_better=True),
                    Better("spread", "released", "psnr"),
                )
            ),
            metrics=("steps_to_22", "psnr", "dead_share"),
            seeds=5,
            source="a control of our own; release: initialisation",
        ),
        Claim(
            "sawtooth",
            says="Grids that repeat as configured learn more than those that repeat as released.",
            cases=(
                Case("never", "rbf"),
                Case("configured", "rbf", {"repeats": "configured"}),
                Case("released", "rbf", {"repeats": "released"}),
            ),
            rule=Better("configured", "released", "psnr"),
            metrics=("psnr",),
            source="release: encoder",
        ),
        Claim(
            "shape",
            says="A surface is learned better than through networks, with the same steps.",
            cases=SHAPED,
            rule=AllOf(
                tuple(
                    Better("Gaussians", other, "near_error", is_lower_better=True)
                    for other in ("three layers", "equal products")
                )
            ),
            metrics=("near_error", "iou"),
            seeds=5,
            source="project page; signed distances",
            if_lost=BUMPS_FADE,
        ),
        Claim(
            "scene",
            says="Views of a scene are learned as well as by networks, within half a decibel.",
            cases=tuple(Case(one.name, one.variant, SCENE) for one in DECODERS[:3]),
            rule=AllOf(
                tuple(
                    Better("Gaussians", other, "psnr", margin=-0.5)
                    for other in ("three layers", "equal products")
                )
            ),
            metrics=("psnr",),
            source="abstract; radiance fields",
            if_lost=BUMPS_FADE,
        ),
    )
    config: GaussianRbfConfig

    def build(self) -> None:
        """Build the encoder and the decoder of a variant."""
        config, signal, variant = self.config, self.signal, self.setup.variant
        units, outputs = config.units, signal.channels
        with seeded(self.setup.seed, self.setup.device):
            encoder = None if variant == "coordinates" else self._encoder()
            inputs = signal.rank if encoder is None else encoder.width
            if variant in ("rbf", "released_start", "coordinates"):
                decoder: nn.Module = RadialLayer(inputs, units, outputs)
            else:
                width = {
                    "mlp": config.width,
                    "mlp_equal_products": network.width_of_equal_products(inputs, units, outputs),
                    "mlp_one_layer": network.width_of_equal_numbers(inputs, units, outputs),
                }[variant]
                hidden = (width,) if variant == "mlp_one_layer" else (width, width)
                decoder = network.relu_network((inputs, *hidden, outputs))
            self.module: NeuralField = NeuralField(encoder, decoder)
        start_density(self.module.readout, config.signal)
        self.passed: dict[str, float] = {}
        self.clocked: dict[str, float] = {}
        self.is_whole = True  # seconds are not kept: after resuming nobody knows them
        self.smooth = 1.0  # mean squared error of the last batches
        self.average = 0.0  # its share of batches that were seen

    def _encoder(self) -> Any:
        config, rank = self.config, self.signal.rank
        if config.encoder == "hash":
            sizes = config.levels, config.coarsest, config.finest, 2**config.log2_table
            return network.hash_encoder(rank, *sizes)
        sides, channels, repeats = GRIDS[config.grids]
        if config.repeats != "configured":
            is_once = config.repeats == "once"
            repeats = tuple(1.0 if is_once else float(side) for side in sides)
        return SawtoothGrids(rank, sides, channels, repeats, config.start_scale)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Return everything at one rate."""
        return [(list(self.module.parameters()), self.config.rate)]

    def share_left(self) -> float:
        """Return the factor on the rate: it falls by the same share each step."""
        return float(self.config.last_rate ** (self.steps_done / max(self.config.steps, 1)))

    def look(self) -> None:
        """Spread the centres over the features, and lay out where features are looked at."""
        rng = torch.Generator().manual_seed(self.setup.seed)
        places = self.signal.places
        rows = torch.randperm(len(places), generator=rng)[:LOOKED_AT].to(places.device)
        self.looked_at = places[rows]
        decoder = self.module.decoder
        if isinstance(decoder, RadialLayer) and self.setup.variant != "released_start":
            with torch.no_grad():
                decoder.spread(self.module.features(self.looked_at), rng)

    def step(self) -> Metrics:
        """Learn; note the steps at which the quality of the batches passes a threshold."""
        metrics = dict(super().step())
        if "psnr" in metrics:
            keep = 0.9
            self.average = keep * self.average + (1 - keep)
            error = 10 ** (-metrics["psnr"] / 10)
            self.smooth += (error - self.smooth) * (1 - keep) / self.average
            reached = psnr(self.smooth)
            for threshold in THRESHOLDS:
                if reached >= threshold:
                    self.passed.setdefault(f"steps_to_{threshold}", float(self.steps_done))
            for clock in CLOCKS:
                if self.seconds >= clock:
                    self.clocked.setdefault(f"psnr_at_{clock}_s", reached)
        return metrics

    def evaluate(self) -> Metrics:
        """Measure the signal; steps to a quality never reached count as one more than there were."""
        found = dict(super().evaluate())
        if self.config.signal != "shape":
            never = float(self.config.steps + 1)
            for threshold in THRESHOLDS:
                name = f"steps_to_{threshold}"
                found[name] = self.passed.get(name, never)
            for clock in CLOCKS if self.is_whole else ():
                name = f"psnr_at_{clock}_s"
                found[name] = self.clocked.get(name, psnr(self.smooth))
        if isinstance(self.module.decoder, RadialLayer):
            with torch.no_grad():
                features = self.module.features(self.looked_at)
                found["dead_share"] = self.module.decoder.dead_share(features)
        return found

    def configure(self, config: GaussianRbfConfig) -> None:
        """Apply live edits; a muted unit says nothing, also while learning."""
        super().configure(config)
        decoder = self.module.decoder
        if isinstance(decoder, RadialLayer):
            decoder.gain.fill_(1.0)
            if 0 <= config.muted < len(decoder.gain):
                decoder.gain[config.muted] = 0.0

    def shown(self) -> tuple[Probe, ...]:
        """Return the units: where they answer, how wide they are, and the features around them."""
        return shown.probes(self) if isinstance(self.module.decoder, RadialLayer) else ()

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs."""
        own = {"passed": dict(self.passed), "smooth": self.smooth, "average": self.average}
        return {**super().state(), **own}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        super().load(state)
        self.passed = {name: float(value) for name, value in state["passed"].items()}
        self.smooth, self.average = float(state["smooth"]), float(state["average"])
        self.clocked, self.is_whole = {}, False
