"""The start page: open something, go on with something recent, see what this machine offers."""

from __future__ import annotations

from app.actions import OpenDemo, OpenPath
from app.panels.notices import task_widgets
from app.panels.widgets import Button, Group, Path, Readout, Row, Text
from app.panels.words import shortened
from app.store import Store
from core.capture.video_files import VIDEO_SUFFIXES
from core.formats.table import suffixes

MOST_RECENT = 8


def panel(store: Store) -> Group:
    """Describe the ways to begin."""
    return Group(
        "Start",
        (
            Text(
                tint="secondary",
                text="Turn a folder of photographs, or a video, into a scene you can fly through.",
            ),
            *task_widgets(store),
            Path(
                label="Capture",
                key="start.capture_path",
                mode="open_folder",
                button="Open capture",
                tooltip="A folder of photographs, with cameras or without, on the machine that trains (Ctrl+O)",
                action=OpenPath(),
            ),
            Path(
                label="Scene or video",
                key="start.scene_path",
                mode="open_file",
                suffixes=(*suffixes(), *VIDEO_SUFFIXES),
                button="Open file",
                tooltip="A scene (HyRF, PLY, SPZ, SOG, glTF, splat) or a video to learn from, on the machine that "
                "draws (Ctrl+O)",
                action=OpenPath(),
            ),
            Button(
                label="Try the demo",
                tooltip="Train the bundled capture; the first picture takes a few seconds",
                is_primary=True,
                action=OpenDemo(),
            ),
        ),
    )


def recent(store: Store) -> Group:
    """List what was open before, newest first."""
    entries = store.get("recent", ())
    if not entries:
        return Group(
            "Recent",
            (Text(tint="secondary", text="What you open appears here. The demo is a good start."),),
        )
    rows = tuple(
        Row(
            (
                Button(label=shortened(name), tooltip=path, action=OpenPath(path)),
                Text(tint="secondary", text=detail),
            )
        )
        for name, path, detail in entries[:MOST_RECENT]
    )
    return Group("Recent", rows)


def machine(store: Store) -> Group:
    """Say what this machine offers."""
    return Group(
        "This machine",
        (
            Readout(label="Processor", key="machine.processor"),
            Readout(label="Graphics", key="machine.graphics"),
            Readout(label="Memory", key="machine.memory"),
            Readout(label="Disk", key="machine.disk"),
            Readout(label="Engine", key="engine.text"),
        ),
    )
