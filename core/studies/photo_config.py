"""Settings that every model of photographs has: steps, resolution, loss, masks and rates."""

from __future__ import annotations

from pydantic import Field

from core.base.config import Config, live
from core.capture.masks import MaskConfig
from core.formats.rounding import RoundingConfig
from core.radiance.densify import DensityConfig


class PhotoConfig(Config):
    """Settings every model of photographs has."""

    steps: int = Field(
        30_000, ge=1, title="Steps", description="Each learns from one photograph or several."
    )
    batch: int = Field(
        1,
        ge=1,
        le=64,
        title="Photographs per step",
        description="Photographs a step learns from, on each rank where several train together.",
    )
    masks: MaskConfig = MaskConfig()
    density: DensityConfig = DensityConfig()
    rounding: RoundingConfig = RoundingConfig()
    seed_gaussians: int = Field(
        0,
        ge=0,
        title="Gaussians to start with",
        description="Thin out or fill up the seed points to this many; 0 keeps them as they are.",
    )
    start: str = Field(
        "",
        title="Start from",
        description="Scene file, in the capture's coordinates, whose Gaussians are the first; none: seed points.",
    )
    initial_opacity: float = Field(
        0.1,
        gt=0,
        lt=1,
        title="Opacity to start with",
        description="Opacity every Gaussian starts with.",
    )
    quarter_until: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Quarter resolution until",
        description="Share of training at a quarter of the resolution.",
    )
    half_until: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Half resolution until",
        description="Share of training until which half is used.",
    )
    average_from: float = Field(
        1.0,
        ge=0,
        le=1,
        title="Average from",
        description="Share of training after which the mean of the parameters is shown and saved; 1 for never.",
    )
    ssim_weight: float = live(
        0.2, ge=0, le=1, title="SSIM weight", description="Weight of 1 - SSIM beside the L1 loss."
    )
    means_rate: float = live(
        1.6e-4,
        ge=0,
        le=0.1,
        title="Position rate",
        description="Learning rate of positions at the start.",
    )
    means_rate_end: float = live(
        1.6e-6,
        ge=0,
        le=0.1,
        title="Position rate at the end",
        description="Learning rate of positions at the end.",
    )
    opacity_penalty: float = live(
        0.0,
        ge=0,
        le=1,
        title="Opacity penalty",
        description="Weight of the mean opacity (mcmc: 0.01).",
    )
    scale_penalty: float = live(
        0.0, ge=0, le=1, title="Scale penalty", description="Weight of the mean scale (mcmc: 0.01)."
    )
    is_antialiased: bool = Field(
        False,
        title="Antialiased",
        description="Compensate opacity for the screen blur (Mip-Splatting).",
    )
