"""glTF 2.0 with KHR_gaussian_splatting: one primitive of points, an accessor per attribute.

    POSITION VEC3, KHR_gaussian_splatting:ROTATION VEC4 (x, y, z, w), :SCALE VEC3 (linear),
    :OPACITY SCALAR (0..1), :SH_DEGREE_l_COEF_n VEC3, n = 0 .. 2l

Axes are x left, y up, z forward: half a turn about z from what 3DGS files mean. A `.glb` file is a
header, a JSON chunk and a binary chunk; a `.gltf` file names its buffers beside it or as data URIs.
Written with float32 throughout, and COLOR_0 for viewers that draw points.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from core.base.errors import FormatError
from core.formats.files import checked_file, read_bytes, replacing
from core.formats.plain import PlainSplats, describe, exported, logits, opacities, scene_of
from core.radiance.parts import SceneParts
from core.radiance.sh import BASE

NAME = "KHR_gaussian_splatting"
_MOST_JSON = 16 << 20
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
_FLOAT, _ARRAY_BUFFER, _POINTS = 5126, 34962, 0
_FIRST_BASE = (0, 1, 4, 9)


def read(path: Path) -> SceneParts:
    """Read the first primitive of Gaussians of a .glb or .gltf file."""
    path = Path(path)
    document, binary = _open(path)
    try:
        return scene_of(path, _splats(path, document, binary))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(
            f"{path.name}: its JSON does not describe what it should ({error})."
        ) from None


def info(path: Path) -> dict[str, Any]:
    """Return what the file holds."""
    return describe(read(path), Path(path))


def write(scene: SceneParts, path: Path) -> None:
    """Write plain Gaussians as .glb."""
    path = Path(path)
    splats = exported(scene, path).half_turned("z")
    quats = splats.quats / np.linalg.norm(splats.quats, axis=1, keepdims=True)
    opacity = opacities(splats.opacity_logits)[:, None]
    colors = np.clip(0.5 + BASE * splats.sh_coeffs[:, 0], 0, 1)
    attributes = {
        "POSITION": splats.means,
        f"{NAME}:ROTATION": quats[:, [1, 2, 3, 0]],
        f"{NAME}:SCALE": np.exp(splats.log_scales),
        f"{NAME}:OPACITY": opacity,
        "COLOR_0": np.concatenate((_linear(colors), opacity), axis=1),
    }
    for degree, first in enumerate(_FIRST_BASE[: splats.sh_degree + 1]):
        for n in range(2 * degree + 1):
            attributes[f"{NAME}:SH_DEGREE_{degree}_COEF_{n}"] = splats.sh_coeffs[:, first + n]
    document, binary = _document(attributes, len(splats))
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, total))
        file.write(struct.pack("<II", len(text), _JSON_CHUNK) + text)
        file.write(struct.pack("<II", len(binary), _BINARY_CHUNK) + binary)


def _document(attributes: dict[str, np.ndarray], count: int) -> tuple[dict[str, Any], bytes]:
    """Return the JSON and the buffer of one primitive."""
    views, accessors, blocks, at = [], [], [], 0
    for name, values in attributes.items():
        block = values.astype("<f4").tobytes()
        views.append(
            {"buffer": 0, "byteOffset": at, "byteLength": len(block), "target": _ARRAY_BUFFER}
        )
        kind = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}[values.shape[1]]
        accessor: dict[str, Any] = {
            "bufferView": len(accessors), "componentType": _FLOAT, "count": count, "type": kind,
        }  # fmt: skip
        if name == "POSITION":
            accessor["min"], accessor["max"] = (
                end.astype(float).tolist() for end in (values.min(0), values.max(0))
            )
        accessors.append(accessor)
        blocks.append(block)
        at += len(block)
    primitive = {
        "mode": _POINTS,
        "attributes": {name: index for index, name in enumerate(attributes)},
        "extensions": {NAME: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}},
    }
    document = {
        "asset": {"version": "2.0", "generator": "HyRF Studio"},
        "extensionsUsed": [NAME],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": at}],
    }
    return document, b"".join(blocks)


def _splats(path: Path, document: dict[str, Any], binary: bytes | None) -> PlainSplats:
    found = [
        primitive
        for mesh in document.get("meshes", [])
        for primitive in mesh.get("primitives", [])
        if NAME in primitive.get("extensions", {})
    ]
    if not found:
        raise FormatError(f"{path.name}: holds no Gaussians ({NAME}); it is a mesh or a scene.")
    _check_nodes(path, document)
    attributes = found[0]["attributes"]
    buffers: dict[int, bytes] = {}

    def values(name: str) -> np.ndarray:
        return _accessor(path, document, binary, buffers, attributes[name])

    means = values("POSITION").astype(np.float32)
    degree = 0
    while degree < 3 and f"{NAME}:SH_DEGREE_{degree + 1}_COEF_0" in attributes:
        degree += 1
    coeffs = [
        values(f"{NAME}:SH_DEGREE_{band}_COEF_{n}")
        for band in range(degree + 1)
        for n in range(2 * band + 1)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):  # such rows are dropped and counted
        log_scales = np.log(values(f"{NAME}:SCALE"))
    splats = PlainSplats(
        means=means,
        log_scales=log_scales.astype(np.float32),
        quats=values(f"{NAME}:ROTATION")[:, [3, 0, 1, 2]].astype(np.float32),
        opacity_logits=logits(values(f"{NAME}:OPACITY")[:, 0]),
        sh_coeffs=np.stack(coeffs, axis=1).astype(np.float32),
    )
    if any(len(array) != len(means) for array in splats.arrays().values()):
        raise FormatError(f"{path.name}: its attributes have different counts.")
    return splats.half_turned("z")


def _check_nodes(path: Path, document: dict[str, Any]) -> None:
    """Refuse a scene whose nodes move the Gaussians: they would silently stand elsewhere."""
    moving = {"translation": [0, 0, 0], "rotation": [0, 0, 0, 1], "scale": [1, 1, 1]}
    moving["matrix"] = np.eye(4).reshape(-1).tolist()
    for node in document.get("nodes", []):
        for name, still in moving.items():
            if name in node and not np.allclose(node[name], still):
                raise FormatError(
                    f"{path.name}: a node has a {name}; apply it to the Gaussians and save again."
                )


def _accessor(
    path: Path,
    document: dict[str, Any],
    binary: bytes | None,
    buffers: dict[int, bytes],
    index: int,
) -> np.ndarray:
    """Return an accessor's numbers [count, width] as float64, normalised integers scaled."""
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    number = int(view["buffer"])
    if number not in buffers:
        buffers[number] = _buffer(path, document, binary, number)
    content = buffers[number]
    item, width = np.dtype(_COMPONENTS[accessor["componentType"]]), _WIDTHS[accessor["type"]]
    count, stride = int(accessor["count"]), int(view.get("byteStride", item.itemsize * width))
    start = int(view.get("byteOffset", 0)) + int(accessor.get("byteOffset", 0))
    end = start + (count - 1) * stride + item.itemsize * width
    if count < 1 or start < 0 or stride < item.itemsize * width or end > len(content):
        raise FormatError(
            f"{path.name}: accessor {index} of {count} numbers from byte {start} does not fit its "
            f"buffer of {len(content)} bytes."
        )
    values = np.ndarray((count, width), item, content, start, (stride, item.itemsize))
    with np.errstate(invalid="ignore"):  # signalling NaNs of a damaged file
        numbers = values.astype(np.float64)
    if accessor.get("normalized"):
        numbers = np.maximum(numbers / np.iinfo(item).max, -1.0)
    return numbers


