"""The study: signals, variants, training and the paper's claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from core.base.config import Config, live
from core.base.verdicts import AllOf, Better
from core.nn.bundled import photograph
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import seeded
from core.studies.fields.cam.networks import CoordinateNetwork, HashField, Sizes
from core.study import Case, Claim, Metrics, Probe, Setup, Study

PICTURES = {
    "astronaut": "astronaut.png",
    "coffee": "coffee.png",
    "chelsea": "chelsea.png",
    "text": "text.png",
    "page": "page.png",
}
FRAMES = 10  # of the moving picture
TIMES = 5  # places of its grids
DROPS = ((0.5, 0.1), (0.75, 0.01))  # share of training -> factor on the rates
SHIFT = 0.35  # of the moving disc, to each side of the middle
SAMPLES = 1024  # of the one-dimensional signal
WAVES = 64  # cycles of its fastest wave


class CamConfig(Config):
    """The signal, the network that learns it and its grids."""

    signal: Literal["astronaut", "coffee", "chelsea", "text", "page", "waves", "moving"] = Field(
        "astronaut", title="Signal", description="A photograph, text, waves or a moving picture."
    )
    size: int = Field(96, ge=8, le=1024, title="Size", description="Pixels along a side.")
    features: int = Field(128, ge=4, le=4096, title="Frequencies", description="Of the encoding.")
    sigma: float = Field(
        10.0, gt=0, le=100, title="Spread", description="Standard deviation of the frequencies."
    )
    width: int = Field(128, ge=4, le=4096, title="Width", description="Features of a layer.")
    layers: int = Field(3, ge=1, le=16, title="Layers", description="Hidden layers.")
    grid: int = Field(32, ge=2, le=1024, title="Grid", description="Cells along a grid's side.")
    rate: float = live(
        1e-3, gt=0, le=0.1, title="Learning rate", description="Of the network's weights."
    )
    grid_factor: float = live(
        10.0, ge=0, le=100, title="Grid factor", description="The grids learn so much faster."
    )
    skip: int = Field(
        2, ge=1, le=4, title="Every so many", description="Pixels along a side that are learned."
    )
    steps: int = Field(600, ge=1, title="Steps", description="Whole pictures to learn from.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "size": 32,
            "features": 32,
            "sigma": 0.6,
            "width": 32,
            "grid": 4,
            "steps": 30,
        },
        # the paper's 10 cycles and 32 cells belong to 256 learned pixels a side; here are 48
        "full": {"sigma": 1.9, "grid": 6},
        "paper": {"size": 512, "features": 256, "width": 256, "steps": 2000},
    }


def signal(name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return places [..., rank] of 0..1 and values [..., channels] of 0..1 of a whole signal."""
    line = (np.arange(size) + 0.5) / size
    if name == "waves":
        x = (np.arange(SAMPLES) + 0.5) / SAMPLES
        cycles = np.array([1, 4, 16, WAVES])
        waves = np.sin(2 * np.pi * x[:, None] * cycles + cycles).mean(axis=1)
        return x[:, None], 0.5 + 0.5 * waves[:, None]
    if name == "moving":
        times = (np.arange(FRAMES) + 0.5) / FRAMES
        y, x, t = np.meshgrid(line, line, times, indexing="ij")
        middle = 0.5 + SHIFT * np.sin(2 * np.pi * t)
        disc = (y - 0.5) ** 2 + (x - middle) ** 2 < 0.04
        checks = 0.3 + 0.2 * ((np.floor(8 * y) + np.floor(8 * x)) % 2)
        return np.stack((y, x, t), axis=-1), np.where(disc, 0.9, checks)[..., None]
    y, x = np.meshgrid(line, line, indexing="ij")
    return np.stack((y, x), axis=-1), photograph(PICTURES[name], size)


def sizes_of(config: CamConfig, variant: str) -> Sizes:
    """Return the sizes of a variant's network; `wider` has the parameters of the grids in its layers."""
    rank = {"waves": 1, "moving": 3}.get(config.signal, 2)
    channels = 3 if config.signal in PICTURES else 1
    by_time = config.signal == "moving"
    found = Sizes(
        rank=rank,
        channels=channels,
        features=config.features,
        sigma=config.sigma,
        width=config.width,
        layers=config.layers,
        grid=TIMES if by_time else config.grid,
        has_norm=variant in ("cam", "norm_only") and config.signal in PICTURES,
        is_modulated=variant in ("cam", "modulation_only"),
        by_time=by_time,
    )
    if variant != "wider":
        return found
    wanted = num_numbers(replace(found, is_modulated=True))
    while num_numbers(found) < wanted:
        found = replace(found, width=found.width + 1)
    return found


