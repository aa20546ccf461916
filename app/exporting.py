"""What was chosen in the export panel, kept in the store from one scene to the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.jobs import Task
from app.store import Store
from core.formats.table import ExportOptions

if TYPE_CHECKING:
    from core.radiance.field import Snapshot

Write = Callable[["Snapshot", Path, Task], str]


def export_values(store: Store) -> dict[str, Any]:
    """Return the choices by their keys, the usual ones where nobody chose yet."""
    usual = ExportOptions()
    return {
        "export__sh_degree": store.get("export.sh_degree", usual.sh_degree),
        "export__background": store.get("export.background", usual.background),
        "export__mesh_cells": store.get("export.mesh_cells", usual.mesh_cells),
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
