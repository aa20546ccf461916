"""Which scene files there are, what fits into them and what they lose. Nothing heavy is imported here.

A format is a row of `FORMATS` and a module under core/formats, imported when used, with the functions

    read    path -> SceneParts
    info    path -> dict, what the file holds
    write   (SceneParts, path) -> sentences about what did not fit; absent where it is only read

An extract (`is_scene` is False) is for other programs: its module has only `write`, whose sentences
say what was written, because nothing can be opened again and compared. One that needs views is drawn:

    write_drawn   (scene, path, cameras, renderer, options) -> sentences
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.base.errors import FormatError
from core.formats.quality import Goal

BACKGROUNDS = ("picture", "shell", "none")
Background = Literal["picture", "shell", "none"]


def _untold(_share: float, _text: str) -> None:
    """Tell nobody how far it is."""


@dataclass(frozen=True, eq=False)
class ExportOptions:
    """What a person may choose about an export; a format looks at what concerns it."""

    sh_degree: int = 3  # that a scene with fields is baked to
    background: Background = "picture"  # what becomes of a neural background
    mesh_cells: int = 0  # of the grid along its longest side; 0 for what fits the scene
    goal: Goal | None = None  # quality and size of a .hyrf file; the best where not given
    progress: Callable[[float, str], None] = _untold  # told a share 0..1 and what is being done

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            known = ", ".join(BACKGROUNDS)
            raise FormatError(f"There is no background '{self.background}'. Choose one of {known}.")


@dataclass(frozen=True)
class Format:
    """One file format; `needs`: what it is written from (a model's fields, plain Gaussians, cameras, drawn views)."""

    name: str
    suffixes: tuple[str, ...]
    module: str  # under core/formats, with `read`, `info` and, where it can be written, `write`
    loses: tuple[str, ...]
    needs: Literal["splats", "field", "cameras", "views"] = "splats"
    is_written: bool = True
    is_scene: bool = True
    holds_background: bool = False  # else a scene's background becomes a picture beside the file


_VIEW = "view-dependent colour beyond spherical harmonics"
_BACKGROUND = "neural background (becomes a picture beside the file)"
_PANORAMA = "nearness of the neural background (becomes an all-round picture)"
_NO_HARMONICS = "all view-dependent colour"
_MESH = ("all but opaque surfaces", _NO_HARMONICS, "what lies beyond the cameras")
FORMATS = (
    Format(
        "HyRF scene",
        (".hyrf",),
        "hyrf",
        ("precision, as much as the quality chosen says",),
        needs="field",
        holds_background=True,
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
    Format(
        "Web page",
        (".html",),
        "page",
        (_VIEW, _PANORAMA, "precision: 8 bits but for positions"),
        holds_background=True,
    ),
    Format("KSplat", (".ksplat",), "ksplat", (_VIEW, _BACKGROUND), is_written=False),
    Format(
        "Point cloud",
        (".points.ply",),
        "pointcloud",
        ("sizes, rotations and opacities", _NO_HARMONICS, "neural background"),
        is_scene=False,
    ),
    Format(
        "Mesh, PLY",
        (".mesh.ply",),
        "mesh",
        _MESH,
        needs="views",
        is_scene=False,
    ),
    Format(
        "Mesh, GLB",
        (".mesh.glb",),
        "mesh",
        _MESH,
        needs="views",
        is_scene=False,
    ),
    Format(
        "Mesh, OBJ",
        (".mesh.obj", ".obj"),
        "mesh",
        _MESH,
        needs="views",
        is_scene=False,
    ),
    Format(
        "Cameras, JSON",
        (".cameras.json",),
        "cameras_json",
        ("everything but the cameras",),
        needs="cameras",
        is_scene=False,
    ),
    Format(
        "Cameras and points, COLMAP",
        (".colmap",),
        "cameras_colmap",
        ("everything but cameras and up to 100,000 points",),
        is_scene=False,
    ),
)


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix names; the folder of a SOG scene counts as one."""
    path = Path(path)
    name = ".sog" if path.name == "meta.json" or is_sog_folder(path) else path.name.lower()
    fitting = [entry for entry in FORMATS if name.endswith(entry.suffixes)]
    if fitting:  # the longest suffix says most: .points.ply is no .ply
        return max(fitting, key=lambda entry: max(map(len, entry.suffixes)))
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
    is_named = path.name.lower().endswith(suffixes())
    return is_sog_folder(path) or (path.is_file() and is_named and format_of(path).is_scene)


def suffixes(is_written: bool = False) -> tuple[str, ...]:
    """Return the suffixes of files that open as scenes, or of everything that can be written."""
    listed = [
        entry.suffixes for entry in FORMATS if (entry.is_written if is_written else entry.is_scene)
    ]
    return tuple(suffix for several in listed for suffix in several)
