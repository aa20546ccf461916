"""Save the scene, and export it for other programs, with what each format loses."""

from __future__ import annotations

from app.actions import ExportScene, SaveScene
from app.panels.widgets import Group, Path, Text
from app.store import Store


def panel(store: Store) -> Group:
    """Describe what can be written."""
    if not store.get("scene.gaussians", ""):
        return Group(
            "Save and export",
            (Text(tint="secondary", text="There is a scene to save once its first step is done."),),
        )
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
            Path(
                label="PLY",
                key="export.ply_path",
                mode="save_file",
                suffixes=(".ply",),
                button="Export PLY",
                tooltip="Gaussians for other viewers, on the machine that trains (Ctrl+E)",
                action=ExportScene(),
            ),
            Text(
                tint="secondary",
                text="PLY holds Gaussians only, without the neural background and the finest changes of colour.",
            ),
        ),
    )
