"""SPZ of Niantic: Gaussians in 20 bytes and their harmonics in one each, packed. Versions 1 to 4 are read.

    versions 1 to 3 one gzip stream: a header of 16 bytes, then the arrays below
    version 4       a header of 32 bytes, a table of (packed, unpacked) sizes, one zstd stream per array

    positions  3 x 24 bit, signed, 2^-fraction_bits units (version 1: float16)   opacity  uint8, 0..1
    colours    3 x uint8, 0.15 coefficient + 0.5               scales   3 x uint8, log scale = b / 16 - 10
    rotations  versions 1, 2: x y z as b / 127.5 - 1; later: 2 bits name the largest of x y z w, the others
               have a sign and 9 bits of their share of sqrt(1/2)
    harmonics  [K - 1, 3] x uint8, (b - 128) / 128, stored with 5 bits in band 1 and 4 above

Axes are x right, y up, z back: turned by half a turn about x from what 3DGS files mean.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import FormatError
from core.formats.files import checked_file, read_bytes, replacing
from core.formats.packing import squeeze, unsqueeze
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

MAGIC = b"NGSP"
MOST_GAUSSIANS = 50_000_000
FRACTION_BITS = 12
_ANTIALIASED = 1
_COLOR_SCALE = 0.15
_BITS = (5, 4, 4)  # of harmonics of band 1, 2, 3
_LARGEST = 511  # of 9 bits
_MOST_PACKED = 1100  # times; what gzip can do at most, and no real scene reaches


@dataclass(frozen=True)
class _Header:
    """What a file announces."""

    version: int
    count: int
    degree: int
    fraction_bits: int
    flags: int

    def sizes(self) -> list[int]:
        """Return the bytes of the arrays in the order of the file."""
        position, rotation = 6 if self.version == 1 else 9, 3 if self.version <= 2 else 4
        harmonics = 3 * (NUM_BASES[self.degree] - 1)
        return [self.count * size for size in (position, 1, 3, 3, rotation, harmonics)]


def read(path: Path) -> SceneParts:
    """Read an SPZ file as plain Gaussians."""
    path = Path(path)
    header, arrays = _open(path)
    position, alpha, color, scale, rotation, harmonics = (
        np.frombuffer(content, np.uint8).reshape(header.count, -1) for content in arrays
    )
    base = (color / 255.0 - 0.5) / _COLOR_SCALE
    rest = (harmonics.reshape(header.count, -1, 3) - 128.0) / 128.0
    splats = PlainSplats(
        means=_positions(position, header),
        log_scales=(scale / 16.0 - 10.0).astype(np.float32),
        quats=_rotations(rotation, header.version),
        opacity_logits=logits(alpha[:, 0] / 255.0),
        sh_coeffs=np.concatenate((base[:, None], rest), axis=1).astype(np.float32),
    )
    return scene_of(path, splats.half_turned("x"), bool(header.flags & _ANTIALIASED))


def info(path: Path) -> dict[str, Any]:
    """Return what an SPZ file holds."""
    return describe(read(path), Path(path))


def write(scene: SceneParts, path: Path, version: int = 4) -> list[str]:
    """Write version 3 or 4; return what did not fit its ranges."""
    path = Path(path)
    splats = exported(scene, path).half_turned("x")
    splats = splats.taken(morton_order(splats.means))
    flags = _ANTIALIASED if scene.summary.get("is_antialiased") else 0
    fraction_bits, steps = _fixed_point(splats.means)
    clamped = np.abs(steps) > 2**23 - 1
    steps = np.clip(steps, -(2**23 - 1), 2**23 - 1).astype("<i4")
    base = splats.sh_coeffs[:, 0] * _COLOR_SCALE + 0.5
    sizes = 16 * (splats.log_scales + 10)
    arrays = [
        np.ascontiguousarray(steps).view(np.uint8).reshape(-1, 4)[:, :3].tobytes(),
        to_bytes(opacities(splats.opacity_logits) * 255).tobytes(),
        to_bytes(base * 255).tobytes(),
        to_bytes(sizes).tobytes(),
        _packed_rotations(splats.quats),
        _packed_harmonics(splats.sh_coeffs[:, 1:]),
    ]
    fixed = struct.pack("<4sII", MAGIC, version, len(splats))
    fixed += bytes((splats.sh_degree, fraction_bits, flags))
    content = _streams(fixed, arrays) if version == 4 else _zipped(fixed + b"\0", arrays)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    outside = {
        "positions": clamped.any(axis=1),
        "base colours": ((base < -0.002) | (base > 1.002)).any(axis=1),
        "sizes": ((sizes < -0.5) | (sizes > 255.5)).any(axis=1),
        "harmonics": (np.abs(splats.sh_coeffs[:, 1:]) > 1.01).any(axis=(1, 2)),
    }
    return [
        f"The {name} of {rows.sum():,} Gaussians lie outside the range of SPZ and were clamped."
        for name, rows in outside.items()
        if rows.any()
    ]


def _open(path: Path) -> tuple[_Header, list[bytes]]:
    """Return the header and the unpacked arrays; every count is checked before anything is unpacked."""
    size = checked_file(path)
    start = read_bytes(path, 4)
    if start == MAGIC:
        return _open_streams(path, read_bytes(path, size))
    if start[:2] != b"\x1f\x8b":
        raise FormatError(f"{path.name}: is no SPZ file; it begins with {start!r}.")
    try:
        with gzip.open(path) as stream:
            header = _header(path, stream.read(16))
            if header.version not in (1, 2, 3):
                raise FormatError(
                    f"{path.name}: is version {header.version} of SPZ in a gzip stream; 1 to 3 are read."
                )
            if sum(header.sizes()) > size * _MOST_PACKED:
                raise _cut_off(path)
            arrays = [stream.read(wanted) for wanted in header.sizes()]
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path.name}: its gzip stream is damaged ({error}).") from None
    if [len(content) for content in arrays] != header.sizes():
        raise _cut_off(path)
    return header, arrays


def _open_streams(path: Path, content: bytes) -> tuple[_Header, list[bytes]]:
    header = _header(path, content[:16])
    if header.version != 4:
        raise FormatError(
            f"{path.name}: is version {header.version} of SPZ without gzip; only 4 is stored so."
        )
    if len(content) < 32 or sum(header.sizes()) > len(content) * _MOST_PACKED:
        raise _cut_off(path)
    num_streams, table = content[15], struct.unpack_from("<I", content, 16)[0]
    wanted = [size for size in header.sizes() if size]
    if num_streams != len(wanted) or table < 32 or table + 16 * num_streams > len(content):
        raise FormatError(
            f"{path.name}: announces {num_streams} streams from byte {table}; {len(wanted)} are expected."
        )
    at, arrays = table + 16 * num_streams, []
    for index, size in enumerate(wanted):
        packed, announced = struct.unpack_from("<QQ", content, table + 16 * index)
        if announced != size or packed > len(content) - at:
            raise FormatError(
                f"{path.name}: stream {index} announces {announced} bytes; {size} are expected."
            )
        try:
            arrays.append(unsqueeze(content[at : at + packed], size, must_declare=False))
        except ValueError as error:
            raise FormatError(f"{path.name}: stream {index} is damaged ({error}).") from None
        at += packed
    return header, arrays + [b""] * (len(header.sizes()) - len(arrays))


def _header(path: Path, content: bytes) -> _Header:
    if len(content) < 16 or content[:4] != MAGIC:
        raise FormatError(f"{path.name}: is no SPZ file; its header is missing.")
    version, count = struct.unpack_from("<II", content, 4)
    degree, fraction_bits, flags = content[12:15]
    if degree >= len(NUM_BASES):
        raise FormatError(
            f"{path.name}: has spherical harmonics of degree {degree}; up to 3 are read."
        )
    if not 0 < count <= MOST_GAUSSIANS or fraction_bits > 24:
        raise FormatError(
            f"{path.name}: announces {count:,} Gaussians with {fraction_bits} fraction bits; "
            f"1 to {MOST_GAUSSIANS:,} and 0 to 24 are read."
        )
    return _Header(version, count, degree, fraction_bits, flags)


def _cut_off(path: Path) -> FormatError:
    return FormatError(f"{path.name}: holds fewer Gaussians than it announces. Take another copy.")


def _positions(triples: np.ndarray, header: _Header) -> np.ndarray:
    if header.version == 1:
        return np.ascontiguousarray(triples).view("<f2").astype(np.float32)
    low, middle, high = triples.reshape(-1, 3, 3).astype(np.int32).transpose(2, 0, 1)
    steps = low | middle << 8 | high << 16
    steps = np.where(steps >= 1 << 23, steps - (1 << 24), steps)
    return (steps / float(1 << header.fraction_bits)).astype(np.float32)


def _fixed_point(means: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the fraction bits, fewer than 12 where a scene is too large for them, and the steps [N, 3]."""
    extent = float(np.abs(means).max())
    bits = FRACTION_BITS
    while bits > 0 and extent * 2**bits > 2**23 - 1:
        bits -= 1
    return bits, np.rint(means.astype(np.float64) * 2**bits)