def num_numbers(sizes: Sizes) -> int:
    """Return how many parameters a coordinate network of these sizes has."""
    width = sizes.width
    first = (2 * sizes.features + 1) * width
    rest = (sizes.layers - 1) * (width + 1) * width + (width + 1) * sizes.channels
    cells = sizes.grid ** (1 if sizes.by_time else sizes.rank)
    return first + rest + (2 * sizes.layers * cells if sizes.is_modulated else 0)


def _comparison(picture: str) -> dict[str, Any]:
    """Return what both claims share: CAM beside its baselines on one picture."""
    names = {
        "CAM": "cam",
        "Fourier features": "plain",
        "wider": "wider",
        "norm only": "norm_only",
        "modulation only": "modulation_only",
        "hash grid": "hash_grid",
    }
    others = ("Fourier features", "wider", "norm only", "hash grid")
    return {
        "says": "Grids inside a network raise the quality between the pixels that it learned.",
        "cases": tuple(Case(case, kind, {"signal": picture}) for case, kind in names.items()),
        "rule": AllOf(tuple(Better("CAM", other, "psnr") for other in others)),
        "metrics": ("psnr", "psnr_learned"),
        "seeds": 3,
        "source": "table 1, image generalisation",
    }


class CamStudy(Study):
    """Fit one signal and measure between the samples."""

    Config = CamConfig
    variants = ("cam", "plain", "norm_only", "modulation_only", "wider", "hash_grid")
    claims = (
        Claim("natural_generalisation", **_comparison("astronaut")),
        Claim("text_generalisation", **_comparison("text")),
    )
    config: CamConfig

    def __init__(self, config: CamConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        variant = setup.variant
        with seeded(setup.seed, setup.device):
            if variant == "hash_grid":
                sizes = sizes_of(config, "cam")  # it gets as many parameters
                self.module: nn.Module = HashField(
                    num_numbers(sizes), 2 * config.size, sizes.rank, sizes.channels
                )
            else:
                self.module = CoordinateNetwork(sizes_of(config, variant))
        grids = list(getattr(self.module, "grids", nn.ModuleList()).parameters())
        own = {id(one) for one in grids}
        self.weights = ModuleAdam(
            [one for one in self.module.parameters() if id(one) not in own], config.rate
        )
        self.grids = ModuleAdam(grids, config.rate * config.grid_factor)
        self.steps_done = 0

    def prepare(self) -> None:
        """Sample the signal; what is learned from are every so many samples along each side."""
        places, values = signal(self.config.signal, self.config.size)
        self.shape = values.shape
        learned = np.zeros(values.shape[:-1], dtype=bool)
        skip = self.config.skip
        learned[(slice(None, None, skip),) * min(learned.ndim, 2)] = True
        device = self.setup.device
        self.places = torch.tensor(places, dtype=torch.float32).flatten(0, -2).to(device)
        self.values = torch.tensor(values, dtype=torch.float32).flatten(0, -2).to(device)
        self.is_learned = torch.from_numpy(learned).flatten().to(device)  # [N]
        self.seen = self.places[self.is_learned], self.values[self.is_learned]

    @property
    def total_steps(self) -> int:
        """Whole pictures to learn from."""
        return self.config.steps

    def step(self) -> Metrics:
        """Learn from all samples at once; the loss is half the mean squared error."""
        places, values = self.seen
        error = (self.module(places) - values).square().mean()
        for optimizer in (self.weights, self.grids):
            optimizer.zero_grad()
        (0.5 * error).backward()
        factor = 1.0
        for share, drop in DROPS:
            factor = drop if self.steps_done >= share * self.config.steps else factor
        self.weights.rate = factor * self.config.rate
        self.grids.rate = factor * self.config.rate * self.config.grid_factor
        self.weights.step()
        self.grids.step()
        self.steps_done += 1
        return {"loss": float(0.5 * error.detach()), "psnr": _psnr(error.detach())}

    @torch.no_grad()
    def evaluate(self) -> Metrics:
        """Measure between the learned samples, and on them."""
        errors = (self.module(self.places) - self.values).square().mean(dim=-1)  # [N]
        is_held = ~self.is_learned if not bool(self.is_learned.all()) else self.is_learned
        return {
            "psnr": _psnr(errors[is_held].mean()),
            "psnr_learned": _psnr(errors[self.is_learned].mean()),
        }

    @torch.no_grad()
    def probes(self) -> tuple[Probe, ...]:
        """Return the signal as it is learned, its error's spectrum, and the grids of every layer."""
        learned = self.module(self.places).reshape(self.shape)
        found = [*self._pictures(learned.cpu().numpy()), *self._grids()]
        return tuple(found)

    def _pictures(self, learned: np.ndarray) -> list[Probe]:
        truth = self.values.cpu().numpy().reshape(self.shape)
        if learned.ndim == 2:
            series = ("learned", "signal")
            rows = np.stack((learned[:, 0], truth[:, 0]))
            return [Probe("Signal", "curve", rows, ("series", "sample"), {"series": series})]
        if self.config.signal == "moving":
            pictures = np.stack((learned[..., 0], truth[..., 0])).transpose(0, 3, 1, 2).copy()
            return [Probe("Frames", "image", pictures, ("row", "time", "y", "x"))]
        pictures = np.stack((learned, truth))
        names = ("learned", "photograph")
        axes = ("picture", "y", "x", "channel")
        spectrum = radial_power((learned - truth).mean(axis=-1))
        return [
            Probe("Picture", "image", pictures, axes, {"picture": names}),
            Probe(
                "Power of the error",
                "curve",
                np.log10(spectrum + 1e-12)[None],
                ("series", "cycles"),
                {"series": ("log10",)},
                note="Slow changes on the left; a network without grids leaves the fast ones",
            ),
        ]

    def _grids(self) -> list[Probe]:
        found = []
        for at, grid in enumerate(getattr(self.module, "grids", ())):
            for name, values, middle in (("gamma", grid.gamma, 1.0), ("beta", grid.beta, 0.0)):
                drawn = (values - middle)[0, 0].reshape(-1, values.shape[-1]).cpu().numpy().copy()
                label = f"{name} less {middle:g}, layer {at + 1}"
                found.append(Probe(label, "heat", drawn, ("y", "x"), is_signed=True))
        return found

    @torch.no_grad()
    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Compare the features of a pixel {y, x, layer} with those of all others."""
        if not isinstance(self.module, CoordinateNetwork) or len(self.shape) != 3:
            return ()
        high, wide = self.shape[:2]
        row = int(query["y"]) % high * wide + int(query["x"]) % wide
        layer = int(query.get("layer", self.config.layers - 1)) % self.config.layers
        features = nn.functional.normalize(self.module(self.places, layer=layer), dim=-1)
        alike = (features @ features[row]).reshape(high, wide).cpu().numpy()
        return (Probe("Similarity of features", "heat", alike, ("y", "x")),)

    def configure(self, config: CamConfig) -> None:
        """Apply live edits."""
        self.config = config

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the signal follows from the settings."""
        return {
            "module": dict(self.module.state_dict()),
            "weights": self.weights.state(),
            "grids": self.grids.state(),
            "steps_done": self.steps_done,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.module.load_state_dict(state["module"])
        self.weights.load(state["weights"])
        self.grids.load(state["grids"])
        self.steps_done = int(state["steps_done"])


def _psnr(error: torch.Tensor) -> float:
    return float(-10 * torch.log10(error.clamp_min(1e-10)))


def radial_power(picture: np.ndarray) -> np.ndarray:
    """Return the mean power [cycles] of a picture [H, W] by its number of cycles along a side."""
    power = np.abs(np.fft.fft2(picture)) ** 2 / picture.size
    y, x = (np.abs(np.fft.fftfreq(side) * side) for side in picture.shape)
    rings = np.sqrt(y[:, None] ** 2 + x**2).round().astype(int).ravel()
    count = min(picture.shape) // 2
    sums = np.bincount(rings, power.ravel(), minlength=count)
    found: np.ndarray = (sums / np.maximum(np.bincount(rings, minlength=count), 1))[:count]
    return found
