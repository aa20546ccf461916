"""The study: training on random rays, measuring held-out photographs, what a ray meets."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from core.base.config import Config, live
from core.base.errors import ConfigError
from core.base.verdicts import AllOf, Better
from core.capture.camera import Camera
from core.nn.masked import compared, parts_of
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import seeded
from core.radiance.ray_scene import RayScene
from core.radiance.volume import Marched, Rays, camera_rays, importance, march, merged, stratified
from core.studies.radiance.nerf.data import Space, pixels_of, space_of
from core.studies.radiance.nerf.network import NerfNetwork, SceneField, Sizes
from core.study import Case, Claim, Metrics, Probe, Setup, Study

RAYS = 2048  # followed at once where nothing is learned
SHOWN = 56  # pixels of the longer side of what probes show
EPS = 1e-7  # of Adam, as published
SKIP = 5  # hidden layers before the place is given once more (figure 7)


class NerfConfig(Config):
    """The networks, the rays and how long they learn."""

    size: int = Field(
        64,
        ge=8,
        le=4096,
        title="Picture size",
        description="Longer side of the photographs, pixels.",
    )
    width: int = Field(64, ge=4, le=1024, title="Width", description="Features of a hidden layer.")
    layers: int = Field(4, ge=1, le=16, title="Layers", description="Hidden layers.")
    place_frequencies: int = Field(
        7, ge=1, le=16, title="Waves of places", description="L of eq. 4 for places."
    )
    direction_frequencies: int = Field(
        4, ge=1, le=16, title="Waves of directions", description="L of eq. 4 for directions."
    )
    rays: int = Field(256, ge=1, le=65536, title="Rays", description="Pixels of one step.")
    coarse: int = Field(16, ge=4, le=1024, title="Coarse samples", description="Of a ray.")
    fine: int = Field(
        24, ge=1, le=1024, title="Fine samples", description="More of a ray, where density is."
    )
    density: Literal["softplus", "relu"] = Field(
        "softplus", title="Density", description="What keeps the density from falling below 0."
    )
    noise: float = live(
        0.0, ge=0, le=10, title="Density noise", description="Standard deviation while learning."
    )
    rate: float = live(4e-3, gt=0, le=0.1, title="Learning rate", description="At the beginning.")
    rate_end: float = Field(
        4e-4, gt=0, le=0.1, title="Last rate", description="Learning rate at the end."
    )
    steps: int = Field(1500, ge=1, title="Steps", description="Batches of rays.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "size": 40,
            "width": 32,
            "layers": 3,
            "place_frequencies": 6,
            "rays": 128,
            "coarse": 12,
            "fine": 12,
            "steps": 300,
        },
        "full": {},
        "paper": {
            "size": 800,
            "width": 256,
            "layers": 8,
            "place_frequencies": 10,
            "rays": 4096,
            "coarse": 64,
            "fine": 128,
            "density": "relu",
            "noise": 1.0,
            "rate": 5e-4,
            "rate_end": 5e-5,
            "steps": 200_000,
        },
    }


def sizes_of(config: NerfConfig, variant: str) -> Sizes:
    """Return the sizes of a variant's networks."""
    is_encoded = variant not in ("no_encoding", "plain")
    return Sizes(
        width=config.width,
        layers=config.layers,
        skip=SKIP,
        place_frequencies=config.place_frequencies if is_encoded else 0,
        direction_frequencies=config.direction_frequencies if is_encoded else 0,
        sees_directions=variant not in ("no_view", "plain"),
        is_cut=config.density == "relu",
    )


@dataclass(frozen=True, eq=False)
class Ask:
    """Follows rays through frozen networks: samples in the middle of their bins, no noise."""

    coarse: SceneField
    fine: SceneField | None
    space: Space
    counts: tuple[int, int]

    @torch.no_grad()
    def __call__(self, origins: torch.Tensor, directions: torch.Tensor) -> Marched:
        """Return what rays [R, 3] meet."""
        rays = self.space.rays(origins, directions)
        return two_passes(self.coarse, self.fine, rays, self.counts)[-1]


def two_passes(
    coarse: SceneField,
    fine: SceneField | None,
    rays: Rays,
    counts: tuple[int, int],
    rng: torch.Generator | None = None,
) -> tuple[Marched, ...]:
    """Follow rays with the coarse network and then, where it found something, with the fine one (eq. 5)."""
    first = stratified(rays, counts[0], rng, in_disparity=True)
    found = march(coarse, rays, first, is_open=True)
    if fine is None:
        return (found,)
    more = importance(first, found.weights.detach(), counts[1], rng)
    return found, march(fine, rays, merged(first, more), is_open=True)


