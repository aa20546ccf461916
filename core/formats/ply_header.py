"""The header of a binary PLY file, understood before anything of the records is read.

A file is a list of elements; an element is a count and a record of named scalar properties.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.base.errors import FormatError
from core.formats.files import checked_file

MAX_HEADER_BYTES = 1 << 16
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


@dataclass(frozen=True)
class Element:
    """One run of equal records: how many, of which properties, and from which byte on."""

    count: int
    record: np.dtype
    offset: int


@dataclass(frozen=True)
class PlyHeader:
    """What stands before the records."""

    path: Path
    elements: dict[str, Element]

    def records(self, name: str) -> np.ndarray:
        """Read the records [count] of one element."""
        element = self.elements[name]
        try:
            records = np.fromfile(self.path, element.record, element.count, offset=element.offset)
        except OSError as error:
            raise FormatError(f"{self.path}: cannot be read ({error.strerror or error}).") from None
        if len(records) != element.count:
            raise FormatError(f"{self.path.name}: was cut off while it was read. Try again.")
        return records


def read_header(path: Path) -> PlyHeader:
    """Understand the header, and compare its counts with the file's size before anything is allocated."""
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
    elements: dict[str, Element] = {}
    for name, count, properties in _elements(path, lines):
        record = np.dtype(list(properties.items()))
        if count * record.itemsize > size - offset:
            raise FormatError(
                f"{path.name}: announces {count} records '{name}' of {record.itemsize} bytes, but only "
                f"{size - offset} bytes follow. The file is cut off; take another copy."
            )
        elements[name] = Element(count, record, offset)
        offset += count * record.itemsize
    return PlyHeader(path, elements)


def _elements(path: Path, lines: list[list[str]]) -> list[tuple[str, int, dict[str, str]]]:
    """Return name, count and properties (name to type) of the elements, up to the first with lists."""
    found: list[tuple[str, int, dict[str, str]]] = []
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
            found.append((words[1], _count(path, words[2]), {}))
        elif words[0] == "property" and words[1:2] == ["list"] and len(found) > 1:
            return found[:-1]  # faces, say: nothing behind can be found without reading them
        elif words[0] == "property" and found:
            properties = found[-1][2]
            if len(words) != 3 or words[1] not in _TYPES or words[2] in properties:
                raise FormatError(f"{path.name}: has a property line '{' '.join(words)[:60]}'.")
            properties[words[2]] = _TYPES[words[1]]
        else:
            raise FormatError(f"{path.name}: has a header line '{' '.join(words)[:60]}'.")
    return found


def _count(path: Path, word: str) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) < 12):
        raise FormatError(f"{path.name}: announces '{word[:30]}' records, which is no count.")
    return int(word)
