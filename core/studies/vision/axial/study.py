"""The study: pictures, variants, training, what it shows, and the paper's claims."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from core.base.config import Config, live
from core.base.verdicts import AllOf, Better, Within
from core.nn.attention import Trace
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import seeded
from core.studies.vision.axial.cost import costs
from core.studies.vision.axial.network import AxialTransformer, Sizes
from core.studies.vision.axial.pictures import DIGIT_LEVELS, marginal_bits, pictures
from core.studies.vision.axial.shown import add_two_hops, inspected, probes_of
from core.study import Attended, Budget, Case, Claim, Metrics, Probe, Setup, Study

CHUNK = 120  # pictures measured at a time
CLIP = 1.0  # length of the gradient


class AxialConfig(Config):
    """The pictures, the network and its training."""

    source: Literal["digits", "crops"] = Field(
        "digits", title="Pictures", description="Handwritten digits, or squares of photographs."
    )
    size: int = Field(
        16, ge=4, le=64, title="Size", description="Pixels along a square of a photograph."
    )
    levels: int = Field(
        16, ge=2, le=256, title="Levels", description="Of a photograph's colours; digits have 17."
    )
    features: int = Field(64, ge=2, le=4096, title="Width", description="Of the hidden states.")
    heads: int = Field(4, ge=1, le=64, title="Heads", description="Of every attention.")
    exterior: int = Field(
        2, ge=0, le=32, title="Exterior", description="Blocks that read earlier channels, if any."
    )
    outer: int = Field(
        4, ge=0, le=32, title="Outer", description="Blocks that read the rows above."
    )
    inner: int = Field(2, ge=0, le=32, title="Inner", description="Blocks that read the own row.")
    factor: int = Field(
        1, ge=1, le=8, title="Factor", description="Width inside a block's network."
    )
    dropout: float = Field(
        0.04, ge=0, le=0.9, title="Dropout", description="Share of what blocks add, while training."
    )
    batch: int = Field(32, ge=1, title="Batch", description="Pictures in a step.")
    pictures: int = Field(1500, ge=8, title="Pictures", description="The most to learn from.")
    rate: float = live(4e-3, gt=0, le=0.1, title="Learning rate", description="After the warm-up.")
    warm_up: int = Field(50, ge=0, title="Warm-up", description="Steps until the full rate.")
    average: float = live(
        0.99, ge=0, le=1, title="Average", description="Decay of the weights' mean, which is shown."
    )
    temperature: float = live(
        1.0,
        ge=0,
        le=2,
        title="Temperature",
        description="Of the noise that pictures are drawn with.",
    )
    largest: int = Field(
        64, ge=16, le=128, title="Largest side", description="Pixels, where cost is measured."
    )
    steps: int = Field(500, ge=1, title="Steps", description="Batches to learn from.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "features": 16,
            "heads": 2,
            "outer": 2,
            "inner": 1,
            "pictures": 200,
            "batch": 16,
            "warm_up": 5,
            "largest": 16,
            "steps": 30,
        },
        "full": {},
        "paper": {  # config_imagenet32 of the released code
            "source": "crops",
            "size": 32,
            "levels": 256,
            "features": 1536,
            "heads": 16,
            "exterior": 8,
            "outer": 8,
            "inner": 8,
            "batch": 64,
            "rate": 1e-4,
            "warm_up": 5000,
            "average": 0.99995,
            "pictures": 100_000,
            "steps": 200_000,
        },
    }


def sizes_of(config: AxialConfig, variant: str) -> Sizes:
    """Return the sizes of a variant's network; digits have one channel and so no exterior."""
    is_digits = config.source == "digits"
    side = 8 if is_digits else config.size
    return Sizes(
        height=side,
        width=side,
        channels=1 if is_digits else 3,
        levels=DIGIT_LEVELS if is_digits else config.levels,
        features=config.features,
        heads=config.heads,
        exterior=config.exterior,
        outer=config.outer,
        inner=config.inner,
        factor=config.factor,
        dropout=config.dropout,
        kind=variant,
    )


