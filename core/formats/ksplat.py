"""The .ksplat format of GaussianSplats3D, read only: sections of Gaussians in buckets, three precisions.

    file      header 4096 bytes, S section headers of 1024 bytes, then the sections
    section   lengths of the partly filled buckets, centres of the buckets, Gaussians
    mode 0    position, scale, rotation float32, RGBA uint8, harmonics float32
    mode 1    position uint16 within its bucket, scale and rotation float16, RGBA, harmonics float16
    mode 2    as 1 with harmonics uint8 between two bounds of the file

Scales are linear, rotations (w, x, y, z), opacity 0..1. Harmonics: band after band, in each all of
red, then green, then blue. Layout as splat-transform reads it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import FormatError
from core.formats.files import checked_file, read_bytes
from core.formats.plain import NUM_BASES, PlainSplats, describe, logits, scene_of
from core.formats.splat import colors_to_sh
from core.radiance.parts import SceneParts

_HEADER, _SECTION_HEADER = 4096, 1024
_MOST_SECTIONS = 4096
_DEFAULT_RANGE = (1, 32767, 32767)
_DEFAULT_BOUND = 1.5


@dataclass(frozen=True)
class _Section:
    """One run of Gaussians of one degree."""

    count: int
    capacity: int
    bucket_capacity: int
    num_buckets: int
    block_size: float
    bucket_bytes: int
    range: int
    num_full: int
    num_partial: int
    degree: int

    def record(self, mode: int) -> np.dtype:
        """Return the layout of a Gaussian."""
        position, number = ("<f4", "<f4") if mode == 0 else ("<u2", "<f2")
        harmonics = ("<f4", "<f2", "u1")[mode]
        layout: list[Any] = [("means", position, 3), ("scales", number, 3), ("quats", number, 4)]
        layout += [("rgba", "u1", 4), ("rest", harmonics, 3 * (NUM_BASES[self.degree] - 1))]
        return np.dtype(layout)


def read(path: Path) -> SceneParts:
    """Read a .ksplat file as plain Gaussians."""
    path = Path(path)
    content = read_bytes(path, checked_file(path))
    if len(content) < _HEADER or content[0] != 0 or content[1] < 1:
        raise FormatError(f"{path.name}: is no .ksplat file of version 0.1 or later.")
    most, count = struct.unpack_from("<I", content, 4)[0], struct.unpack_from("<I", content, 16)[0]
    mode = struct.unpack_from("<H", content, 20)[0]
    bounds = struct.unpack_from("<2f", content, 36)
    if mode > 2 or not 0 < most <= _MOST_SECTIONS or not np.isfinite(bounds).all():
        raise FormatError(
            f"{path.name}: has compression mode {mode} and {most} sections; mode 0 to 2 and "
            f"1 to {_MOST_SECTIONS} sections are read."
        )
    if len(content) < _HEADER + most * _SECTION_HEADER:
        raise _cut_off(path)
    at, read_sections = _HEADER + most * _SECTION_HEADER, []
    for index in range(most):
        section = _section(path, content, _HEADER + index * _SECTION_HEADER, mode)
        if section.count:
            splats, at = _splats(path, content, at, section, mode, bounds)
            read_sections.append(splats)
    if not read_sections or sum(len(splats) for splats in read_sections) != count:
        raise FormatError(
            f"{path.name}: its sections do not hold the {count:,} Gaussians it names."
        )
    return scene_of(path, _joined(read_sections))


def info(path: Path) -> dict[str, Any]:
    """Return what a .ksplat file holds."""
    return describe(read(path), Path(path))


def _section(path: Path, content: bytes, at: int, mode: int) -> _Section:
    count, capacity, bucket_capacity, num_buckets = struct.unpack_from("<4I", content, at)
    block_size = struct.unpack_from("<f", content, at + 16)[0]
    bucket_bytes = struct.unpack_from("<H", content, at + 20)[0]
    span, _, num_full, num_partial = struct.unpack_from("<4I", content, at + 24)
    degree = struct.unpack_from("<H", content, at + 40)[0]
    is_sound = (
        degree < len(NUM_BASES)
        and count <= capacity
        and num_full + num_partial <= num_buckets
        and np.isfinite(block_size)
        and (mode == 0 or count == 0 or bucket_bytes >= 12)
    )
    if not is_sound:
        raise FormatError(
            f"{path.name}: the section header at byte {at} is damaged: {count} of {capacity} Gaussians, "
            f"degree {degree}, {num_full} + {num_partial} of {num_buckets} buckets."
        )
    return _Section(
        count, capacity, bucket_capacity, num_buckets, block_size, bucket_bytes,
        span or _DEFAULT_RANGE[mode], num_full, num_partial, degree,
    )  # fmt: skip


def _splats(
    path: Path,
    content: bytes,
    at: int,
    section: _Section,
    mode: int,
    bounds: tuple[float, ...],
) -> tuple[PlainSplats, int]:
    """Return the Gaussians of a section that begins at byte `at`, and where the next one begins."""
    record = section.record(mode)
    centers_at = at + 4 * section.num_partial
    splats_at = centers_at + section.bucket_bytes * section.num_buckets
    end = splats_at + section.capacity * record.itemsize
    if end > len(content):
        raise _cut_off(path)
    records = np.frombuffer(content, record, section.count, splats_at)
    means = records["means"].astype(np.float64)
    if mode > 0:
        lengths = np.frombuffer(content, "<u4", section.num_partial, at).astype(np.int64)
        filled = np.concatenate((np.full(section.num_full, section.bucket_capacity), lengths))
        if filled.sum() < section.count or filled.max(initial=0) > section.count:
            raise FormatError(
                f"{path.name}: its buckets do not hold the Gaussians of their section."
            )
        bucket = np.repeat(np.arange(len(filled)), filled)[: section.count]
        raw = np.frombuffer(content, np.uint8, splats_at - centers_at, centers_at)
        raw = np.ascontiguousarray(raw.reshape(section.num_buckets, -1)[:, :12])
        step = section.block_size / 2 / section.range
        means = (means - section.range) * step + raw.view("<f4")[bucket]
    with np.errstate(divide="ignore", invalid="ignore"):  # such rows are dropped and counted
        log_scales = np.log(records["scales"].astype(np.float32))
    rest = _by_coefficient(records["rest"].astype(np.float32).reshape(section.count, -1))
    if mode == 2:
        low, high = bounds[0] or -_DEFAULT_BOUND, bounds[1] or _DEFAULT_BOUND
        rest = np.float32(low) + rest / 255 * np.float32(high - low)
    colors = colors_to_sh(records["rgba"][:, :3] / 255.0)
    splats = PlainSplats(
        means=means.astype(np.float32),
        log_scales=log_scales,
        quats=records["quats"].astype(np.float32),
        opacity_logits=logits(records["rgba"][:, 3] / 255.0),
        sh_coeffs=np.concatenate((colors, rest), axis=1),
    )
    return splats, end


def _by_coefficient(rest: np.ndarray) -> np.ndarray:
    """Return harmonics [N, K - 1, 3] from bands [N, 3 (2 l + 1)] that hold one channel after another."""
    bands, at = [], 0
    while at < rest.shape[1]:
        width = 2 * len(bands) + 3
        band = rest[:, at : at + 3 * width].reshape(len(rest), 3, width)
        bands.append(band.transpose(0, 2, 1))
        at += 3 * width
    return np.concatenate(bands, axis=1) if bands else np.zeros((len(rest), 0, 3), np.float32)


def _joined(sections: list[PlainSplats]) -> PlainSplats:
    """Put sections together; those of a lower degree get zeros."""
    bases = max(splats.sh_coeffs.shape[1] for splats in sections)
    arrays: dict[str, list[np.ndarray]] = {}
    for splats in sections:
        for name, values in splats.arrays().items():
            if name == "sh_coeffs":
                values = np.pad(values, ((0, 0), (0, bases - values.shape[1]), (0, 0)))
            arrays.setdefault(name, []).append(values)
    return PlainSplats(**{name: np.concatenate(values) for name, values in arrays.items()})


def _cut_off(path: Path) -> FormatError:
    return FormatError(f"{path.name}: is cut off; it announces more than it holds.")
