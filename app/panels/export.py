"""Save the scene, and export it for other programs, with what each format loses."""

from __future__ import annotations

from app.actions import ChooseDegree, ChooseFormat, ExportScene, SaveScene
from app.panels.widgets import Choice, Group, Path, Text
from app.store import Store
from core.formats.table import FORMATS


def panel(store: Store) -> Group:
    """Describe what can be written."""
    if not store.get("scene.gaussians", ""):
        return Group(
            "Save and export",
            (Text(tint="secondary", text="There is a scene to save once its first step is done."),),
        )
    formats = [entry for entry in FORMATS if entry.is_written and entry.needs != "field"]
    chosen = next(entry for entry in formats if entry.suffixes[0] == chosen_suffix(store)[0])
    return Group(
        "Save and export",
        (
            Path(
                label="Scene file",
                key="export.scene_path",
                mode="save_file",
                suffixes=(".hyrf",),
                button="Save scene",
                tooltip="The whole scene, compressed, on the machine that trains (Ctrl+S)",
                action=SaveScene(),
            ),
            Choice(
                label="Format",
                key="export.format",
                tooltip="What to export to; other programs take Gaussians, points or cameras only",
                options=tuple(entry.suffixes[0] for entry in formats),
                names=tuple(f"{entry.name} ({entry.suffixes[0]})" for entry in formats),
                action=ChooseFormat(),
            ),
            Choice(
                label="Colour by direction",
                key="export.sh_degree",
                tooltip="Degree of the spherical harmonics that a neural colour is turned into",
                options=(0, 1, 2, 3),
                names=("None (smallest)", "Degree 1", "Degree 2", "Degree 3 (closest)"),
                action=ChooseDegree(),
            ),
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


def chosen_suffix(store: Store) -> tuple[str, ...]:
    """Return the suffix of the format that was chosen."""
    return (str(store.get("export.format", ".ply")),)