class AxialStudy(Study):
    """Learn the likelihood of pictures, measure it in bits per value, draw pictures."""

    Config = AxialConfig
    variants = ("axial", "full", "row_only")
    claims = (
        Claim(
            "likelihood",
            says="Axial attention is as likely to draw held-out pictures as attention across all "
            "pixels, and its upper context is needed.",
            cases=(
                Case("axial", "axial"),
                Case("all pixels", "full"),
                Case("rows only", "row_only"),
            ),
            rule=AllOf(
                (  # 5 % of 1.9 bits
                    Better("axial", "all pixels", "bits", margin=-0.095, is_lower_better=True),
                    Better("axial", "rows only", "bits", margin=0.05, is_lower_better=True),
                )
            ),
            metrics=("bits", "bits_marginal"),
            seeds=5,
            source="bits per dimension on ImageNet, where full attention is the rival",
        ),
        Claim(
            "cost",
            says="The maps and the time of a step grow more slowly with the number of pixels.",
            cases=(
                Case("axial", "axial", measures={"cost": True}),
                Case("all pixels", "full", measures={"cost": True}),
            ),
            rule=AllOf(
                (
                    Within("axial", "map_exponent", 1.4, 1.6),
                    Better("axial", "all pixels", "map_exponent", margin=0.3, is_lower_better=True),
                    Better(
                        "axial", "all pixels", "step_exponent_s", margin=0.1, is_lower_better=True
                    ),
                )
            ),
            metrics=("map_exponent", "step_exponent_s"),
            budget=Budget(0),
            source="section 3: O(N sqrt(N)) for pictures",
        ),
    )
    config: AxialConfig

    def __init__(self, config: AxialConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        with seeded(setup.seed, setup.device):
            self.module = AxialTransformer(sizes_of(config, setup.variant))
        self.optimizer = ModuleAdam(self.module.parameters(), config.rate)
        self.mean = copy.deepcopy(self.module)  # with averaged weights: measured, shown, drawn with
        self.steps_done = 0

    def prepare(self) -> None:
        """Draw the pictures to learn from and those to measure on."""
        config, device = self.config, self.setup.device
        levels = self.module.sizes.levels
        learned, held = pictures(
            config.source, config.size, config.levels, self.setup.seed, config.pictures
        )
        self.marginal = marginal_bits(learned, held, levels)
        self.learned, self.held = (torch.from_numpy(part).to(device) for part in (learned, held))
        self.rng = torch.Generator(device).manual_seed(self.setup.seed)

    @property
    def total_steps(self) -> int:
        """Batches to learn from."""
        return self.config.steps

    def step(self) -> Metrics:
        """Learn one random channel of each picture of a batch; bits per value of that batch."""
        config, device = self.config, self.setup.device
        rows = torch.randint(len(self.learned), (config.batch,), generator=self.rng, device=device)
        x = self.learned[rows]
        channel = torch.randint(x.shape[-1], (len(x),), generator=self.rng, device=device)
        loss = self.bits(self.module(x, channel, self.rng), x, channel).mean()
        self.optimizer.zero_grad()
        loss.backward()
        length = torch.nn.utils.clip_grad_norm_(self.module.parameters(), CLIP)
        self.steps_done += 1
        self.optimizer.rate = config.rate * min(1.0, self.steps_done / max(config.warm_up, 1))
        self.optimizer.step()
        self._average()
        return {"loss": float(loss.detach()), "gradient": float(length)}

    @torch.no_grad()
    def _average(self) -> None:
        """Let the mean of the weights follow; early on faster, so that the start is forgotten."""
        decay = min(self.config.average, (1 + self.steps_done) / (10 + self.steps_done))
        means, weights = (list(one.parameters()) for one in (self.mean, self.module))
        torch._foreach_lerp_(means, weights, 1 - decay)

    @property
    def num_parameters(self) -> int:
        """Weights that learn; their mean learns nothing of its own."""
        return sum(one.numel() for one in self.module.parameters())

    @staticmethod
    def bits(logits: torch.Tensor, x: torch.Tensor, channel: torch.Tensor) -> torch.Tensor:
        """Return the bits of every pixel of one channel of each picture, [B, H, W]."""
        wanted = x.gather(-1, channel[:, None, None, None].expand(*x.shape[:3], 1))[..., 0]
        nats = torch.nn.functional.cross_entropy(
            logits.flatten(0, -2), wanted.flatten(), reduction="none"
        )
        return nats.reshape(wanted.shape) / math.log(2)

    @torch.no_grad()
    def held_out_bits(self, x: torch.Tensor) -> torch.Tensor:
        """Return the bits of every value of pictures under the averaged weights, [N, H, W, C]."""
        parts = []
        for part in x.split(CHUNK):
            every = range(x.shape[-1])
            channels = [torch.full((len(part),), channel, device=x.device) for channel in every]
            slices = [self.bits(self.mean(part, one), part, one) for one in channels]
            parts.append(torch.stack(slices, dim=-1))
        return torch.cat(parts)

    def evaluate(self) -> Metrics:
        """Measure bits per value of all channels of the held-out pictures, beside what needs no network."""
        return {
            "bits": float(self.held_out_bits(self.held).mean()),
            "bits_marginal": self.marginal,
            "bits_uniform": math.log2(self.module.sizes.levels),
        }

    def measure(self, options: Mapping[str, Any]) -> Metrics:
        """Measure the likelihood, or {cost: true} what attention costs by the side of a picture."""
        if options != {"cost": True}:
            return super().measure(options)
        sides = tuple(2**at for at in range(3, self.config.largest.bit_length()))
        return costs(self.setup.variant, sides, self.setup.device)

    @torch.no_grad()
    def probes(self) -> tuple[Probe, ...]:
        """Return pictures that are drawn, bits and entropy by pixel, and the audit of the mask."""
        return probes_of(self)

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Return what one value {y, x, channel} depends on, and where a {head} of it looks."""
        return inspected(self, query)

    def attend(self, sample: int, trace: Trace) -> Attended:
        """Show where the pixels of a held-out picture look, and how likely each is (its log2)."""
        x = self.held[sample % len(self.held)][None]
        sizes = self.module.sizes
        channel = torch.tensor([sizes.channels - 1], device=x.device)  # it sees the others
        likely = -self.bits(self.mean(x, channel, trace=trace), x, channel)
        add_two_hops(trace, self.mean)
        picture = (x[0].double() / (sizes.levels - 1)).cpu().numpy()
        return Attended(
            outputs=likely.flatten(),
            names=tuple(f"({r}, {c})" for r in range(sizes.height) for c in range(sizes.width)),
            picture=picture if sizes.channels == 3 else picture[..., 0],
            samples=len(self.held),
            note="log2 of each pixel's likelihood",
        )

    def configure(self, config: AxialConfig) -> None:
        """Apply live edits."""
        self.config = config

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the pictures follow from the seed."""
        return {
            "module": dict(self.module.state_dict()),
            "optimizer": self.optimizer.state(),
            "mean": dict(self.mean.state_dict()),
            "rng": self.rng.get_state(),
            "steps_done": self.steps_done,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load(state["optimizer"])
        self.mean.load_state_dict(state["mean"])
        self.rng.set_state(state["rng"])
        self.steps_done = int(state["steps_done"])
