"""The native scene file: one zip archive of `meta.json` and one zstd-packed member per array.

    meta.json         format, version, kind, step, num_gaussians, bounds, up, to_original, settings,
                      components (bytes on disk), parts (how each array is coded)
    summary.json.zst  what the scene remembers of its capture
    NAME.zst          an array as core/formats/codings.py packs it

Nothing in it is executed. Before an array is unpacked its size follows from its declared shape and
is compared with what zstd declares, so a small file cannot ask for much memory. Unknown members and
fields are ignored; a newer major version is refused.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.base.errors import FormatError
from core.capture.camera import Similarity
from core.formats.archive import Archive, write_archive
from core.formats.codings import RAW_DTYPES, content_bytes, pack, position_codes, unpack
from core.formats.files import replacing
from core.formats.packing import squeeze, unpacked_bytes, unsqueeze
from core.radiance.parts import Coding, Part, SceneParts

VERSION = (1, 0)
META = "meta.json"
SUMMARY = "summary.json.zst"
MAX_META_BYTES = 4 << 20
FREE_BYTES = 16 << 20  # what even the smallest file may unpack to
MAX_RATIO = 1000  # beyond that, bytes unpacked per byte of the file
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}")

Number = Annotated[float, Field(allow_inf_nan=False)]
Vector = Annotated[list[Number], Field(min_length=3, max_length=3)]


class _Frame(BaseModel):
    scale: Number = Field(gt=0)
    rotation: Annotated[list[Vector], Field(min_length=3, max_length=3)]
    translation: Vector


class _Entry(BaseModel):
    member: str
    component: str = Field(max_length=80)
    coding: Coding
    layout: Literal["rows", "planes", "differences"]
    shape: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(max_length=4)
    dtype: Literal[RAW_DTYPES]  # type: ignore[valid-type]
    per_gaussian: bool
    crc32: int
    packed_bytes: int = Field(ge=0)


class _Meta(BaseModel):
    model_config = ConfigDict(extra="ignore")

    format: Literal["hyrf"]
    version: tuple[int, int]
    kind: str = Field(max_length=80)
    step: int = Field(ge=0)
    num_gaussians: int = Field(ge=0, lt=2**31)
    bounds: Annotated[list[Vector], Field(min_length=2, max_length=2)]
    up: Vector
    to_original: _Frame
    settings: dict[str, Any] = {}
    parts: dict[str, _Entry] = Field(max_length=1000)


def write(scene: SceneParts, path: Path) -> None:
    """Write a scene; the file takes its name only after it was read back."""
    path = Path(path)
    meta, members = _packed(scene, path)
    with replacing(path) as temporary:
        summary = squeeze(_to_json(scene.summary))
        write_archive(temporary, {META: _to_json(meta), SUMMARY: summary, **members})
        read(temporary)


def read(path: Path) -> SceneParts:
    """Read a scene, or raise one sentence about what is wrong with the file."""
    with Archive(Path(path)) as archive:
        meta = _read_meta(archive)
        budget = FREE_BYTES + MAX_RATIO * archive.size
        for name, entry in meta.parts.items():
            _check_entry(archive, name, entry, meta.num_gaussians)
            budget -= content_bytes(tuple(entry.shape), entry.coding, entry.dtype)
        if budget < 0:
            raise archive.damaged(
                f"would unpack to over {MAX_RATIO} times its {archive.size} bytes"
            )
        parts = {name: _read_part(archive, name, entry) for name, entry in meta.parts.items()}
        summary = _read_summary(archive)
    return SceneParts(
        kind=meta.kind,
        parts=parts,
        settings=meta.settings,
        step=meta.step,
        bounds=np.array(meta.bounds),
        up=np.array(meta.up),
        to_original=_similarity(archive, meta.to_original),
        summary=summary,
    )


def info(path: Path) -> dict[str, Any]:
    """Return what a scene file says about itself; no array is read."""
    path = Path(path)
    with Archive(path) as archive:
        meta, summary = _read_meta(archive), _read_summary(archive)
    entries = {name: entry.model_dump() for name, entry in meta.parts.items()}
    return {
        "kind": meta.kind,
        "num_gaussians": meta.num_gaussians,
        "sh_degree": meta.settings.get("sh_degree"),
        "bounds": meta.bounds,
        "bytes": archive.size,
        "bytes_by_component": _components(entries, path),
        "step": meta.step,
        "to_original": meta.to_original.model_dump(),
        "summary": summary,
    }


# --- writing ------------------------------------------------------------------------------------


def _packed(scene: SceneParts, path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the description and the members; Gaussians are put in Morton order."""
    order = _morton_order(scene, path)
    entries, members = {}, {}
    for name, part in scene.parts.items():
        if not _NAME.fullmatch(name):
            raise FormatError(f"{path.name}: '{name}' is no name for an array in a file.")
        values = part.values
        if part.per_gaussian and order is not None:
            values = values[order]
        try:
            packed = pack(values, part.coding)
        except ValueError as error:
            raise FormatError(f"{path.name}: cannot be written, '{name}' {error}.") from None
        dtype = values.dtype.newbyteorder("<").str if part.coding is Coding.RAW else "<f4"
        entries[name] = {
            "member": f"{name}.zst",
            "component": part.component,
            "coding": part.coding.value,
            "layout": packed.layout,
            "shape": list(values.shape),
            "dtype": dtype,
            "per_gaussian": part.per_gaussian,
            "crc32": zlib.crc32(packed.payload),
            "packed_bytes": len(packed.payload),
        }
        members[f"{name}.zst"] = packed.payload
    meta = {
        "format": "hyrf",
        "version": list(VERSION),
        "kind": scene.kind,
        "step": int(scene.step),
        "num_gaussians": _num_gaussians(scene),
        "bounds": np.asarray(scene.bounds, dtype=float).tolist(),
        "up": np.asarray(scene.up, dtype=float).tolist(),
        "to_original": scene.to_original.to_json(),
        "settings": scene.settings,
        "components": _sums(entries),
        "parts": entries,
    }
    return meta, members


