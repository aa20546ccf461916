"""The native scene file: a zip archive of three descriptions and all arrays, coded to few bytes.

    meta.json         format and version, so that any program can say what it needs
    scene.json.zst    kind, step, num_gaussians, bounds, up, to_original, settings, and of each array
                      its component, shape, step, bytes and checksum
    summary.json.zst  what the scene remembers of its capture
    arrays.bin        the arrays one after another, as core/formats/rows.py codes them

Nothing in it is executed. What an array needs in memory follows from its declared shape, and the
sum is limited by the size of the file before anything is allocated. Unknown members and fields are
ignored; a newer major version is refused. Files of version 1 are read (hyrf_first.py).
"""

from __future__ import annotations

import io
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from core.base.errors import FormatError
from core.formats import hyrf_first, precision, rows
from core.formats.archive import Archive, write_archive
from core.formats.codings import checked, packed, unpack
from core.formats.files import replacing
from core.formats.hyrf_meta import (
    Entry,
    Meta,
    check_entry,
    from_json,
    parsed,
    similarity,
    to_json,
)
from core.formats.packing import squeeze, unpacked_bytes, unsqueeze
from core.formats.quality import Quality
from core.radiance.parts import Coding, Part, SceneParts

VERSION = (2, 0)
META, DESCRIPTION, ARRAYS = "meta.json", "scene.json.zst", "arrays.bin"
SUMMARY = "summary.json.zst"
SUMMARY_DIGITS = 7  # of the cameras and figures remembered
MAX_META_BYTES = 4 << 20
FREE_BYTES = 48 << 20  # what even the smallest file may need in memory
MAX_RATIO = 4000  # beyond that, bytes in memory per byte of the file
BYTES_PER_VALUE, BYTES_PER_GAUSSIAN = 16, 96  # while decoding
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}")


class _Entry(Entry):
    step: int = Field(0, ge=-800, le=600)  # see core/formats/precision.py
    unit: int = Field(0, ge=-150, le=150)


class _Meta(Meta):
    parts: dict[str, _Entry] = Field(max_length=1000)


def write(scene: SceneParts, path: Path, coarseness: float = Quality.BEST.coarseness) -> None:
    """Write a scene; the file takes its name only after it was read back."""
    path = Path(path)
    members = _members(scene, path, coarseness)
    with replacing(path) as temporary:
        write_archive(temporary, members)
        read(temporary)


def encoded(scene: SceneParts, coarseness: float) -> bytes:
    """Return the bytes of the file that `write` would write."""
    content = io.BytesIO()
    write_archive(content, _members(scene, Path("scene.hyrf"), coarseness))
    return content.getvalue()


def read(path: Path) -> SceneParts:
    """Read a scene, or raise one sentence about what is wrong with the file."""
    with Archive(Path(path)) as archive:
        meta = _read_meta(archive)
        if isinstance(meta, hyrf_first.FirstMeta):
            parts = hyrf_first.read_parts(archive, meta)
        else:
            parts = _read_parts(archive, meta)
        summary = _unpacked(archive, SUMMARY)
        frame = similarity(archive, meta.to_original)
    return SceneParts(
        kind=meta.kind,
        parts=parts,
        settings=meta.settings,
        step=meta.step,
        bounds=np.array(meta.bounds),
        up=np.array(meta.up),
        to_original=frame,
        summary=summary,
    )


def info(path: Path) -> dict[str, Any]:
    """Return what a scene file says about itself; no array is read."""
    path = Path(path)
    with Archive(path) as archive:
        meta, summary = _read_meta(archive), _unpacked(archive, SUMMARY)
    sums: dict[str, int] = {}
    for entry in meta.parts.values():
        sums[entry.component] = sums.get(entry.component, 0) + entry.packed_bytes
    return {
        "kind": meta.kind,
        "version": ".".join(map(str, meta.version)),
        "num_gaussians": meta.num_gaussians,
        "sh_degree": meta.settings.get("sh_degree"),
        "bounds": meta.bounds,
        "bytes": archive.size,
        "bytes_by_component": {**sums, "container": archive.size - sum(sums.values())},
        "step": meta.step,
        "to_original": meta.to_original.model_dump(),
        "summary": summary,
    }


