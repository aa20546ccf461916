"""The zip archive around a scene, opened without trusting it: stored members only, every size checked first."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from core.base.errors import FormatError
from core.formats.files import checked_file

MAX_MEMBERS = 4096
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


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Write members side by side, stored as they are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _ONE_DATE), content)


class Archive:
    """An archive open for reading; names are keys and never become paths."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, checked_file(path)
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
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise self.damaged(f"has a compressed or encrypted member '{name}'")
            if member.file_size != member.compress_size or member.file_size > self.size:
                raise self.damaged(f"declares {member.file_size} bytes for '{name}'")
            members[name] = member
        if sum(member.file_size for member in listed) > self.size:
            raise self.damaged(f"declares more than the {self.size} bytes it has")
        return members
