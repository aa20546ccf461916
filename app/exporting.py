"""What is exported: a run's scene, and the choices of the panel, kept in the store from one scene to the next."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import actions
from app.actions import Action
from app.jobs import Task
from app.store import Store
from core.base.errors import FormatError, RunError
from core.formats.quality import Goal
from core.formats.table import ExportOptions

if TYPE_CHECKING:
    from core.engine.runs import Run
    from core.radiance.field import Snapshot
    from core.render.backend import Renderer

SPLATS, MESH = ".ply", ".mesh.ply"
Write = Callable[["Snapshot", Path, Task], str]


def export_values(store: Store) -> dict[str, Any]:
    """Return the choices by their keys, the usual ones where nobody chose yet."""
    usual = ExportOptions()
    return {
        "export__sh_degree": store.get("export.sh_degree", usual.sh_degree),
        "export__background": store.get("export.background", usual.background),
        "export__mesh_cells": store.get("export.mesh_cells", usual.mesh_cells),
        "export__quality": store.get("export.quality", Goal().quality.value),
        "export__most_mb": store.get("export.most_mb", 0.0),
    }


def export_options(store: Store, progress: Callable[[float, str], None]) -> ExportOptions:
    """Return the choices as an export takes them."""
    chosen = export_values(store)
    return ExportOptions(
        sh_degree=int(chosen["export__sh_degree"]),
        background=chosen["export__background"],
        mesh_cells=int(chosen["export__mesh_cells"]),
        progress=progress,
    )


def save_as_chosen(store: Store, renderer: Renderer | None) -> Write:
    """Return what saves the scene as closely, or as small, as was chosen."""

    def write(snapshot: Snapshot, path: Path, _task: Task) -> str:
        from core.formats import save_scene

        chosen = export_values(store)
        goal = Goal.of(chosen["export__quality"], chosen["export__most_mb"])
        return save_scene(snapshot, path, goal, renderer)

    return write


def target_of(text: str, suffix: str) -> Path:
    """Turn what was typed into a file path with a suffix."""
    if not text.strip():
        raise FormatError("No file was named. Type where the scene should be written.")
    path = Path(text.strip()).expanduser().absolute()
    if path.is_dir():
        raise FormatError(f"{path}: is a folder. Add a file name, for example scene{suffix}.")
    return path if path.suffix else path.with_name(path.name + suffix)


def scene_to_export(path: Path) -> Snapshot:
    """Open a scene file or a run's scene; a run that keeps none, as those of fields, gives its newest checkpoint's."""
    from core.engine.runs import Run
    from core.formats import open_scene

    if not path.is_dir():
        return open_scene(path)
    run = Run.open(path)
    if run.scene_path.exists():
        return open_scene(run.scene_path)
    return _scene_of_checkpoint(run)


def _scene_of_checkpoint(run: Run) -> Snapshot:
    from app import study_runs
    from core.base import discover
    from core.study import Renderable

    name = run.config.study
    if not hasattr(discover.load(name), "snapshot"):
        raise RunError(f"{run.folder}: {name} makes no scene, so that there is nothing to export.")
    capture = study_runs.opened_capture(Namespace(capture=None), run.config)
    study, _step = study_runs.restored(run, capture)
    assert isinstance(study, Renderable)
    return study.snapshot()


def suffix_of(store: Store) -> str:
    """Return the suffix of the chosen format."""
    return str(store.get("export.format", SPLATS))


def first_suffix(store: Store, scene: Snapshot | None) -> str:
    """Return the format that a scene's exports begin with: a field alone has no Gaussians to give."""
    before = suffix_of(store)
    if scene is not None and scene.num_gaussians == 0:
        return MESH
    return SPLATS if before == MESH and store.get("scene.gaussians") == "0" else before


def free_path(path: Path) -> Path:
    """Return the path, or the next one with a number that nothing occupies."""
    number, free = 2, path
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free


def choose(store: Store, action: Action) -> bool:
    """Keep a choice of how to export; return whether the action was one."""
    match action:
        case actions.ChooseQuality(value):
            store.set("export.quality", value)
        case actions.LimitSize(value):
            store.set("export.most_mb", float(value))
        case actions.ChooseDegree(value):
            store.set("export.sh_degree", int(value))
        case actions.ChooseBackground(value):
            store.set("export.background", str(value))
        case actions.ChooseMeshCells(value):
            store.set("export.mesh_cells", int(value))
        case _:
            return False
    return True
