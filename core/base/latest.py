"""A newest-wins slot: the writer never waits, the reader gets only the latest value."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Hold one value between threads. `put` replaces it, `take` empties the slot, `peek` looks."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._value: T | None = None
        self._fresh = False

    def put(self, value: T) -> None:
        """Replace the value, whether or not the last one was taken."""
        with self._ready:
            self._value, self._fresh = value, True
            self._ready.notify_all()

    def take(self, timeout_s: float = 0.0) -> T | None:
        """Return the value if it is new since the last `take`, waiting at most `timeout_s`; else None."""
        with self._ready:
            if not self._fresh and timeout_s > 0:
                self._ready.wait_for(lambda: self._fresh, timeout_s)
            if not self._fresh:
                return None
            self._fresh = False
            return self._value

    def peek(self) -> T | None:
        """Return the last value put, new or not."""
        with self._ready:
            return self._value

    @property
    def is_fresh(self) -> bool:
        """Whether a value waits that nobody has taken."""
        with self._ready:
            return self._fresh

    def clear(self) -> None:
        """Forget the value."""
        with self._ready:
            self._value, self._fresh = None, False
