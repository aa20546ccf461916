"""The pose of a camera by inverting a field: its picture is moved until it is the one taken.

camera_to_world = exp(xi) @ start: the motion xi [B, 6] (turn, then shift) is one of the world and
stands on the left. All trials of a radiance field are moved at once. The baseline aligns with the
nearest photograph: it moves the same camera before that photograph, put up through the middle of
the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from core.capture.camera import Camera
from core.nn.module_adam import ModuleAdam
from core.radiance.volume import rays_in_box
from core.studies.fields.robot_fields.fields import RadianceField
from core.studies.fields.robot_fields.gaussians import GaussianField
from core.studies.fields.robot_fields.shapes import BOX, Views

RATE, LAST_RATE = 1e-2, 1e-3
HUBER = 0.1
SCENE = 2.0  # the size that shifts are measured by
CLOSE_DEGREES, CLOSE_SHARE = 1.0, 0.01
MARGIN = 3  # pixels around what is not background where pixels are taken
OPENING = 0.6  # of the steps after which all waves are let through
FIRST_WAVES = 2.0


@dataclass(frozen=True, eq=False)
class Trials:
    """Pictures taken from poses that nobody knows [B, 4, 4], and where the search begins."""

    cameras: tuple[Camera, ...]
    pixels: torch.Tensor  # [B, H, W, 3]
    interest: torch.Tensor  # [B, H, W] bool: not far from the object
    true: torch.Tensor
    start: torch.Tensor


def exponential(xi: torch.Tensor) -> torch.Tensor:
    """Return the rigid motions [B, 4, 4] of twists [B, 6]: a turn vector and a shift."""
    turn, shift = xi[:, :3], xi[:, 3:]
    square = turn.square().sum(dim=-1)
    angle = (square + 1e-16).sqrt()[:, None, None]
    zero = torch.zeros_like(square)
    x, y, z = turn.unbind(-1)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).reshape(-1, 3, 3)
    unit = torch.eye(3, device=xi.device).expand_as(cross)
    twice = cross @ cross
    first = torch.sin(angle) / angle
    second = 2 * (torch.sin(angle / 2) / angle).square()  # (1 - cos) / angle^2 without cancellation
    rotation = unit + first * cross + second * twice
    third = torch.where(angle > 1e-2, (1 - first) / angle.square(), torch.full_like(angle, 1 / 6))
    moved = ((unit + second * cross + third * twice) @ shift[..., None])[..., 0]
    top = torch.cat((rotation, moved[..., None]), dim=-1)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], device=xi.device).expand(len(xi), 1, 4)
    return torch.cat((top, bottom), dim=1)


def trials_of(views: Views, count: int, degrees: float, share: float, seed: int) -> Trials:
    """Draw trials: pictures in turn, started up to so many degrees and so much of the scene away."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.arange(count) % len(views.cameras)
    axes = F.normalize(torch.randn(count, 3, generator=rng), dim=-1)
    ways = F.normalize(torch.randn(count, 3, generator=rng), dim=-1)
    much, far = torch.rand(2, count, 1, generator=rng)
    away = torch.cat((axes * much * np.deg2rad(degrees), ways * far * share * SCENE), dim=-1)
    cameras = tuple(views.cameras[int(row)] for row in rows)
    true = torch.stack(
        [torch.as_tensor(one.camera_to_world, dtype=torch.float32) for one in cameras]
    )
    solid = F.max_pool2d(views.alpha[rows][:, None], 2 * MARGIN + 1, stride=1, padding=MARGIN)
    return Trials(cameras, views.pixels[rows], solid[:, 0] > 0, true, exponential(away) @ true)


def errors(found: torch.Tensor, trials: Trials) -> tuple[torch.Tensor, torch.Tensor]:
    """Return degrees [B] and shares of the scene [B] that poses are off."""
    between = found[:, :3, :3].transpose(1, 2) @ trials.true[:, :3, :3]
    # of the antisymmetric part too: the trace alone has no precision near zero degrees
    sine = torch.stack(
        (between[:, 2, 1] - between[:, 1, 2], between[:, 0, 2] - between[:, 2, 0], between[:, 1, 0] - between[:, 0, 1]),
        dim=-1,
    ).norm(dim=-1)  # fmt: skip
    cosine = between.diagonal(dim1=1, dim2=2).sum(dim=-1) - 1
    shift = (found[:, :3, 3] - trials.true[:, :3, 3]).norm(dim=-1) / SCENE
    return torch.rad2deg(torch.atan2(sine, cosine)), shift


def succeeded(found: torch.Tensor, trials: Trials) -> torch.Tensor:
    """Return which poses are found to a degree and a hundredth of the scene, [B] bool."""
    degrees, share = errors(found, trials)
    return (degrees < CLOSE_DEGREES) & (share < CLOSE_SHARE)


Colors = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # origins, directions [B, P, 3]


def align(
    colors: Colors, trials: Trials, steps: int, pixels: int, seed: int, tell=None
) -> torch.Tensor:
    """Move all trials down the error of random pixels; return poses [B, 4, 4]."""
    rng = torch.Generator().manual_seed(seed)
    local = torch.stack([_local(camera) for camera in trials.cameras])  # [B, H * W, 3]
    targets = trials.pixels.flatten(1, 2)
    chances = trials.interest.flatten(1).float() + 1e-6
    xi = torch.nn.Parameter(torch.zeros(len(trials.true), 6))
    optimizer = ModuleAdam([xi], RATE)
    for step in range(steps):
        rows = torch.multinomial(chances, pixels, replacement=True, generator=rng)[..., None]
        poses = exponential(xi) @ trials.start
        along = local.gather(1, rows.expand(-1, -1, 3)) @ poses[:, :3, :3].transpose(1, 2)
        origins = poses[:, None, :3, 3].expand_as(along)
        wanted = targets.gather(1, rows.expand(-1, -1, 3))
        if tell is not None:
            tell(step / steps)
        apart = F.huber_loss(colors(origins, along), wanted, reduction="none", delta=HUBER)
        optimizer.zero_grad()
        apart.mean(dim=(1, 2)).sum().backward()
        optimizer.rate = RATE * (LAST_RATE / RATE) ** (step / steps)
        optimizer.step()
    return (exponential(xi.detach()) @ trials.start).detach()


