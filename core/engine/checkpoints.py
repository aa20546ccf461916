"""Checkpoints that survive a kill at any moment: written beside, verified, then renamed.

A generation is one file, `step-000001500.ckpt`:

    8 bytes   magic "HYRFCKPT"
    4 bytes   format version, little endian
    8 bytes   length of the payload
    32 bytes  SHA-256 of the payload
    payload   safetensors with the nesting as JSON metadata (core/engine/packing.py)

Saving: write `name.tmp` in the same folder, flush, fsync, read back and compare, rename, fsync
the folder; only then are older generations removed. A crash leaves the old or the new one whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from core.base.errors import RunError
from core.base.events import Event, Notice

MAGIC = b"HYRFCKPT"
VERSION = 1
HEADER = struct.Struct("<8sIQ32s")
CHUNK_BYTES = 1 << 24
NAME = re.compile(r"step-(\d{9,})\.ckpt")


def _ignore(_event: Event) -> None:
    """Report to nobody."""


class CheckpointStore:
    """The newest `keep` generations of one run. One writer at a time (core/engine/locks.py)."""

    def __init__(
        self, folder: Path, keep: int = 3, report: Callable[[Event], None] = _ignore
    ) -> None:
        self.folder = Path(folder)
        self.keep = max(1, keep)
        self._report = report

    def generations(self) -> list[tuple[int, Path]]:
        """List (step, path) of what is there, newest first, good or damaged."""
        if not self.folder.is_dir():
            return []
        found = [
            (int(match[1]), path)
            for path in self.folder.iterdir()
            if (match := NAME.fullmatch(path.name))
        ]
        return sorted(found, reverse=True)

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write one verified generation and remove the ones it replaces."""
        from core.engine.packing import pack

        path = self.folder / f"step-{step:09d}.ckpt"
        temporary = path.with_name(path.name + ".tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                content = _Content(file)
                pack(dict(state), {"step": step}, content.write)
                digest = content.finish()
                file.flush()
                os.fsync(file.fileno())
            if _digest_of(temporary) != digest:
                raise ValueError("what was read back is not what was written")
            os.replace(temporary, path)
            _sync_folder(self.folder)
        except (OSError, ValueError, RunError) as error:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)
            if isinstance(error, RunError):  # about what the state holds
                raise
            raise RunError(
                f"{path}: the checkpoint could not be written ({_reason(error)}). "
                "Free some space or choose another run folder."
            ) from None
        self._remove_replaced(step)
        return path

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """Return (step, state) of the newest good generation; say which damaged ones were passed over."""
        generations = self.generations()
        for step, path in generations:
            try:
                return step, load_checkpoint(path)
            except RunError as error:
                self._report(
                    Notice(f"{error} Trying the one before.", "warning", key=f"damaged {path.name}")
                )
        if not generations:
            return None
        raise RunError(
            f"{self.folder}: none of its {len(generations)} checkpoint files can be read. "
            "Start a new run, or restore the folder from a copy."
        )

    def _remove_replaced(self, step: int) -> None:
        """Keep the newest generations up to `step`; later ones were damaged and have been passed over."""
        generations = self.generations()
        good = [path for at, path in generations if at <= step][: self.keep]
        leftovers = [path for _, path in generations if path not in good]
        for path in [*leftovers, *self.folder.glob("step-*.ckpt.tmp")]:
            path.unlink(missing_ok=True)


class _Content:
    """Writes a payload behind its header, whose length and checksum are known only at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self.length = 0
        self._file, self._hash = file, hashlib.sha256()
        file.write(bytes(HEADER.size))

    def write(self, piece: bytes | memoryview) -> None:
        self._file.write(piece)
        self._hash.update(piece)
        self.length += len(piece)

    def finish(self) -> bytes:
        """Write the header and return the checksum."""
        digest = self._hash.digest()
        self._file.seek(0)
        self._file.write(HEADER.pack(MAGIC, VERSION, self.length, digest))
        return digest


def _digest_of(path: Path) -> bytes:
    """Return the checksum of what lies behind the header, without holding it."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(HEADER.size)
        while piece := file.read(CHUNK_BYTES):
            found.update(piece)
    return found.digest()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one generation; raise a RunError when a single bit of it is wrong."""
    from core.engine.packing import unpack

    try:
        state, header = unpack(_payload(path))
        if header["step"] != int(NAME.fullmatch(path.name)[1]):  # type: ignore[index]
            raise ValueError(f"it holds step {header['step']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path.name}: damaged checkpoint ({_reason(error)}).") from None
    return state


def _payload(path: Path) -> bytes:
    """Return the payload after checking magic, version, length and checksum."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(HEADER.size)
        if len(head) < HEADER.size:
            raise ValueError(f"{size} bytes, shorter than its header of {HEADER.size}")
        magic, version, length, digest = HEADER.unpack(head)
        if magic != MAGIC:
            raise ValueError("it does not begin like a checkpoint")
        if version != VERSION:
            raise ValueError(f"format version {version}, this program reads {VERSION}")
        if length != size - HEADER.size:
            raise ValueError(f"{size - HEADER.size} bytes where {length} were announced")
        payload = file.read(length)
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError("checksum differs")
    return payload


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; Windows has no such call for folders and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