# --- writing ------------------------------------------------------------------------------------


def _members(scene: SceneParts, path: Path, coarseness: float) -> dict[str, bytes]:
    meta, payload = _packed(scene, path, coarseness)
    return {
        META: to_json({"format": "hyrf", "version": list(VERSION)}),
        DESCRIPTION: squeeze(to_json(meta)),
        SUMMARY: squeeze(to_json(scene.summary, SUMMARY_DIGITS)),
        ARRAYS: payload,
    }


def _packed(scene: SceneParts, path: Path, coarseness: float) -> tuple[dict[str, Any], bytes]:
    """Return the description and the arrays; Gaussians are put in their order along a curve."""
    counts = {name: len(part.values) for name, part in scene.parts.items() if part.per_gaussian}
    if len(set(counts.values())) > 1:
        raise FormatError(
            f"{path.name}: cannot be written, its arrays differ in length ({counts})."
        )
    count = next(iter(counts.values()), 0)
    coder, entries, payloads = _Coder(count, coarseness), {}, []
    for name in sorted(scene.parts, key=lambda name: not _is_places(scene.parts[name])):
        part = scene.parts[name]
        if not _NAME.fullmatch(name):
            raise FormatError(f"{path.name}: '{name}' is no name for an array in a file.")
        try:
            step, payload = coder.code(name, part)
        except ValueError as error:
            raise FormatError(f"{path.name}: cannot be written, '{name}' {error}.") from None
        dtype = part.values.dtype.newbyteorder("<").str if part.coding is Coding.RAW else "<f4"
        entries[name] = {
            "component": part.component,
            "coding": part.coding.value,
            "shape": list(part.values.shape),
            "dtype": dtype,
            "per_gaussian": part.per_gaussian,
            "crc32": zlib.crc32(payload),
            "packed_bytes": len(payload),
            **step,
        }
        payloads.append(payload)
    meta = {
        "format": "hyrf",
        "version": list(VERSION),
        "kind": scene.kind,
        "step": int(scene.step),
        "num_gaussians": count,
        "bounds": np.asarray(scene.bounds, dtype=float).tolist(),
        "up": np.asarray(scene.up, dtype=float).tolist(),
        "to_original": scene.to_original.to_json(),
        "settings": scene.settings,
        "parts": entries,
    }
    return meta, b"".join(payloads)


class _Coder:
    """Codes array after array; those of Gaussians after what is known of them already."""

    def __init__(self, count: int, coarseness: float) -> None:
        self.coarseness, self.known = coarseness, rows.Known.nothing(count)
        self._order: np.ndarray | None = None  # along the curve, once positions are known

    def code(self, name: str, part: Part) -> tuple[dict[str, int], bytes]:
        """Return what the description has to say about the steps of an array, and its bytes."""
        values = np.ascontiguousarray(part.values)
        if part.coding is Coding.RAW:
            return {}, packed(self._in_order(part, values))
        values = checked(values)
        if _is_places(part) and self._order is None:
            return self._code_places(values)
        number = precision.grid_of(name, part.coding, values, self.coarseness)
        codes = precision.codes_of(self._in_order(part, values), number)
        if part.per_gaussian and _num_columns(values.shape) <= rows.MOST_COLUMNS:
            codes = codes.reshape(len(codes), _num_columns(values.shape))
            payload = rows.code_columns(codes, self.known)
            self.known = self.known.extended(codes)
        elif part.coding is Coding.TABLE8:
            payload = rows.code_table(codes.reshape(rows.table_shape(values.shape)))
        else:
            payload = rows.code_weights(codes.reshape(-1))
        return {"step": number}, payload

    def _code_places(self, values: np.ndarray) -> tuple[dict[str, int], bytes]:
        if values.ndim != 2 or values.shape[1] != 3:
            raise ValueError(f"has the shape {list(values.shape)}; positions are [N, 3]")
        unit, number = precision.position_grid(values, self.coarseness)
        places = precision.places_of(values, unit, number)
        self._order = rows.curve_order(places)
        self.known = rows.Known(places[self._order], self.known.codes)
        return {"step": number, "unit": unit}, rows.code_places(self.known.places)

    def _in_order(self, part: Part, values: np.ndarray) -> np.ndarray:
        return values[self._order] if part.per_gaussian and self._order is not None else values


