"""Seed points in PLY files: what a capture brings along, and what the demo writes.

points  [P, 3]  float64  the file's coordinates
colors  [P, 3]  uint8    sRGB; mid grey where the file has none
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.base.errors import CaptureError
from core.capture.pictures import LFS_START

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "ascii"}
MAX_HEADER_BYTES = 65536


def read_points_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the vertices of a PLY file; faces and other properties are ignored."""
    data = path.read_bytes()
    if data.startswith(LFS_START):
        raise CaptureError(
            f"{path.name} is a Git LFS pointer ({len(data)} bytes), not the points. Run 'git lfs pull'."
        )
    order, count, kinds, start = _header(data, path.name)
    if order == "ascii":
        table = _ascii_rows(data[start:], count, kinds, path.name)
    else:
        row = np.dtype([(name, order + kind) for name, kind in kinds])
        if count > (len(data) - start) // row.itemsize:
            raise CaptureError(
                f"{path.name} promises {count} points of {row.itemsize} bytes but ends after "
                f"{len(data) - start} bytes of them. Copy or export it again."
            )
        table = np.frombuffer(data, row, count, start)
    names = table.dtype.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise CaptureError(f"{path.name} has no x, y and z. It holds: {', '.join(names)}.")
    with np.errstate(
        invalid="ignore"
    ):  # a damaged file holds numbers that signal when they are moved
        points = np.column_stack([table[axis].astype(np.float64) for axis in "xyz"])
    colors = np.full((count, 3), 128, np.uint8)
    if {"red", "green", "blue"} <= set(names):
        values = np.column_stack([table[axis] for axis in ("red", "green", "blue")])
        scale = 255.0 if values.dtype.kind == "f" else 1.0
        colors = np.clip(np.nan_to_num(values * scale), 0, 255).astype(np.uint8)
    return points, colors


def write_points_ply(path: Path, points: np.ndarray, colors: np.ndarray) -> None:
    """Write points [P, 3] with colours [P, 3] uint8 as binary PLY."""
    kinds = [(axis, "<f4") for axis in "xyz"] + [(c, "u1") for c in ("red", "green", "blue")]
    table = np.empty(len(points), np.dtype(kinds))
    for column, axis in enumerate("xyz"):
        table[axis] = points[:, column]
    for column, axis in enumerate(("red", "green", "blue")):
        table[axis] = colors[:, column]
    properties = [f"property float {axis}" for axis in "xyz"]
    properties += [f"property uchar {axis}" for axis in ("red", "green", "blue")]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    path.write_bytes("\n".join([*lines, *properties, "end_header\n"]).encode() + table.tobytes())


def _header(data: bytes, name: str) -> tuple[str, int, list[tuple[str, str]], int]:
    """Return byte order, number of vertices, their properties and where they start."""
    end = data.find(b"end_header", 0, MAX_HEADER_BYTES)
    line_end = data.find(b"\n", end)
    if not data.startswith(b"ply") or end < 0 or line_end < 0:
        raise CaptureError(
            f"{name} is not a PLY file ({len(data)} bytes). Export the points again."
        )
    order, count, element = "", -1, ""
    kinds: list[tuple[str, str]] = []
    for line in data[:end].decode("latin-1").splitlines():
        words = line.split()
        if words[:1] == ["format"] and len(words) > 1:
            order = ORDERS.get(words[1], "")
        elif words[:1] == ["element"] and len(words) == 3:
            if not kinds and element and element != "vertex":
                break  # something stands before the vertices
            element = words[1]
            count = int(words[2]) if element == "vertex" and words[2].isdecimal() else count
        elif words[:1] == ["property"] and element == "vertex":
            if len(words) != 3 or words[1] not in TYPES or words[2] in dict(kinds):
                raise CaptureError(f"{name}: cannot read '{line}'. Export the points again.")
            kinds.append((words[2], TYPES[words[1]]))
    if not order or count < 0 or not kinds:
        raise CaptureError(
            f"{name} does not start with a list of vertices. Export the points again."
        )
    return order, count, kinds, line_end + 1


def _ascii_rows(text: bytes, count: int, kinds: list[tuple[str, str]], name: str) -> np.ndarray:
    numbers = text.split(maxsplit=min(count, len(text)) * len(kinds))[: count * len(kinds)]
    if len(numbers) < count * len(kinds):
        raise CaptureError(f"{name} promises {count} points but ends early. Export it again.")
    try:
        values = np.array(numbers, dtype=np.float64).reshape(count, len(kinds))
    except ValueError:
        raise CaptureError(f"{name} has words where numbers belong. Export it again.") from None
    table = np.empty(count, np.dtype(kinds))
    with np.errstate(invalid="ignore"):
        for column, (key, _) in enumerate(kinds):
            table[key] = values[:, column]
    return table
