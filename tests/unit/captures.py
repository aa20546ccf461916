"""Small captures that tests write and spoil, and where the real ones lie."""

import json
import os
import shutil
from pathlib import Path

import pytest

from assets import DEMO
from core.base.events import Event
from core.capture.capture import Capture
from core.capture.opening import open_capture


def real(name: str) -> Path:
    """Return the folder of a real capture, or skip the test."""
    root = os.environ.get("HYRF_TEST_DATA")
    folder = Path(root or "/nowhere") / "captures" / name
    if not folder.is_dir():
        pytest.skip(f"the real capture {name} is not here (set HYRF_TEST_DATA)")
    return folder


class SmallCapture:
    """The first pictures of the demo in a folder of its own, with its JSON as an editable dict."""

    def __init__(self, folder: Path, count: int = 10) -> None:
        self.folder, self.images = folder, folder / "images"
        self.images.mkdir(parents=True)
        self.values = json.loads((DEMO / "transforms.json").read_text())
        self.values["frames"] = self.values["frames"][:count]
        for frame in self.values["frames"]:
            shutil.copy(DEMO / frame["file_path"], folder / frame["file_path"])
        shutil.copy(DEMO / "points.ply", folder)

    @property
    def frames(self) -> list[dict]:
        return self.values["frames"]

    def picture(self, index: int) -> Path:
        return self.folder / self.frames[index]["file_path"]

    def open(self, **options) -> Capture:
        """Write the JSON and open the folder."""
        (self.folder / "transforms.json").write_text(
            json.dumps(self.values, ensure_ascii=False), "utf-8"
        )
        return open_capture(self.folder, **options)


class Heard:
    """Collect events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
