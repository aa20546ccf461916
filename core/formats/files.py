"""Put a finished file in place of an old one, or leave the old one alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.base.errors import FormatError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes its place, else it is removed."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise FormatError(
            f"{path}: cannot be written ({reason}). Choose another place or free space."
        ) from None


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # only there can a folder be synced
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checked_file(path: Path) -> int:
    """Return the size of an existing, ordinary file in bytes, or say what is wrong with the path."""
    try:
        if path.is_dir():
            raise FormatError(f"{path}: is a folder; name a scene file inside it.")
        return path.stat().st_size
    except OSError as error:
        raise FormatError(f"{path}: cannot be opened ({error.strerror or error}).") from None


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """Return a file's content, at most so many bytes of it."""
    try:
        with path.open("rb") as file:
            return file.read(most_bytes)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error}).") from None
