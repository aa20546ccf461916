"""Volume rendering along rays: pictures of any field of density and colour, and where to ask it next.

    origins    [R, 3]     scene units    where rays begin
    directions [R, 3]     -              of length one
    near, far  [R]        scene units    the part of a ray that is asked; empty where near >= far
    distances  [R, S]     scene units    along the ray, ascending
    density    [R, S]     1/scene units  >= 0
    colors     [R, S, 3]  0..1 sRGB
    ->
    weights    [R, S]     0..1           what a sample adds to the pixel
    rgb        [R, 3]                    over black; `over` lays it on a background
    alpha      [R]                       sum of the weights
    depth      [R]        scene units    expected distance along the ray, 0 where alpha is 0
    spread     [R]        scene units    standard deviation of that distance

A field is anything that can be called with points [P, 3] and directions [P, 3] and gives density [P]
and colours [P, 3]; all is differentiable in what it gives. Mildenhall et al. 2020 (NeRF), eq. 2, 3
and 5; `composited_reference` is the same sum, written as the paper writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from core.capture.camera import Camera

OPEN_END = 1e10  # of a scene without an end: what is not met before lies at the last sample
LEAST_WEIGHT = 1e-5  # of every bin of the importance sampling: none is given up (as published)


class RadianceField(Protocol):
    """Density and colour at points seen along directions."""

    def __call__(
        self, points: torch.Tensor, directions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return density [P] and colours [P, 3] at points [P, 3] for directions [P, 3]."""
        ...


Occupied = Callable[[torch.Tensor], torch.Tensor]  # points [P, 3] -> bool [P]: worth asking


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays, and the part of each that a field is asked on."""

    origins: torch.Tensor
    directions: torch.Tensor
    near: torch.Tensor
    far: torch.Tensor

    def __len__(self) -> int:
        return int(self.origins.shape[0])

    def at(self, distances: torch.Tensor) -> torch.Tensor:
        """Return the points [R, S, 3] at distances [R, S]."""
        return self.origins[:, None] + distances[..., None] * self.directions[:, None]


@dataclass(frozen=True, eq=False)
class Marched:
    """What rays have collected (shapes above), and from where."""

    rgb: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    spread: torch.Tensor
    weights: torch.Tensor
    distances: torch.Tensor
    density: torch.Tensor

    def over(self, background: torch.Tensor | float) -> torch.Tensor:
        """Return the colours [R, 3] before a background [R, 3], [3] or a grey."""
        return self.rgb + (1 - self.alpha)[:, None] * background


def camera_rays(
    camera: Camera, pixels: np.ndarray | None = None, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return origins and directions [R, 3] through pixel centres: of rows `pixels` of the picture, or of all."""
    directions = camera.directions().reshape(-1, 3)
    directions = directions if pixels is None else directions[pixels]
    along = torch.as_tensor(directions, dtype=torch.float32, device=device)
    origin = torch.as_tensor(camera.center, dtype=torch.float32, device=device)
    return origin.expand_as(along), along


def rays_in_box(
    origins: torch.Tensor, directions: torch.Tensor, bounds: np.ndarray, nearest: float = 0.0
) -> Rays:
    """Return rays that are asked inside a box [2, 3]; one that misses it is empty: near = far."""
    low, high = torch.as_tensor(np.asarray(bounds), dtype=origins.dtype, device=origins.device)
    steep = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    first, second = (low - origins) / steep, (high - origins) / steep
    near = torch.minimum(first, second).amax(dim=-1).clamp(min=nearest)  # [R]
    far = torch.maximum(first, second).amin(dim=-1)
    return Rays(origins, directions, near, torch.maximum(far, near))


def stratified(
    rays: Rays, count: int, rng: torch.Generator | None = None, *, in_disparity: bool = False
) -> torch.Tensor:
    """Return distances [R, S], one in each of S equal bins (eq. 2): at random in it, or its middle without rng.

    In disparity the bins are equal in 1 / distance: near parts of an endless scene get more of them.
    """
    shape, device = (len(rays), count), rays.near.device
    inside = 0.5 if rng is None else torch.rand(shape, generator=rng, device=device)
    share = (torch.arange(count, device=device) + inside) / count  # [S] or [R, S], 0..1
    near, far = rays.near[:, None], rays.far[:, None]
    if in_disparity:
        return 1 / ((1 - share) / near + share / far)
    return (near + share * (far - near)).expand(shape)


