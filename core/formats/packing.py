"""Bytes of arrays in an order that packs well, and zstd around them; version 1 of the scene file had three.

rows         as in memory
planes       column after column
differences  column after column, each byte minus the one before, modulo 256
"""

from __future__ import annotations

import numpy as np
import zstandard

PACK_LEVEL = 19


def squeeze(content: bytes) -> bytes:
    """Pack bytes; the frame declares their number."""
    return zstandard.ZstdCompressor(level=PACK_LEVEL, write_content_size=True).compress(content)


def unpacked_bytes(payload: bytes, most: int) -> int:
    """Return the size that a frame declares, if it is at most `most`."""
    try:
        declared = zstandard.get_frame_parameters(payload).content_size
    except zstandard.ZstdError as error:
        raise ValueError(f"cannot be unpacked ({error})") from None
    if declared > most:
        raise ValueError(f"unpacks to {declared} bytes, at most {most} are expected")
    return declared


def unsqueeze(payload: bytes, size: int, must_declare: bool = True) -> bytes:
    """Unpack exactly `size` bytes; a declared size is compared before anything is allocated."""
    try:
        declared = zstandard.get_frame_parameters(payload).content_size
    except zstandard.ZstdError as error:
        raise ValueError(f"cannot be unpacked ({error})") from None
    if declared != size and (must_declare or declared != zstandard.CONTENTSIZE_UNKNOWN):
        raise ValueError(f"unpacks to {declared} bytes where its shape needs {size}")
    try:
        content = zstandard.ZstdDecompressor().decompress(
            payload, max_output_size=size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise ValueError(f"cannot be unpacked ({error})") from None
    if len(content) != size:
        raise ValueError(f"unpacks to {len(content)} bytes where its shape needs {size}")
    return content


def put_back(content: bytes, rows: int, columns: int, layout: str) -> np.ndarray:
    """Return codes [R, C] from one of the orders."""
    codes = np.frombuffer(content, np.uint8)
    if layout == "rows":
        return codes.reshape(rows, columns)
    codes = codes.reshape(columns, rows).T
    return np.cumsum(codes, axis=0, dtype=np.uint8) if layout == "differences" else codes


def byte_planes(values: np.ndarray) -> bytes:
    """Order the bytes of numbers by significance, so that alike bytes stand together."""
    return values.reshape(-1).view(np.uint8).reshape(-1, values.dtype.itemsize).T.tobytes()


def from_byte_planes(content: bytes, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Undo `byte_planes`."""
    size = np.dtype(dtype).itemsize
    planes = np.frombuffer(content, np.uint8).reshape(size, -1)
    values = np.ascontiguousarray(planes.T).reshape(-1)
    return (values != 0 if dtype == "|b1" else values.view(dtype)).reshape(shape)
