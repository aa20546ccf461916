"""Density control: where Gaussians are added and removed while training.

`paper` clones and splits where the summed absolute screen gradient is large, prunes the
transparent and lowers opacities now and then (Kerbl et al. 2023, section 5; AbsGS, Ye et al.
2024, for the absolute gradient). `mcmc` moves dead Gaussians onto living ones under a fixed cap
(Kheradmand et al. 2024). `errors` grows like `paper`, but where Gaussians cover many badly drawn
pixels in several views (densify_errors.py). All speak to a `GaussianModel` in activated values, so that they work
for plain and for hybrid Gaussians alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import torch
from pydantic import Field

from core.base.config import Config, live
from core.nn.adam import RowAdam
from core.nn.ranks import joined
from core.radiance.model import GaussianModel, Placement

SPLIT_SHRINK = 1.6  # Kerbl et al. 2023
MAX_COPIES = 51  # of one Gaussian at one relocation (Kheradmand et al. 2024)


class DensityMethod(str, Enum):
    """How Gaussians are added and removed."""

    PAPER = "paper"
    MCMC = "mcmc"
    ERRORS = "errors"
    OFF = "off"


class DensityConfig(Config):
    """Density control; times are fractions of the whole training, so that presets scale."""

    method: DensityMethod = Field(
        DensityMethod.PAPER,
        title="Growth rule",
        description="Rule for adding and removing Gaussians.",
    )
    cap: int = live(
        1_000_000, ge=1, title="Most Gaussians", description="Never more Gaussians than this."
    )
    every: int = Field(
        100, ge=1, title="Steps between rounds", description="Steps between two rounds."
    )
    start: float = Field(
        500 / 30_000,
        ge=0,
        le=1,
        title="First round",
        description="First round, as a share of training.",
    )
    stop: float = Field(
        0.5, ge=0, le=1, title="Last round", description="Last round, as a share of training."
    )
    gradient: float = live(
        2e-4,
        gt=0,
        le=0.1,
        title="Gradient to grow at",
        description="Screen gradient above which a Gaussian is cloned or split.",
    )
    error: float = live(
        0.1,
        ge=0,
        le=1,
        title="Badly drawn above",
        description="errors: a pixel is badly drawn above this share of its picture's largest error.",
    )
    bad_pixels: float = live(
        5.0,
        ge=0,
        title="Bad pixels to grow at",
        description="errors: grow what covers more badly drawn pixels than this in the mean view.",
    )
    worst: float = live(
        0.9,
        ge=0,
        le=1,
        title="Remove the worst above",
        description="errors: remove what covers more than this share of the most bad pixels seen.",
    )
    size: float = Field(
        0.01,
        gt=0,
        title="Size to split above",
        description="Clone below this size, split above (share of the scene).",
    )
    prune_opacity: float = live(
        0.005,
        ge=0,
        le=0.5,
        title="Opacity to remove below",
        description="Remove Gaussians fainter than this.",
    )
    reset_every: float = Field(
        0.1,
        ge=0,
        le=1,
        title="Opacity reset every",
        description="Lower opacities after each such share of training; 0 for never.",
    )
    growth: float = Field(
        0.05,
        ge=0,
        le=1,
        title="Growth per round",
        description="mcmc: share of Gaussians added per round.",
    )
    noise: float = Field(
        5e5, ge=0, title="Position noise", description="mcmc: strength of the position noise."
    )


class DensityControl:
    """Collects gradients between rounds and changes the set of Gaussians at each round."""

    def __init__(
        self, config: DensityConfig, count: int, extent: float, generator: torch.Generator
    ) -> None:
        self.config, self.extent, self.generator = config, extent, generator
        self.gradients = torch.zeros(count, device=generator.device)
        self.views = torch.zeros(count, device=generator.device)
        self.last_round = {"cloned": 0, "split": 0, "pruned": 0, "moved": 0}

    def observe(
        self,
        rows: torch.Tensor,
        radii: torch.Tensor,
        absgrad: torch.Tensor,
        width: int,
        height: int,
    ) -> None:
        """Add one view's absolute screen gradients [V, 2] (pixels) of the drawn Gaussians."""
        self.add(rows, *screen_strength(radii, absgrad, width, height))

    def add(self, rows: torch.Tensor, strengths: torch.Tensor, views: torch.Tensor) -> None:
        """Add strengths [V] and how many views drew each Gaussian [V]; no row twice."""
        self.gradients.index_add_(0, rows, strengths)
        self.views.index_add_(0, rows, views)

    def is_due(self, step: int, total: int) -> bool:
        """Tell whether the round after `step` steps changes the Gaussians."""
        config = self.config
        if config.method is DensityMethod.OFF or step % config.every:
            return False
        return config.start * total < step < config.stop * total

    def is_reset_due(self, step: int, total: int) -> bool:
        """Tell whether opacities are lowered after `step` steps."""
        config = self.config
        every = round(config.reset_every * total)
        wanted = config.method is DensityMethod.PAPER and every > 0 and step % every == 0
        return wanted and 0 < step < config.stop * total

    def refine(self, model: GaussianModel, optimizer: RowAdam) -> None:
        """Change the Gaussians once."""
        self.last_round = dict.fromkeys(self.last_round, 0)
        if self.config.method is DensityMethod.MCMC:
            self._relocate(model, optimizer)
            self._add(model, optimizer)
        else:
            if self.config.method is DensityMethod.ERRORS:
                self._prune_worst(model, optimizer)
            self._grow(model, optimizer)
            self._prune(model, optimizer)
        count = len(model.explicit["means"])
        self.gradients = torch.zeros(count, device=self.gradients.device)
        self.views = torch.zeros(count, device=self.views.device)

    def reset_opacity(self, model: GaussianModel, optimizer: RowAdam) -> None:
        """Lower every opacity to at most twice the pruning bound and forget its momentum."""
        model.limit_opacity(2 * self.config.prune_opacity)
        optimizer.reset("opacity_logits")

    def _grow(self, model: GaussianModel, optimizer: RowAdam) -> None:
        config, mean = self.config, self.gradients / self.views.clamp(min=1)
        by_errors = config.method is DensityMethod.ERRORS
        least = config.bad_pixels if by_errors else config.gradient
        wanted = (mean > least).nonzero().flatten()
        room = max(0, self.config.cap - len(mean))
        if len(wanted) > room:
            best = torch.argsort(mean[wanted], descending=True, stable=True)[:room]
            wanted = wanted[best].sort().values
        if not len(wanted):
            return
        scales, quats, opacities = model.activated(wanted)
        small = scales.amax(dim=1) <= self.config.size * self.extent
        means = model.explicit["means"][wanted]
        clones = Placement(wanted[small], means[small], scales[small], opacities[small])
        large = ~small
        offsets = self._samples(scales[large].repeat(2, 1), quats[large].repeat(2, 1))
        halves = Placement(
            wanted[large].repeat(2),
            means[large].repeat(2, 1) + offsets,
            scales[large].repeat(2, 1) / SPLIT_SHRINK,
            opacities[large].repeat(2),
        )
        self.last_round.update(cloned=int(small.sum()), split=int(large.sum()))
        append(model, optimizer, clones)
        append(model, optimizer, halves)
        keep = torch.ones(len(model.explicit["means"]), dtype=torch.bool, device=means.device)
        keep[wanted[large]] = False
        keep_rows(model, optimizer, keep.nonzero().flatten())

    def _prune(self, model: GaussianModel, optimizer: RowAdam) -> None:
        count = len(model.explicit["means"])
        every = torch.arange(count, device=self.gradients.device)
        _, _, opacities = model.activated(every)
        keep = every[opacities >= self.config.prune_opacity]
        if 0 < len(keep) < count:
            self.last_round["pruned"] += count - len(keep)
            keep_rows(model, optimizer, keep)

    def _prune_worst(self, model: GaussianModel, optimizer: RowAdam) -> None:
        """Remove what covered most badly drawn pixels since the last round, before its children do the same."""
        covered = self.gradients
        low, high = covered.min(), covered.max()
        keep = (covered - low <= self.config.worst * (high - low)).nonzero().flatten()
        if 0 < len(keep) < len(covered):
            self.last_round["pruned"] += len(covered) - len(keep)
            self.gradients, self.views = covered[keep], self.views[keep]
            keep_rows(model, optimizer, keep)

    def _relocate(self, model: GaussianModel, optimizer: RowAdam) -> None:
        count = len(model.explicit["means"])
        every = torch.arange(count, device=self.gradients.device)
        scales, _, opacities = model.activated(every)
        dead = every[opacities <= self.config.prune_opacity]
        alive = every[opacities > self.config.prune_opacity]
        if not len(dead) or not len(alive):
            return
        chosen = alive[self._draw(opacities[alive], len(dead))]
        shared = self._shared(model, chosen, scales, opacities)
        sources, new_opacities, new_scales = shared
        write(
            model,
            optimizer,
            sources,
            Placement(sources, model.explicit["means"][sources], new_scales, new_opacities),
        )
        back = torch.searchsorted(sources, chosen)
        placement = Placement(
            chosen, model.explicit["means"][chosen], new_scales[back], new_opacities[back]
        )
        write(model, optimizer, dead, placement)
        self.last_round["moved"] = len(dead)

    def _add(self, model: GaussianModel, optimizer: RowAdam) -> None:
        count = len(model.explicit["means"])
        extra = min(int(self.config.growth * count), self.config.cap - count)
        if extra <= 0:
            return
        every = torch.arange(count, device=self.gradients.device)
        scales, _, opacities = model.activated(every)
        chosen = every[self._draw(opacities, extra)]
        sources, new_opacities, new_scales = self._shared(model, chosen, scales, opacities)
        write(
            model,
            optimizer,
            sources,
            Placement(sources, model.explicit["means"][sources], new_scales, new_opacities),
        )
        back = torch.searchsorted(sources, chosen)
        append(
            model,
            optimizer,
            Placement(
                chosen, model.explicit["means"][chosen], new_scales[back], new_opacities[back]
            ),
        )
        self.last_round["cloned"] = extra

    def _shared(
        self,
        model: GaussianModel,
        chosen: torch.Tensor,
        scales: torch.Tensor,
        opacities: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return sources [S] with the opacity and scale that each of their copies gets."""
        sources, copies = torch.unique(chosen, return_counts=True)
        total = (copies + 1).clamp(max=MAX_COPIES)
        opacity, factor = relocated(opacities[sources], total)
        return sources, opacity, scales[sources] * factor[:, None]

    def _draw(self, weights: torch.Tensor, count: int) -> torch.Tensor:
        """Draw `count` indices in proportion to weights, with replacement, on any number of them."""
        edges = torch.cumsum(weights.double(), 0)
        points = torch.rand(
            count, generator=self.generator, device=weights.device, dtype=torch.float64
        )
        drawn = torch.searchsorted(edges, points * edges[-1]).clamp(max=len(weights) - 1)
        return joined().like_first(drawn)  # a GPU adds up in an order of its own

    def _samples(self, scales: torch.Tensor, quats: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(scales.shape, generator=self.generator, device=scales.device)
        return rotated(noise * scales, quats)

    def position_noise(
        self, scales: torch.Tensor, quats: torch.Tensor, opacities: torch.Tensor, rate: float
    ) -> torch.Tensor:
        """Return the random displacement [V, 3] of MCMC: along each Gaussian's shape, more where it is transparent."""
        gate = torch.sigmoid(100 * ((1 - opacities) - 0.995))
        noise = torch.randn(scales.shape, generator=self.generator, device=scales.device)
        local = rotated(
            noise, quats * quats.new_tensor((1.0, -1.0, -1.0, -1.0))
        )  # into its own axes
        return rotated(local * scales**2, quats) * (gate * self.config.noise * rate)[:, None]

    def state(self) -> dict[str, Any]:
        """Return what a resume needs."""
        return {
            "gradients": self.gradients,
            "views": self.views,
            "generator": self.generator.get_state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.gradients = state["gradients"].clone()
        self.views = state["views"].clone()
        self.generator.set_state(state["generator"])


def screen_strength(
    radii: torch.Tensor, absgrad: torch.Tensor, width: int, height: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the size of absolute screen gradients [V, 2] (pixels) and 1 where drawn, both [V], else 0."""
    size = absgrad.new_tensor((width / 2, height / 2))
    strength = 0.25 * (absgrad * size).sum(dim=1)  # [V]
    drawn = (radii > 0).to(strength.dtype)
    # chosen by value, not by index: a list of the drawn ones would make a GPU wait for the host
    return torch.where(radii > 0, strength, torch.zeros_like(strength)), drawn


def relocated(opacities: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the opacity [S] and the factor on the scales [S] of each of `total` copies of a Gaussian.

    Kheradmand et al. 2024, equation 9: together the copies cover as the one did.
    """
    share = 1 - (1 - opacities.double().clamp(max=1 - 1e-7)) ** (1 / total.double())
    covered = torch.zeros_like(share)
    for copies in range(1, int(total.max()) + 1):
        term = torch.zeros_like(share)
        binomial = 1.0
        for k in range(copies):
            term = term + binomial * (-1) ** k * share ** (k + 1) / (k + 1) ** 0.5
            binomial = binomial * (copies - 1 - k) / (k + 1)
        covered = covered + torch.where(total >= copies, term, torch.zeros_like(term))
    factor = opacities.double() / covered
    return share.to(opacities.dtype), factor.to(opacities.dtype)


def rotated(vectors: torch.Tensor, quats: torch.Tensor) -> torch.Tensor:
    """Rotate vectors [M, 3] by quaternions [M, 4] (w, x, y, z), any length."""
    unit = torch.nn.functional.normalize(quats, dim=-1)
    w, xyz = unit[:, :1], unit[:, 1:]
    twice = 2 * torch.cross(xyz, vectors, dim=-1)
    return vectors + w * twice + torch.cross(xyz, twice, dim=-1)


def append(model: GaussianModel, optimizer: RowAdam, placement: Placement) -> None:
    """Add Gaussians at the end."""
    if not len(placement.rows):
        return
    for name, values in model.place(placement).items():
        model.explicit[name] = torch.cat((model.explicit[name], values))
    optimizer.append(len(placement.rows))
    optimizer.bind(model.explicit)


def write(
    model: GaussianModel, optimizer: RowAdam, rows: torch.Tensor, placement: Placement
) -> None:
    """Overwrite Gaussians in place and forget their momentum."""
    for name, values in model.place(placement).items():
        model.explicit[name][rows] = values
    optimizer.forget(rows)


def keep_rows(model: GaussianModel, optimizer: RowAdam, rows: torch.Tensor) -> None:
    """Keep only these Gaussians, in this order."""
    for name, values in model.explicit.items():
        model.explicit[name] = values[rows].contiguous()
    optimizer.keep(rows)
    optimizer.bind(model.explicit)
