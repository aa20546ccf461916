"""Make every picture of docs/tour.md: `python -m tests.tour`, or `python -m tests.tour STORY ...` for some.

Needs Xvfb where there is no display, and Chromium for the pictures of the page. What the program
keeps of these scenes and studies lies in a folder that is gone afterwards.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from core.base.cache import cache_folder
from tests.bench.live_desktop import display
from tests.tour.pictures import FOLDER, STORIES

LENT = ("kernels", "artifacts", "seeds")  # of the user's cache: they only save time


def main(words: list[str]) -> int:
    """Tell the chosen stories, or all of them; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.tour", description=__doc__)
    parser.add_argument("stories", nargs="*", metavar="STORY", help=", ".join(STORIES))
    chosen = parser.parse_args(words).stories or list(STORIES)
    if unknown := set(chosen) - STORIES.keys():
        parser.error(f"no such story: {', '.join(sorted(unknown))}")
    FOLDER.mkdir(exist_ok=True)
    with display(), tempfile.TemporaryDirectory(prefix="hyrf-tour-") as folder:
        environment = os.environ | {"HYRF_CACHE": str(_cache(Path(folder)))}
        for story in chosen:
            front = "web" if story == "web" else "desktop"
            command = [sys.executable, "-m", f"tests.tour.{front}", story, folder]
            if subprocess.run(command, env=environment).returncode != 0:
                print(f"The story '{story}' could not be told.", file=sys.stderr)
                return 1
            for name in STORIES[story]:
                path = FOLDER / f"{name}.png"
                print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)
    return 0


def _cache(folder: Path) -> Path:
    """Return a cache with thumbnails of its own that shares what takes long to make."""
    own = folder / "cache"
    own.mkdir()
    for name in LENT:
        usual = cache_folder(name)
        usual.mkdir(parents=True, exist_ok=True)
        (own / name).symlink_to(usual)
    return own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
