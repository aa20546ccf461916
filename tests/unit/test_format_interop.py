"""Files of other programs are read right, and other programs read ours: plyfile, trimesh, splat-transform."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import plyfile
import pytest
import trimesh

from core import formats
from core.formats import gltf, ply, ply_packed, pointcloud, sog, splat, spz
from core.formats.plain import exported, opacities
from core.radiance.parts import SceneParts
from core.radiance.sh_splats import sh_coeffs_of, splat_parts

C0 = 0.28209479177387814


@pytest.fixture(scope="module")
def shared():
    where = os.environ.get("HYRF_TEST_DATA")
    if where is None:
        pytest.skip("HYRF_TEST_DATA names no folder of real splat files")
    return Path(where) / "splats"


@pytest.fixture(scope="module")
def program():
    """Return splat-transform, which `npm install @playcanvas/splat-transform` brings."""
    found = shutil.which("splat-transform")
    if found is None:
        pytest.skip("splat-transform is not on the PATH")
    return found


def scene_of(degree: int, count: int) -> SceneParts:
    rng = np.random.default_rng(degree)
    values = (
        rng.normal(size=(count, 3)) + np.array([3, -1, 2]),
        rng.normal(size=(count, 3)) - 4,
        rng.normal(size=(count, 4)),
        rng.normal(size=count),
        rng.uniform(-0.9, 0.9, size=(count, (degree + 1) ** 2, 3)),
    )
    parts = splat_parts(*(array.astype(np.float32) for array in values))
    return SceneParts("splats", parts, {"sh_degree": degree})


def arrays(scene: SceneParts) -> dict[str, np.ndarray]:
    return {name: part.values for name, part in scene.parts.items()}


def assert_same(one: SceneParts, two: SceneParts, atol: float = 1e-5, quats: float = 1e-5) -> None:
    """Compare all numbers, row by row; a rotation is the same with either sign."""
    left, right = arrays(one), arrays(two)
    assert left.keys() == right.keys()
    for name, values in left.items():
        other = right[name]
        if name == "quats":
            unlike = np.minimum(np.abs(values - other).max(1), np.abs(values + other).max(1))
            assert unlike.max() < quats
        else:
            np.testing.assert_allclose(values, other, atol=atol, rtol=1e-5, err_msg=name)


# ---- real files ------------------------------------------------------------------------

# name, Gaussians, degree, and the means that splat-transform 2.7.1 prints (--summary): x y z, the opacity
# of the mean logit, the size of the mean logarithm (first axis), the red of the mean coefficient
REAL = [
    (
        "biker.compressed.ply",
        152_746,
        0,
        (-0.048573, -1.605046, 0.002286, 0.238005, 0.00217384, 0.318888),
    ),
    ("biker.spz", 152_746, 0, (-0.048573, -1.605046, 0.002286, 0.238005, 0.00217395, 0.318907)),
    (
        "playbot_lod3.ply",
        31_000,
        2,
        (-0.008645, -0.108008, -0.00067, 0.924512, 0.00345929, 0.29768),
    ),
    (
        "playbot_lod3_sog/meta.json",
        31_000,
        2,
        (-0.008645, -0.108008, -0.00067, 0.924512, 0.00345929, 0.29768),
    ),
    ("fixtures/minimal.splat", 4, 0, (-0.5, 0, -0.5, 0.901961, 0.1, 0.5)),
    ("fixtures/minimal.ksplat", 4, 0, (-0.5, 0, -0.5, 0.901961, 0.1, 0.5)),
    ("fixtures/minimal-v2.spz", 4, 0, (-0.5, 0, 0.5, 0.901961, 0.0990134, 0.5)),
    ("fixtures/minimal-v3.spz", 4, 0, (-0.5, 0, -0.5, 0.901961, 0.0990134, 0.5)),
    ("fixtures/minimal-v4.spz", 4, 0, (-0.5, 0, -0.5, 0.901961, 0.0990134, 0.5)),
    (
        "fixtures/three_points_from_train.ply",
        3,
        3,
        (-0.746485, -0.3295, -0.425793, 0.198209, 0.00844345, 0.579311),
    ),
]


@pytest.mark.parametrize(("name", "count", "degree", "means"), REAL)
def test_a_real_file_holds_what_another_program_counts(shared, name, count, degree, means):
    facts = formats.describe(shared / name)
    assert (facts["num_gaussians"], facts["sh_degree"]) == (count, degree)
    scene = formats.open_scene(shared / name)
    assert scene.num_gaussians == count
    held = arrays(scene.parts())
    finite = np.abs(held["opacity_logits"]) < 6  # it leaves out those of bytes 0 and 255
    found = [
        *held["means"].mean(0, dtype=float),
        1 / (1 + np.exp(-held["opacity_logits"][finite].mean(dtype=float))),
        np.exp(held["log_scales"][:, 0].mean(dtype=float)),
        0.5 + C0 * held["sh_base"][:, 0].mean(dtype=float),
    ]
    np.testing.assert_allclose(found, means, atol=1e-6)


# ---- readers from the package index ----------------------------------------------------


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_plyfile_reads_the_numbers_we_wrote(degree, tmp_path):
    scene = scene_of(degree, 300)
    ply.write(scene, tmp_path / "a.ply")
    rows = plyfile.PlyData.read(str(tmp_path / "a.ply"))["vertex"]
    wanted = exported(scene, tmp_path / "a.ply")
    assert len(rows) == 300

    def columns(*names: str) -> np.ndarray:
        return np.stack([rows[name] for name in names], axis=1)

    np.testing.assert_array_equal(columns("x", "y", "z"), wanted.means)
    np.testing.assert_array_equal(columns("scale_0", "scale_1", "scale_2"), wanted.log_scales)
    np.testing.assert_array_equal(columns("rot_0", "rot_1", "rot_2", "rot_3"), wanted.quats)
    np.testing.assert_array_equal(rows["opacity"], wanted.opacity_logits)
    np.testing.assert_array_equal(columns("f_dc_0", "f_dc_1", "f_dc_2"), wanted.sh_coeffs[:, 0])
    rest = sorted((n for n in rows.data.dtype.names if n.startswith("f_rest_")), key=_number)
    assert len(rest) == 3 * ((degree + 1) ** 2 - 1)
    if rest:  # all of red, then green, then blue
        by_channel = columns(*rest).reshape(300, 3, -1).transpose(0, 2, 1)
        np.testing.assert_array_equal(by_channel, wanted.sh_coeffs[:, 1:])


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


def test_plyfile_reads_the_chunks_and_points_we_wrote(tmp_path):
    scene = scene_of(1, 700)
    ply_packed.write(scene, tmp_path / "a.compressed.ply")
    data = plyfile.PlyData.read(str(tmp_path / "a.compressed.ply"))
    assert [len(data[name]) for name in ("chunk", "vertex", "sh")] == [3, 700, 700]
    chunk, vertex = data["chunk"], data["vertex"]
    order = np.arange(700) // 256
    found = []
    for axis, shift, bits in (("x", 21, 11), ("y", 11, 10), ("z", 0, 11)):
        share = (vertex["packed_position"] >> shift & ((1 << bits) - 1)) / ((1 << bits) - 1)
        low, high = (chunk[f"{end}_{axis}"][order].astype(float) for end in ("min", "max"))
        found.append((low + (high - low) * share).mean())
    # the mean of 700 roundings to steps of 1/1023 of a chunk up to 7 wide
    np.testing.assert_allclose(found, arrays(scene)["means"].mean(0), atol=5e-4)
    pointcloud.write(scene, tmp_path / "a.points.ply")
    points = plyfile.PlyData.read(str(tmp_path / "a.points.ply"))["vertex"]
    kept = opacities(arrays(scene)["opacity_logits"]) >= pointcloud.FAINTEST
    assert len(points) == kept.sum()
    xyz = np.stack([points[axis] for axis in "xyz"], axis=1)
    np.testing.assert_array_equal(xyz, arrays(scene)["means"][kept])


def test_trimesh_reads_the_places_and_colours_of_our_gltf(tmp_path):
    scene = scene_of(3, 500)
    gltf.write(scene, tmp_path / "a.glb")
    loaded = trimesh.load_scene(tmp_path / "a.glb")
    (cloud,) = loaded.geometry.values()
    assert isinstance(cloud, trimesh.PointCloud)
    turned = arrays(scene)["means"] * (-1, -1, 1)  # y up, x left
    np.testing.assert_allclose(cloud.vertices, turned, rtol=1e-6)
    shown = np.clip(0.5 + C0 * sh_coeffs_of(scene)[:, 0], 0, 1)
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(cloud.colors[:, :3] / 255, linear, atol=1.01 / 255)


# ---- splat-transform -------------------------------------------------------------------

SUFFIX = {
    ply: ".ply",
    ply_packed: ".compressed.ply",
    spz: ".spz",
    sog: ".sog",
    splat: ".splat",
}


def transformed(program: str, source: Path, target: Path, *options: str) -> Path:
    command = [program, "-w", "-q", *options, str(source), str(target)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("module", SUFFIX, ids=lambda module: module.__name__.split(".")[-1])
def test_splat_transform_reads_the_numbers_that_we_read(module, degree, program, tmp_path):
    path = tmp_path / f"a{SUFFIX[module]}"
    module.write(scene_of(degree, 3000), path)
    back = ply.read(transformed(program, path, tmp_path / "back.ply"))
    # it reads the rotations of .splat as b / 127.5 - 1
    assert_same(module.read(path), back, quats=0.01 if module is splat else 1e-5)


@pytest.mark.slow
def test_splat_transform_reads_version_3_of_spz_and_an_opened_sog_folder(program, tmp_path):
    import zipfile

    spz.write(scene_of(2, 1000), tmp_path / "a.spz", 3)
    back = ply.read(transformed(program, tmp_path / "a.spz", tmp_path / "back.ply"))
    assert_same(spz.read(tmp_path / "a.spz"), back)
    sog.write(scene_of(1, 1000), tmp_path / "a.sog")
    with zipfile.ZipFile(tmp_path / "a.sog") as archive:
        archive.extractall(tmp_path / "folder")
    meta = tmp_path / "folder" / "meta.json"
    assert_same(sog.read(meta), ply.read(transformed(program, meta, tmp_path / "back.ply")))


@pytest.mark.slow
@pytest.mark.parametrize("degree", [0, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b.compressed.ply", ()),
        ("b.spz", ("--spz-version", "3")),
        ("b.spz", ("--spz-version", "4")),
        ("b.sog", ("-g", "cpu")),
        ("meta.json", ("-g", "cpu")),
    ],
)
def test_we_read_what_splat_transform_writes_as_it_does(name, options, degree, program, tmp_path):
    ply.write(scene_of(degree, 2000), tmp_path / "a.ply")
    written = transformed(program, tmp_path / "a.ply", tmp_path / name, *options)
    back = transformed(program, written, tmp_path / "back.ply")
    assert_same(formats.open_scene(written).parts(), ply.read(back))


@pytest.mark.slow
def test_we_read_the_gltf_of_splat_transform_in_the_axes_of_its_ply(program, tmp_path):
    scene = scene_of(2, 500)
    ply.write(scene, tmp_path / "a.ply")
    written = transformed(program, tmp_path / "a.ply", tmp_path / "a.glb")
    # it leaves the rotations' own axes as they are, we flip two of them: the same ellipsoids
    both = [arrays(gltf.read(written)), arrays(scene)]
    for name in ("means", "log_scales", "opacity_logits", "sh_base", "sh_rest"):
        np.testing.assert_allclose(both[0][name], both[1][name], atol=1e-5, err_msg=name)
    np.testing.assert_allclose(*(covariances(held) for held in both), atol=1e-6)


def covariances(held: dict[str, np.ndarray]) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    axes = Rotation.from_quat(held["quats"][:, [1, 2, 3, 0]]).as_matrix()
    axes = axes * np.exp(held["log_scales"])[:, None]
    return axes @ axes.transpose(0, 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [row[0] for row in REAL])
def test_we_read_the_shared_files_as_splat_transform_does(name, program, shared, tmp_path):
    back = transformed(program, shared / name, tmp_path / "back.ply")
    scene = formats.open_scene(shared / name).parts()
    # it reads the rotations of .splat as b / 127.5 - 1, and a byte of 255 as an infinite logit
    assert_same(scene, ply.read(back), quats=0.01 if name.endswith("splat") else 1e-5)
