"""Shape checks for arrays and tensors, in one readable line."""

from __future__ import annotations

from typing import Any


def expect(array: Any, *shape: int | None, name: str) -> Any:
    """Return `array` if its shape matches (None matches any size), else raise a ValueError that names it."""
    actual = tuple(array.shape)
    fits = len(actual) == len(shape) and all(
        want in (None, got) for want, got in zip(shape, actual, strict=False)
    )
    if not fits:
        wanted = ", ".join("*" if size is None else str(size) for size in shape)
        raise ValueError(f"{name}: expected shape [{wanted}], got {list(actual)}")
    return array
