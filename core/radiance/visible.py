"""Which Gaussians a camera can see, before anything is computed about them (HyRF, equations 8 and 9)."""

from __future__ import annotations

import numpy as np
import torch

from core.capture.camera import Camera
from core.radiance import visible_kernels as kernels

TOLERANCE = 0.3  # of half the picture, beyond its border; the official code's commented-out bound
REACH = 3.5  # standard deviations; at opacity 1 a Gaussian falls below 1/255 at 3.33


def visible_rows(means: torch.Tensor, camera: Camera, sizes: torch.Tensor) -> torch.Tensor:
    """Return the rows [V] of `means` [N, 3] that can touch the picture.

    `sizes` [N] are the largest standard deviations (scene units), as last known: a Gaussian whose
    centre lies outside is kept if it reaches in, so that leaving the others out changes no pixel.
    """
    if not all(t.device.type == "cpu" and t.dtype == torch.float32 for t in (means, sizes)):
        return visible_rows_reference(means, camera, sizes)
    num = len(means)
    found, counts = np.empty(num, np.int64), np.empty(-(-num // kernels.CHUNK), np.int64)
    arrays = (tensor.detach().contiguous().numpy() for tensor in (means, sizes))
    kernels.cull(*arrays, _numbers(camera), found, counts)
    places = np.concatenate(([0], counts.cumsum()))
    rows = torch.empty(int(places[-1]), dtype=torch.int64)
    kernels.join(found, places, rows.numpy())
    return rows


def visible_rows_reference(
    means: torch.Tensor, camera: Camera, sizes: torch.Tensor
) -> torch.Tensor:
    """Choose with plain torch operations, on any device."""
    c = torch.from_numpy(_numbers(camera)).to(means)
    x, y, z = (means @ c[:9].view(3, 3).T + c[9:12]).unbind(1)
    reach = c[12] * sizes
    inside = z + reach > 0
    for coordinate, (stretch_low, low, stretch_high, high) in ((x, c[13:17]), (y, c[17:21])):
        inside &= coordinate + reach * stretch_low > low * z
        inside &= coordinate - reach * stretch_high < high * z
    return inside.nonzero().flatten()


def _numbers(camera: Camera) -> np.ndarray:
    """Pack a camera [21] float32: rotation (9), translation (3), reach, then stretch and slope of each border."""
    view, borders = camera.world_to_camera, []
    for focal, center, size in (
        (camera.fx, camera.cx, camera.width),
        (camera.fy, camera.cy, camera.height),
    ):
        slack = TOLERANCE * size / focal / 2  # on the image plane at distance one
        for slope in (-center / focal - slack, (size - center) / focal + slack):
            borders += [np.hypot(1.0, slope), slope]
    return np.array([*view[:3, :3].ravel(), *view[:3, 3], REACH, *borders], np.float32)