def _is_places(part: Part | Entry) -> bool:
    return part.coding is Coding.POSITION16 and part.per_gaussian


def _num_columns(shape: tuple[int, ...] | list[int]) -> int:
    return math.prod(shape[1:])


# --- reading ------------------------------------------------------------------------------------


def _read_meta(archive: Archive) -> _Meta | hyrf_first.FirstMeta:
    values = from_json(archive, META, archive.read(META, MAX_META_BYTES))
    version = values.get("version")
    major = version[0] if isinstance(version, list) and version else None
    if isinstance(major, int) and major > VERSION[0]:
        raise FormatError(
            f"{archive.path.name}: was written in version {major} of the format, this program "
            f"reads up to {VERSION[0]}. Update the program to open it."
        )
    if major == VERSION[0] and values.get("format") == "hyrf":
        meta: _Meta = parsed(archive, _Meta, _unpacked(archive, DESCRIPTION))
        return meta
    return hyrf_first.described(archive, values)


def _unpacked(archive: Archive, name: str) -> dict[str, Any]:
    payload = archive.read(name, MAX_META_BYTES)
    try:
        content = unsqueeze(payload, unpacked_bytes(payload, MAX_META_BYTES))
    except ValueError as error:
        raise archive.damaged(f"has a '{name}' that {error}") from None
    return from_json(archive, name, content)


def _read_parts(archive: Archive, meta: _Meta) -> dict[str, Part]:
    _check_memory(archive, meta)
    content = archive.read(ARRAYS, archive.size)
    expected = sum(entry.packed_bytes for entry in meta.parts.values())
    if expected != len(content):
        raise archive.damaged(f"has {len(content)} bytes of arrays and declares {expected}")
    parts: dict[str, Part] = {}
    decoder, end = _Decoder(meta.num_gaussians), 0
    for name, entry in meta.parts.items():
        start, end = end, end + entry.packed_bytes
        payload = content[start:end]
        if zlib.crc32(payload) != entry.crc32:
            raise archive.damaged(f"has other bytes in '{name}' than were written")
        try:
            values = decoder.decode(entry, payload).reshape(entry.shape)
        except ValueError as error:
            raise archive.damaged(f"has an array '{name}' that {error}") from None
        parts[name] = Part(values, entry.component, entry.coding, entry.per_gaussian)
    return parts


def _check_memory(archive: Archive, meta: _Meta) -> None:
    """Refuse a file that would need far more memory than its size explains."""
    needed = BYTES_PER_GAUSSIAN * meta.num_gaussians
    for name, entry in meta.parts.items():
        check_entry(archive, name, entry, meta.num_gaussians)
        needed += BYTES_PER_VALUE * entry.size
    if needed > FREE_BYTES + MAX_RATIO * archive.size:
        raise archive.damaged(
            f"would unpack to {needed} bytes, over {MAX_RATIO} times its {archive.size} bytes"
        )


class _Decoder:
    """The other way round."""

    def __init__(self, count: int) -> None:
        self.known, self._has_places = rows.Known.nothing(count), False

    def decode(self, entry: _Entry, payload: bytes) -> np.ndarray:
        """Return the values of an array."""
        if entry.coding is Coding.RAW:
            return unpack(payload, tuple(entry.shape), Coding.RAW, "planes", entry.dtype)
        if _is_places(entry) and not self._has_places:
            places = rows.decode_places(payload, entry.shape[0])
            self.known, self._has_places = rows.Known(places, self.known.codes), True
            return _finite(precision.positions_of(places, entry.unit, entry.step))
        if entry.per_gaussian and _num_columns(entry.shape) <= rows.MOST_COLUMNS:
            codes = rows.decode_columns(payload, _num_columns(entry.shape), self.known)
            self.known = self.known.extended(codes)
        elif entry.coding is Coding.TABLE8:
            codes = rows.decode_table(payload, rows.table_shape(tuple(entry.shape)))
        else:
            codes = rows.decode_weights(payload, entry.size)
        return _finite(precision.values_of(codes, entry.step))


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError("holds values that are not finite numbers")
    return values
