"""3DGS PLY: one binary little-endian record of float properties per Gaussian, original coordinates.

    x y z, [nx ny nz], f_dc_0..2, f_rest_0..3K-1, opacity (logit), scale_0..2 (log), rot_0..3 (w x y z)

Properties are found by name in any order. f_rest is channel-major (all K of red, then green, then
blue); in memory coefficients come first. The writer follows the original trainer: normals of zero,
degree as the scene has it. A PLY that begins with chunks is a compressed one (ply_packed.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import FormatError
from core.formats import ply_packed
from core.formats.files import replacing
from core.formats.plain import PlainSplats, exported, scene_of
from core.formats.ply_header import PlyHeader, read_header
from core.radiance.parts import SceneParts

_POSITION, _SCALE = ("x", "y", "z"), ("scale_0", "scale_1", "scale_2")
_BASE, _ROTATION = ("f_dc_0", "f_dc_1", "f_dc_2"), ("rot_0", "rot_1", "rot_2", "rot_3")
_NEEDED = (*_POSITION, *_BASE, "opacity", *_SCALE, *_ROTATION)
_BASES_OF_REST = {0: 1, 9: 4, 24: 9, 45: 16}


def read(path: Path) -> SceneParts:
    """Read a PLY as plain Gaussians; rows that are no finite Gaussian are dropped and counted."""
    header = read_header(Path(path))
    if "chunk" in header.elements:
        return ply_packed.read(header.path)
    num_rest = _num_rest(header)
    records = header.records("vertex")
    rest = _columns(records, [f"f_rest_{k}" for k in range(num_rest)])
    rest = rest.reshape(len(records), 3, num_rest // 3).transpose(0, 2, 1)
    splats = PlainSplats(
        means=_columns(records, _POSITION),
        log_scales=_columns(records, _SCALE),
        quats=_columns(records, _ROTATION),
        opacity_logits=_columns(records, ("opacity",))[:, 0],
        sh_coeffs=np.concatenate((_columns(records, _BASE)[:, None], rest), axis=1),  # [N, K, 3]
    )
    return scene_of(header.path, splats)


def info(path: Path) -> dict[str, Any]:
    """Return what a PLY holds; only positions are looked at."""
    header = read_header(Path(path))
    if "chunk" in header.elements:
        return ply_packed.info(header.path)
    num_rest, vertex = _num_rest(header), header.elements["vertex"]
    means = _columns(header.records("vertex"), _POSITION)
    means = means[np.isfinite(means).all(axis=1)]
    size = header.path.stat().st_size
    data_bytes = vertex.count * vertex.record.itemsize
    return {
        "kind": "splats",
        "num_gaussians": vertex.count,
        "sh_degree": round(_BASES_OF_REST[num_rest] ** 0.5) - 1,
        "bounds": np.stack((means.min(0), means.max(0))).tolist() if len(means) else None,
        "bytes": size,
        "bytes_by_component": {"explicit": data_bytes, "container": size - data_bytes},
    }


def write(scene: SceneParts, path: Path) -> None:
    """Write plain Gaussians in the coordinates of their capture."""
    path = Path(path)
    splats = exported(scene, path)
    num_rest = 3 * (splats.sh_coeffs.shape[1] - 1)
    names = [*_POSITION, "nx", "ny", "nz", *_BASE]
    names += [*(f"f_rest_{k}" for k in range(num_rest)), "opacity", *_SCALE, *_ROTATION]
    columns = (
        splats.means,
        np.zeros_like(splats.means),
        splats.sh_coeffs[:, 0],
        splats.sh_coeffs[:, 1:].transpose(0, 2, 1).reshape(len(splats), num_rest),
        splats.opacity_logits[:, None],
        splats.log_scales,
        splats.quats,
    )
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(splats)}"]
    lines += [*(f"property float {name}" for name in names), "end_header\n"]
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(lines).encode("ascii"))
        file.write(np.concatenate(columns, axis=1).astype("<f4").tobytes())


def _columns(records: np.ndarray, names: Iterable[str]) -> np.ndarray:
    names = list(names)
    values = np.empty((len(records), len(names)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is dropped as not finite
        for column, name in enumerate(names):
            values[:, column] = records[name]
    return values


def _num_rest(header: PlyHeader) -> int:
    """Return the number of f_rest properties, once the header is that of 3D Gaussians."""
    name = header.path.name
    first = next(iter(header.elements), "")
    if first != "vertex":
        raise FormatError(
            f"{name}: begins with '{first}' records; only the PLY of 3DGS and its compressed "
            "form are read. Convert it to one of them."
        )
    properties = header.elements["vertex"].record.names or ()
    missing = [wanted for wanted in _NEEDED if wanted not in properties]
    if missing:
        raise FormatError(
            f"{name}: lacks the properties {', '.join(missing[:4])}"
            f"{' and others' if len(missing) > 4 else ''}; it holds points or a mesh, not Gaussians."
        )
    rest = {entry for entry in properties if entry.startswith("f_rest_")}
    if len(rest) not in _BASES_OF_REST or rest != {f"f_rest_{k}" for k in range(len(rest))}:
        raise FormatError(
            f"{name}: has {len(rest)} f_rest properties; 0, 9, 24 or 45 are expected."
        )
    return len(rest)
