"""Pictures of scenes that are asked along rays: the same layers as those of Gaussians.

    trace: distance along the ray  ->  layers: depth along the camera's axis, scene units

While a camera moves as many rays are followed as take about MOVING_MS, and the picture between
them is blended. At rest every pixel gets its ray, and after every handful of rays the drawing asks
whether it is still wanted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from core.capture.camera import Camera
from core.radiance.volume import camera_rays
from core.render.backend import Layers, RenderStats

RAYS = 2048  # followed at once
TRIAL = 16  # pixels of the widest side of the picture that tells what a ray costs
MOVING_MS = 60.0
FEWEST = 48  # rays along the longer side that a moving picture has at least


@torch.no_grad()
def traced(
    scene: Any, camera: Camera, cancelled: Callable[[], bool] | None = None
) -> tuple[Layers, torch.Tensor] | None:
    """Return the layers of one camera and the spread of depth [H, W]; None when given up."""
    origins, directions = camera_rays(camera, device=scene.device)
    axis = torch.as_tensor(camera.forward, dtype=torch.float32, device=scene.device)
    found = []
    for start in range(0, len(origins), RAYS):
        if cancelled is not None and cancelled():
            return None
        part = slice(start, start + RAYS)
        trace = scene.trace(origins[part], directions[part])
        toward = directions[part] @ axis  # [R] depth per distance
        numbers = (trace.alpha, trace.depth * toward, trace.spread * toward)
        found.append(torch.cat((trace.rgb, torch.stack(numbers, dim=-1)), dim=-1))  # [R, 6]
    picture = torch.cat(found).reshape(camera.height, camera.width, 6)
    return _layers(picture), picture[..., 5]


@torch.no_grad()
def traced_coarsely(scene: Any, camera: Camera) -> Layers:
    """Return layers of the camera's size from as few rays as a moving picture can afford."""
    began = time.perf_counter()
    small = _shrunk(camera, TRIAL)
    found = traced(scene, small)
    ms_per_ray = (time.perf_counter() - began) * 1000 / (small.width * small.height)
    longer = max(camera.width, camera.height)
    side = math.sqrt(MOVING_MS / max(ms_per_ray, 1e-9) * longer**2 / (camera.width * camera.height))
    found = traced(scene, _shrunk(camera, int(min(longer, max(side, FEWEST)))))
    assert found is not None  # nobody can cancel this one
    layers = found[0]
    planes = torch.cat((layers.rgb, layers.alpha, layers.depth), dim=-1).permute(0, 3, 1, 2)
    grown = F.interpolate(
        planes, (camera.height, camera.width), mode="bilinear", align_corners=False
    )
    return _layers(grown[0].permute(1, 2, 0))


def _shrunk(camera: Camera, longer: int) -> Camera:
    scale = min(1.0, longer / max(camera.width, camera.height))
    return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))


def _layers(picture: torch.Tensor) -> Layers:
    """Return rgb, alpha and depth of a picture [H, W, 5 or more] as the layers of one camera."""
    nobody = RenderStats(picture.new_zeros(1, 0, 2), picture.new_zeros(1, 0))
    rgb, alpha, depth = picture[None, ..., :3], picture[None, ..., 3:4], picture[None, ..., 4:5]
    return Layers(rgb.contiguous(), alpha.contiguous(), depth.contiguous(), nobody)
