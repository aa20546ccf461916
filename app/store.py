"""Current values that panels show, and which keys changed since the last draw. Written by the app loop only."""

from __future__ import annotations

from typing import Any


class Store:
    """A flat dictionary that remembers what changed; setting an equal value changes nothing."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._versions: dict[str, int] = {}
        self.version = 0

    def set(self, key: str, value: Any) -> None:
        """Store a value; every front end sees the key as changed until it has read past this version."""
        old = self._values.get(key)
        if key in self._values and (
            old is value or (type(old) is type(value) and _equal(old, value))
        ):
            return
        self.version += 1
        self._values[key] = value
        self._versions[key] = self.version

    def update(self, **values: Any) -> None:
        """Set several keys; a double underscore in a name stands for a dot."""
        for key, value in values.items():
            self.set(key.replace("__", "."), value)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""
        return self._values.get(key, default)

    def changed_since(self, version: int) -> frozenset[str]:
        """Return the keys set after `version`; each front end keeps its own number."""
        return frozenset(key for key, changed in self._versions.items() if changed > version)


def _equal(old: Any, new: Any) -> bool:
    try:
        return bool(old == new)
    except ValueError:  # arrays compare element by element: call them different
        return False
