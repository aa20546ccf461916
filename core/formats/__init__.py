"""Opening, saving and exporting scenes in every format of the table (table.py)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.base.errors import FormatError
from core.formats.table import Format, format_of, suffixes

if TYPE_CHECKING:
    from core.capture.camera import Camera
    from core.radiance.field import Snapshot
    from core.render.backend import Renderer


def open_scene(path: Path, device: str = "cpu") -> Snapshot:
    """Open a scene file of any format that can be read."""
    path = Path(path)
    scene = _module(format_of(path)).read(path)
    from core.radiance.scenes import assemble

    try:
        return assemble(scene, device)
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from None


def describe(path: Path) -> dict[str, Any]:
    """Return what a file holds: `num_gaussians`, `sh_degree`, `bounds`, `bytes` and what else it tells."""
    path = Path(path)
    entry = format_of(path)
    facts = {"format": entry.name, **_module(entry).info(path)}
    if "summary" in facts:
        facts["summary"] = {k: v for k, v in facts["summary"].items() if k != "cameras"}
    return facts


def size_of(path: Path) -> dict[str, int]:
    """Return the bytes of a file: `total`, and the components that add up to it."""
    path = Path(path)
    facts = _module(format_of(path)).info(path)
    return {"total": facts["bytes"], **facts["bytes_by_component"]}


def save_scene(snapshot: Snapshot, path: Path) -> str:
    """Save a scene as it is in the native format; return a sentence about its size."""
    from core.formats import hyrf

    hyrf.write(snapshot.parts(), Path(path))
    return _sizes(hyrf.info(Path(path))["bytes_by_component"], snapshot)


def export_scene(
    snapshot: Snapshot,
    path: Path,
    cameras: Sequence[Camera] = (),
    renderer: Renderer | None = None,
    sh_degree: int = 3,
) -> str:
    """Write a scene in the format its suffix names, open the file again and say what was lost.

    Without cameras those that the scene remembers are used, without a renderer the best one here.
    `sh_degree` 0 to 3 is what a scene with fields is baked to.
    """
    path = Path(path)
    entry = format_of(path)
    if not entry.is_written or path.suffix == ".gltf":
        written = ", ".join(suffix for suffix in suffixes(is_written=True) if suffix != ".gltf")
        raise FormatError(f"{path.name}: this format is only read. Choose one of {written}.")
    parts = snapshot.parts()
    from core.formats import compare

    cameras = cameras or compare.cameras_of(snapshot, parts.summary)
    if entry.needs == "splats" and parts.kind != "splats":
        from core.formats.bake import bake_sh

        parts = bake_sh(snapshot, cameras, sh_degree)
    clamped = _module(entry).write(parts, path) or ()
    sizes = _sizes(_module(entry).info(path)["bytes_by_component"], snapshot)
    loss = compare.loss(snapshot, open_scene(path, str(snapshot.device)), cameras, renderer)
    return " ".join((sizes, loss, *clamped))


def _sizes(components: dict[str, int], snapshot: Snapshot) -> str:
    total = sum(components.values())
    listed = ", ".join(f"{name} {size / 1e6:.2f}" for name, size in components.items())
    return f"{total / 1e6:.2f} MB ({listed}), {snapshot.num_gaussians:,} Gaussians."


def _module(entry: Format) -> Any:
    return importlib.import_module(f"core.formats.{entry.module}")
