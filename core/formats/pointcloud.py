"""The centres of a scene's Gaussians as coloured points, PLY: x y z float, red green blue uchar.

Every mesh and point cloud program opens it, and training elsewhere can start from it. A Gaussian
fainter than a tenth is haze rather than surface and is left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.base.errors import FormatError
from core.formats.files import replacing
from core.formats.plain import exported, opacities, to_bytes
from core.radiance.parts import SceneParts
from core.radiance.sh import BASE

FAINTEST = 0.1


def write(scene: SceneParts, path: Path) -> list[str]:
    """Write the points in the coordinates of the capture; say how many Gaussians became none."""
    from core.capture.point_cloud import write_points_ply

    path = Path(path)
    points, colors, num_faint = points_of(scene, path)
    with replacing(path) as temporary:
        write_points_ply(temporary, points, colors)
    left_out = (
        f" {num_faint:,} Gaussians below an opacity of {FAINTEST:g} are left out."
        if num_faint
        else ""
    )
    return [f"{len(points):,} points.{left_out}"]


def points_of(scene: SceneParts, path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Return places [P, 3] float32, colours [P, 3] uint8 and the number of Gaussians that are too faint."""
    splats = exported(scene, path)
    kept = np.flatnonzero(opacities(splats.opacity_logits) >= FAINTEST)
    if not len(kept):
        raise FormatError(
            f"{path.name}: none of the {len(splats):,} Gaussians has an opacity of {FAINTEST:g} or more; "
            "there are no points to write."
        )
    colors = to_bytes((0.5 + BASE * splats.sh_coeffs[kept, 0]) * 255)
    return splats.means[kept], colors, len(splats) - len(kept)