@torch.no_grad()
def importance(
    distances: torch.Tensor, weights: torch.Tensor, count: int, rng: torch.Generator | None = None
) -> torch.Tensor:
    """Return distances [R, count] drawn where the weights [R, S] are (eq. 5), evenly spaced in them without rng."""
    edges = 0.5 * (distances[:, 1:] + distances[:, :-1])  # [R, S - 1]
    share = weights[:, 1:-1] + LEAST_WEIGHT  # [R, S - 2]
    reached = (share / share.sum(dim=-1, keepdim=True)).cumsum(dim=-1)
    reached = torch.cat((torch.zeros_like(reached[:, :1]), reached), dim=-1)  # [R, S - 1]
    shape = (len(distances), count)
    if rng is None:
        asked = ((torch.arange(count, device=edges.device) + 0.5) / count).expand(shape)
    else:
        asked = torch.rand(shape, generator=rng, device=edges.device)
    asked = asked.to(reached).contiguous()
    after = torch.searchsorted(reached, asked, right=True).clamp(1, reached.shape[1] - 1)
    low, high = (reached.gather(1, at) for at in (after - 1, after))
    left, right = (edges.gather(1, at) for at in (after - 1, after))
    return left + (asked - low) / (high - low).clamp(min=1e-12) * (right - left)


def merged(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return all distances of a ray in order."""
    return torch.cat((first, second), dim=-1).sort(dim=-1).values


def lengths_of(
    distances: torch.Tensor, far: torch.Tensor, *, is_open: bool = False
) -> torch.Tensor:
    """Return how much of the ray each sample stands for [R, S]: up to the next one, the last to the end."""
    last = (far - distances[:, -1]).clamp(min=0)
    last = torch.full_like(last, OPEN_END) if is_open else last
    return torch.cat((distances[:, 1:] - distances[:, :-1], last[:, None]), dim=-1)


def weights_of(density: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return w = T (1 - exp(-density * length)), T what the samples before let through (eq. 3), [R, S]."""
    optical = density * lengths
    passed = optical[..., :-1].cumsum(dim=-1)  # not minus itself: an open end is nearly infinite
    before = torch.cat((torch.zeros_like(optical[..., :1]), passed), dim=-1)
    return torch.exp(-before) * -torch.expm1(-optical)


def composited(
    distances: torch.Tensor, lengths: torch.Tensor, density: torch.Tensor, colors: torch.Tensor
) -> Marched:
    """Add up what the samples of each ray give."""
    weights = weights_of(density, lengths)
    alpha = weights.sum(dim=-1)
    whole = alpha.clamp(min=1e-10)
    depth = (weights * distances).sum(dim=-1) / whole
    apart = (weights * (distances - depth[:, None]).square()).sum(dim=-1) / whole
    rgb = (weights[..., None] * colors).sum(dim=-2)
    # the root's slope is infinite at 0, and nobody learns from the spread
    return Marched(rgb, alpha, depth, apart.detach().sqrt(), weights, distances, density)


def march(
    field: RadianceField,
    rays: Rays,
    distances: torch.Tensor,
    *,
    is_open: bool = False,
    occupied: Occupied | None = None,
) -> Marched:
    """Ask a field at distances [R, S] along rays and composite; places that are not occupied count as empty."""
    points = rays.at(distances)  # [R, S, 3]
    along = rays.directions[:, None].expand_as(points)
    lengths = lengths_of(distances, rays.far, is_open=is_open)
    if occupied is None:
        density, colors = field(points.reshape(-1, 3), along.reshape(-1, 3))
        shape = distances.shape
        return composited(distances, lengths, density.reshape(shape), colors.reshape(*shape, 3))
    is_asked = occupied(points.reshape(-1, 3)).reshape(distances.shape) & (lengths > 0)
    density, colors = points.new_zeros(distances.shape), torch.zeros_like(points)
    if bool(is_asked.any()):
        found, shades = field(points[is_asked], along[is_asked])
        density = density.index_put((is_asked,), found)
        colors = colors.index_put((is_asked,), shades)
    return composited(distances, lengths, density, colors)


def composited_reference(
    distances: np.ndarray, lengths: np.ndarray, density: np.ndarray, colors: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rgb [R, 3], alpha [R] and depth [R], sample by sample in double precision."""
    rgb, alpha, depth = np.zeros((len(density), 3)), np.zeros(len(density)), np.zeros(len(density))
    for ray in range(len(density)):
        left = 1.0
        for at in range(density.shape[1]):
            stopped = 1.0 - np.exp(-density[ray, at] * lengths[ray, at])
            rgb[ray] += left * stopped * colors[ray, at]
            alpha[ray] += left * stopped
            depth[ray] += left * stopped * distances[ray, at]
            left *= 1.0 - stopped
    return rgb, alpha, depth / np.maximum(alpha, 1e-10)