def _rotations(codes: np.ndarray, version: int) -> np.ndarray:
    """Return rotations (w, x, y, z) [N, 4]."""
    if version <= 2:
        xyz = codes / 127.5 - 1
        w = np.sqrt(np.maximum(0.0, 1 - (xyz**2).sum(axis=1)))
        return np.column_stack((w, xyz)).astype(np.float32)
    words = np.ascontiguousarray(codes).view("<u4")[:, 0]
    # the last component lies in the lowest ten bits
    parts = np.stack([words >> shift & 1023 for shift in (20, 10, 0)], axis=1).astype(np.int64)
    three = (parts & _LARGEST) / _LARGEST * np.sqrt(0.5) * np.where(parts >> 9, -1, 1)
    return restore_four(three, (words >> 30).astype(np.int64))[:, [3, 0, 1, 2]]


def _packed_rotations(quats: np.ndarray) -> bytes:
    three, largest = keep_three(quats[:, [1, 2, 3, 0]])
    shares = np.minimum(np.rint(np.abs(three) / np.sqrt(0.5) * _LARGEST), _LARGEST)
    parts = shares.astype(np.uint32) | (three < 0).astype(np.uint32) << 9
    words = largest.astype(np.uint32) << 30 | parts[:, 0] << 20 | parts[:, 1] << 10 | parts[:, 2]
    return words.astype("<u4").tobytes()


def _packed_harmonics(rest: np.ndarray) -> bytes:
    """Round to the middle of steps of 2^(8 - bits), as the reference writer does."""
    codes = np.rint(rest * 128.0) + 128
    for band, bits in enumerate(_BITS, start=1):
        rows = slice(band**2 - 1, (band + 1) ** 2 - 1)
        step = 1 << (8 - bits)
        codes[:, rows] = (codes[:, rows] + step // 2) // step * step
    return to_bytes(codes).tobytes()


def _streams(fixed: bytes, arrays: list[bytes]) -> bytes:
    arrays = [content for content in arrays if content]
    packed = [squeeze(content) for content in arrays]
    table = b"".join(
        struct.pack("<QQ", len(small), len(full))
        for small, full in zip(packed, arrays, strict=True)
    )
    header = fixed + bytes((len(arrays),)) + struct.pack("<I", 32) + bytes(12)
    return header + table + b"".join(packed)


def _zipped(fixed: bytes, arrays: list[bytes]) -> bytes:
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=9, mtime=0) as stream:
        stream.write(fixed + b"".join(arrays))
    return target.getvalue()
