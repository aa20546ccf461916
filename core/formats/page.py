"""A web page that carries its scene: one HTML file, opened from disk without a server or a network.

The viewer is in assets/page. The Gaussians stand in the page as base64 of one gzip stream, in Morton
order, plane after plane of N bytes, all values in the coordinates of the capture:

    12 planes         bytes of the positions x y z, float32 little-endian
    3, 4, 3, 1        log scales, rotation (w x y z), base colour (0.5 + coefficient * base), opacity
    3 (K - 1)         harmonics above the constant one, coefficient by coefficient, red green blue

A byte b of column c stands for low + b / 255 (high - low), with (low, high) from `ranges` of the page's
facts. What lies behind is an equirectangular JPEG (equirect.py), also base64.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import json
import re
import zlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from assets import PAGE
from core.base.errors import FormatError
from core.capture.camera import Camera
from core.formats import equirect
from core.formats.compare import cameras_of
from core.formats.files import checked_file, read_bytes, replacing
from core.formats.plain import (
    NUM_BASES,
    PlainSplats,
    describe,
    exported,
    logits,
    morton_order,
    opacities,
    scene_of,
    to_bytes,
)
from core.radiance.parts import SceneParts
from core.radiance.sh import BASE
from core.render.backend import NEAR

VERSION = 1
MOST_GAUSSIANS = 50_000_000
ROOM = 1.3  # around a scene without cameras, so that its first view shows it whole
POSITION_PLANES, BYTE_COLUMNS = 12, 11
_PIECES = {
    "style": "style.css",
    "splats_vertex": "splats.vert",
    "splats_fragment": "splats.frag",
    "present_vertex": "present.vert",
    "present_fragment": "present.frag",
    "sorter": "sorter.js",
    "hand": "hand.js",
    "viewer": "viewer.js",
}
_MARK = b'<meta name="generator" content="HyRF Studio">'

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Facts(BaseModel):
    version: int
    count: int = Field(ge=1, le=MOST_GAUSSIANS)
    degree: int = Field(ge=0, le=3)
    isAntialiased: bool  # spelled as the page's script does
    ranges: list[tuple[Number, Number]]


def write(scene: SceneParts, path: Path) -> None:
    """Write the page; its first view is the first camera that the scene remembers."""
    path = Path(path)
    splats = exported(scene, path)
    splats = splats.taken(morton_order(splats.means))
    planes, ranges = _packed(splats)
    behind = scene.parts.get(equirect.NAME)
    facts = {
        "version": VERSION,
        "count": len(splats),
        "degree": splats.sh_degree,
        "isAntialiased": bool(scene.summary.get("is_antialiased", False)),
        "ranges": ranges,
        "near": NEAR * scene.to_original.scale,
        **_first_view(scene, splats),
    }
    pieces = {name: (PAGE / file).read_text("utf-8") for name, file in _PIECES.items()}
    pieces |= {
        "title": html.escape(str(scene.summary.get("capture", "")) or path.stem),
        "facts": json.dumps(facts, allow_nan=False).replace("<", "\\u003c"),
        "splats": base64.b64encode(gzip.compress(planes, 9, mtime=0)).decode(),
        "background": ""
        if behind is None
        else base64.b64encode(equirect.to_jpeg(behind.values)).decode(),
    }
    template = (PAGE / "page.html").read_text("utf-8")
    page = re.sub("@@([a-z_]+)@@", lambda found: pieces[found[1]], template)
    with replacing(path) as temporary:
        temporary.write_text(page, "utf-8")


def read(path: Path) -> SceneParts:
    """Read the scene that a page of this program carries."""
    path = Path(path)
    content = read_bytes(path, checked_file(path))
    if _MARK not in content:
        raise FormatError(f"{path.name}: is no page that this program exported.")
    facts = _facts(path, _element(path, content, "facts"))
    splats = _unpacked(path, facts, _decoded(path, content, "splats"))
    scene = scene_of(path, splats, facts.isAntialiased)
    picture = _decoded(path, content, "background")
    return equirect.added(scene, equirect.from_jpeg(picture, path.name)) if picture else scene


def info(path: Path) -> dict[str, Any]:
    """Return what a page holds."""
    path = Path(path)
    facts = describe(read(path), path)
    content = read_bytes(path, checked_file(path))
    parts = {
        "explicit": len(_element(path, content, "splats")),
        "background": len(_element(path, content, "background")),
    }
    parts["viewer"] = facts["bytes"] - sum(parts.values())
    facts["bytes_by_component"] = {name: size for name, size in parts.items() if size}
    return facts


def _first_view(scene: SceneParts, splats: PlainSplats) -> dict[str, Any]:
    """Return the first camera and what the hand needs: pivot, up and radius."""
    to_original = scene.to_original
    corners = scene.bounds
    if not scene.summary.get("cameras"):  # of another program: a few stray Gaussians set no bounds
        low, high = np.quantile(splats.means, (0.01, 0.99), axis=0)
        corners = to_original.inverse().apply(np.stack((low, high)))
    extent = float(np.linalg.norm(corners[1] - corners[0])) * to_original.scale
    middle = corners.mean(0)
    seen: Any = _Place(middle + ROOM * (corners - middle), scene.up)
    camera = to_original.apply_camera(cameras_of(seen, scene.summary)[0])
    return {
        "camera": {
            "axes": camera.camera_to_world[:3, :3].T.tolist(),
            "center": camera.center.tolist(),
            **{key: getattr(camera, key) for key in ("fx", "fy", "cx", "cy", "width", "height")},
        },
        "pivot": _pivot(camera, to_original.apply(middle)),
        "up": (to_original.rotation @ scene.up).tolist(),
        "radius": max(0.5 * extent, 1e-3),
    }


class _Place:
    """The bounds and the upward direction that a camera around a scene is found from."""

    def __init__(self, bounds: np.ndarray, up: np.ndarray) -> None:
        self.bounds, self.up = bounds, up


def _pivot(camera: Camera, middle: np.ndarray) -> list[float]:
    """Return the scene's middle, or a place ahead of the camera where that lies behind it."""
    depth = float((middle - camera.center) @ camera.forward)
    ahead = camera.center + camera.forward * float(np.linalg.norm(middle - camera.center))
    return (middle if depth > 0 else ahead).tolist()


