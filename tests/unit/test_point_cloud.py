"""Seed points in PLY files: every byte order is read, everything damaged is refused in one sentence."""

import contextlib

import numpy as np
import pytest
from captures import real
from hypothesis import given, settings
from hypothesis import strategies as st

from core.base.errors import CaptureError
from core.capture.point_cloud import read_points_ply, write_points_ply

POINTS = np.array([[0.5, -1.25, 3.0], [1e-3, 2.0, -7.5]])
COLORS = np.array([[0, 128, 255], [9, 8, 7]], np.uint8)
HEADER = "ply\nformat {} 1.0\ncomment made by hand\nelement vertex 2\n"
XYZ = "property float x\nproperty float y\nproperty float z\n"
RGB = "property uchar red\nproperty uchar green\nproperty uchar blue\n"


def test_points_come_back_as_written(tmp_path):
    write_points_ply(tmp_path / "p.ply", POINTS, COLORS)
    points, colors = read_points_ply(tmp_path / "p.ply")
    np.testing.assert_array_equal(points, POINTS.astype(np.float32))
    np.testing.assert_array_equal(colors, COLORS)


def test_text_and_big_endian_files_say_the_same(tmp_path):
    rows = "".join(
        f"{' '.join(map(str, point))} {' '.join(map(str, color))}\n"
        for point, color in zip(POINTS, COLORS, strict=True)
    )
    (tmp_path / "text.ply").write_text(HEADER.format("ascii") + XYZ + RGB + "end_header\n" + rows)
    table = np.zeros(2, [(axis, ">f4") for axis in "xyz"] + [(c, "u1") for c in "rgb"])
    for column, axis in enumerate("xyz"):
        table[axis] = POINTS[:, column]
    for column, channel in enumerate("rgb"):
        table[channel] = COLORS[:, column]
    head = HEADER.format("binary_big_endian") + XYZ + RGB + "end_header\n"
    (tmp_path / "big.ply").write_bytes(head.encode() + table.tobytes())
    for name in ("text.ply", "big.ply"):
        points, colors = read_points_ply(tmp_path / name)
        np.testing.assert_allclose(points, POINTS, rtol=1e-6)
        np.testing.assert_array_equal(colors, COLORS)


def test_points_without_colours_are_grey_and_faces_are_ignored(tmp_path):
    head = HEADER.format("binary_little_endian") + XYZ
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    body = POINTS.astype("<f4").tobytes() + b"\x03" + bytes(12)
    (tmp_path / "p.ply").write_bytes(head.encode() + body)
    points, colors = read_points_ply(tmp_path / "p.ply")
    np.testing.assert_array_equal(points, POINTS.astype(np.float32))
    assert (colors == 128).all()


def test_the_real_seed_cloud_is_read_whole():
    points, colors = read_points_ply(real("plush") / "points3D.ply")
    assert points.shape == colors.shape == (25_784, 3)
    assert np.isfinite(points).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("nothing", "is not a PLY file"),
        ("ply\nformat ascii 1.0\nelement vertex 2\n", "is not a PLY file"),
        (HEADER.format("runes") + XYZ + "end_header\n", "does not start with a list of vertices"),
        (HEADER.format("ascii") + "end_header\n1 2 3\n", "does not start with a list"),
        (HEADER.format("ascii") + XYZ + "end_header\n1 2 3\n", "promises 2 points but ends early"),
        (HEADER.format("ascii") + XYZ + "end_header\n1 2 3 4 5 x\n", "words where numbers belong"),
        (HEADER.format("ascii") + RGB + "end_header\n1 2 3 4 5 6\n", "has no x, y and z"),
        (HEADER.format("ascii") + XYZ + XYZ + "end_header\n", "cannot read 'property float x'"),
        (HEADER.format("binary_little_endian") + XYZ + "end_header\n", "promises 2 points of 12"),
        ("ply\nformat ascii 1.0\nelement face 1\nproperty list uchar int a\nelement vertex 2\n"
         + XYZ + "end_header\n", "does not start with a list"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(tmp_path, content, reason):
    (tmp_path / "p.ply").write_text(content)
    with pytest.raises(CaptureError, match=reason):
        read_points_ply(tmp_path / "p.ply")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_spoiled_byte_is_read_or_refused_never_worse(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("spoiled") / "p.ply"
    write_points_ply(path, POINTS, COLORS)
    spoiled = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(spoiled)
    with contextlib.suppress(CaptureError):
        points, colors = read_points_ply(path)
        assert len(points) == len(colors) <= len(spoiled)
