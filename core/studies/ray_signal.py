"""Views of a scene as a signal: a field answers with density and colour, rays add up what it says.

    predict(places [N, 3], None) -> values [N, 49]   a density before its softplus, then 16 x 3
                                                     coefficients of harmonics of degree 3
    places   0..1 in the scene's box

Density is softplus(value - 10), as published, in units of DENSITY per box side; the readout of a
density starts at 8, because a small field that starts empty stays empty. Colours are those of
core/radiance/sh.py. Rays see black where nothing is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.radiance.occupancy import OccupancyGrid
from core.radiance.ray_scene import RayScene
from core.radiance.sh import evaluate_sh
from core.radiance.volume import Marched, Rays, camera_rays, march, rays_in_box, stratified
from core.studies.signals import Predict, SignalConfig, lattice, psnr
from core.study import Metrics, Probe, Setup

CHANNELS = 49
DENSITY, SHIFT, FIRST_DENSITY = 25.0, -10.0, 8.0
DEMO_BOX = np.array([[-2.4, -2.4, -0.4], [2.4, 2.4, 2.0]])
TEST_EVERY = 8
CELLS, OCCUPIED, UPDATE_EVERY = 32, 0.05, 16  # OCCUPIED: optical depth of a cell
PART = 2048  # rays followed at once when a picture is drawn


@dataclass(frozen=True, eq=False)
class Views:
    """Cameras and their pictures [H, W, 3] 0..1, the box [2, 3] and where up is."""

    cameras: list[Any]
    pictures: list[np.ndarray]
    bounds: np.ndarray
    up: np.ndarray
    is_test: list[bool]


def demo_views(longer: int) -> Views:
    """Return the demo scene without its sky, drawn at this size."""
    from core.capture.synthetic import UP, cameras, render, sky_mask

    found = [
        camera.resized(longer, round(longer * camera.height / camera.width)) for camera in cameras()
    ]
    pictures = [
        render(camera).astype(np.float32) / 255 * ~sky_mask(camera)[..., None] for camera in found
    ]
    is_test = [index % TEST_EVERY == 0 for index in range(len(found))]
    return Views(found, pictures, DEMO_BOX, UP, is_test)


def captured_views(folder: str, longer: int) -> Views:
    """Return the photographs of a capture at this size, and the box that its cameras see in common."""
    from core.capture.opening import open_capture

    capture = open_capture(Path(folder).expanduser()).limited(longer)
    photos = capture.photos
    pictures = [photo.image().astype(np.float32) / 255 for photo in photos]
    is_test = [photo.is_test for photo in photos]
    return Views([one.camera for one in photos], pictures, capture.bounds, capture.up, is_test)


class ViewsSignal:
    """Views of one scene by the colours along their rays; every eighth view is kept to measure on."""

    rank, channels = 3, CHANNELS

    def __init__(self, config: SignalConfig) -> None:
        self.config, self.steps = config, 0

    def prepare(self, setup: Setup) -> None:
        """Draw or read the views and lay out their rays."""
        config = self.config
        size = config.view_size
        self.views = captured_views(config.capture, size) if config.capture else demo_views(size)
        self.device = setup.device
        self.low, high = torch.tensor(self.views.bounds, dtype=torch.float32, device=self.device)
        self.extent = high - self.low
        self.scale = DENSITY / float(self.extent.max())  # 1/scene units
        self.forget()
        learned = [at for at, is_test in enumerate(self.views.is_test) if not is_test]
        rays = [camera_rays(self.views.cameras[at], device=self.device) for at in learned]
        self.origins = torch.cat([origins for origins, _ in rays])
        self.directions = torch.cat([directions for _, directions in rays])
        colors = [self.views.pictures[at].reshape(-1, 3) for at in learned]
        self.colors = torch.from_numpy(np.concatenate(colors)).to(self.device)
        self.places = lattice(3, CELLS).to(self.device)
        self.weights = np.ones(len(self.places))  # nothing is known before anything is learned

    def forget(self) -> None:
        """Ask everywhere again."""
        threshold = OCCUPIED * CELLS / float(self.extent.max())
        self.occupancy = OccupancyGrid(self.views.bounds, CELLS, threshold, self.device)
        self.near, self.steps = self.occupancy, 0

    def density(self, values: torch.Tensor) -> torch.Tensor:
        """Return the density [N] in 1/scene units of values [N, 49]."""
        return self.scale * nn.functional.softplus(values[:, 0] + SHIFT)

    def field(self, predict: Predict) -> Any:
        """Return the field in scene units that rays ask."""

        def ask(points: torch.Tensor, along: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            values = predict(((points - self.low) / self.extent).clamp(0, 1), None)
            return self.density(values), evaluate_sh(values[:, 1:].reshape(-1, 16, 3), along)

        return ask

    def loss(self, predict: Predict, rng: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Compare the colours of rays drawn at random."""
        if self.steps % UPDATE_EVERY == 0:
            with torch.no_grad():
                self.occupancy.update(
                    lambda points: self.density(predict((points - self.low) / self.extent, None))
                )
            self.near = self.occupancy.grown()
        self.steps += 1
        rows = torch.randint(len(self.origins), (self.config.samples,), generator=rng)
        rows = rows.to(self.origins.device)
        rays = rays_in_box(self.origins[rows], self.directions[rows], self.views.bounds)
        inside = torch.rand(len(rays), self.config.ray_samples, generator=rng).to(self.device)
        share = (torch.arange(inside.shape[1], device=self.device) + inside) / inside.shape[1]
        distances = rays.near[:, None] + share * (rays.far - rays.near)[:, None]
        seen = march(self.field(predict), rays, distances, occupied=self.near)
        error = (seen.rgb - self.colors[rows]).square().mean()
        return error, {"loss": float(error.detach()), "psnr": psnr(error.detach())}

    def seen(self, predict: Predict, rays: Rays) -> Marched:
        """Return what rays meet, at the middles of equal parts."""
        distances = stratified(rays, self.config.ray_samples)
        return march(self.field(predict), rays, distances, occupied=self.near)

    @torch.no_grad()
    def drawn(self, predict: Predict, camera: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return a view [H, W, 3] and its depth [H, W]."""
        rays = rays_in_box(*camera_rays(camera, device=self.device), self.views.bounds)
        found = [
            self.seen(predict, Rays(*(part[at : at + PART] for part in _parts(rays))))
            for at in range(0, len(rays), PART)
        ]
        shape = (camera.height, camera.width)
        rgb = torch.cat([one.rgb for one in found]).reshape(*shape, 3).cpu().numpy().copy()
        return rgb, torch.cat([one.depth for one in found]).reshape(shape).cpu().numpy().copy()

    def _held(self) -> list[int]:
        held = [at for at, is_test in enumerate(self.views.is_test) if is_test]
        return held or [0]

    def evaluate(self, predict: Predict) -> Metrics:
        """Measure the views that were kept back."""
        errors = [
            np.square(
                self.drawn(predict, self.views.cameras[at])[0] - self.views.pictures[at]
            ).mean()
            for at in self._held()
        ]
        return {"psnr": float(np.mean([psnr(error) for error in errors]))}

    def probes(self, predict: Predict) -> tuple[Probe, ...]:
        """Return a view that was kept back, beside the truth, and its depth."""
        at = self._held()[0]
        rgb, depth = self.drawn(predict, self.views.cameras[at])
        pictures = np.stack((rgb.clip(0, 1), self.views.pictures[at]))
        names = {"picture": ("learned", "scene")}
        return (
            Probe("View", "image", pictures, ("picture", "y", "x", "channel"), names),
            Probe("Depth", "heat", depth, ("y", "x")),
        )

    def scene(self, predict: Predict, step: int, weights: Mapping[str, torch.Tensor]) -> RayScene:
        """Return what the viewport draws."""

        @torch.no_grad()
        def ask(origins: torch.Tensor, directions: torch.Tensor) -> Marched:
            return self.seen(predict, rays_in_box(origins, directions, self.views.bounds))

        device = torch.device(self.device)
        return RayScene(
            ask, step, self.views.bounds, self.views.up, weights=dict(weights), device=device
        )

    def state(self) -> dict[str, Any]:
        """Return which places are known to be empty."""
        grids = {"occupancy": self.occupancy.values, "near": self.near.values}
        return {"steps": self.steps, **grids}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.steps = int(state["steps"])
        self.near = self.occupancy.grown()
        self.occupancy.values = state["occupancy"].clone().to(self.device)
        self.near.values = state["near"].clone().to(self.device)


def _parts(rays: Rays) -> tuple[torch.Tensor, ...]:
    return rays.origins, rays.directions, rays.near, rays.far
