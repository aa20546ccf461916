"""Every reader of files that others wrote, a small sound file for each, and a process that damages them.

    python readers.py ROUNDS FIRST NAME...     prints a line of JSON per reader

A reader answers with a scene, a listing or a HybridError of one sentence. Anything else is a finding: another
exception, numbers that are not finite, more than MOST_S seconds, more than MOST_BYTES beside what the process
has anyway. A reader that takes the whole process along is found by the one who started it.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mutations import damaged

MOST_S = 5.0  # a sound file takes milliseconds; the machine may be busy
MOST_BYTES = 768 << 20


@dataclass(frozen=True)
class Reader:
    """`make` writes sound files into a folder and names those to damage; `read` reads what it is given."""

    make: Callable[[Path], dict[str, str]]  # {file: kind of damage}
    read: Callable[[Path], object]
    target: str  # what `read` is given, in the folder


# ---- scenes ----------------------------------------------------------------------------


def _scene(count: int = 60, degree: int = 1):
    import torch

    from core.capture.camera import Similarity
    from core.radiance.model import Surroundings
    from core.radiance.sh_splats import SplatScene

    rng = torch.Generator().manual_seed(0)
    explicit = {
        "means": torch.randn(count, 3, generator=rng),
        "log_scales": torch.randn(count, 3, generator=rng) - 3,
        "quats": torch.randn(count, 4, generator=rng),
        "opacity_logits": torch.randn(count, generator=rng),
        "sh_coeffs": torch.randn(count, (degree + 1) ** 2, 3, generator=rng) * 0.3,
    }
    bounds = np.array([[-1.0] * 3, [1.0] * 3])
    return SplatScene(
        explicit, Surroundings(bounds, np.array([0.0, -1, 0]), Similarity.identity(), {})
    )


def _hybrid():
    import torch

    from core.radiance.fields import FieldsConfig, HybridFields, Space
    from core.radiance.hybrid import Decoder, HybridConfig, HybridScene

    rng = torch.Generator().manual_seed(0)
    sizes = FieldsConfig(levels=2, log2_table=8, base_resolution=2, max_resolution=8, hidden=16)
    explicit = {
        "means": torch.randn(60, 3, generator=rng),
        "color_logits": torch.randn(60, 3, generator=rng),
        "scale_logits": torch.full((60,), -3.0),
        "opacity_logits": torch.randn(60, generator=rng),
    }
    decoder = Decoder(
        HybridConfig(fields=sizes),
        HybridFields(sizes, rng),
        Space(-np.ones(3), np.ones(3), np.zeros(3), 100.0),
    )
    return HybridScene(explicit, decoder, _scene().surroundings, 3)


def _read_scene(path: Path) -> object:
    from core import formats

    formats.describe(path)
    scene = formats.open_scene(path)
    for name, part in scene.parts().parts.items():
        if part.values.dtype.kind == "f" and not np.isfinite(part.values).all():
            raise ArithmeticError(f"{name} is not finite")
    return scene


def _written(name: str, kind: str, **options) -> Reader:
    def make(folder: Path) -> dict[str, str]:
        import importlib

        from core.formats.table import format_of

        module = importlib.import_module(f"core.formats.{format_of(Path(name)).module}")
        module.write(_scene().parts(), folder / name, **options)
        return {name: kind}

    return Reader(make, _read_scene, name)


def _make_native(folder: Path) -> dict[str, str]:
    from core import formats

    formats.save_scene(_hybrid(), folder / "a.hyrf")
    return {"a.hyrf": "zip"}


def _make_sog_folder(folder: Path) -> dict[str, str]:
    import zipfile

    from core.formats import sog

    sog.write(_scene().parts(), folder / "a.sog")
    with zipfile.ZipFile(folder / "a.sog") as archive:
        archive.extractall(folder)
    (folder / "a.sog").unlink()
    return {
        entry.name: "text" if entry.suffix == ".json" else "binary" for entry in folder.iterdir()
    }


def _make_gltf(folder: Path) -> dict[str, str]:
    import struct

    from core.formats import gltf

    gltf.write(_scene().parts(), folder / "a.glb")
    content = (folder / "a.glb").read_bytes()
    length = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + length])
    document["buffers"][0]["uri"] = "a.bin"
    (folder / "a.gltf").write_text(json.dumps(document))
    (folder / "a.bin").write_bytes(content[28 + length :])
    return {"a.gltf": "text", "a.bin": "binary"}


def _make_ksplat(folder: Path) -> dict[str, str]:
    import struct

    rng, count = np.random.default_rng(0), 300
    head, section = bytearray(4096), bytearray(1024)
    head[1] = 1
    struct.pack_into("<4I", head, 4, 1, 1, count, count)
    struct.pack_into("<H", head, 20, 1)
    struct.pack_into("<4If", section, 0, count, count, 256, 2, 5.0)
    struct.pack_into("<H", section, 20, 12)
    struct.pack_into("<4I", section, 24, 0, 0, 1, 1)
    struct.pack_into("<H", section, 40, 1)
    record = np.zeros(
        count, [("means", "<u2", 3), ("halves", "<f2", 7), ("rgba", "u1", 4), ("rest", "<f2", 9)]
    )
    record["means"] = rng.integers(0, 65535, (count, 3))
    record["halves"], record["rgba"] = 0.5, 128
    buckets = struct.pack("<I", count - 256) + np.ones((2, 3), "<f4").tobytes()
    (folder / "a.ksplat").write_bytes(bytes(head) + bytes(section) + buckets + record.tobytes())
    return {"a.ksplat": "binary"}


def _make_panorama(folder: Path) -> dict[str, str]:
    from core.formats.equirect import to_jpeg

    (folder / "a.jpg").write_bytes(to_jpeg(np.zeros((16, 32, 3), np.uint8)))
    return {"a.jpg": "binary"}


def _read_panorama(path: Path) -> object:
    from core.formats.equirect import read_picture

    return read_picture(path)


def _make_path(folder: Path) -> dict[str, str]:
    from core.capture.synthetic import cameras

    listed = {"fps": 24, "seconds": 1, "keyframes": [camera.to_json() for camera in cameras()[:3]]}
    (folder / "a.json").write_text(json.dumps(listed))
    return {"a.json": "text"}


def _read_path(path: Path) -> object:
    from core.formats.video import read_camera_path

    return read_camera_path(path)


# ---- captures --------------------------------------------------------------------------


def _pictures(folder: Path, count: int = 3) -> None:
    from assets import DEMO

    (folder / "images").mkdir()
    for index in range(count):
        shutil.copy(DEMO / "images" / f"{index:03}.jpg", folder / "images")


def _read_listing(folder: Path) -> object:
    from core.capture.opening import read_cameras

    return read_cameras(folder)


def _make_transforms(folder: Path) -> dict[str, str]:
    from assets import DEMO

    _pictures(folder)
    values = json.loads((DEMO / "transforms.json").read_text())
    values["frames"] = values["frames"][:3]
    values.pop("ply_file_path")
    values |= {"k1": 0.01, "k2": -0.002, "p1": 0.0, "p2": 0.0, "camera_model": "OPENCV"}
    (folder / "transforms.json").write_text(json.dumps(values))
    return {"transforms.json": "text"}


def _make_split(folder: Path) -> dict[str, str]:
    _make_transforms(folder)
    values = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").unlink()
    angle = {"camera_angle_x": 1.1}
    for name, frames in (("train", values["frames"][:2]), ("test", values["frames"][2:])):
        (folder / f"transforms_{name}.json").write_text(json.dumps(angle | {"frames": frames}))
    return {"transforms_train.json": "text", "transforms_test.json": "text"}


def _make_colmap(is_text: bool) -> Callable[[Path], dict[str, str]]:
    def make(folder: Path) -> dict[str, str]:
        import pycolmap

        from core.capture.synthetic import cameras
        from core.formats import cameras_colmap

        _pictures(folder)
        scene = _scene().parts()
        scene.summary["cameras"] = [
            {**camera.to_json(), "name": f"{index:03}.jpg"}
            for index, camera in enumerate(cameras()[:3])
        ]
        cameras_colmap.write(scene, folder / "sparse.colmap")
        (folder / "sparse" / "0").mkdir(parents=True)
        model = pycolmap.Reconstruction(folder / "sparse.colmap")
        (model.write_text if is_text else model.write_binary)(folder / "sparse" / "0")
        shutil.rmtree(folder / "sparse.colmap")
        written = (folder / "sparse" / "0").iterdir()
        return {f"sparse/0/{entry.name}": "text" if is_text else "binary" for entry in written}

    return make


def _make_list(folder: Path) -> dict[str, str]:
    from core.capture.point_cloud import write_points_ply
    from core.capture.synthetic import cameras
    from core.formats import cameras_json

    _pictures(folder)
    scene = _scene().parts()
    scene.summary["cameras"] = [
        {**camera.to_json(), "name": f"{index:03}.jpg"}
        for index, camera in enumerate(cameras()[:3])
    ]
    cameras_json.write(scene, folder / "cameras.json")
    points = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    write_points_ply(folder / "points3D.ply", points, np.full((40, 3), 100, np.uint8))
    return {"cameras.json": "text", "points3D.ply": "binary"}


def _make_llff(folder: Path) -> dict[str, str]:
    from core.capture.synthetic import cameras

    _pictures(folder)
    rows = []
    for camera in cameras()[:3]:
        right, down, ahead, place = camera.camera_to_world[:3].T
        matrix = np.stack((down, right, -ahead, place, (240.0, 320.0, 250.0)), axis=1)
        rows.append([*matrix.reshape(-1), 0.5, 9.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return {"poses_bounds.npy": "binary"}


def _make_csv(folder: Path) -> dict[str, str]:
    _pictures(folder)
    lines = ["#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"]
    lines += [
        f"{k:03}.jpg,{k},2.5,3,10.5,80,-3,28.1,0.1,-0.2,0.01,-0.02,0,0,0.001,0" for k in range(3)
    ]
    (folder / "cameras.csv").write_text("\n".join(lines))
    return {"cameras.csv": "text"}


def _make_xml(folder: Path) -> dict[str, str]:
    _pictures(folder)
    pose = "1 0 0 0.5 0 1 0 -2 0 0 1 3 0 0 0 1"
    listed = "".join(
        f'<camera id="{k}" sensor_id="0" label="{k:03}"><transform>{pose}</transform></camera>'
        for k in range(3)
    )
    (folder / "cameras.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><document version="1.5.0"><chunk label="1"><sensors>'
        '<sensor id="0" type="frame"><resolution width="320" height="240"/>'
        '<calibration type="frame" class="adjusted"><resolution width="320" height="240"/>'
        "<f>250</f><cx>1.5</cx><cy>-2</cy><k1>0.01</k1><p1>0.001</p1></calibration></sensor></sensors>"
        f"<cameras>{listed}</cameras></chunk></document>"
    )
    return {"cameras.xml": "text"}


READERS = {
    "ply": _written("a.ply", "binary"),
    "compressed ply": _written("a.compressed.ply", "binary"),
    "spz 3": _written("a.spz", "gzip", version=3),
    "spz 4": _written("a.spz", "binary"),
    "sog": _written("a.sog", "zip"),
    "sog folder": Reader(_make_sog_folder, _read_scene, "meta.json"),
    "glb": _written("a.glb", "binary"),
    "gltf": Reader(_make_gltf, _read_scene, "a.gltf"),
    "splat": _written("a.splat", "binary"),
    "ksplat": Reader(_make_ksplat, _read_scene, "a.ksplat"),
    "hyrf": Reader(_make_native, _read_scene, "a.hyrf"),
    "page": _written("a.html", "page"),
    "all-round picture": Reader(_make_panorama, _read_panorama, "a.jpg"),
    "camera path": Reader(_make_path, _read_path, "a.json"),
    "transforms.json": Reader(_make_transforms, _read_listing, "."),
    "split transforms": Reader(_make_split, _read_listing, "."),
    "colmap binary": Reader(_make_colmap(False), _read_listing, "."),
    "colmap text": Reader(_make_colmap(True), _read_listing, "."),
    "cameras.json": Reader(_make_list, _read_listing, "."),
    "llff": Reader(_make_llff, _read_listing, "."),
    "survey csv": Reader(_make_csv, _read_listing, "."),
    "survey xml": Reader(_make_xml, _read_listing, "."),
}


# ---- the process -----------------------------------------------------------------------


def tried(name: str, first: int, rounds: int) -> dict[str, object]:
    """Damage one reader's files so often; return how many were refused and what was found."""
    from core.base.errors import HybridError

    reader, findings, refused, longest = READERS[name], [], 0, 0.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        kinds = reader.make(folder)
        sound = {file: (folder / file).read_bytes() for file in kinds}
        reader.read(folder / reader.target)  # sound files are read, or nothing is tested
        for number in range(first, first + rounds):
            rng = np.random.default_rng([number, len(name)])
            file = sorted(kinds)[rng.integers(len(kinds))]
            (folder / file).write_bytes(damaged(sound[file], kinds[file], rng))
            began, said = time.perf_counter(), ""
            try:
                reader.read(folder / reader.target)
            except HybridError as error:
                refused += 1
                said = "" if "\n" not in str(error) else f"two lines: {error}"
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            took = time.perf_counter() - began
            longest = max(longest, took)
            if took > MOST_S:
                said = f"{took:.1f} s"
            if said:
                findings.append([number, file, said[:300]])
            (folder / file).write_bytes(sound[file])
    return {"name": name, "refused": refused, "findings": findings[:20], "longest_s": longest}


def _limit_memory() -> None:
    """Let the process have so much more than it has now (Linux)."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(words: list[str]) -> None:
    """Try readers and print what came of it."""
    warnings.simplefilter("error", RuntimeWarning)  # numpy's, of numbers nobody looked at
    rounds, first, names = int(words[0]), int(words[1]), words[2:]
    for name in names:  # everything is imported and every kernel compiled before memory is counted
        tried(name, first, 2)
    if sys.platform == "linux":
        _limit_memory()
    for name in names:
        print(json.dumps(tried(name, first, rounds)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
