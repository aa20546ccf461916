"""Save the scene, and export it for other programs, with what each format loses."""

from __future__ import annotations

from app.actions import (
    ChooseBackground,
    ChooseDegree,
    ChooseFormat,
    ChooseMeshCells,
    ChooseQuality,
    ExportScene,
    LimitSize,
    SaveScene,
)
from app.panels.widgets import Choice, Group, Number, Path, Text, Widget
from app.store import Store
from core.formats.quality import Quality
from core.formats.table import BACKGROUNDS, FORMATS, Format

MOST_MESH_CELLS = 1024


def panel(store: Store) -> Group:
    """Describe what can be written."""
    if not store.get("scene.gaussians", ""):
        return Group(
            "Save and export",
            (Text(tint="secondary", text="There is a scene to save once its first step is done."),),
        )
    is_field = (
        store.get("scene.gaussians") == "0"
    )  # a network draws it alone: its surface can be written
    formats = [
        entry
        for entry in FORMATS
        if entry.is_written and (entry.needs == "views" if is_field else entry.needs != "field")
    ]
    suffix = chosen_suffix(store)[0]
    chosen = next((entry for entry in formats if entry.suffixes[0] == suffix), formats[0])
    return Group(
        "Save and export",
        (
            *(() if is_field else _saving()),
            Choice(
                label="Format",
                key="export.format",
                tooltip="What to export to; other programs take Gaussians, points or cameras only",
                options=tuple(entry.suffixes[0] for entry in formats),
                names=tuple(f"{entry.name} ({entry.suffixes[0]})" for entry in formats),
                action=ChooseFormat(),
            ),
            *_options(chosen),
            Path(
                label="Export to",
                key="export.path",
                mode="save_file",
                suffixes=chosen_suffix(store),
                button="Export",
                tooltip="A file for other programs, on the machine that trains (Ctrl+E)",
                action=ExportScene(),
            ),
            Text(tint="secondary", text=f"Loses {', '.join(chosen.loses)}."),
        ),
    )


def _saving() -> tuple[Widget, ...]:
    """Describe how the whole scene is saved."""
    return (
        Choice(
            label="Quality",
            key="export.quality",
            tooltip="How closely the scene file keeps the scene; each step down makes it about a fifth smaller",
            options=tuple(quality.value for quality in Quality),
            names=tuple(quality.value.capitalize() for quality in Quality),
            action=ChooseQuality(),
        ),
        Number(
            label="At most (MB)",
            key="export.most_mb",
            tooltip="The scene file is made this small, if need be with fewer Gaussians; 0 for no limit",
            low=0.0,
            action=LimitSize(),
        ),
        Path(
            label="Scene file",
            key="export.scene_path",
            mode="save_file",
            suffixes=(".hyrf",),
            button="Save scene",
            tooltip="The whole scene, compressed, on the machine that trains (Ctrl+S)",
            action=SaveScene(),
        ),
    )


def _options(chosen: Format) -> tuple[Widget, ...]:
    """Describe what can be chosen about one format."""
    if chosen.needs == "views":
        return (
            Number(
                label="Mesh grid",
                key="export.mesh_cells",
                tooltip="Cells along the longest side, 32 to 1024; 0 is as fine as the pictures, 256 at most",
                low=0,
                high=MOST_MESH_CELLS,
                is_integer=True,
                action=ChooseMeshCells(),
            ),
        )
    if chosen.needs != "splats":
        return ()
    degree = Choice(
        label="Colour by direction",
        key="export.sh_degree",
        tooltip="Degree of the spherical harmonics that a neural colour is turned into",
        options=(0, 1, 2, 3),
        names=("None (smallest)", "Degree 1", "Degree 2", "Degree 3 (closest)"),
        action=ChooseDegree(),
    )
    if not chosen.is_scene:
        return (degree,)
    behind = "Picture inside the page" if chosen.holds_background else "Picture beside the file"
    background = Choice(
        label="Background",
        key="export.background",
        tooltip="What a neural background becomes; a shell shows in every program, a picture is closer",
        options=BACKGROUNDS,
        names=(behind, "Far shell of Gaussians", "None"),
        action=ChooseBackground(),
    )
    return (degree, background)


def chosen_suffix(store: Store) -> tuple[str, ...]:
    """Return the suffix of the format that was chosen."""
    return (str(store.get("export.format", ".ply")),)
