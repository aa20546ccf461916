"""The arrays of scene files of version 1: one zstd-packed member each, as core/formats/codings.py unpacks it.

Before an array is unpacked its size follows from its declared shape and is compared with what zstd
declares, so a small file cannot ask for much memory.
"""

from __future__ import annotations

import zlib
from typing import Any, Literal

from pydantic import Field

from core.formats.archive import Archive
from core.formats.codings import content_bytes, unpack
from core.formats.hyrf_meta import Entry, Meta, check_entry, parsed
from core.radiance.parts import Part

FREE_BYTES = 16 << 20  # what even the smallest file may unpack to
MAX_RATIO = 1000  # beyond that, bytes unpacked per byte of the file


class FirstEntry(Entry):
    """One array and the member that holds it."""

    member: str
    layout: Literal["rows", "planes", "differences"]


class FirstMeta(Meta):
    """The description of a file of version 1."""

    parts: dict[str, FirstEntry] = Field(max_length=1000)


def described(archive: Archive, values: dict[str, Any]) -> FirstMeta:
    """Return the description."""
    meta: FirstMeta = parsed(archive, FirstMeta, values)
    return meta


def read_parts(archive: Archive, meta: FirstMeta) -> dict[str, Part]:
    """Read all arrays."""
    budget = FREE_BYTES + MAX_RATIO * archive.size
    for name, entry in meta.parts.items():
        check_entry(archive, name, entry, meta.num_gaussians)
        budget -= content_bytes(tuple(entry.shape), entry.coding, entry.dtype)
    if budget < 0:
        raise archive.damaged(f"would unpack to over {MAX_RATIO} times its {archive.size} bytes")
    return {name: _read_part(archive, name, entry) for name, entry in meta.parts.items()}


def _read_part(archive: Archive, name: str, entry: FirstEntry) -> Part:
    payload = archive.read(entry.member, entry.packed_bytes)
    if len(payload) != entry.packed_bytes or zlib.crc32(payload) != entry.crc32:
        raise archive.damaged(f"has other bytes in '{name}' than were written")
    try:
        values = unpack(payload, tuple(entry.shape), entry.coding, entry.layout, entry.dtype)
    except ValueError as error:
        raise archive.damaged(f"has an array '{name}' that {error}") from None
    return Part(values, entry.component, entry.coding, entry.per_gaussian)
