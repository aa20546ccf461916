"""Which scene files there are, what fits into them and what they lose. Nothing heavy is imported here.

A format is a row of `FORMATS` and a module under core/formats, imported when used, with the functions

    read    path -> SceneParts
    info    path -> dict, what the file holds
    write   (SceneParts, path) -> sentences about what did not fit; absent where it is only read
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.base.errors import FormatError


@dataclass(frozen=True)
class Format:
    """One file format; `needs` says whether a model's fields fit in, or only plain Gaussians do."""

    name: str
    suffixes: tuple[str, ...]
    module: str  # under core/formats, with `read`, `info` and, where it can be written, `write`
    loses: tuple[str, ...]
    needs: Literal["splats", "field"] = "splats"
    is_written: bool = True


_VIEW = "view-dependent colour beyond spherical harmonics"
_BACKGROUND = "neural background"
_NO_HARMONICS = "all view-dependent colour"
FORMATS = (
    Format(
        "HyRF scene",
        (".hyrf",),
        "hyrf",
        ("precision beyond 8 bits, 16 for positions",),
        needs="field",
    ),
    Format(
        "Compressed PLY",
        (".compressed.ply",),
        "ply_packed",
        (_VIEW, _BACKGROUND, "precision: 16 bytes per Gaussian"),
    ),
    Format("3DGS PLY", (".ply",), "ply", (_VIEW, _BACKGROUND)),
    Format(
        "SPZ", (".spz",), "spz", (_VIEW, _BACKGROUND, "precision: 20 bytes per Gaussian, packed")
    ),
    Format("SOG", (".sog",), "sog", (_VIEW, _BACKGROUND, "precision: codebooks of 256 values")),
    Format("GLB", (".glb", ".gltf"), "gltf", (_VIEW, _BACKGROUND)),
    Format("Splat", (".splat",), "splat", (_NO_HARMONICS, _BACKGROUND, "precision: 32 bytes")),
    Format("KSplat", (".ksplat",), "ksplat", (_VIEW, _BACKGROUND), is_written=False),
)


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix names; the folder of a SOG scene counts as one."""
    path = Path(path)
    name = ".sog" if path.name == "meta.json" or is_sog_folder(path) else path.name.lower()
    for entry in FORMATS:
        if name.endswith(entry.suffixes):
            return entry
    known = ", ".join(f"{entry.suffixes[0]} ({entry.name})" for entry in FORMATS)
    raise FormatError(f"{path.name}: its suffix names no scene format. Known: {known}.")


def is_sog_folder(path: Path) -> bool:
    """Whether a folder holds the pictures of a SOG scene."""
    path = Path(path)
    return (path / "meta.json").is_file() and (path / "means_l.webp").is_file()


def is_scene(path: Path) -> bool:
    """Whether a path is a scene file, or the folder or meta.json of a SOG scene."""
    path = Path(path)
    if path.name == "meta.json":
        return is_sog_folder(path.parent)
    return is_sog_folder(path) or (path.is_file() and path.name.lower().endswith(suffixes()))


def suffixes(is_written: bool = False) -> tuple[str, ...]:
    """Return the suffixes of scene files, all or only those that can be written."""
    listed = [entry.suffixes for entry in FORMATS if entry.is_written or not is_written]
    return tuple(suffix for several in listed for suffix in several)
