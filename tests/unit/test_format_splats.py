"""Splat files of other programs: real ones, bytes by hand and damage."""

from __future__ import annotations

import gzip
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from core import formats
from core.base.errors import FormatError
from core.formats import gltf, ksplat, ply, ply_packed, sog, splat, spz
from core.formats.clusters import codebook, palette
from core.formats.quats import keep_three, restore_four
from core.formats.table import format_of
from core.radiance.parts import SceneParts
from core.radiance.sh import evaluate_sh
from core.radiance.sh_splats import sh_coeffs_of, splat_parts

SUFFIX = {
    ply: ".ply",
    ply_packed: ".compressed.ply",
    spz: ".spz",
    sog: ".sog",
    gltf: ".glb",
    splat: ".splat",
}
COUNT = 700  # three chunks of 256, the last one short


@pytest.fixture(scope="module")
def shared():
    where = os.environ.get("HYRF_TEST_DATA")
    if where is None:
        pytest.skip("HYRF_TEST_DATA names no folder of real splat files")
    return Path(where) / "splats"


def arrays(scene: SceneParts) -> dict[str, np.ndarray]:
    return {name: part.values for name, part in scene.parts.items()}


def scene_of(degree: int = 2, count: int = COUNT, seed: int = 0) -> SceneParts:
    rng = np.random.default_rng(seed)
    bases = (degree + 1) ** 2
    values = (
        rng.normal(size=(count, 3)),
        rng.normal(size=(count, 3)) - 4,
        rng.normal(size=(count, 4)),
        rng.normal(size=count),
        rng.uniform(-0.9, 0.9, size=(count, bases, 3)),
    )
    parts = splat_parts(*(array.astype(np.float32) for array in values))
    return SceneParts("splats", parts, {"sh_degree": degree})


def matched(before: SceneParts, after: SceneParts) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of arrays in the same order of Gaussians: writers reorder, opacity stays."""
    one, other = arrays(before), arrays(after)
    from scipy.spatial import cKDTree

    distance, rows = cKDTree(other["means"]).query(one["means"])
    assert distance.max() < 0.01
    assert len(set(rows)) == len(rows), "every Gaussian was found once"
    return {name: (one[name], other[name][rows]) for name in other}


def unlike_rotations(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of rotations, whichever sign they have."""
    return float(np.minimum(np.abs(one - other).max(1), np.abs(one + other).max(1)).max())


# ---- real files ------------------------------------------------------------------------


def test_biker_is_the_same_from_compressed_ply_and_from_spz(shared):
    packed = ply.read(shared / "biker.compressed.ply")
    other = spz.read(shared / "biker.spz")
    one, two = arrays(packed), arrays(other)
    assert len(one["means"]) == len(two["means"]) == 152_746
    # half a step of 1/4096, and a little for the chunk's own rounding
    assert np.abs(one["means"] - two["means"]).max() < 0.000123
    for values in (one, two):
        assert (1 / (1 + np.exp(-values["opacity_logits"]))).mean() == pytest.approx(
            0.2966, abs=1e-4
        )
    np.testing.assert_allclose(one["sh_base"].mean(0), two["sh_base"].mean(0), atol=2e-4)
    assert unlike_rotations(one["quats"], two["quats"]) < 0.002  # steps of 9 and 10 bits


def test_biker_looks_the_same_from_both_files(shared):
    from core.capture.camera import Camera, look_at
    from core.formats.compare import loss
    from core.render.cpu import CpuRenderer

    one = formats.open_scene(shared / "biker.compressed.ply")
    two = formats.open_scene(shared / "biker.spz")
    middle = one.bounds.mean(0)
    places = middle + np.array([[0, -0.3, -3.5], [2.5, -0.5, 2.0]])
    up = np.array([0.0, -1.0, 0.0])
    cameras = [
        Camera(look_at(place, middle, up), 250.0, 250.0, 80.0, 120.0, 160, 240) for place in places
    ]
    told = loss(one, two, cameras, CpuRenderer())
    assert float(told.split(" dB")[0].split()[-1]) > 45, told


