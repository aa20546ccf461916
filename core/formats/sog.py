"""SOG of PlayCanvas: the numbers of a scene in lossless WebP pictures, pixel i holding Gaussian i.

    meta.json              what the pictures mean; a folder, or all of it in one .sog archive
    means_l, means_u       low and high byte of 16 bits between mins and maxs of sign(x) ln(1 + |x|)
    scales                 version 2: codebook of 256 log scales; version 1: 8 bits between mins and maxs
    quats                  the three smaller components of (w, x, y, z); alpha 252 + which one was largest
    sh0                    base coefficients as scales; alpha the opacity 0..1
    shN_labels, _centroids row of a palette in 16 bits; 64 rows side by side, K - 1 pixels each

Written as version 2: Morton order, codebooks by one-dimensional clustering, the palette by k-means.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from core.base.errors import FormatError
from core.formats.archive import Archive, write_archive
from core.formats.clusters import codebook, palette
from core.formats.files import checked_file, read_bytes, replacing
from core.formats.plain import (
    NUM_BASES,
    PlainSplats,
    describe,
    exported,
    logits,
    morton_order,
    opacities,
    scene_of,
    to_bytes,
)
from core.formats.quats import keep_three, restore_four
from core.radiance.parts import SceneParts

META = "meta.json"
MOST_GAUSSIANS = 50_000_000
_MOST_META, _MOST_PICTURE = 1 << 20, 1 << 29
_ROWS_ACROSS = 64  # palette rows side by side
_LARGEST_NAMED = 252  # alpha of a rotation whose first component is largest

Pictures = Callable[[str], np.ndarray]


def read(path: Path) -> SceneParts:
    """Read a .sog archive, or the folder of a meta.json."""
    path = Path(path)
    try:
        if path.suffix.lower() == ".sog":
            with Archive(path, can_be_packed=True) as archive:
                return _read(path, archive.read)
        folder = path if path.is_dir() else path.parent

        def content(name: str, most_bytes: int) -> bytes:
            if Path(name).name != name:
                raise FormatError(f"{path.name}: names a picture outside its folder ({name[:80]}).")
            entry = folder / name
            checked_file(entry)
            return read_bytes(entry, most_bytes)

        return _read(folder, content)
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise FormatError(
            f"{path.name}: its {META} does not describe what it should ({error})."
        ) from None


def info(path: Path) -> dict[str, Any]:
    """Return what the scene holds."""
    path = Path(path)
    return describe(read(path), path.parent if path.name == META else path)


def write(scene: SceneParts, path: Path) -> None:
    """Write a .sog archive of version 2."""
    path = Path(path)
    splats = exported(scene, path)
    splats = splats.taken(morton_order(splats.means))
    count = len(splats)
    members: dict[str, bytes] = {}

    def add(name: str, channels: np.ndarray) -> str:
        members[f"{name}.webp"] = _picture(channels)
        return f"{name}.webp"

    logged = np.sign(splats.means) * np.log1p(np.abs(splats.means.astype(np.float64)))
    low, high = logged.min(axis=0), logged.max(axis=0)
    steps = np.rint((logged - low) / np.maximum(high - low, 1e-12) * 65535).astype(np.uint16)
    files = [add("means_l", (steps & 255).astype(np.uint8)), add("means_u", steps >> 8)]
    scale_codes, scale_book = codebook(splats.log_scales)
    base_codes, base_book = codebook(splats.sh_coeffs[:, 0])
    three, largest = keep_three(splats.quats)
    quats = np.column_stack((to_bytes((three * np.sqrt(2) + 1) * 127.5), largest + _LARGEST_NAMED))
    alpha = to_bytes(opacities(splats.opacity_logits) * 255)
    meta: dict[str, Any] = {
        "version": 2,
        "asset": {"generator": "HyRF Studio"},
        "count": count,
        "antialias": bool(scene.summary.get("is_antialiased", False)),
        "means": {"mins": low.tolist(), "maxs": high.tolist(), "files": files},
        "scales": {"codebook": scale_book.tolist(), "files": [add("scales", scale_codes)]},
        "quats": {"files": [add("quats", quats)]},
        "sh0": {
            "codebook": base_book.tolist(),
            "files": [add("sh0", np.column_stack((base_codes, alpha)))],
        },
    }
    if splats.sh_degree:
        rest = splats.sh_coeffs[:, 1:].reshape(count, -1)
        labels, rows = palette(rest)
        codes, book = codebook(rows)
        meta["shN"] = {
            "count": len(rows),
            "bands": splats.sh_degree,
            "codebook": book.tolist(),
            "files": [
                add("shN_centroids", _across(codes, splats.sh_coeffs.shape[1] - 1)),
                add("shN_labels", np.column_stack((labels & 255, labels >> 8, labels * 0))),
            ],
        }
    members = {META: json.dumps(meta, separators=(",", ":")).encode(), **members}
    with replacing(path) as temporary:
        write_archive(temporary, members)


def _read(path: Path, content: Callable[[str, int], bytes]) -> SceneParts:
    meta = json.loads(content(META, _MOST_META))
    version = meta.get("version", 1)
    count = int(meta["count"] if version == 2 else meta["means"]["shape"][0])
    if version not in (1, 2) or not 0 < count <= MOST_GAUSSIANS:
        raise FormatError(f"{path.name}: is version {version} of SOG with {count:,} Gaussians.")

    def picture(name: str) -> np.ndarray:
        return _pixels(path, name, content(name, _MOST_PICTURE))

    def pixels(entry: dict[str, Any], index: int = 0) -> np.ndarray:
        values = picture(entry["files"][index]).reshape(-1, 4)
        if len(values) < count:
            raise FormatError(
                f"{path.name}: {entry['files'][index]} has {len(values)} pixels for {count} Gaussians."
            )
        return values[:count]

    def looked_up(entry: dict[str, Any], codes: np.ndarray) -> np.ndarray:
        if version == 2:
            return np.asarray(entry["codebook"], np.float32)[codes]
        low, high = (np.asarray(entry[end], np.float32) for end in ("mins", "maxs"))
        return low + (high - low) * (codes / np.float32(255))

    means = meta["means"]
    low, high = (np.asarray(means[end], np.float64) for end in ("mins", "maxs"))
    steps = pixels(means)[:, :3].astype(np.int64) + 256 * pixels(means, 1)[:, :3].astype(np.int64)
    logged = low + (high - low) * (steps / 65535)
    quats, base = pixels(meta["quats"]), pixels(meta["sh0"])
    largest = quats[:, 3].astype(np.int64) - _LARGEST_NAMED
    if (largest < 0).any():
        raise FormatError(f"{path.name}: its rotations do not name their largest component.")
    three = (quats[:, :3] / 127.5 - 1) / np.sqrt(2)
    rgba = looked_up(meta["sh0"], base if version == 1 else base[:, :3])
    alpha = 1 / (1 + np.exp(-rgba[:, 3])) if version == 1 else base[:, 3] / 255.0
    coeffs = [rgba[:, None, :3]]
    if "shN" in meta:
        coeffs.append(_rest(path, meta["shN"], pixels, picture, looked_up))
    splats = PlainSplats(
        # more than 80 is a damaged file: 1e34 units away, still a number
        means=(np.sign(logged) * np.expm1(np.minimum(np.abs(logged), 80))).astype(np.float32),
        log_scales=looked_up(meta["scales"], pixels(meta["scales"])[:, :3]).astype(np.float32),
        quats=restore_four(three, largest),
        opacity_logits=logits(alpha),
        sh_coeffs=np.concatenate(coeffs, axis=1).astype(np.float32),
    )
    return scene_of(path, splats, bool(meta.get("antialias", False)))


def _rest(
    path: Path,
    entry: dict[str, Any],
    pixels: Callable[..., np.ndarray],
    picture: Pictures,
    looked_up: Callable[[dict[str, Any], np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return the coefficients above the constant one [N, K - 1, 3] through the palette."""
    centroids = picture(entry["files"][0])[:, :, :3]
    width = centroids.shape[1] // _ROWS_ACROSS
    if width + 1 not in NUM_BASES or centroids.shape[1] % _ROWS_ACROSS:
        raise FormatError(f"{path.name}: its palette is {centroids.shape[1]} pixels wide.")
    rows = looked_up(entry, centroids).reshape(-1, width, 3)
    codes = pixels(entry, 1).astype(np.int64)
    labels = codes[:, 0] + 256 * codes[:, 1]
    if labels.max() >= len(rows):
        raise FormatError(f"{path.name}: names row {labels.max()} of {len(rows)} in its palette.")
    return rows[labels]


