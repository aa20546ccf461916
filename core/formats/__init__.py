"""Opening, saving and exporting scenes in every format of the table (table.py)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.base.errors import ConfigError, FormatError
from core.formats.quality import Goal
from core.formats.table import ExportOptions, Format, format_of, suffixes

if TYPE_CHECKING:
    from core.capture.camera import Camera
    from core.radiance.field import Snapshot
    from core.radiance.parts import SceneParts
    from core.render.backend import Renderer


MESH_VIEWS = 40  # around a scene that remembers no cameras
NATIVE = ".hyrf"
BEST = Goal()


def open_scene(path: Path, device: str = "cpu") -> Snapshot:
    """Open a scene file of any format that can be read."""
    path = Path(path)
    return _assembled(path, _reader(path).read(path), device)


def describe(path: Path) -> dict[str, Any]:
    """Return what a file holds: `num_gaussians`, `sh_degree`, `bounds`, `bytes` and what else it tells."""
    path = Path(path)
    facts = {"format": format_of(path).name, **_reader(path).info(path)}
    if "summary" in facts:
        facts["summary"] = {k: v for k, v in facts["summary"].items() if k != "cameras"}
    return facts


def size_of(path: Path) -> dict[str, int]:
    """Return the bytes of a file: `total`, and the components that add up to it."""
    path = Path(path)
    entry = format_of(path)
    if not entry.is_scene:
        return dict.fromkeys(("total", entry.name), _size_of_extract(path))
    facts = _module(entry).info(path)
    return {"total": facts["bytes"], **facts["bytes_by_component"]}


def save_scene(
    snapshot: Snapshot, path: Path, goal: Goal = BEST, renderer: Renderer | None = None
) -> str:
    """Save a scene in the native format, as close or as small as asked for; return what came of it."""
    from core.formats import hyrf

    path = Path(path)
    _expect_gaussians(snapshot, path)
    told = _write_native(snapshot, path, goal, (), renderer)
    return " ".join((_sizes(hyrf.info(path)["bytes_by_component"], snapshot), *told))


def export_scene(
    snapshot: Snapshot,
    path: Path,
    cameras: Sequence[Camera] = (),
    renderer: Renderer | None = None,
    options: ExportOptions | None = None,
) -> str:
    """Write a scene in the format its suffix names, open the file again and say what was lost.

    Without cameras those that the scene remembers are used, without a renderer the best one here.
    """
    path, options = Path(path), options or ExportOptions()
    entry = format_of(path)
    if not entry.is_written or path.suffix == ".gltf":
        written = ", ".join(suffix for suffix in suffixes(is_written=True) if suffix != ".gltf")
        raise FormatError(f"{path.name}: this format is only read. Choose one of {written}.")
    if options.goal is not None and entry.suffixes[0] != NATIVE:
        raise ConfigError(f"{path.name}: quality and size are chosen for {NATIVE} files only.")
    if not is_saved(snapshot) and entry.suffixes[0] in (".ply", ".glb"):
        entry = format_of(
            Path(f"any.mesh{path.suffix}")
        )  # all that such a file can hold of a field
    if entry.needs != "views":
        _expect_gaussians(snapshot, path)
    from core.formats import compare, equirect
    from core.render.backend import choose

    renderer = renderer or choose("auto")
    views_around = MESH_VIEWS if entry.needs == "views" else compare.VIEWS
    cameras = cameras or compare.cameras_of(snapshot, snapshot.parts().summary, views_around)
    if entry.needs == "views":
        told = _module(entry).write_drawn(snapshot, path, cameras, renderer, options)
        return " ".join((f"{_size_of_extract(path) / 1e6:.2f} MB.", *told))
    parts, remarks = _prepared(entry, snapshot, cameras, renderer, options)
    if entry.suffixes[0] == NATIVE:
        told = _write_native(snapshot, path, options.goal or BEST, cameras, renderer)
    else:
        told = [*(_module(entry).write(parts, path) or ()), *remarks]
    if not entry.is_scene:
        return " ".join((f"{_size_of_extract(path) / 1e6:.2f} MB.", *told))
    sizes, again = _module(entry).info(path)["bytes_by_component"], _module(entry).read(path)
    if equirect.NAME in parts.parts and not entry.holds_background:
        picture = equirect.write_beside(parts, path)
        sizes = {**sizes, "background picture": picture.stat().st_size}
        again = equirect.added(again, equirect.read_picture(picture))
        told.append(f"The background lies beside it: {picture.name}.")
    reopened = _assembled(path, again, str(snapshot.device))
    loss = compare.loss(snapshot, reopened, cameras, renderer, has_shell=bool(remarks))
    return " ".join((_sizes(sizes, snapshot), loss, *told))


def is_saved(snapshot: Snapshot | None) -> bool:
    """Whether scene files hold such a scene: a field that is asked along rays is kept in its checkpoints only."""
    from core.radiance.field import TracedScene

    return not isinstance(snapshot, TracedScene)


def _expect_gaussians(snapshot: Snapshot, path: Path) -> None:
    if not is_saved(snapshot):
        raise FormatError(
            f"{path.name}: this scene is a field and has no Gaussians to write. Export its surface as "
            ".ply, .obj or .glb; the field itself is kept in the checkpoints of its run."
        )


def _write_native(
    snapshot: Snapshot,
    path: Path,
    goal: Goal,
    cameras: Sequence[Camera],
    renderer: Renderer | None,
) -> list[str]:
    """Write a .hyrf file; only where something may be left out the scene is looked at."""
    from core.formats import compare, hyrf, smaller
    from core.render.backend import choose

    if goal.most_bytes is None and not smaller.pruned_share(goal.quality.rung):
        hyrf.write(snapshot.parts(), path, goal.quality.coarseness)
        return []
    cameras = cameras or compare.cameras_of(snapshot, snapshot.parts().summary)
    return smaller.write(snapshot, path, goal, cameras, renderer or choose("auto"))


def _prepared(
    entry: Format,
    snapshot: Snapshot,
    cameras: Sequence[Camera],
    renderer: Renderer,
    options: ExportOptions,
) -> tuple[SceneParts, list[str]]:
    """Return what a format is written from, and what there is to say about its background.

    A scene with fields is baked where they do not fit in.
    """
    parts = snapshot.parts()
    if entry.needs != "splats" or parts.kind == "splats":
        return parts, []
    from core.formats import equirect, shell
    from core.formats.bake import bake_sh

    options.progress(0.1, "asking the fields for colours")
    baked = bake_sh(snapshot, cameras, options.sh_degree)
    if not entry.is_scene or options.background == "none":
        return baked, []
    if options.background == "shell":
        options.progress(0.5, "measuring the shell")
        return shell.with_shell(snapshot, baked, cameras, renderer)
    picture = equirect.bake(snapshot, cameras)
    return baked if picture is None else equirect.added(baked, picture), []


def _assembled(path: Path, parts: SceneParts, device: str) -> Snapshot:
    from core.radiance.scenes import assemble

    try:
        return assemble(parts, device)
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from None


def _reader(path: Path) -> Any:
    """Return the module that reads a file, unless it is an extract."""
    entry = format_of(path)
    if not entry.is_scene:
        raise FormatError(
            f"{path.name}: holds no scene but an extract of one ({entry.name}) for other programs. "
            f"Open a scene instead: {', '.join(suffixes())}."
        )
    return _module(entry)


def _size_of_extract(path: Path) -> int:
    from core.formats.files import checked_file
    from core.formats.plain import size_of_all

    return size_of_all(path) if path.is_dir() else checked_file(path)


def _sizes(components: dict[str, int], snapshot: Snapshot) -> str:
    total = sum(components.values())
    listed = ", ".join(f"{name} {size / 1e6:.2f}" for name, size in components.items())
    return f"{total / 1e6:.2f} MB ({listed}), {snapshot.num_gaussians:,} Gaussians."


def _module(entry: Format) -> Any:
    return importlib.import_module(f"core.formats.{entry.module}")
