"""Numbers that a device is still computing when they are handed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping


class LateMetrics(Mapping[str, float]):
    """Metrics of a step a GPU is still busy with: the first look at them waits until they are there."""

    def __init__(self, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read
        self._numbers: Mapping[str, float] | None = None

    def _arrived(self) -> Mapping[str, float]:
        if self._numbers is None:
            self._numbers = self._read()
        return self._numbers

    def __getitem__(self, name: str) -> float:
        return self._arrived()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrived())

    def __len__(self) -> int:
        return len(self._arrived())