class NerfStudy(Study):
    """Coarse and fine network, fitted to the pixels of a capture."""

    Config = NerfConfig
    variants = ("nerf", "no_encoding", "no_view", "no_hierarchy", "plain")
    claims = (
        Claim(
            "ablation",
            says="Positional encoding, directions and importance sampling each raise the quality of new views.",
            cases=(
                Case("NeRF", "nerf"),
                Case("no encoding", "no_encoding"),
                Case("no directions", "no_view"),
                Case("no importance samples", "no_hierarchy"),
            ),
            rule=AllOf(
                tuple(
                    Better("NeRF", other, "psnr")
                    for other in ("no encoding", "no directions", "no importance samples")
                )
            ),
            metrics=("psnr", "ssim"),
            source="table 2, rows 2, 3, 4 and 9",
        ),
    )
    needs_capture = True
    config: NerfConfig

    def __init__(self, config: NerfConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.has_fine = setup.variant not in ("no_hierarchy", "plain")
        sizes = sizes_of(config, setup.variant)
        with seeded(setup.seed, setup.device):
            self.coarse = NerfNetwork(sizes)
            self.fine = NerfNetwork(sizes) if self.has_fine else None
        networks = [self.coarse] + ([self.fine] if self.fine is not None else [])
        weights = [one for network in networks for one in network.parameters()]
        self.optimizer = ModuleAdam(weights, config.rate, eps=EPS)
        self.rng = torch.Generator("cpu" if setup.device == "meta" else setup.device)
        self.rng.manual_seed(setup.seed)
        self.steps_done = 0

    def prepare(self) -> None:
        """Read the photographs at the size that is learned."""
        if self.setup.capture is None:
            raise ConfigError("NeRF learns from photographs: open a capture, or name one.")
        self.capture = self.setup.capture.limited(self.config.size)
        self.space = space_of(self.capture, self.setup.device)
        self.pixels = pixels_of(self.capture, self.setup.device)
        if not len(self.pixels):
            raise ConfigError(f"{self.capture.name}: masks leave no pixel to learn from.")

    @property
    def total_steps(self) -> int:
        """Batches of rays to learn from."""
        return self.config.steps

    @property
    def counts(self) -> tuple[int, int]:
        """Samples of both passes; a single pass gets all of them."""
        coarse, fine = self.config.coarse, self.config.fine
        return (coarse, fine) if self.has_fine else (coarse + fine, 0)

    def step(self) -> Metrics:
        """Learn from random pixels: the squared errors of both passes (eq. 6)."""
        config, pixels = self.config, self.pixels
        device = pixels.colors.device
        rows = torch.randint(len(pixels), (config.rays,), generator=self.rng, device=device)
        rays = self.space.rays(pixels.origins[rows], pixels.directions[rows])
        passes = two_passes(*self._fields(config.noise), rays, self.counts, self.rng)
        errors = [(one.rgb - pixels.colors[rows]).square().mean() for one in passes]
        self.optimizer.zero_grad()
        torch.stack(errors).sum().backward()
        share = self.steps_done / config.steps
        self.optimizer.rate = config.rate * (config.rate_end / config.rate) ** share
        self.optimizer.step()
        self.steps_done += 1
        last = errors[-1].detach()
        return {"loss": float(sum(errors).detach()), "psnr": float(-10 * last.log10())}

    def _fields(self, noise: float = 0.0) -> tuple[SceneField, SceneField | None]:
        space, rng = self.space, self.rng
        coarse = SceneField(self.coarse, space.center, space.radius, noise, rng)
        if self.fine is None:
            return coarse, None
        return coarse, SceneField(self.fine, space.center, space.radius, noise, rng)

    @torch.no_grad()
    def _picture(self, camera: Camera) -> torch.Tensor:
        """Return rgb, alpha and distance [H, W, 5] of what a camera sees now."""
        ask = Ask(*self._fields(), self.space, self.counts)
        origins, along = camera_rays(camera, device=self.setup.device)
        found = []
        for origin, toward in zip(origins.split(RAYS), along.split(RAYS), strict=True):
            part = ask(origin, toward)
            numbers = torch.stack((part.alpha, part.depth), dim=-1)
            found.append(torch.cat((part.rgb, numbers), dim=-1))
        return torch.cat(found).reshape(camera.height, camera.width, 5)

    def evaluate_pictures(self) -> dict[str, dict[str, float]]:
        """Return {name: {psnr, ssim}} of the held-out photographs."""
        found = {}
        for photo in self.capture.test:
            sample = torch.from_numpy(photo.sample()).to(self.setup.device).float() / 255
            target, weight = parts_of(sample)
            if weight is not None and not weight.any():
                continue
            shown = (self._picture(photo.camera)[..., :3].clamp(0, 1) * 255).round() / 255
            found[photo.name] = compared(shown, target, weight)
        return found

    def evaluate(self) -> Metrics:
        """Return the means over the held-out photographs, or of one to learn from where there are none."""
        pictures = list(self.evaluate_pictures().values())
        if not pictures:
            return {"held_out": 0.0}
        return {key: sum(row[key] for row in pictures) / len(pictures) for key in pictures[0]}

    def probes(self) -> tuple[Probe, ...]:
        """Return a held-out view beside its photograph, its distances, and what one ray meets."""
        photo = (self.capture.test or self.capture.train)[0]
        scale = min(1.0, SHOWN / max(photo.camera.width, photo.camera.height))
        width, height = round(photo.camera.width * scale), round(photo.camera.height * scale)
        small = replace(photo, camera=photo.camera.resized(max(width, 1), max(height, 1)))
        seen = self._picture(small.camera).cpu().numpy()
        pictures = np.stack((seen[..., :3].clip(0, 1), small.image() / np.float32(255)))
        names = ("learned", "photograph")
        axes = ("picture", "y", "x", "channel")
        near = 1 / np.maximum(seen[..., 4], self.space.near)
        note = "1 / expected distance in scene units"
        return (
            Probe("Held-out view", "image", pictures, axes, {"picture": names}),
            Probe("Nearness", "heat", near, ("y", "x"), note=note),
            self._ray(small.camera, small.camera.height // 2, small.camera.width // 2),
        )

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Show what the ray through the pixel {y, x} of the held-out view meets."""
        camera = (self.capture.test or self.capture.train)[0].camera
        row, column = int(query["y"]) % camera.height, int(query["x"]) % camera.width
        return (self._ray(camera, row, column),)

    @torch.no_grad()
    def _ray(self, camera: Camera, row: int, column: int) -> Probe:
        """Return transmittance and weights along one ray, over the samples from near to far."""
        pixel = np.array([row * camera.width + column])
        rays = self.space.rays(*camera_rays(camera, pixel, self.setup.device))
        found = two_passes(*self._fields(), rays, self.counts)[-1]
        left = 1 - found.weights.cumsum(dim=-1)
        rows = torch.cat((found.weights, left)).cpu().numpy()
        note = f"pixel ({column}, {row}): expected at {float(found.depth):.3f} scene units"
        axes = ("series", "distance, scene units")
        names = ("weight", "what is left of the ray")
        ticks = {axes[0]: names, axes[1]: tuple(found.distances[0].tolist())}
        return Probe("Along a ray", "curve", rows, axes, ticks, note=note)

    def snapshot(self) -> RayScene:
        """Return frozen copies of both networks as a scene."""
        coarse, fine = (None if field is None else copy.copy(field) for field in self._fields())
        weights = {}
        for name, field in (("coarse", coarse), ("fine", fine)):
            if field is not None:
                field.network = copy.deepcopy(field.network).requires_grad_(False)
                field.rng = None
                named = field.network.named_parameters()
                weights.update({f"{name}.{key}": value for key, value in named})
        capture = self.capture
        cameras = [photo.camera.to_json() for photo in capture.photos[:64]]
        assert coarse is not None
        return RayScene(
            Ask(coarse, fine, self.space, self.counts),
            step=self.steps_done,
            bounds=capture.bounds,
            up=capture.up,
            to_original=capture.to_original,
            weights=weights,
            summary={"capture": capture.name, "cameras": cameras},
            device=torch.device(self.setup.device),
        )

    def configure(self, config: NerfConfig) -> None:
        """Apply live edits."""
        self.config = config

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the pixels follow from the capture."""
        fine = {} if self.fine is None else dict(self.fine.state_dict())
        return {
            "coarse": dict(self.coarse.state_dict()),
            "fine": fine,
            "optimizer": self.optimizer.state(),
            "rng": self.rng.get_state(),
            "steps_done": self.steps_done,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.coarse.load_state_dict(state["coarse"])
        if self.fine is not None:
            self.fine.load_state_dict(state["fine"])
        self.optimizer.load(state["optimizer"])
        self.rng.set_state(state["rng"].cpu())
        self.steps_done = int(state["steps_done"])
