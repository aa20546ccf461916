"""Which Gaussians a camera can see, before anything is computed about them (HyRF, equations 8 and 9)."""

from __future__ import annotations

import torch

from core.capture.camera import Camera

TOLERANCE = 0.3  # of half the picture, beyond its border; the official code's commented-out bound
REACH = 3.5  # standard deviations; at opacity 1 a Gaussian falls below 1/255 at 3.33


def visible_rows(means: torch.Tensor, camera: Camera, sizes: torch.Tensor) -> torch.Tensor:
    """Return the rows [V] of `means` [N, 3] that can touch the picture.

    `sizes` [N] are the largest standard deviations (scene units), as last known: a Gaussian whose
    centre lies outside is kept if it reaches in, so that leaving the others out changes no pixel.
    """
    view = torch.as_tensor(camera.world_to_camera, dtype=means.dtype, device=means.device)
    x, y, z = (means @ view[:3, :3].T + view[:3, 3]).unbind(1)
    reach = REACH * sizes
    inside = z + reach > 0
    for coordinate, focal, center, size in (
        (x, camera.fx, camera.cx, camera.width),
        (y, camera.fy, camera.cy, camera.height),
    ):
        low, high = -center / focal, (size - center) / focal  # image plane at distance one
        slack = TOLERANCE * (high - low) / 2
        low, high = low - slack, high + slack
        inside &= coordinate + reach * (1 + low**2) ** 0.5 > low * z
        inside &= coordinate - reach * (1 + high**2) ** 0.5 < high * z
    return inside.nonzero().flatten()
