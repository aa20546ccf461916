"""The zip archive around a scene, opened without trusting it: every size is checked before anything is read.

Members are stored as they are; where a format's writers pack them, at most `MOST_PACKED` times.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from core.base.errors import FormatError
from core.formats.files import checked_file

MAX_MEMBERS = 4096
MOST_PACKED = 1100  # what deflate can do at most
_ONE_DATE = (1980, 1, 1, 0, 0, 0)  # the same scene gives the same file
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    struct.error,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    IndexError,
)


def write_archive(path: Path | BinaryIO, members: Mapping[str, bytes]) -> None:
    """Write members side by side, stored as they are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _ONE_DATE), content)


class Archive:
    """An archive open for reading; names are keys and never become paths."""

    def __init__(self, path: Path, can_be_packed: bool = False) -> None:
        self.path, self.size = path, checked_file(path)
        self._can_be_packed = can_be_packed
        try:
            self._zip = zipfile.ZipFile(path)
        except _ZIP_ERRORS as error:
            raise self.damaged(f"is no complete archive ({error})") from None
        try:
            self._members = self._checked_members()
        except FormatError:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def damaged(self, what: str) -> FormatError:
        """Return an error that names the file and says what is wrong with it."""
        return FormatError(f"{self.path.name}: {what}. The file is damaged; take another copy.")

    def read(self, name: str, most_bytes: int) -> bytes:
        """Return a member of at most `most_bytes`, its checksum verified."""
        member = self._members.get(name)
        if member is None:
            raise self.damaged(f"lacks its member '{name}'")
        if member.file_size > most_bytes:
            raise self.damaged(f"has {member.file_size} bytes in '{name}', expected {most_bytes}")
        try:
            with self._zip.open(member) as content:
                found = content.read(most_bytes + 1)
        except _ZIP_ERRORS as error:
            raise self.damaged(f"cannot read '{name}' ({error})") from None
        if len(found) != member.file_size:
            raise self.damaged(f"has {len(found)} of {member.file_size} bytes in '{name}'")
        return found

    def _checked_members(self) -> dict[str, zipfile.ZipInfo]:
        listed = self._zip.infolist()
        if len(listed) > MAX_MEMBERS:
            raise self.damaged(f"lists {len(listed)} members, at most {MAX_MEMBERS} are expected")
        members: dict[str, zipfile.ZipInfo] = {}
        for member in listed:
            name = member.filename
            if name.startswith(("/", "\\")) or ".." in name or "\0" in name or ":" in name:
                raise self.damaged(f"has a member that points outside of it ({name!r})")
            if name in members:
                raise self.damaged(f"has two members named '{name}'")
            self._check_packing(member)
            members[name] = member
        if sum(member.compress_size for member in listed) > self.size:
            raise self.damaged(f"declares more than the {self.size} bytes it has")
        return members

    def _check_packing(self, member: zipfile.ZipInfo) -> None:
        name, packed, full = member.filename, member.compress_size, member.file_size
        is_stored = member.compress_type == zipfile.ZIP_STORED
        is_deflated = member.compress_type == zipfile.ZIP_DEFLATED
        if member.flag_bits & 1 or not (is_stored or (is_deflated and self._can_be_packed)):
            raise self.damaged(f"has a compressed or encrypted member '{name}'")
        most = packed if is_stored else packed * MOST_PACKED
        if packed > self.size or full > most or (is_stored and full != packed):
            raise self.damaged(f"declares {full} bytes for '{name}'")
