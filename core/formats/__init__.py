"""Which file formats there are, what they need and what they lose; opening, saving and exporting scenes.

A format is a row of `FORMATS`. Its functions are named as "module:function" and imported when used:

    reads   path -> SceneParts
    writes  (SceneParts, path)
    tells   path -> dict, what the file holds, without reading all of it
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.base.errors import FormatError

if TYPE_CHECKING:
    from core.capture.camera import Camera
    from core.radiance.field import Snapshot
    from core.render.backend import Renderer


@dataclass(frozen=True)
class Format:
    """One file format; `needs` says whether a model's fields fit in, or only plain Gaussians do."""

    name: str
    suffixes: tuple[str, ...]
    needs: Literal["splats", "field"]
    loses: tuple[str, ...]
    reads: str
    writes: str
    tells: str


FORMATS = (
    Format(
        name="HyRF scene",
        suffixes=(".hyrf",),
        needs="field",
        loses=("precision beyond 8 bits, 16 for positions",),
        reads="core.formats.hyrf:read",
        writes="core.formats.hyrf:write",
        tells="core.formats.hyrf:info",
    ),
    Format(
        name="3DGS PLY",
        suffixes=(".ply",),
        needs="splats",
        loses=("view-dependent colour beyond spherical harmonics", "neural background"),
        reads="core.formats.ply:read",
        writes="core.formats.ply:write",
        tells="core.formats.ply:info",
    ),
)


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix names."""
    suffix = Path(path).suffix.lower()
    for entry in FORMATS:
        if suffix in entry.suffixes:
            return entry
    known = ", ".join(f"{entry.suffixes[0]} ({entry.name})" for entry in FORMATS)
    raise FormatError(f"{Path(path).name}: its suffix names no scene format. Known: {known}.")


def open_scene(path: Path, device: str = "cpu") -> Snapshot:
    """Open a scene file of any format that can be read."""
    path = Path(path)
    scene = _function(format_of(path).reads)(path)
    from core.radiance.scenes import assemble

    try:
        return assemble(scene, device)
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from None


def describe(path: Path) -> dict[str, Any]:
    """Return what a file holds: `num_gaussians`, `sh_degree`, `bounds`, `bytes` and what else it tells."""
    path = Path(path)
    entry = format_of(path)
    facts = {"format": entry.name, **_function(entry.tells)(path)}
    if "summary" in facts:
        facts["summary"] = {k: v for k, v in facts["summary"].items() if k != "cameras"}
    return facts


def size_of(path: Path) -> dict[str, int]:
    """Return the bytes of a file: `total`, and the components that add up to it."""
    path = Path(path)
    facts = _function(format_of(path).tells)(path)
    return {"total": facts["bytes"], **facts["bytes_by_component"]}


def save_scene(snapshot: Snapshot, path: Path) -> str:
    """Save a scene as it is in the native format; return a sentence about its size."""
    from core.formats import hyrf

    return _sizes(hyrf.write(snapshot.parts(), Path(path)).bytes_by_component, snapshot)


def export_scene(
    snapshot: Snapshot,
    path: Path,
    cameras: Sequence[Camera] = (),
    renderer: Renderer | None = None,
) -> str:
    """Write a scene in the format its suffix names, open the file again and say what was lost.

    Without cameras those that the scene remembers are used, without a renderer the best one here.
    """
    path = Path(path)
    entry = format_of(path)
    parts = snapshot.parts()
    from core.formats import compare

    cameras = cameras or compare.cameras_of(snapshot, parts.summary)
    if entry.needs == "splats" and parts.kind != "splats":
        from core.formats.bake import bake_sh

        parts = bake_sh(snapshot, cameras)
    _function(entry.writes)(parts, path)
    sizes = _sizes(_function(entry.tells)(path)["bytes_by_component"], snapshot)
    loss = compare.loss(snapshot, open_scene(path, str(snapshot.device)), cameras, renderer)
    return f"{sizes} {loss}"


def _sizes(components: dict[str, int], snapshot: Snapshot) -> str:
    total = sum(components.values())
    listed = ", ".join(f"{name} {size / 1e6:.2f}" for name, size in components.items())
    return f"{total / 1e6:.2f} MB ({listed}), {snapshot.num_gaussians:,} Gaussians."


def _function(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
