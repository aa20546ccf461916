"""One writer per folder: a lock that the operating system releases when its process dies."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import IO

from core.base.errors import RunError

LOCK_NAME = "writer.lock"
LOCKED_BYTE = 1 << 30  # beyond the text: on Windows a locked byte cannot be read by others


class FolderLock:
    """The right to write into a folder. Held by one object at a time, in this process or any other."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._file: IO[str] | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self) -> None:
        """Take the lock or raise a RunError that names the process which has it."""
        if self._file is not None:
            return
        try:
            file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115 - open while held
        except OSError as error:
            raise RunError(
                f"{self.path.parent}: cannot be written ({error.strerror}). Choose another run folder."
            ) from None
        if not _try_lock(file):
            owner = _owner(file)
            file.close()
            raise RunError(
                f"{self.path.parent}: another process ({owner}) is writing this run. "
                "Stop it first, or choose another run folder."
            )
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid()}))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock back; the small file stays, since removing it would race with the next writer."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _owner(file: IO[str]) -> str:
    file.seek(0)
    try:
        return f"pid {int(json.loads(file.read())['pid'])}"
    except (ValueError, KeyError, TypeError, OSError):
        return "pid unknown"


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[str]) -> bool:
        file.seek(LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
