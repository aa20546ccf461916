"""Things that are expensive to build before training and the same for many runs: teachers, towers, data sets.

    artifact(key, build) -> what build() returned, from the disk where an earlier run has built it

What is built is packed like a checkpoint (tensors, arrays, JSON values; core/engine/packing.py). Its
file is named by a hash of the study, the key and the study's source, so that other code builds anew.
The key names everything else it depends on: sizes, data, and the seed where it depends on that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.base import discover
from core.base.cache import cache_folder, keep


class Artifacts:
    """The artifacts of one study."""

    def __init__(self, study: str) -> None:
        self.study = study
        sources = discover.sources(discover.entry_of(study))
        self._code = b"".join(path.read_bytes() for path in sources)

    def __call__(self, key: str, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the artifact of a key, building it only where no earlier run has."""
        from core.engine.packing import pack

        digest = hashlib.sha256(self._code + b"\0" + key.encode()).hexdigest()[:24]
        path = cache_folder("artifacts") / f"{self.study}-{digest}.bin"
        if (found := _read(path)) is not None:
            return found
        built = build()
        pieces: list[bytes] = []
        pack(built, {"key": key}, lambda piece: pieces.append(bytes(piece)))
        keep(path, b"".join(pieces))
        return built


def _read(path: Path) -> dict[str, Any] | None:
    """Return a built artifact, or None where it is missing or was cut short: it is built again."""
    from core.engine.packing import unpack

    try:
        return unpack(path.read_bytes())[0]
    except (OSError, ValueError, KeyError, TypeError):
        return None