def _buffer(path: Path, document: dict[str, Any], binary: bytes | None, number: int) -> bytes:
    uri = document["buffers"][number].get("uri")
    if uri is None:
        if binary is None or number:
            raise FormatError(f"{path.name}: buffer {number} has no content.")
        return binary
    if uri.startswith("data:"):
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error:
            raise FormatError(f"{path.name}: buffer {number} is no base64.") from None
    beside = path.parent / uri
    if path.parent.resolve() not in beside.resolve().parents:
        raise FormatError(f"{path.name}: names the buffer '{uri[:80]}' outside its folder.")
    return read_bytes(beside, checked_file(beside))


def _open(path: Path) -> tuple[dict[str, Any], bytes | None]:
    """Return the JSON and, of a .glb, the binary chunk."""
    size = checked_file(path)
    content, binary = read_bytes(path, size), None
    if content[:4] == b"glTF":
        if size < 20 or struct.unpack_from("<II", content, 4) != (2, size):
            raise FormatError(f"{path.name}: is cut off, or no glTF 2.0.")
        length, kind = struct.unpack_from("<II", content, 12)
        if kind != _JSON_CHUNK or length > min(size - 20, _MOST_JSON):
            raise FormatError(
                f"{path.name}: its JSON chunk of {length} bytes does not fit the file."
            )
        after = 20 + length
        if after + 8 <= size:
            length_binary, kind = struct.unpack_from("<II", content, after)
            if kind != _BINARY_CHUNK or length_binary > size - after - 8:
                raise FormatError(f"{path.name}: its binary chunk does not fit the file.")
            binary = content[after + 8 : after + 8 + length_binary]
        content = content[20:after]
    elif size > _MOST_JSON:
        raise FormatError(f"{path.name}: is no glTF file, or one of more than 16 MB of JSON.")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise FormatError(f"{path.name}: is no glTF file; its JSON cannot be read.") from None
    if not isinstance(document, dict):
        raise FormatError(f"{path.name}: is no glTF file; its JSON is no object.")
    return document, binary


def _linear(colors: np.ndarray) -> np.ndarray:
    """Return sRGB colours 0..1 as linear light."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