def _packed(splats: PlainSplats) -> tuple[bytes, list[list[float]]]:
    """Return the planes and the (low, high) of every byte column."""
    lengths = np.linalg.norm(splats.quats.astype(np.float64), axis=1, keepdims=True)
    columns = np.concatenate(
        (
            splats.log_scales,
            splats.quats / np.maximum(lengths, 1e-12),
            0.5 + BASE * splats.sh_coeffs[:, 0],
            opacities(splats.opacity_logits)[:, None],
            splats.sh_coeffs[:, 1:].reshape(len(splats), -1),
        ),
        axis=1,
    )
    low, high = columns.min(axis=0), columns.max(axis=0)
    low[3:7], high[3:7], low[10], high[10] = -1.0, 1.0, 0.0, 1.0
    codes = to_bytes((columns - low) / np.maximum(high - low, 1e-12) * 255)
    positions = np.ascontiguousarray(splats.means, "<f4").view(np.uint8)
    content = np.concatenate((positions, codes), axis=1).T.tobytes()
    return content, np.stack((low, high), axis=1).tolist()


def _unpacked(path: Path, facts: _Facts, packed: bytes) -> PlainSplats:
    count, num_rest = facts.count, 3 * (NUM_BASES[facts.degree] - 1)
    size = count * (POSITION_PLANES + BYTE_COLUMNS + num_rest)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(packed, size + 1)
    except zlib.error as error:
        raise FormatError(f"{path.name}: its Gaussians cannot be unpacked ({error}).") from None
    if len(content) != size or not unpacker.eof:
        raise FormatError(
            f"{path.name}: announces {count:,} Gaussians of degree {facts.degree}, which its data "
            "do not hold. Take another copy."
        )
    planes = np.frombuffer(content, np.uint8).reshape(-1, count)
    low, high = np.array(facts.ranges).T
    positions = np.ascontiguousarray(planes[:POSITION_PLANES].T)
    values = low + planes[POSITION_PLANES:].T / 255.0 * (high - low)
    base = (values[:, 7:10] - 0.5) / BASE
    rest = values[:, BYTE_COLUMNS:].reshape(count, num_rest // 3, 3)
    return PlainSplats(
        means=positions.view("<f4"),
        log_scales=values[:, :3].astype(np.float32),
        quats=values[:, 3:7].astype(np.float32),
        opacity_logits=logits(values[:, 10]),
        sh_coeffs=np.concatenate((base[:, None], rest), axis=1).astype(np.float32),
    )


def _facts(path: Path, content: bytes) -> _Facts:
    try:
        facts = _Facts.model_validate_json(content)
    except (ValidationError, RecursionError) as error:
        raise FormatError(
            f"{path.name}: its facts are no description of a scene ({str(error).splitlines()[0]})."
        ) from None
    if facts.version > VERSION:
        raise FormatError(f"{path.name}: was exported by a newer program. Update this one.")
    if len(facts.ranges) != BYTE_COLUMNS + 3 * (NUM_BASES[facts.degree] - 1):
        raise FormatError(f"{path.name}: has {len(facts.ranges)} ranges, which fit no scene.")
    return facts


def _element(path: Path, content: bytes, name: str) -> bytes:
    """Return what stands between the tags of one script element."""
    start = content.find(f'id="{name}">'.encode())
    end = content.find(b"</script>", start)
    if start < 0 or end < 0:
        raise FormatError(f"{path.name}: its '{name}' is missing. Take another copy of the page.")
    return content[content.index(b">", start) + 1 : end]


def _decoded(path: Path, content: bytes, name: str) -> bytes:
    try:
        return base64.b64decode(_element(path, content, name), validate=True)
    except binascii.Error:
        raise FormatError(f"{path.name}: its '{name}' is no base64. Take another copy.") from None
