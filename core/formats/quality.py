"""How closely, or in how many bytes, a scene file is to keep a scene. Nothing heavy is imported here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from core.base.errors import ConfigError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}


class Quality(str, Enum):
    """How closely a file keeps a scene."""

    FINEST = "finest"
    BEST = "best"
    BALANCED = "balanced"
    SMALL = "small"
    SMALLEST = "smallest"

    @property
    def rung(self) -> int:
        """Place on the ladder of sizes: a rung down is a step larger by the fourth root of two."""
        return 4 * (list(Quality).index(self) - 2)

    @property
    def coarseness(self) -> float:
        """Steps, in those of `balanced`."""
        return float(2.0 ** (self.rung / 4))


@dataclass(frozen=True)
class Goal:
    """What a scene file is to be: of a quality, and no larger than so many bytes where a limit is given."""

    quality: Quality = Quality.BEST
    most_bytes: int | None = None

    @staticmethod
    def asked(quality: str | None, most: str | None) -> Goal | None:
        """Return the goal of a command line, None where nothing was asked for."""
        if quality is None and most is None:
            return None
        return Goal(Quality(quality or "best"), None if most is None else parse_bytes(most))

    @staticmethod
    def of(quality: object, most_mb: object) -> Goal:
        """Return the goal that a panel's values stand for; no quality is the best, no megabytes are no limit."""
        most = float(str(most_mb or 0))
        return Goal(Quality(quality or "best"), round(1e6 * most) if most > 0 else None)


def parse_bytes(text: str) -> int:
    """Return the bytes that a person means by "8MB", "500 kB" or "800000"."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if found is None or found[2] not in _UNITS or not float(found[1]) > 0:
        raise ConfigError(f"'{text}' is no size. Write a number with kB or MB, for example 8MB.")
    return max(1, int(float(found[1]) * _UNITS[found[2]]))
