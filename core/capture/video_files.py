"""Which files are videos, by their names."""

from __future__ import annotations

from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")


def is_video(path: Path) -> bool:
    """Whether a path is a video by its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def videos_in(folder: Path) -> list[Path]:
    """List the videos that lie in a folder."""
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in found if is_video(path))
