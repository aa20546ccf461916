"""3DGS PLY: one binary little-endian record of float properties per Gaussian, original coordinates.

    x y z, [nx ny nz], f_dc_0..2, f_rest_0..3K-1, opacity (logit), scale_0..2 (log), rot_0..3 (w x y z)

Properties are found by name in any order. f_rest is channel-major (all K of red, then green, then
blue); in memory coefficients come first. The writer follows the original trainer: normals of zero,
degree as the scene has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import FormatError
from core.capture.camera import Similarity
from core.formats.files import checked_file, replacing
from core.radiance.parts import SceneParts

MAX_HEADER_BYTES = 1 << 16
LARGEST_LOG_SCALE = 60.0  # beyond, the size of a Gaussian is no 32-bit number
_TYPES = {
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
    **dict.fromkeys(("char", "int8"), "<i1"),
    **dict.fromkeys(("uchar", "uint8"), "<u1"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
}
_POSITION, _SCALE = ("x", "y", "z"), ("scale_0", "scale_1", "scale_2")
_BASE, _ROTATION = ("f_dc_0", "f_dc_1", "f_dc_2"), ("rot_0", "rot_1", "rot_2", "rot_3")
_NEEDED = (*_POSITION, *_BASE, "opacity", *_SCALE, *_ROTATION)
_BASES_OF_REST = {0: 1, 9: 4, 24: 9, 45: 16}


@dataclass(frozen=True)
class _Header:
    """What stands before the records; `num_rest` counts the f_rest properties."""

    path: Path
    count: int
    record: np.dtype
    offset: int
    num_rest: int


def read(path: Path) -> SceneParts:
    """Read a PLY as plain Gaussians; rows that are no finite Gaussian are dropped and counted."""
    from core.radiance.sh_splats import splat_parts

    header = _read_header(Path(path))
    records = _records(header)
    means = _columns(records, _POSITION)
    log_scales, quats = _columns(records, _SCALE), _columns(records, _ROTATION)
    opacity_logits = _columns(records, ("opacity",))[:, 0]
    bases = _BASES_OF_REST[header.num_rest]
    rest = _columns(records, [f"f_rest_{k}" for k in range(header.num_rest)])
    rest = rest.reshape(header.count, 3, bases - 1).transpose(0, 2, 1)
    sh_coeffs = np.concatenate((_columns(records, _BASE)[:, None], rest), axis=1)  # [N, K, 3]
    arrays = (means, log_scales, quats, opacity_logits, sh_coeffs)
    keep = np.ones(header.count, dtype=bool)
    for values in arrays:
        keep &= np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    keep &= np.linalg.norm(np.where(keep[:, None], quats, 0.0), axis=1) > 1e-6
    keep &= (
        np.where(keep[:, None], log_scales, 0.0).max(axis=1, initial=-np.inf) < LARGEST_LOG_SCALE
    )
    if not keep.any():
        raise FormatError(
            f"{header.path.name}: none of its {header.count} Gaussians has finite numbers. "
            "Export it again from the program that made it."
        )
    kept = [np.ascontiguousarray(values[keep]) for values in arrays]
    summary: dict[str, Any] = {"capture": header.path.stem}
    if not keep.all():
        summary["dropped"] = int((~keep).sum())
    return SceneParts(
        kind="splats",
        parts=splat_parts(*kept),
        settings={"sh_degree": round(bases**0.5) - 1},
        bounds=np.stack((kept[0].min(0), kept[0].max(0))).astype(np.float64),
        summary=summary,
    )


def info(path: Path) -> dict[str, Any]:
    """Return what a PLY holds; only positions are looked at."""
    header = _read_header(Path(path))
    means = _columns(_records(header), _POSITION)
    means = means[np.isfinite(means).all(axis=1)]
    size = header.path.stat().st_size
    data_bytes = header.count * header.record.itemsize
    return {
        "kind": "splats",
        "num_gaussians": header.count,
        "sh_degree": round(_BASES_OF_REST[header.num_rest] ** 0.5) - 1,
        "bounds": np.stack((means.min(0), means.max(0))).tolist() if len(means) else None,
        "bytes": size,
        "bytes_by_component": {"explicit": data_bytes, "container": size - data_bytes},
    }


def write(scene: SceneParts, path: Path) -> int:
    """Write plain Gaussians in the coordinates of their capture; return the bytes on disk."""
    from core.radiance.sh_splats import sh_coeffs_of

    path = Path(path)
    arrays = {name: part.values for name, part in scene.parts.items()}
    count = len(arrays["means"])
    if not count:
        raise FormatError(f"{path.name}: there are no Gaussians to write.")
    sh_coeffs = sh_coeffs_of(scene)
    num_rest = 3 * (sh_coeffs.shape[1] - 1)
    names = [*_POSITION, "nx", "ny", "nz", *_BASE]
    names += [*(f"f_rest_{k}" for k in range(num_rest)), "opacity", *_SCALE, *_ROTATION]
    records = np.zeros((count, len(names)), dtype="<f4")
    moved = _moved(arrays, sh_coeffs, scene.to_original)
    columns = np.concatenate(
        (
            moved["sh_coeffs"][:, 0],
            moved["sh_coeffs"][:, 1:].transpose(0, 2, 1).reshape(count, num_rest),
            arrays["opacity_logits"].reshape(count, 1),
            moved["log_scales"],
            moved["quats"],
        ),
        axis=1,
    )
    records[:, :3], records[:, 6:] = moved["means"], columns
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    lines += [*(f"property float {name}" for name in names), "end_header\n"]
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(lines).encode("ascii"))
        file.write(records.tobytes())
    return path.stat().st_size


def _moved(
    arrays: dict[str, np.ndarray], sh_coeffs: np.ndarray, to_original: Similarity
) -> dict[str, np.ndarray]:
    """Return positions, sizes, rotations and colour coefficients in the original coordinates."""
    from scipy.spatial.transform import Rotation

    from core.radiance.sh import rotate_sh

    quats, rotation = arrays["quats"].astype(np.float64), to_original.rotation
    if not np.array_equal(rotation, np.eye(3)):
        # in the order (w, x, y, z): turn first as before, then by the frame
        turned = Rotation.from_matrix(rotation) * Rotation.from_quat(quats[:, [1, 2, 3, 0]])
        quats, sh_coeffs = turned.as_quat()[:, [3, 0, 1, 2]], rotate_sh(sh_coeffs, rotation)
    return {
        "means": to_original.apply(arrays["means"].astype(np.float64)),
        "log_scales": arrays["log_scales"] + np.log(to_original.scale),
        "quats": quats,
        "sh_coeffs": sh_coeffs,
    }


def _columns(records: np.ndarray, names: Iterable[str]) -> np.ndarray:
    names = list(names)
    values = np.empty((len(records), len(names)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is dropped as not finite
        for column, name in enumerate(names):
            values[:, column] = records[name]
    return values


def _records(header: _Header) -> np.ndarray:
    try:
        records = np.fromfile(header.path, header.record, header.count, offset=header.offset)
    except OSError as error:
        raise FormatError(f"{header.path}: cannot be read ({error.strerror or error}).") from None
    if len(records) != header.count:
        raise FormatError(f"{header.path.name}: was cut off while it was read. Try again.")
    return records


def _read_header(path: Path) -> _Header:
    """Understand the header, and compare the count with the file's size before anything is allocated."""
    size = checked_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(MAX_HEADER_BYTES)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error}).") from None
    if not start.startswith(b"ply") or start[3:4] not in (b"\n", b"\r"):
        raise FormatError(f"{path.name}: is no PLY file; it begins with {start[:4]!r}.")
    for ending in (b"\nend_header\n", b"\nend_header\r\n"):
        position = start.find(ending)
        if position >= 0:
            offset = position + len(ending)
            break
    else:
        raise FormatError(f"{path.name}: the header has no end within {MAX_HEADER_BYTES} bytes.")
    lines = [line.split() for line in start[:position].decode("ascii", "replace").splitlines()[1:]]
    count, properties = _vertex_element(path, lines)
    record = np.dtype(list(properties.items()))
    if count * record.itemsize > size - offset:
        raise FormatError(
            f"{path.name}: announces {count} Gaussians of {record.itemsize} bytes, but only "
            f"{size - offset} bytes follow the header. The file is cut off; take another copy."
        )
    return _Header(path, count, record, offset, _num_rest(path, properties))


