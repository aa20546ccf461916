"""Plain Gaussians on their way from and to files: what every such format shares.

Readers fill a `PlainSplats` and call `scene_of`; writers start from `exported`. Both speak the
coordinates of the file; x right, y down, z forward is what most 3DGS files mean.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.base.errors import FormatError
from core.capture.camera import Similarity
from core.radiance.parts import SceneParts

LARGEST_LOG_SCALE = 60.0  # beyond, the size of a Gaussian is no 32-bit number
NUM_BASES = (1, 4, 9, 16)  # of degree 0 to 3
_ALPHA_MARGIN = 0.25 / 255  # opacity 0 and 1 have no finite logit


@dataclass(frozen=True, eq=False)
class PlainSplats:
    """N Gaussians, float32.

    means           [N, 3]
    log_scales      [N, 3]     natural logarithm
    quats           [N, 4]     (w, x, y, z)
    opacity_logits  [N]
    sh_coeffs       [N, K, 3]
    """

    means: np.ndarray
    log_scales: np.ndarray
    quats: np.ndarray
    opacity_logits: np.ndarray
    sh_coeffs: np.ndarray

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """Degree of the colour's spherical harmonics."""
        return NUM_BASES.index(self.sh_coeffs.shape[1])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def taken(self, rows: np.ndarray) -> PlainSplats:
        """Return some rows, in that order."""
        return PlainSplats(
            **{k: np.ascontiguousarray(values[rows]) for k, values in self.arrays().items()}
        )

    def moved(self, frame: Similarity) -> PlainSplats:
        """Bring the Gaussians into another frame; their harmonics turn with them."""
        from scipy.spatial.transform import Rotation

        from core.radiance.sh import rotate_sh

        quats, sh_coeffs = self.quats, self.sh_coeffs
        if not np.array_equal(frame.rotation, np.eye(3)):
            # in the order (w, x, y, z): turn first as before, then by the frame
            own = Rotation.from_quat(quats[:, [1, 2, 3, 0]].astype(np.float64))
            quats = (Rotation.from_matrix(frame.rotation) * own).as_quat()[:, [3, 0, 1, 2]]
            sh_coeffs = rotate_sh(sh_coeffs, frame.rotation)
        return PlainSplats(
            means=frame.apply(self.means.astype(np.float64)).astype(np.float32),
            log_scales=(self.log_scales + np.log(frame.scale)).astype(np.float32),
            quats=quats.astype(np.float32),
            opacity_logits=self.opacity_logits,
            sh_coeffs=sh_coeffs.astype(np.float32),
        )

    def half_turned(self, axis: Literal["x", "z"]) -> PlainSplats:
        """Turn by 180 degrees, its own inverse: from y down to y up with z backwards (x) or x leftwards (z)."""
        from core.radiance.sh import rotate_sh

        signs = np.float32([1, -1, -1] if axis == "x" else [-1, -1, 1])
        # the Gaussian's own axes are flipped as well, which changes nothing of an ellipsoid
        return replace(
            self,
            means=self.means * signs,
            quats=self.quats * np.concatenate((np.ones(1, np.float32), signs)),
            sh_coeffs=rotate_sh(self.sh_coeffs, np.diag(signs)),
        )


def scene_of(path: Path, splats: PlainSplats, is_antialiased: bool = False) -> SceneParts:
    """Return the scene of a file; rows that are no finite Gaussian are dropped and counted.

    Some programs write an opacity of exactly 0 or 1 as the infinite logit that it has.
    """
    from core.radiance.sh_splats import splat_parts

    if np.isinf(splats.opacity_logits).any():
        splats = replace(splats, opacity_logits=_bounded(splats.opacity_logits))
    keep = np.ones(len(splats), dtype=bool)
    for values in splats.arrays().values():
        keep &= np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    lengths = np.linalg.norm(np.where(keep[:, None], splats.quats, 0.0).astype(float), axis=1)
    keep &= (lengths > 1e-6) & (lengths < 1e6)
    sizes = np.where(keep[:, None], splats.log_scales, 0.0)
    keep &= sizes.max(axis=1, initial=-np.inf) < LARGEST_LOG_SCALE
    if not keep.any():
        raise FormatError(
            f"{path.name}: none of its {len(splats)} Gaussians has finite numbers. "
            "Export it again from the program that made it."
        )
    kept = splats.taken(np.flatnonzero(keep))
    summary: dict[str, Any] = {"capture": path.stem}
    if not keep.all():
        summary["dropped"] = int((~keep).sum())
    if is_antialiased:
        summary["is_antialiased"] = True
    return SceneParts(
        kind="splats",
        parts=splat_parts(**kept.arrays()),
        settings={"sh_degree": splats.sh_degree},
        bounds=np.stack((kept.means.min(0), kept.means.max(0))).astype(np.float64),
        summary=summary,
    )


def exported(scene: SceneParts, path: Path) -> PlainSplats:
    """Return a scene's Gaussians in the coordinates of its capture, rotations of unit length."""
    from core.radiance.sh_splats import sh_coeffs_of

    arrays = {name: part.values for name, part in scene.parts.items()}
    if not len(arrays["means"]):
        raise FormatError(f"{path.name}: there are no Gaussians to write.")
    return PlainSplats(
        means=arrays["means"],
        log_scales=arrays["log_scales"],
        quats=arrays["quats"].astype(np.float32),
        opacity_logits=arrays["opacity_logits"].reshape(-1).astype(np.float32),
        sh_coeffs=sh_coeffs_of(scene).astype(np.float32),
    ).moved(scene.to_original)


def describe(scene: SceneParts, path: Path) -> dict[str, Any]:
    """Return what a file of plain Gaussians holds, from the scene that was read."""
    size = size_of_all(path)
    return {
        "kind": scene.kind,
        "num_gaussians": len(scene.parts["means"].values),
        "sh_degree": scene.settings["sh_degree"],
        "bounds": scene.bounds.tolist(),
        "bytes": size,
        "bytes_by_component": {"explicit": size},
    }


def size_of_all(path: Path) -> int:
    """Return the bytes of a file, or of the files in a folder."""
    if path.is_dir():
        return sum(entry.stat().st_size for entry in path.iterdir() if entry.is_file())
    return path.stat().st_size


def logits(opacities: np.ndarray) -> np.ndarray:
    """Return the logits of opacities 0..1, a quarter of a byte's step away from 0 and 1 at least."""
    inside = np.clip(opacities.astype(np.float64), _ALPHA_MARGIN, 1 - _ALPHA_MARGIN)
    return np.log(inside / (1 - inside)).astype(np.float32)


def _bounded(opacity_logits: np.ndarray) -> np.ndarray:
    """Return logits with infinite ones as `logits` gives them for opacities 0 and 1."""
    most = float(logits(np.ones(1))[0])
    return np.where(
        np.isinf(opacity_logits), np.sign(opacity_logits) * most, opacity_logits
    ).astype(np.float32)


def opacities(opacity_logits: np.ndarray) -> np.ndarray:
    """Return opacities 0..1 of logits."""
    return 1 / (1 + np.exp(-opacity_logits.astype(np.float64)))


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round numbers meant for 0..255 to bytes."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def morton_order(means: np.ndarray) -> np.ndarray:
    """Return the rows [N] along a Morton curve through their bounding box."""
    from core.formats.morton import interleave

    low, high = means.min(axis=0).astype(np.float64), means.max(axis=0).astype(np.float64)
    grid = (means - low) / np.maximum(high - low, 1e-30) * 65535
    return np.argsort(interleave(grid.astype(np.uint64)), kind="stable")