def test_sog_folder_and_the_ply_made_of_it_hold_the_same_numbers(shared):
    one = arrays(ply.read(shared / "playbot_lod3.ply"))
    for path in (shared / "playbot_lod3_sog", shared / "playbot_lod3_sog" / "meta.json"):
        assert format_of(path).name == "SOG"
        two = arrays(sog.read(path))
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_allclose(one[name], two[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "name",
    ["minimal.splat", "minimal.ksplat", "minimal-v2.spz", "minimal-v3.spz", "minimal-v4.spz"],
)
def test_the_smallest_files_hold_their_four_gaussians(shared, name):
    scene = arrays(format_of(shared / name) and _read(shared / "fixtures" / name))
    assert len(scene["means"]) == 4
    assert {tuple(np.abs(row)) for row in scene["means"].tolist()} == {
        (1.0, 0.0, 1.0),
        (0.0, 0.0, 1.0),
        (1.0, 0.0, 0.0),
        (0.0, 0.0, 0.0),
    }
    np.testing.assert_allclose(scene["log_scales"], -2.302585, atol=0.02)
    np.testing.assert_allclose(scene["opacity_logits"], 2.2192, atol=1e-4)


def _read(path: Path) -> SceneParts:
    return {".splat": splat, ".ksplat": ksplat, ".spz": spz}[path.suffix].read(path)


def test_a_header_of_version_2_without_gzip_is_refused(shared):
    with pytest.raises(FormatError, match="version 2 of SPZ without gzip"):
        spz.read(shared / "fixtures" / "minimal-raw.spz")


# ---- there and back --------------------------------------------------------------------

# how far the numbers of a format may be off: half a step of its codes
STEPS = {
    ply: (1e-6, 1e-6, 1e-6, 1e-6, 1e-6),
    gltf: (1e-6, 1e-6, 1e-6, 1e-5, 1e-6),
    ply_packed: (0.004, 0.004, 0.002, 0.03, 0.02),  # a chunk is up to 7 wide, in 1024 steps
    spz: (0.00013, 0.032, 0.0015, 0.03, 0.08),
    sog: (0.0002, 0.05, 0.0085, 0.03, 0.6),  # the largest component takes all three errors
    splat: (1e-6, 1e-6, 0.008, 0.03, 0.01),
}


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("module", STEPS, ids=lambda module: module.__name__.split(".")[-1])
def test_what_is_written_is_read_again_within_the_steps_of_the_format(module, degree, tmp_path):
    before, path = scene_of(degree), tmp_path / f"scene{SUFFIX[module]}"
    module.write(before, path)
    after = module.read(path)
    means, log_scales, quats, opacities, harmonics = STEPS[module]
    pairs = matched(before, after)
    assert np.abs(np.subtract(*pairs["means"])).max() <= means
    assert np.abs(np.subtract(*pairs["log_scales"])).max() <= log_scales
    assert unlike_rotations(*pairs["quats"]) <= quats
    alphas = [1 / (1 + np.exp(-logits)) for logits in pairs["opacity_logits"]]
    assert np.abs(alphas[0] - alphas[1]).max() <= opacities / 4  # the slope of a logit is 1/4
    assert np.abs(np.subtract(*pairs["sh_base"])).max() <= max(harmonics, 0.014)
    assert after.settings["sh_degree"] == (0 if module is splat else degree)
    if after.settings["sh_degree"]:
        assert np.abs(np.subtract(*pairs["sh_rest"])).max() <= harmonics


@pytest.mark.parametrize("axis", ["x", "z"])
def test_a_turned_scene_has_the_colours_of_the_turned_directions(axis):
    import torch

    from core.formats.plain import exported

    splats = exported(scene_of(3, 50), Path("any"))
    turned = splats.half_turned(axis)
    signs = np.float32([1, -1, -1] if axis == "x" else [-1, -1, 1])
    rays = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    before = evaluate_sh(torch.from_numpy(splats.sh_coeffs), torch.from_numpy(rays))
    after = evaluate_sh(torch.from_numpy(turned.sh_coeffs), torch.from_numpy(rays * signs))
    np.testing.assert_allclose(after, before, atol=1e-5)
    np.testing.assert_array_equal(turned.half_turned(axis).means, splats.means)


def test_the_flag_of_antialiased_training_survives(tmp_path):
    scene = scene_of(0)
    scene.summary["is_antialiased"] = True
    for module in (spz, sog):
        path = tmp_path / f"scene{SUFFIX[module]}"
        module.write(scene, path)
        assert module.read(path).summary["is_antialiased"] is True


def test_spz_of_version_3_is_a_gzip_stream_with_the_same_numbers(tmp_path):
    for version in (3, 4):
        spz.write(scene_of(3), tmp_path / f"{version}.spz", version)
    assert gzip.decompress((tmp_path / "3.spz").read_bytes())[:8] == b"NGSP" + struct.pack("<I", 3)
    one, two = (arrays(spz.read(tmp_path / f"{version}.spz")) for version in (3, 4))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_spz_tells_what_was_clamped_and_makes_room_for_large_scenes(tmp_path):
    scene = scene_of(0)
    scene.parts["means"].values[0] = (90_000.0, 0.0, 0.0)
    scene.parts["sh_base"].values[:3] = 9.0
    told = spz.write(scene, tmp_path / "large.spz")
    assert told == [
        "The base colours of 3 Gaussians lie outside the range of SPZ and were clamped."
    ]
    assert spz.read(tmp_path / "large.spz").bounds[1, 0] == pytest.approx(90_000, abs=0.01)


def test_spz_version_1_has_half_precision_positions(tmp_path):
    means = np.float16([[1.5, 2.5, -3.5], [0.25, 0.0, 8.0]])
    header = struct.pack("<4sIIBBBB", b"NGSP", 1, 2, 0, 12, 0, 0)
    body = means.tobytes() + bytes([128] * 2 + [100] * 6 + [96] * 6 + [128] * 6)
    (tmp_path / "one.spz").write_bytes(gzip.compress(header + body))
    scene = arrays(spz.read(tmp_path / "one.spz"))
    np.testing.assert_array_equal(scene["means"], means.astype(np.float32) * [1, -1, -1])
    np.testing.assert_allclose(scene["log_scales"], -4.0)


def ksplat_file(path: Path, mode: int, degree: int, count: int = 300) -> dict[str, np.ndarray]:
    """Write a .ksplat by hand: one full bucket of 256 and a partial one; return what it should hold."""
    rng = np.random.default_rng(mode)
    head, section = bytearray(4096), bytearray(1024)
    head[1] = 1
    struct.pack_into("<4I", head, 4, 1, 1, count, count)
    struct.pack_into("<H", head, 20, mode)
    struct.pack_into("<2f", head, 36, -2.0, 2.5)
    struct.pack_into("<4If", section, 0, count, count, 256, 2 if mode else 0, 5.0)
    struct.pack_into("<H", section, 20, 12)
    struct.pack_into("<4I", section, 24, 0, 0, 1 if mode else 0, 1 if mode else 0)
    struct.pack_into("<H", section, 40, degree)
    number, harmonics = ("<f4" if mode == 0 else "<f2"), ("<f4", "<f2", "u1")[mode]
    width = 3 * ((degree + 1) ** 2 - 1)
    record = np.dtype(
        [
            ("means", "<f4" if mode == 0 else "<u2", 3),
            ("scales", number, 3),
            ("quats", number, 4),
            ("rgba", "u1", 4),
            ("rest", harmonics, width),
        ]
    )
    rows = np.zeros(count, record)
    rows["means"] = rng.integers(0, 65535, (count, 3))
    rows["scales"] = rng.uniform(0.01, 1, (count, 3))
    rows["quats"] = (0.5, 0.5, 0.5, 0.5)
    rows["rgba"] = rng.integers(1, 255, (count, 4))
    rows["rest"] = rng.integers(0, 3, (count, width))
    centers = np.float32([[1, 2, 3], [4, 5, 6]])
    buckets = struct.pack("<I", count - 256) + centers.tobytes() if mode else b""
    path.write_bytes(bytes(head) + bytes(section) + buckets + rows.tobytes())
    means = rows["means"].astype(np.float64)
    if mode:
        means = (means - 32767) * 2.5 / 32767 + np.repeat(centers, (256, count - 256), axis=0)
    rest = rows["rest"].astype(np.float64)
    return {"means": means, "rest": rest * 4.5 / 255 - 2 if mode == 2 else rest}


@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_ksplat_buckets_and_bands_are_understood(mode, degree, tmp_path):
    expected = ksplat_file(tmp_path / "k.ksplat", mode, degree)
    scene = ksplat.read(tmp_path / "k.ksplat")
    np.testing.assert_allclose(arrays(scene)["means"], expected["means"], rtol=1e-6, atol=1e-5)
    coeffs = sh_coeffs_of(scene)
    assert coeffs.shape[1] == (degree + 1) ** 2
    if degree == 3:
        row, band_2 = expected["rest"][7], expected["rest"][7, 9:24]
        np.testing.assert_allclose(coeffs[7, 1:4].T.reshape(-1), row[:9], atol=1e-6)
        np.testing.assert_allclose(coeffs[7, 4:9].T.reshape(-1), band_2, atol=1e-6)


# ---- parts -----------------------------------------------------------------------------


def test_three_components_give_the_rotation_back():
    quats = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    quats[:4] = np.eye(4)
    three, largest = keep_three(quats)
    unit = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    assert np.abs(three).max() <= np.sqrt(0.5) + 1e-6
    assert unlike_rotations(unit, restore_four(three, largest)) < 1e-6


def test_a_codebook_is_closer_than_even_steps_and_a_palette_than_few_rows():
    values = np.random.default_rng(0).normal(size=(5000, 3)) ** 3
    codes, book = codebook(values)
    even = np.linspace(values.min(), values.max(), 256)
    steps = even[np.abs(values[..., None] - even).argmin(-1)]
    assert np.abs(book[codes] - values).mean() < 0.5 * np.abs(steps - values).mean()
    labels, rows = palette(values.astype(np.float32))
    assert len(rows) <= 4096
    assert labels.max() < len(rows)
    assert np.abs(rows[labels] - values).mean() < 0.1 * np.abs(values - values.mean(0)).mean()


def test_one_value_makes_a_codebook_too():
    codes, book = codebook(np.full((10, 3), 0.25))
    np.testing.assert_array_equal(book[codes], np.float32(0.25))


# ---- damage ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One small sound file of every format, as bytes."""
    folder, contents = tmp_path_factory.mktemp("whole"), {}
    for module, suffix in SUFFIX.items():
        module.write(scene_of(1, 40), folder / f"a{suffix}")
        contents[module] = (folder / f"a{suffix}").read_bytes()
    spz.write(scene_of(1, 40), folder / "a.spz", 3)
    contents[ksplat] = None
    ksplat_file(folder / "a.ksplat", 1, 1, 300)
    contents[ksplat] = (folder / "a.ksplat").read_bytes()
    return contents


def outcome(module, path: Path) -> tuple[str, SceneParts | None]:
    """Return the sentence of a refusal, or the scene."""
    try:
        return "", module.read(path)
    except FormatError as error:
        return str(error), None


@pytest.mark.parametrize(
    "module", [*SUFFIX, ksplat], ids=lambda module: module.__name__.split(".")[-1]
)
def test_damaged_files_are_read_or_refused_in_one_sentence(module, whole, tmp_path):
    rng, content = np.random.default_rng(0), whole[module]
    path = tmp_path / f"bad{SUFFIX.get(module, '.ksplat')}"
    refused = 0
    for round_ in range(200):
        damaged = bytearray(content)
        if round_ % 4 == 0:
            damaged = damaged[: rng.integers(0, len(damaged))]
        else:
            end = min(len(damaged), 5200) if round_ % 2 else len(damaged)  # headers, mostly
            for place in rng.integers(0, end, rng.integers(1, 9)):
                damaged[place] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        path.write_bytes(bytes(damaged))
        said, scene = outcome(module, path)
        refused += scene is None
        assert scene is not None or ("bad" in said and "\n" not in said)
        parts = {} if scene is None else scene.parts
        assert all(np.isfinite(part.values).all() for part in parts.values())
    assert refused >= 40  # every file that was cut off at least


def test_counts_that_no_file_of_this_size_can_hold_allocate_nothing(tmp_path):
    import tracemalloc

    huge = struct.pack("<4sII", b"NGSP", 3, 40_000_000) + bytes((0, 12, 0, 0))
    (tmp_path / "huge.spz").write_bytes(gzip.compress(huge))
    streams = struct.pack("<4sII", b"NGSP", 4, 40_000_000) + bytes((0, 12, 0, 5))
    table = struct.pack("<QQ", 10, 9 * 40_000_000) * 5
    (tmp_path / "streams.spz").write_bytes(streams + struct.pack("<I", 32) + bytes(12) + table)
    tracemalloc.start()
    for name in ("huge.spz", "streams.spz"):
        with pytest.raises(FormatError, match="fewer Gaussians than it announces"):
            spz.read(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_a_gltf_that_moves_its_nodes_or_holds_a_mesh_is_refused(tmp_path):
    gltf.write(scene_of(0, 10), tmp_path / "a.glb")
    content = (tmp_path / "a.glb").read_bytes()
    length = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + length])
    document["buffers"][0]["uri"] = "a.bin"
    (tmp_path / "a.bin").write_bytes(content[28 + length :])
    target = tmp_path / "a.gltf"
    target.write_text(json.dumps(document))
    assert len(arrays(gltf.read(target))["means"]) == 10
    document["nodes"][0]["translation"] = [0, 1, 0]
    target.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="a node has a translation"):
        gltf.read(target)
    document["nodes"] = []
    document["buffers"][0]["uri"] = "../outside.bin"
    target.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="outside its folder"):
        gltf.read(target)
    del document["meshes"][0]["primitives"][0]["extensions"]
    target.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="holds no Gaussians"):
        gltf.read(target)


def test_json_that_is_no_object_or_nests_without_end_is_one_sentence(tmp_path):
    (tmp_path / "means_l.webp").write_bytes(b"x")
    for text in ("[]", "3", "null", "[" * 5000):
        for path in (tmp_path / "meta.json", tmp_path / "a.gltf"):
            path.write_text(text)
            with pytest.raises(FormatError, match=r"meta\.json|a\.gltf"):
                formats.describe(path)
