"""Pictures of solids and planes: a shaded view, planes as colours, planes around a cube.

inside    [G, G, G]           bool, z outermost, then y, then x; y points up
planes    [3, C, R, R]        XY, XZ, YZ; rows are the second letter, upwards
picture   [H, W] or [H, W, 3] 0..1, row 0 at the top
"""

from __future__ import annotations

import numpy as np
import torch

LIGHT = np.array([0.35, 0.5, 0.8])  # towards it, from the object: x, y, z
CUBE = 144  # pixels of the picture of a cube
SLANT = 0.5  # how far the depth of the cube goes to the side and up, of its side


def shaded(inside: torch.Tensor) -> np.ndarray:
    """Return what is seen from the front, brighter where it faces the light."""
    solid = inside.float()[None, None]
    smooth = torch.nn.functional.avg_pool3d(solid, 3, 1, 1)[0, 0].numpy()
    slopes = np.stack(np.gradient(smooth)[::-1], axis=-1)  # [G, G, G, (x, y, z)]
    normals = -slopes / np.maximum(np.linalg.norm(slopes, axis=-1, keepdims=True), 1e-6)
    bright = 0.25 + 0.75 * np.clip(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    front = inside.numpy()[::-1]  # from z = 1
    first = front.argmax(axis=0)
    seen = np.take_along_axis(bright[::-1], first[None], axis=0)[0]
    picture: np.ndarray = np.where(front.any(axis=0), seen, 0.0)[::-1].copy()
    return picture


def colored(planes: torch.Tensor) -> np.ndarray:
    """Return planes as colours [3, R, R, 3]: their channels' first three principal components."""
    channels = planes.shape[1]
    rows = planes.permute(0, 2, 3, 1).reshape(-1, channels).double()
    rows = rows - rows.mean(dim=0)
    _, _, axes = torch.linalg.svd(rows, full_matrices=False)
    found = rows @ axes[: min(3, channels)].T
    found = torch.nn.functional.pad(found, (0, 3 - found.shape[1]))
    reach = found.abs().quantile(0.98, dim=0).clamp_min(1e-9)
    share = (0.5 + 0.5 * found / reach).clamp(0, 1)
    return share.reshape(3, *planes.shape[2:], 3).numpy()


def around_a_cube(colors: np.ndarray) -> np.ndarray:
    """Draw XY in front, XZ on top and YZ on the right of a cube, [CUBE, CUBE, 3]."""
    side = 1 / (1 + SLANT)
    row, column = np.mgrid[0:CUBE, 0:CUBE] / CUBE
    across, up = column / side, (1 - row) / side  # in sides of the cube, from its front left bottom
    right, top = (across - 1) / SLANT, (up - 1) / SLANT  # depth where that face is seen
    faces = (  # coordinates along columns and rows of the plane, 0..1
        (0, across, up),
        (1, across - SLANT * top, 1 - top),  # z falls with depth
        (2, up - SLANT * right, 1 - right),
    )
    picture = np.full((CUBE, CUBE, 3), 0.12)
    for plane, along, other in faces:
        is_face = (along >= 0) & (along < 1) & (other >= 0) & (other < 1)
        if plane == 1:
            is_face &= up >= 1
        elif plane == 2:
            is_face &= across >= 1
        cells = colors.shape[1]
        at = ((other[is_face] * cells).astype(int), (along[is_face] * cells).astype(int))
        picture[is_face] = colors[plane][at]
    return picture
