"""What was open before, kept in a small JSON file; a damaged file is an empty list, never an error."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from app.panels.words import data_size, decibels

MOST = 12
DAY_S = 86_400.0


@dataclass(frozen=True)
class Opened:
    """One entry: where it is, what it is called and the figures of its last visit."""

    path: str
    name: str
    opened_s: float
    psnr: float | None = None
    num_bytes: int | None = None


class Recent:
    """The list, newest first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.entries = _read(file)

    def add(self, path: Path, name: str) -> None:
        """Put an entry first."""
        text = str(path)
        known = next((entry for entry in self.entries if entry.path == text), None)
        entry = replace(known or Opened(text, name, 0.0), name=name, opened_s=time.time())
        self.entries = [entry, *(old for old in self.entries if old.path != text)][:MOST]
        self._write()

    def measured(
        self, path: Path, *, psnr: float | None = None, num_bytes: int | None = None
    ) -> None:
        """Remember the newest figures of an entry."""
        changes = {"psnr": psnr, "num_bytes": num_bytes}
        known = {name: value for name, value in changes.items() if value is not None}
        updated = [
            replace(entry, **known) if entry.path == str(path) else entry  # type: ignore[arg-type]
            for entry in self.entries
        ]
        if updated != self.entries:
            self.entries = updated
            self._write()

    def rows(self) -> tuple[tuple[str, str, str], ...]:
        """Return (name, path, details) of what still exists."""
        now = time.time()
        return tuple(
            (entry.name, entry.path, _details(entry, now))
            for entry in self.entries
            if Path(entry.path).exists()
        )

    def _write(self) -> None:
        temporary = self._file.with_name(self._file.name + ".tmp")
        # A full or read-only disk costs the list, nothing else; the user asked for something different.
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps([asdict(entry) for entry in self.entries], indent=1))
            os.replace(temporary, self._file)


def _read(file: Path) -> list[Opened]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return [
            Opened(
                str(value["path"]),
                str(value["name"]),
                float(value["opened_s"]),
                None if value.get("psnr") is None else float(value["psnr"]),
                None if value.get("num_bytes") is None else int(value["num_bytes"]),
            )
            for value in values[:MOST]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _details(entry: Opened, now: float) -> str:
    parts = []
    if entry.psnr is not None:
        parts.append(decibels(entry.psnr))
    if entry.num_bytes is not None:
        parts.append(data_size(entry.num_bytes))
    return ", ".join([*parts, _age(now - entry.opened_s)])


def _age(seconds: float) -> str:
    days = int(seconds / DAY_S)
    if days <= 0:
        return "today"
    return "yesterday" if days == 1 else f"{days} days ago"
