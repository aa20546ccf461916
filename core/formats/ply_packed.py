"""Compressed PLY of PlayCanvas and SuperSplat: 16 bytes per Gaussian and 72 per chunk of 256.

    chunk   min and max of x y z, of log scale x y z, and (newer files) of red green blue; float32
    vertex  packed_position 11-10-11 bits inside the chunk's bounds, packed_rotation 2-10-10-10,
            packed_scale 11-10-11, packed_color 8-8-8-8 (colour in the chunk's bounds, opacity 0..1)
    sh      uchar f_rest_*: (value / 8 + 1/2) * 256, channel-major as in the plain PLY

A rotation names its largest component in 2 bits and keeps the other three, times sqrt(1/2) + 1/2.
Colour is 0.5 + SH base * coefficient. Layout as splat-transform reads and writes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import FormatError
from core.formats.files import replacing
from core.formats.plain import (
    NUM_BASES,
    PlainSplats,
    exported,
    logits,
    morton_order,
    opacities,
    scene_of,
    to_bytes,
)
from core.formats.ply_header import PlyHeader, read_header
from core.formats.quats import keep_three, restore_four
from core.radiance.parts import SceneParts
from core.radiance.sh import BASE

CHUNK = 256
_BOUNDS = [f"{end}_{axis}" for end in ("min", "max") for axis in "xyz"]
_SCALES = [f"{end}_scale_{axis}" for end in ("min", "max") for axis in "xyz"]
_COLORS = [f"{end}_{channel}" for end in ("min", "max") for channel in "rgb"]
_PACKED = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
_LARGEST_SH = 4.0
_LARGEST_SCALE = 20.0  # log scales are kept within +- this, as other programs do


def read(path: Path) -> SceneParts:
    """Read a compressed PLY as plain Gaussians."""
    header = read_header(Path(path))
    _check(header)
    chunks, vertices = header.records("chunk"), header.records("vertex")
    chunk = np.arange(len(vertices)) // CHUNK
    words = {name: vertices[name] for name in _PACKED}
    means = _within(_unpacked(words["packed_position"]), chunks, _BOUNDS, chunk)
    log_scales = _within(_unpacked(words["packed_scale"]), chunks, _SCALES, chunk)
    rgba = np.stack([words["packed_color"] >> shift & 255 for shift in (24, 16, 8, 0)], 1) / 255.0
    colors = rgba[:, :3]
    if _COLORS[0] in (chunks.dtype.names or ()):
        colors = _within(colors, chunks, _COLORS, chunk)
    rotation = words["packed_rotation"]
    three = np.stack([rotation >> shift & 1023 for shift in (20, 10, 0)], axis=1) / 1023.0
    base = ((colors - 0.5) / BASE)[:, None]
    splats = PlainSplats(
        means=means.astype(np.float32),
        log_scales=log_scales.astype(np.float32),
        quats=restore_four((three - 0.5) * np.sqrt(2), (rotation >> 30).astype(np.int64)),
        opacity_logits=logits(rgba[:, 3]),
        sh_coeffs=np.concatenate((base, _rest(header)), axis=1).astype(np.float32),
    )
    return scene_of(header.path, splats)


def info(path: Path) -> dict[str, Any]:
    """Return what a compressed PLY holds, from its chunks."""
    header = read_header(Path(path))
    _check(header)
    chunks = header.records("chunk")
    size = header.path.stat().st_size
    data_bytes = sum(e.count * e.record.itemsize for e in header.elements.values())
    lowest = [float(chunks[name].min()) for name in _BOUNDS[:3]]
    highest = [float(chunks[name].max()) for name in _BOUNDS[3:]]
    return {
        "kind": "splats",
        "num_gaussians": header.elements["vertex"].count,
        "sh_degree": NUM_BASES.index(1 + _num_rest(header) // 3),
        "bounds": [lowest, highest],
        "bytes": size,
        "bytes_by_component": {"explicit": data_bytes, "container": size - data_bytes},
    }


def write(scene: SceneParts, path: Path) -> None:
    """Write plain Gaussians in chunks along a Morton curve."""
    path = Path(path)
    splats = exported(scene, path)
    splats = splats.taken(morton_order(splats.means))
    starts = np.arange(0, len(splats), CHUNK)
    colors = 0.5 + BASE * splats.sh_coeffs[:, 0].astype(np.float64)
    log_scales = np.clip(splats.log_scales, -_LARGEST_SCALE, _LARGEST_SCALE)
    chunks, fractions = [], []
    for values in (splats.means.astype(np.float64), log_scales.astype(np.float64), colors):
        low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        low, high = low.astype(np.float32), high.astype(np.float32)
        chunks += [low, high]
        at = np.arange(len(values)) // CHUNK
        extent = np.where(high > low, high - low, 1).astype(np.float64)
        fractions.append(np.clip((values - low[at]) / extent[at], 0, 1))
    three, largest = keep_three(splats.quats)
    kept = np.rint(np.clip(three / np.sqrt(2) + 0.5, 0, 1) * 1023).astype(np.uint32)
    rotation = largest.astype(np.uint32) << 30 | kept[:, 0] << 20 | kept[:, 1] << 10 | kept[:, 2]
    rgba = np.concatenate((fractions[2], opacities(splats.opacity_logits)[:, None]), axis=1)
    r, g, b, a = to_bytes(rgba * 255).astype(np.uint32).T
    color = r << 24 | g << 16 | b << 8 | a
    words = np.stack((_packed(fractions[0]), rotation, _packed(fractions[1]), color), axis=1)
    rest = splats.sh_coeffs[:, 1:].transpose(0, 2, 1).reshape(len(splats), -1)
    rest = to_bytes(np.floor((rest / (2 * _LARGEST_SH) + 0.5) * 256))
    content = np.concatenate(chunks, axis=1).astype("<f4").tobytes()
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(_header(len(splats), len(starts), rest.shape[1]))
        file.write(content + words.astype("<u4").tobytes() + rest.tobytes())


def _header(count: int, num_chunks: int, num_rest: int) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {num_chunks}"]
    lines += [f"property float {name}" for name in (*_BOUNDS, *_SCALES, *_COLORS)]
    lines += [f"element vertex {count}", *(f"property uint {name}" for name in _PACKED)]
    if num_rest:
        lines += [f"element sh {count}"]
        lines += [f"property uchar f_rest_{k}" for k in range(num_rest)]
    return "\n".join([*lines, "end_header\n"]).encode("ascii")


def _check(header: PlyHeader) -> None:
    """Refuse a file whose elements are not those of a compressed PLY or do not fit together."""
    elements, name = header.elements, header.path.name
    named = elements["chunk"].record.names or () if "chunk" in elements else ()
    colors = _COLORS if _COLORS[0] in named else []  # older files have none
    for element, wanted in (("chunk", [*_BOUNDS, *_SCALES, *colors]), ("vertex", _PACKED)):
        types = dict(elements[element].record.fields or {}) if element in elements else {}
        missing = [entry for entry in wanted if entry not in types]
        if missing:
            raise FormatError(f"{name}: its '{element}' records lack {', '.join(missing[:4])}.")
        kind = "f" if element == "chunk" else "u"
        if any(types[entry][0].kind != kind or types[entry][0].itemsize != 4 for entry in wanted):
            raise FormatError(f"{name}: its '{element}' records are not of the expected types.")
    count, num_chunks = elements["vertex"].count, elements["chunk"].count
    if count == 0 or num_chunks != -(-count // CHUNK):
        raise FormatError(f"{name}: {num_chunks} chunks of {CHUNK} do not fit {count} Gaussians.")
    rest = _num_rest(header)
    if rest and (1 + rest // 3 not in NUM_BASES or elements["sh"].count != count):
        raise FormatError(f"{name}: its colour records ({rest} numbers) do not fit the Gaussians.")


def _num_rest(header: PlyHeader) -> int:
    return len(header.elements["sh"].record.names or ()) if "sh" in header.elements else 0


def _rest(header: PlyHeader) -> np.ndarray:
    """Return the coefficients above the constant one [N, K - 1, 3]."""
    count, num_rest = header.elements["vertex"].count, _num_rest(header)
    if not num_rest:
        return np.zeros((count, 0, 3))
    records = header.records("sh")
    try:
        codes = np.stack([records[f"f_rest_{k}"] for k in range(num_rest)], axis=1)
    except (KeyError, ValueError):
        raise FormatError(f"{header.path.name}: its colour records are not named f_rest.") from None
    # the outermost codes stand for the bounds, the others for the middle of their step
    share = np.where(codes == 0, 0.0, np.where(codes == 255, 1.0, (codes + 0.5) / 256))
    values = (share - 0.5) * 2 * _LARGEST_SH
    return values.reshape(count, 3, num_rest // 3).transpose(0, 2, 1)


def _unpacked(words: np.ndarray) -> np.ndarray:
    """Return the three fractions [N, 3] of 11, 10 and 11 bits."""
    parts = (words >> 21 & 2047) / 2047.0, (words >> 11 & 1023) / 1023.0, (words & 2047) / 2047.0
    return np.stack(parts, axis=1)


def _packed(fractions: np.ndarray) -> np.ndarray:
    x, y, z = np.rint(fractions * [2047, 1023, 2047]).astype(np.uint32).T
    return x << 21 | y << 11 | z


def _within(
    fractions: np.ndarray, chunks: np.ndarray, names: list[str], chunk: np.ndarray
) -> np.ndarray:
    """Spread fractions [N, 3] between their chunk's bounds."""
    with np.errstate(
        invalid="ignore"
    ):  # bounds that are no numbers make Gaussians that are left out
        low = np.stack([chunks[name] for name in names[:3]], axis=1).astype(np.float64)
        high = np.stack([chunks[name] for name in names[3:]], axis=1).astype(np.float64)
    return low[chunk] + (high - low)[chunk] * fractions