def invert(
    field: RadianceField, trials: Trials, steps: int, pixels: int, seed: int
) -> torch.Tensor:
    """Find poses by a radiance field; fast waves join later, so that far starts feel the slow ones."""
    network = field.network
    learns = [one.requires_grad for one in network.parameters()]
    window, waves = network.window, network.sizes.waves

    def colors(origins: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
        rays = rays_in_box(origins.reshape(-1, 3), along.reshape(-1, 3), BOX)
        return field.follow(rays).over(1.0).reshape(along.shape)

    def tell(share: float) -> None:
        network.window = min(float(waves), FIRST_WAVES + waves * share / OPENING)

    try:
        network.requires_grad_(False)
        return align(colors, trials, steps, pixels, seed, tell)
    finally:
        network.window = window
        for one, learned in zip(network.parameters(), learns, strict=True):
            one.requires_grad_(learned)


def invert_gaussians(field: GaussianField, trials: Trials, steps: int) -> torch.Tensor:
    """Find poses by drawing Gaussians, moved the other way; whole pictures, one trial after the other."""
    return torch.stack([_one(field, trials, row, steps) for row in range(len(trials.true))])


def _one(field: GaussianField, trials: Trials, row: int, steps: int) -> torch.Tensor:
    start = trials.start[row]
    camera = trials.cameras[row].moved(start.double().numpy())
    target, interest = trials.pixels[row], trials.interest[row]
    xi = torch.nn.Parameter(torch.zeros(1, 6))
    optimizer = ModuleAdam([xi], RATE)
    learns = [one.requires_grad for one in field.parameters()]
    field.requires_grad_(False)
    try:
        for step in range(steps):
            motion = exponential(xi)[0]
            back = motion[:3, :3].T
            splats = field.splats((back, _conjugate(xi[0, :3]), -back @ motion[:3, 3]))
            drawn = field.picture(camera, splats)
            apart = F.huber_loss(drawn, target, reduction="none", delta=HUBER).mean(dim=-1)
            optimizer.zero_grad()
            (apart * interest).mean().backward()
            optimizer.rate = RATE * (LAST_RATE / RATE) ** (step / steps)
            optimizer.step()
    finally:
        for one, learned in zip(field.parameters(), learns, strict=True):
            one.requires_grad_(learned)
    return exponential(xi.detach())[0] @ start


def _conjugate(turn: torch.Tensor) -> torch.Tensor:
    """Return the quaternion [4] that undoes a turn vector [3]."""
    half = 0.5 * (turn.square().sum() + 1e-16).sqrt()
    return torch.cat((half.cos()[None], -0.5 * turn * half.sin() / half))


def align_with_nearest(
    learned: Views, trials: Trials, steps: int, pixels: int, seed: int
) -> torch.Tensor:
    """Find poses by the photograph taken nearest to the start, put up as a picture in space."""
    centers = torch.stack(
        [torch.as_tensor(one.center, dtype=torch.float32) for one in learned.cameras]
    )
    nearest = torch.cdist(trials.start[:, :3, 3], centers).argmin(dim=1)  # [B]
    cameras = [learned.cameras[int(row)] for row in nearest]
    poses = torch.stack(
        [torch.as_tensor(one.camera_to_world, dtype=torch.float32) for one in cameras]
    )
    focal = torch.tensor([one.fx / one.width for one in cameras])[:, None, None]
    pictures = learned.pixels[nearest].permute(0, 3, 1, 2)  # [B, 3, H, W]

    def colors(origins: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
        axis = poses[:, None, :3, 2]  # the picture stands across it, through the middle
        far = -(origins * axis).sum(dim=-1) / (along * axis).sum(dim=-1).clamp(min=1e-3)
        places = origins + far[..., None] * along
        local = (places - poses[:, None, :3, 3]) @ poses[:, :3, :3]
        at = 2 * focal * local[..., :2] / local[..., 2:].clamp(min=1e-3)
        options = {"padding_mode": "border", "align_corners": False}
        return F.grid_sample(pictures, at[:, None], **options)[:, :, 0].transpose(1, 2)

    return align(colors, trials, steps, pixels, seed)


def _local(camera: Camera) -> torch.Tensor:
    """Return the directions [H * W, 3] of a camera in its own axes."""
    turned = camera.directions().reshape(-1, 3) @ camera.camera_to_world[:3, :3]
    return torch.as_tensor(turned, dtype=torch.float32)


def register(
    distance: Callable[[torch.Tensor], torch.Tensor], points: torch.Tensor, steps: int
) -> torch.Tensor:
    """Return the motion [4, 4] that lays measured points [P, 3] on the surface of a distance field."""
    xi = torch.nn.Parameter(torch.zeros(1, 6))
    optimizer = ModuleAdam([xi], RATE)
    for step in range(steps):
        motion = exponential(xi)[0]
        optimizer.zero_grad()
        distance(points @ motion[:3, :3].T + motion[:3, 3]).abs().mean().backward()
        optimizer.rate = RATE * (LAST_RATE / RATE) ** (step / steps)
        optimizer.step()
    return exponential(xi.detach())[0]
