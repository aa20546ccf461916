"""Decoded pictures up to a bound in bytes, the next ones decoded ahead on one background thread.

A key names a picture at one size. `take` returns it and says which ones come next; the thread
decodes these while the trainer is busy. What is kept and what is being decoded stay within the bound
together; one picture larger than the bound is held alone. Room is made by the picture used last: in a
random order without replacement it is the one not needed for longest.

The thread ends by itself when there has been nothing to decode for a while, so a training that is
over, paused or forgotten leaves none behind.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch

IDLE_S = 2.0

Key = TypeVar("Key", bound=Hashable)


class PictureCache(Generic[Key]):
    """Keeps what `decode` returns for keys; `size_of` knows the bytes beforehand."""

    def __init__(
        self,
        decode: Callable[[Key], torch.Tensor],
        size_of: Callable[[Key], int],
        bound: int,
    ) -> None:
        self.bound = bound
        self.held_bytes = self.most_bytes = 0  # now, and the most there ever were
        self._decode, self._size_of = decode, size_of
        self._kept: OrderedDict[Key, torch.Tensor] = OrderedDict()  # the one used last at the end
        self._failed: dict[Key, Exception] = {}
        self._needed: tuple[Key, ...] = ()  # the one taken last, then those that come next
        self._decoding: Key | None = None  # by the thread
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def take(self, key: Key, ahead: Sequence[Key] = ()) -> torch.Tensor:
        """Return a picture; `ahead` are those that come next. What kept it from decoding is raised here."""
        with self._changed:
            if key not in self._kept:
                self._needed = (key,)  # the thread finishes what it does and begins nothing else
                self._changed.wait_for(lambda: self._decoding is None)
            if key in self._failed:
                raise self._failed.pop(key)
            self._needed = (key, *ahead)
            if key not in self._kept:
                while self._drop_one(key):
                    pass
                self._hold(key, self._decode(key))
            self._kept.move_to_end(key)
            if self._thread is None and self._next() is not None:
                self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return self._kept[key]

    def clear(self) -> None:
        """Forget every picture; none of them will be asked for again."""
        with self._changed:
            self._needed = ()
            self._changed.wait_for(lambda: self._decoding is None)
            self._kept.clear()
            self._failed.clear()
            self.held_bytes = 0

    @property
    def is_decoding(self) -> bool:
        """Whether the background thread is there."""
        return self._thread is not None

    def _work(self) -> None:
        while (key := self._chosen()) is not None:
            found: torch.Tensor | Exception
            try:
                found = self._decode(key)
            except Exception as error:  # the border of a thread: raised where the picture is taken
                found = error
            with self._changed:
                self._decoding = None
                self.held_bytes -= self._size_of(key)
                if isinstance(found, Exception):
                    self._failed[key] = found
                else:
                    self._hold(key, found)
                self._changed.notify_all()

    def _chosen(self) -> Key | None:
        """Wait for a picture to decode and count it as held; None ends the thread."""
        with self._changed:
            if not self._changed.wait_for(self._has_room_for_next, IDLE_S):
                self._thread = None
                return None
            self._decoding = self._next()
            assert self._decoding is not None
            self._count(self._size_of(self._decoding))
            return self._decoding

    # ---- with the lock held ----------------------------------------------------------

    def _next(self) -> Key | None:
        for key in self._needed[1:]:
            if key not in self._kept and key not in self._failed:
                return key
        return None

    def _has_room_for_next(self) -> bool:
        key = self._next()
        if key is None:
            return False
        while self._drop_one(key):
            pass
        return self.held_bytes + self._size_of(key) <= self.bound

    def _drop_one(self, key: Key) -> bool:
        """Drop a picture if `key` needs its room; what comes next only for the one asked for now."""
        if self.held_bytes + self._size_of(key) <= self.bound:
            return False
        spare = (old for old in reversed(self._kept) if old not in self._needed)
        victim = next(spare, None)
        if victim is None and key == self._needed[0]:
            victim = next(reversed(self._kept), None)
        if victim is None:
            return False
        del self._kept[victim]
        self.held_bytes -= self._size_of(victim)
        return True

    def _hold(self, key: Key, picture: torch.Tensor) -> None:
        self._kept[key] = picture
        self._count(self._size_of(key))

    def _count(self, size: int) -> None:
        self.held_bytes += size
        self.most_bytes = max(self.most_bytes, self.held_bytes)
