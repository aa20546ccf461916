"""Every pixel of the photographs as a ray, and the ball and near plane that the rays are asked in.

origins, directions  [P, 3]  scene units, of length one
colors               [P, 3]  0..1
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from core.capture.capture import Capture
from core.radiance.volume import Rays, camera_rays

MASKED = 128  # of 255: pixels whose weight is below do not teach
NEAR_SHARE = 0.7  # of the distance to the nearest seed points
NEAREST = 0.02  # of the radius
FAR = 100.0  # radii; the last sample stands for all beyond


@dataclass(frozen=True, eq=False)
class Pixels:
    """Rays and what they end at."""

    origins: torch.Tensor
    directions: torch.Tensor
    colors: torch.Tensor

    def __len__(self) -> int:
        return len(self.colors)


@dataclass(frozen=True, eq=False)
class Space:
    """Where a capture is: a ball around its middle that holds the cameras, and what rays pass at first."""

    center: torch.Tensor  # [3]
    radius: float
    near: float

    def rays(self, origins: torch.Tensor, directions: torch.Tensor) -> Rays:
        """Return rays from the near plane to where only the sky is left."""
        ends = origins.new_ones(len(origins))
        return Rays(origins, directions, ends * self.near, ends * FAR * self.radius)


def space_of(capture: Capture, device: str) -> Space:
    """Measure a capture: the near plane lies before what any photograph to learn from sees."""
    center = capture.bounds.mean(axis=0)
    cameras = [photo.camera for photo in capture.train]
    radius = max(float(np.linalg.norm(camera.center - center)) for camera in cameras)
    radius = max(radius, float(np.linalg.norm(capture.bounds[1] - center)), 1e-6)
    nearest = []
    for camera in cameras:
        pixels, depths = camera.project(capture.points)
        with np.errstate(invalid="ignore"):
            inside = ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(axis=1)
        nearest.extend(np.quantile(depths[inside], [0.01]) if inside.any() else [])
    near = NEAR_SHARE * min(nearest, default=0.0)
    middle = torch.as_tensor(center, dtype=torch.float32, device=device)
    return Space(middle, radius, max(near, NEAREST * radius))


def pixels_of(capture: Capture, device: str) -> Pixels:
    """Return every pixel to learn from that counts."""
    origins, directions, colors = [], [], []
    for photo in capture.train:
        learned = photo.sample()  # [H, W, 3 or 4]
        sample = torch.from_numpy(learned).flatten(0, 1)
        rows = np.arange(len(sample))
        if sample.shape[1] == 4:
            rows = np.flatnonzero(sample[:, 3].numpy() >= MASKED)
        origin, along = camera_rays(photo.camera, rows)
        origins.append(origin)
        directions.append(along)
        colors.append(sample[torch.from_numpy(rows), :3].float() / 255)
    parts = (torch.cat(part).to(device) for part in (origins, directions, colors))
    return Pixels(*parts)
