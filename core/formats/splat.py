"""The .splat format of antimatter15's viewer: 32 bytes per Gaussian, no header, no spherical harmonics.

    position 3 x float32, scale 3 x float32 (linear), RGBA 4 x uint8, rotation 4 x uint8 (w x y z)

Colour is 0.5 + SH base * coefficient, A the opacity; a rotation's byte b stands for (b - 128) / 128.
Gaussians that matter most come first: viewers draw while they load.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import FormatError
from core.formats.files import checked_file, read_bytes, replacing
from core.formats.plain import (
    PlainSplats,
    describe,
    exported,
    logits,
    opacities,
    scene_of,
    to_bytes,
)
from core.radiance.parts import SceneParts
from core.radiance.sh import BASE

_RECORD = np.dtype(
    [("means", "<f4", 3), ("scales", "<f4", 3), ("rgba", "u1", 4), ("quats", "u1", 4)]
)


def read(path: Path) -> SceneParts:
    """Read a .splat file as plain Gaussians."""
    path = Path(path)
    size = checked_file(path)
    if size % _RECORD.itemsize or not size:
        raise FormatError(
            f"{path.name}: has {size} bytes, which is no multiple of the {_RECORD.itemsize} of a "
            "Gaussian. It is cut off or no .splat file."
        )
    records = np.frombuffer(read_bytes(path, size), _RECORD)
    with np.errstate(divide="ignore", invalid="ignore"):  # such rows are dropped and counted
        log_scales = np.log(records["scales"])
    splats = PlainSplats(
        means=records["means"],
        log_scales=log_scales,
        quats=(records["quats"].astype(np.float32) - 128) / 128,
        opacity_logits=logits(records["rgba"][:, 3] / 255.0),
        sh_coeffs=colors_to_sh(records["rgba"][:, :3] / 255.0),
    )
    return scene_of(path, splats)


def info(path: Path) -> dict[str, Any]:
    """Return what a .splat file holds."""
    return describe(read(path), Path(path))


def write(scene: SceneParts, path: Path) -> None:
    """Write plain Gaussians, those that cover most first."""
    path = Path(path)
    splats = exported(scene, path)
    opacity = opacities(splats.opacity_logits)
    order = np.argsort(-splats.log_scales.sum(axis=1) - np.log(opacity), kind="stable")
    splats, opacity = splats.taken(order), opacity[order]
    colors = 0.5 + BASE * splats.sh_coeffs[:, 0]
    quats = splats.quats / np.linalg.norm(splats.quats, axis=1, keepdims=True)
    records = np.zeros(len(splats), _RECORD)
    records["means"], records["scales"] = splats.means, np.exp(splats.log_scales)
    records["rgba"] = to_bytes(np.column_stack((colors, opacity)) * 255)
    records["quats"] = to_bytes(quats * 128 + 128)
    with replacing(path) as temporary:
        temporary.write_bytes(records.tobytes())


def colors_to_sh(colors: np.ndarray) -> np.ndarray:
    """Return coefficients [N, 1, 3] of one colour [N, 3] from every side."""
    return ((colors - 0.5) / BASE)[:, None].astype(np.float32)