def _vertex_element(path: Path, lines: list[list[str]]) -> tuple[int, dict[str, str]]:
    """Return the count and the properties (name to type) of the element the file begins with."""
    count, properties, is_vertex = -1, {}, False
    for words in lines:
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format":
            if words[1:2] != ["binary_little_endian"]:
                raise FormatError(
                    f"{path.name}: is stored as {' '.join(words[1:2])}; only binary_little_endian "
                    "is read. Save it again in this form."
                )
        elif words[0] == "element" and len(words) == 3:
            if count >= 0:
                break  # what follows the Gaussians is not needed
            if words[1] != "vertex":
                raise FormatError(
                    f"{path.name}: begins with '{words[1]}' records; only the uncompressed PLY of "
                    "3DGS is read. Convert it to that form."
                )
            count, is_vertex = _count(path, words[2]), True
        elif words[0] == "property" and is_vertex:
            if len(words) != 3 or words[1] not in _TYPES or words[2] in properties:
                raise FormatError(f"{path.name}: has a property line '{' '.join(words)[:60]}'.")
            properties[words[2]] = _TYPES[words[1]]
        else:
            raise FormatError(f"{path.name}: has a header line '{' '.join(words)[:60]}'.")
    missing = [name for name in _NEEDED if name not in properties]
    if missing:
        raise FormatError(
            f"{path.name}: lacks the properties {', '.join(missing[:4])}"
            f"{' and others' if len(missing) > 4 else ''}; it holds points or a mesh, not Gaussians."
        )
    return count, properties


def _count(path: Path, word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 12):
        raise FormatError(f"{path.name}: announces '{word[:30]}' Gaussians, which is no count.")
    return int(word)


def _num_rest(path: Path, properties: dict[str, str]) -> int:
    named = {name for name in properties if name.startswith("f_rest_")}
    if len(named) not in _BASES_OF_REST or named != {f"f_rest_{k}" for k in range(len(named))}:
        raise FormatError(
            f"{path.name}: has {len(named)} f_rest properties; 0, 9, 24 or 45 are expected."
        )
    return len(named)