def _num_gaussians(scene: SceneParts) -> int:
    return next((len(part.values) for part in scene.parts.values() if part.per_gaussian), 0)


def _morton_order(scene: SceneParts, path: Path) -> np.ndarray | None:
    """Return the order in which neighbours in space are neighbours in the file."""
    own = {name: part for name, part in scene.parts.items() if part.per_gaussian}
    counts = {name: len(part.values) for name, part in own.items()}
    if len(set(counts.values())) > 1:
        raise FormatError(
            f"{path.name}: cannot be written, its arrays differ in length ({counts})."
        )
    for name, part in own.items():
        if part.coding is Coding.POSITION16:
            try:
                return np.argsort(position_codes(part.values), kind="stable")
            except ValueError as error:
                raise FormatError(f"{path.name}: cannot be written, '{name}' {error}.") from None
    return None


def _sums(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in entries.values():
        sums[entry["component"]] = sums.get(entry["component"], 0) + entry["packed_bytes"]
    return sums


def _components(entries: Mapping[str, Mapping[str, Any]], path: Path) -> dict[str, int]:
    sums = _sums(entries)
    return {**sums, "container": path.stat().st_size - sum(sums.values())}


def _to_json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(_plain(values), separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    """Return JSON values; a number that is not finite (an undefined metric) becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# --- reading ------------------------------------------------------------------------------------


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _from_json(archive: Archive, name: str, content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise archive.damaged(f"has a '{name}' that cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise archive.damaged(f"has a '{name}' that is no description")
    return values


def _read_summary(archive: Archive) -> dict[str, Any]:
    payload = archive.read(SUMMARY, MAX_META_BYTES)
    try:
        content = unsqueeze(payload, unpacked_bytes(payload, MAX_META_BYTES))
    except ValueError as error:
        raise archive.damaged(f"has a '{SUMMARY}' that {error}") from None
    return _from_json(archive, SUMMARY, content)


def _read_meta(archive: Archive) -> _Meta:
    values = _from_json(archive, META, archive.read(META, MAX_META_BYTES))
    version = values.get("version")
    major = version[0] if isinstance(version, list) and version else None
    if isinstance(major, int) and major > VERSION[0]:
        raise FormatError(
            f"{archive.path.name}: was written in version {major} of the format, this program "
            f"reads up to {VERSION[0]}. Update the program to open it."
        )
    try:
        return _Meta.model_validate(values)
    except (ValidationError, RecursionError) as error:
        raise archive.damaged(f"has an invalid description ({_first_problem(error)})") from None


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(key) for key in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]


def _check_entry(archive: Archive, name: str, entry: _Entry, num_gaussians: int) -> None:
    shape = entry.shape
    if not shape and entry.coding is not Coding.RAW and entry.coding is not Coding.FLOAT16:
        raise archive.damaged(f"declares '{name}' without a shape")
    if entry.coding is Coding.POSITION16 and (len(shape) != 2 or shape[1] != 3):
        raise archive.damaged(f"declares positions '{name}' of shape {shape}")
    if entry.coding is not Coding.RAW and entry.dtype != "<f4":
        raise archive.damaged(f"declares '{name}' as {entry.dtype}, which its coding cannot hold")
    if entry.per_gaussian and (not shape or shape[0] != num_gaussians):
        raise archive.damaged(f"declares {num_gaussians} Gaussians, but '{name}' has shape {shape}")


def _read_part(archive: Archive, name: str, entry: _Entry) -> Part:
    payload = archive.read(entry.member, entry.packed_bytes)
    if len(payload) != entry.packed_bytes or zlib.crc32(payload) != entry.crc32:
        raise archive.damaged(f"has other bytes in '{name}' than were written")
    try:
        values = unpack(payload, tuple(entry.shape), entry.coding, entry.layout, entry.dtype)
    except ValueError as error:
        raise archive.damaged(f"has an array '{name}' that {error}") from None
    return Part(values, entry.component, entry.coding, entry.per_gaussian)


def _similarity(archive: Archive, frame: _Frame) -> Similarity:
    rotation = np.array(frame.rotation)
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4):
        raise archive.damaged("has a coordinate frame whose rotation is none")
    return Similarity(frame.scale, rotation, np.array(frame.translation))