def _across(codes: np.ndarray, width: int) -> np.ndarray:
    """Lay palette rows [P, 3 width] out as a picture [P / 64, 64 width, 3]."""
    lines = -(-len(codes) // _ROWS_ACROSS)
    padded = np.zeros((lines * _ROWS_ACROSS, width, 3), np.uint8)
    padded[: len(codes)] = codes.reshape(len(codes), width, 3)
    return padded.reshape(lines, _ROWS_ACROSS * width, 3)


def _picture(values: np.ndarray) -> bytes:
    """Return values [N, C] as a nearly square picture, or a picture [H, W, C], in lossless WebP."""
    if values.ndim == 2:
        width = max(4, -(-int(np.ceil(np.sqrt(len(values)))) // 4) * 4)
        height = -(-len(values) // width)
        padded = np.zeros((height * width, values.shape[1]), np.uint8)
        padded[: len(values)] = values
        values = padded.reshape(height, width, -1)
    if values.shape[2] == 3:
        opaque = np.full((*values.shape[:2], 1), 255, np.uint8)
        values = np.concatenate((values, opaque), axis=2)
    target = io.BytesIO()
    # exact: colours under a transparent pixel are numbers here and must stay
    Image.fromarray(np.ascontiguousarray(values, np.uint8), "RGBA").save(
        target, "WEBP", lossless=True, exact=True, quality=100, method=4
    )
    return target.getvalue()


def _pixels(path: Path, name: str, content: bytes) -> np.ndarray:
    """Return a picture [H, W, 4] uint8 after a look at its size."""
    try:
        with Image.open(io.BytesIO(content), formats=("WEBP",)) as image:
            if image.width * image.height > 4 * MOST_GAUSSIANS // 3:
                raise FormatError(f"{path.name}: {name} has {image.width} x {image.height} pixels.")
            return np.asarray(image.convert("RGBA"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise FormatError(
            f"{path.name}: {name} is no WebP picture that can be read ({error})."
        ) from None
