"""Undistorted pictures, kept on disk so that each is resampled once.

The cache's folder `undistorted` holds one file for each picture: a key, then the pixels packed
without loss. A changed picture, lens or recipe has another key and overwrites its file, so the folder never
outgrows the pictures: about 0.8 of [H, W, 3] bytes each (65 MB for 50 pictures of 540x960). It may
be deleted at any time; that only costs the resampling.

Plain zstd, because it must be faster than resampling: measured on 540x960, decoding and resampling
a JPEG takes 24 ms, reading it back 3 ms; as PNG it would be 0.5 of the bytes, but 30 ms.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from core.base.cache import cache_folder, keep
from core.capture.lens import Lens
from core.capture.pixels import decode

VERSION = 1  # of what Lens.undistort computes: part of the key
KEY_BYTES = 16


def undistorted(path: Path, lens: Lens, is_turned: bool) -> np.ndarray:
    """Return a picture [H, W, 3] or [H, W, 4] uint8 as the pinhole camera of its lens sees it."""
    file = path.stat()
    key = _digest(f"{VERSION} {file.st_size} {file.st_mtime_ns} {is_turned} {lens}")
    entry = cache_folder("undistorted") / f"{_digest(str(path.absolute())).hex()}.zst"
    picture = _stored(entry, key, lens)
    if picture is None:
        import zstandard

        picture = lens.undistort(decode(path.read_bytes(), is_turned))
        packed = zstandard.ZstdCompressor(1, write_checksum=True).compress(picture.tobytes())
        keep(entry, key + packed)
    return picture


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=KEY_BYTES).digest()


def _stored(entry: Path, key: bytes, lens: Lens) -> np.ndarray | None:
    """Return a kept picture; one of another key and a damaged one count as none."""
    import zstandard

    try:
        content = entry.read_bytes()
        packed = content[KEY_BYTES:]
        num_bytes = zstandard.get_frame_parameters(packed).content_size
        pixels = lens.width * lens.height
        if content[:KEY_BYTES] != key or num_bytes not in (3 * pixels, 4 * pixels):
            return None
        values = np.frombuffer(zstandard.ZstdDecompressor().decompress(packed), np.uint8)
    except (OSError, zstandard.ZstdError):
        return None
    return values.reshape(lens.height, lens.width, -1).copy()
