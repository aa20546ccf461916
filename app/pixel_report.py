"""`inspect`: what made one pixel of a scene, printed or written, as the window's pixel inspector finds it.

A view is one of the photographs' cameras that the scene remembers, counted from 0 and sorted by
name as in the window, or its name; a file that remembers none is seen from a ring around it.
"""

from __future__ import annotations

import csv
import io
import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.headless import scene_of, tell
from app.panels.pixel import COLUMNS, HALVES
from app.pixels import MOST_ROWS, color_of, row_of, sentence
from core.base.errors import ConfigError, FormatError
from core.base.json_values import finite

if TYPE_CHECKING:
    from core.capture.camera import Camera
    from core.engine.pixels import PixelParts

SUFFIXES = (".json", ".csv")
FIELDS = (
    "id",
    "weight",
    "depth",
    *(f"{kind}_{c}" for kind in ("color", "explicit", "neural") for c in "rgb"),
)


def describe(command: ArgumentParser) -> None:
    """Describe the command's own words."""
    command.add_argument("scene", type=Path, help="run folder or scene file")
    command.add_argument(
        "--view",
        default="0",
        metavar="I",
        help="photograph to look from, by its name or counted from 0 (default: 0)",
    )
    command.add_argument(
        "--pixel",
        type=int,
        nargs=2,
        required=True,
        metavar=("X", "Y"),
        help="column and row of the view, counted from 0 at its left and top",
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="write it all as .json or .csv")
    command.add_argument("--json", action="store_true", help="print JSON")


def inspect(arguments: Namespace) -> int:
    """Take one pixel apart and say what made it."""
    from core.engine.cores import cores_available, use_cores
    from core.engine.pixels import taken_apart
    from core.formats import open_scene
    from core.formats.compare import cameras_of
    from core.render.backend import choose

    if arguments.out is not None and arguments.out.suffix.lower() not in SUFFIXES:
        raise FormatError(
            f"{arguments.out.name}: a pixel is written as {' or '.join(SUFFIXES)}. Choose one of them."
        )
    use_cores(cores_available())
    path, _ = scene_of(arguments.scene)
    scene = open_scene(path)
    summary = scene.parts().summary
    cameras = cameras_of(scene, summary)
    names = [str(values["name"]) for values in summary.get("cameras", ()) if "name" in values]
    at = _view(arguments.view, len(cameras), names)
    pixel = _inside(tuple(arguments.pixel), cameras[at])
    parts = taken_apart(scene, choose("auto", tell), cameras[at], pixel)
    name = names[at] if at < len(names) else f"view {at}"
    facts = {"scene": str(arguments.scene), "view": name, **facts_of(parts, cameras[at])}
    if arguments.out is not None:
        _write(arguments.out, facts)
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        _print(parts, name)
    return 0


def _view(asked: str, count: int, names: list[str]) -> int:
    if asked in names:
        return names.index(asked)
    if asked.isdecimal() and int(asked) < count:
        return int(asked)
    example = f", or a name such as {names[0]}" if names else ""
    raise ConfigError(
        f"--view {asked}: this scene has the views 0 to {count - 1}{example}. Choose one of them."
    )


def _inside(pixel: tuple[int, int], camera: Camera) -> tuple[int, int]:
    x, y = pixel
    if 0 <= x < camera.width and 0 <= y < camera.height:
        return x, y
    raise ConfigError(
        f"--pixel {x} {y}: the view has {camera.width} x {camera.height} pixels. Choose X from 0 to "
        f"{camera.width - 1} and Y from 0 to {camera.height - 1}."
    )


def facts_of(parts: PixelParts, camera: Camera) -> dict[str, Any]:
    """Return what is known of a pixel as JSON values; colours 0..1, depths in scene units, front to back."""
    has_halves = bool(np.isfinite(parts.explicit).all())
    columns = {"color": parts.colors}
    columns |= {"explicit": parts.explicit, "neural": parts.neural} if has_halves else {}
    gaussians = [
        {
            "id": int(parts.ids[at]),
            "weight": float(parts.weights[at]),
            "depth": float(parts.depths[at]),
            **{name: values[at].tolist() for name, values in columns.items()},
            "place": parts.places[at].tolist(),
            "size": float(parts.sizes[at]),
        }
        for at in range(len(parts.ids))
    ]
    facts = {
        "picture_size": [camera.width, camera.height],
        "pixel": list(parts.pixel),
        "step": parts.step,
        "color": parts.color.tolist(),
        "background": {"share": parts.background_share, "color": parts.background.tolist()},
        "gaussians": gaussians,
    }
    found: dict[str, Any] = finite(facts)
    return found


def _print(parts: PixelParts, name: str) -> None:
    """Print the sentence and the table of the window's panel."""
    print(f"{name}. {sentence(parts)}")
    order = np.argsort(-parts.weights)[:MOST_ROWS]
    has_halves = bool(len(order)) and bool(np.isfinite(parts.explicit).all())
    heads = (*COLUMNS, *HALVES) if has_halves else COLUMNS
    rows = [row_of(parts, int(at), has_halves) for at in order]
    share = f"{parts.background_share:.3f}"
    rows.append(("background", share, "-", color_of(parts.background)))
    for row in (heads, *rows):
        print("".join(f"{cell:>14}" for cell in row).rstrip())
    if len(parts.ids) > len(order):
        print(
            f"{len(parts.ids) - len(order)} fainter ones are left out; --json and --out have all."
        )


def _write(path: Path, facts: dict[str, Any]) -> None:
    """Write everything as JSON, or a line for each Gaussian and the background."""
    text = json.dumps(facts, indent=1) + "\n"
    if path.suffix.lower() == ".csv":
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(FIELDS)
        for row in facts["gaussians"]:
            color, explicit, neural = (
                row.get(name) or [""] * 3 for name in ("color", "explicit", "neural")
            )
            writer.writerow((row["id"], row["weight"], row["depth"], *color, *explicit, *neural))
        behind = facts["background"]
        writer.writerow(("background", behind["share"], "", *behind["color"], *[""] * 6))
        text = lines.getvalue()
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FormatError(
            f"{path}: cannot be written ({error.strerror}). Choose another place."
        ) from None
