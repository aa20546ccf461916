"""3DGS PLY: bytes by hand, real files, hostile headers."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from core.base.errors import FormatError
from core.capture.camera import Similarity
from core.formats import ply, ply_packed
from core.radiance.parts import SceneParts
from core.radiance.sh_splats import sh_coeffs_of, splat_parts

NAMES = (
    ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    + [f"f_rest_{k}" for k in range(9)]
    + ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
)


def header(
    count: object, names: list[str] = NAMES, form: str = "binary_little_endian 1.0"
) -> bytes:
    lines = ["ply", f"format {form}", f"element vertex {count}"]
    return "\n".join(
        [*lines, *(f"property float {name}" for name in names), "end_header\n"]
    ).encode()


def record(shift: float) -> list[float]:
    """Return one Gaussian by hand: position, normal, base colour, 3 x 3 harmonics, opacity, scales, rotation."""
    rest = [10.0, 11.0, 12.0, 20.0, 21.0, 22.0, 30.0, 31.0, 32.0]  # red, green, blue
    shape = [0.25, -1.0, -2.0, -3.0, 0.6, 0.0, 0.8, 0.0]
    return [1.0 + shift, 2.0, 3.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3, *rest, *shape]


def golden() -> bytes:
    return header(2) + struct.pack(f"<{2 * len(NAMES)}f", *record(0.0), *record(0.5))


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_two_gaussians_written_by_hand_are_read(tmp_path):
    scene = ply.read(write(tmp_path / "two.ply", golden()))
    arrays = {name: part.values for name, part in scene.parts.items()}
    np.testing.assert_array_equal(arrays["means"], [[1, 2, 3], [1.5, 2, 3]])
    np.testing.assert_array_equal(arrays["log_scales"], [[-1, -2, -3]] * 2)
    np.testing.assert_allclose(arrays["quats"], [[0.6, 0.0, 0.8, 0.0]] * 2, atol=1e-7)
    np.testing.assert_array_equal(arrays["opacity_logits"], [0.25, 0.25])
    # three coefficients of each channel follow each other in the file, coefficients come first here
    expected = np.float32([[0.1, 0.2, 0.3], [10, 20, 30], [11, 21, 31], [12, 22, 32]])
    np.testing.assert_array_equal(sh_coeffs_of(scene)[0], expected)
    assert scene.settings == {"sh_degree": 1}
    np.testing.assert_array_equal(scene.bounds, [[1, 2, 3], [1.5, 2, 3]])


def test_two_gaussians_are_written_byte_by_byte_as_by_hand(tmp_path):
    scene = ply.read(write(tmp_path / "two.ply", golden()))
    ply.write(scene, tmp_path / "again.ply")
    assert (tmp_path / "again.ply").read_bytes() == golden()


def test_properties_are_found_in_any_order_beside_comments_and_unknown_ones(tmp_path):
    order = [8, 3, *range(9, 26), 0, 2, 1, 6, 7]
    names = [NAMES[k] for k in order if not NAMES[k].startswith("n")]
    values = {name: record(0.0)[NAMES.index(name)] for name in names}
    lines = ["ply", "format binary_little_endian 1.0", "comment made by hand", "obj_info nothing"]
    lines += ["element vertex 1", "property uchar selected"]
    lines += [f"property {'double' if name == 'x' else 'float'} {name}" for name in names]
    lines += ["element face 0", "property list uchar int vertex_indices", "end_header\r\n"]
    body = b"\x07" + b"".join(struct.pack("<d" if n == "x" else "<f", v) for n, v in values.items())
    scene = ply.read(write(tmp_path / "mixed.ply", "\n".join(lines).encode() + body))
    straight = ply.read(write(tmp_path / "two.ply", golden()))
    for name, part in straight.parts.items():
        np.testing.assert_array_equal(scene.parts[name].values, part.values[:1])


def test_rows_that_are_no_gaussians_are_dropped_and_counted(tmp_path):
    rows = np.array([record(k) for k in range(6)], dtype="<f4")
    rows[1, 0], rows[2, 18], rows[3, 19] = np.nan, np.nan, 200.0
    rows[4, NAMES.index("rot_0") :] = 0.0
    scene = ply.read(write(tmp_path / "some.ply", header(6) + rows.tobytes()))
    np.testing.assert_array_equal(scene.parts["means"].values[:, 0], [1.0, 6.0])
    assert scene.summary["dropped"] == 4


def test_the_infinite_logit_of_an_opaque_gaussian_is_a_very_large_one(tmp_path):
    rows = np.array([record(k) for k in range(3)], dtype="<f4")
    rows[1:, NAMES.index("opacity")] = np.inf, -np.inf
    logits = ply.read(write(tmp_path / "some.ply", header(3) + rows.tobytes())).parts
    alphas = 1 / (1 + np.exp(-logits["opacity_logits"].values[1:].astype(float).reshape(-1)))
    np.testing.assert_allclose(alphas, [1, 0], atol=0.26 / 255)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no PLY file"),
        (b"\x89PNG\r\n", "no PLY file"),
        (b"ply\nformat binary_little_endian 1.0\n", "no end"),
        (golden()[:-1], "only 207 bytes follow"),
        (header(10**10) + b"\0" * 100, "announces 10000000000 records"),
        (header(-1), "no count"),
        (header("1e9"), "no count"),
        (header("9" * 50), "no count"),
        (header(0), "none of its 0"),
        (header(2, form="ascii 1.0"), "only binary_little_endian"),
        (header(2, form="binary_big_endian 1.0"), "only binary_little_endian"),
        (header(2, NAMES[:6]) + b"\0" * 48, "points or a mesh"),
        (header(1, [*NAMES, "f_rest_9"]) + b"\0" * 200, "10 f_rest"),
        (header(1, [*NAMES, "x"]), "property line"),
        (
            golden().replace(b"element vertex", b"element chunk 1\nelement vertex"),
            "'chunk' records lack min_x",
        ),
        (golden().replace(b"property float x", b"property list uchar int x"), "property line"),
        (golden().replace(b"property float x", b"nonsense"), "header line"),
        (header(2) + np.full(52, np.nan, "<f4").tobytes(), "none of its 2"),
    ],
)
def test_a_hostile_or_foreign_file_gets_one_sentence(tmp_path, content, said):
    path = write(tmp_path / "bad.ply", content)
    with pytest.raises(FormatError, match=said) as caught:
        ply.read(path)
    assert "bad.ply" in str(caught.value)


def test_a_missing_file_and_a_folder_get_one_sentence(tmp_path):
    with pytest.raises(FormatError, match="No such file"):
        ply.read(tmp_path / "none.ply")
    with pytest.raises(FormatError, match="is a folder"):
        ply.read(tmp_path)


def test_an_export_goes_back_to_the_coordinates_of_the_capture(tmp_path):
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    to_original = Similarity(2.5, rotation, np.array([1.0, -2.0, 3.0]))
    count = 30
    quats = rng.normal(size=(count, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    arrays = [rng.normal(size=(count, 3)), rng.normal(size=(count, 3)) - 3, quats]
    arrays += [rng.normal(size=count), rng.normal(size=(count, 16, 3))]
    parts = splat_parts(*(values.astype(np.float32) for values in arrays))
    scene = SceneParts("splats", parts, {"sh_degree": 3}, to_original=to_original)
    ply.write(scene, tmp_path / "out.ply")
    back = {name: part.values for name, part in ply.read(tmp_path / "out.ply").parts.items()}
    np.testing.assert_allclose(back["means"], to_original.apply(arrays[0]), atol=1e-5)
    expected = covariances(arrays[1] + np.log(2.5), rotation @ matrices(quats))
    # scales up to e^0 * 2.5, 32-bit numbers
    np.testing.assert_allclose(
        covariances(back["log_scales"], matrices(back["quats"])), expected, atol=1e-5
    )


def matrices(quats: np.ndarray) -> np.ndarray:
    """Return rotations [N, 3, 3] written out from (w, x, y, z)."""
    w, x, y, z = quats.T.astype(np.float64)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def covariances(log_scales: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    spread = rotations * np.exp(log_scales)[:, None, :]
    return spread @ spread.transpose(0, 2, 1)


def test_real_files_are_read_and_written_again_unchanged(tmp_path):
    data = os.environ.get("HYRF_TEST_DATA")
    if not data:
        pytest.skip("HYRF_TEST_DATA is not set")
    for name, count, degree in (
        ("playbot_lod3.ply", 31000, 2),
        ("fixtures/three_points_from_train.ply", 3, 3),
    ):
        path = Path(data) / "splats" / name
        facts = ply.info(path)
        assert (facts["num_gaussians"], facts["sh_degree"]) == (count, degree)
        assert facts["bytes"] == path.stat().st_size == sum(facts["bytes_by_component"].values())
        scene = ply.read(path)
        ply.write(scene, tmp_path / "again.ply")
        again = ply.read(tmp_path / "again.ply")
        for key, part in scene.parts.items():
            # rotations are normalised a second time, in 32 bits
            np.testing.assert_allclose(again.parts[key].values, part.values, atol=2e-7)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_chunk_whose_bound_is_a_signalling_nan_loses_its_gaussians_in_silence(tmp_path):
    values = np.random.default_rng(0).normal(size=(300, 14)).astype(np.float32)
    parts = splat_parts(
        values[:, :3], values[:, 3:6], values[:, 6:10], values[:, 10], values[:, None, 11:]
    )
    path = tmp_path / "a.compressed.ply"
    ply_packed.write(SceneParts("splats", parts, {"sh_degree": 0}), path)
    content = path.read_bytes()
    first = content.index(b"end_header\n") + len(b"end_header\n")
    path.write_bytes(content[:first] + b"\x00\x00\xa0\x7f" + content[first + 4 :])
    assert len(ply_packed.read(path).parts["means"].values) == 300 - 256
