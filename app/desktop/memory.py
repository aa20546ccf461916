"""The window's look from one start to the next: theme and text size, in a small JSON file."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from app.palette import THEMES


@dataclass
class Remembered:
    """What is kept; a missing or damaged file means the defaults."""

    file: Path | None = None
    theme: str = "dark"
    scale: float = 1.0

    @staticmethod
    def read(session: object) -> Remembered:
        """Read the file in the session's home, where it has one."""
        home = getattr(session, "home", None)
        if home is None:
            return Remembered()
        look = Remembered(Path(home) / "window.json")
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            values = json.loads(look.file.read_text(encoding="utf-8"))
            if values.get("theme") in THEMES:
                look.theme = values["theme"]
            look.scale = min(max(float(values.get("scale", 1.0)), 0.8), 2.0)
        return look

    def write(self) -> None:
        """Write the file; a home that cannot be written to costs only the memory."""
        if self.file is None:
            return
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            values = {"theme": self.theme, "scale": round(self.scale, 3)}
            self.file.write_text(json.dumps(values), encoding="utf-8")
