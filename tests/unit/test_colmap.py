"""COLMAP models: both formats say the same, and nothing hostile gets further than its byte offset."""

import contextlib
import struct

import numpy as np
import pytest
from captures import real
from hypothesis import given, settings
from hypothesis import strategies as st

from assets import DEMO
from core.base.errors import CaptureError
from core.capture.colmap import read_colmap
from core.capture.opening import open_capture
from core.capture.synthetic import cameras

LENS = (250.0, 251.0, 161.0, 119.0, 0.05, -0.02, 0.001, -0.002)


@pytest.fixture
def folder(tmp_path):
    """Return a capture folder with a binary model of six demo pictures."""
    (tmp_path / "images").symlink_to(DEMO / "images")
    model = tmp_path / "sparse" / "0"
    model.mkdir(parents=True)
    (model / "cameras.bin").write_bytes(
        struct.pack("<Q", 1) + struct.pack("<iiQQ8d", 1, 4, 320, 240, *LENS)
    )
    images = [struct.pack("<Q", 6)]
    for index, camera in enumerate(cameras()[:6]):
        view = camera.world_to_camera
        images.append(struct.pack("<i7di", index, *_quaternion(view[:3, :3]), *view[:3, 3], 1))
        seen = index // 2 if index < 4 else 2**64 - 1  # two pictures see each of two points
        images.append(f"{index:03}.jpg\0".encode() + struct.pack("<QddQ", 1, 4.0, 5.0, seen))
    (model / "images.bin").write_bytes(b"".join(images))
    points = [struct.pack("<Q", 2)]
    for index in range(2):
        points.append(struct.pack("<Q3d3Bd", index, index, 0.5, 0.25, 10, 20, 30, 0.7))
        points.append(struct.pack("<Q4i", 2, 2 * index, 0, 2 * index + 1, 0))
    (model / "points3D.bin").write_bytes(b"".join(points))
    return tmp_path


def test_poses_lenses_and_points_are_read(folder):
    listing = read_colmap(folder)
    assert [frame.name for frame in listing.frames] == [f"{i:03}.jpg" for i in range(6)]
    for frame, camera in zip(listing.frames, cameras(), strict=False):
        np.testing.assert_allclose(frame.camera_to_world, camera.camera_to_world, atol=1e-9)
    lens = listing.frames[0].lens
    assert (lens.model, lens.fx, lens.fy, lens.cx, lens.cy) == ("OPENCV", *LENS[:4])
    assert lens.distortion == LENS[4:]
    np.testing.assert_allclose(listing.points, [[0, 0.5, 0.25], [1, 0.5, 0.25]])
    assert listing.point_colors.tolist() == [[10, 20, 30]] * 2


def test_the_text_form_written_by_colmap_says_the_same(folder):
    _with_pycolmap(folder).write_text(folder / "sparse" / "0")
    binary = read_colmap(folder)
    for name in ("cameras", "images", "points3D"):
        (folder / "sparse" / "0" / f"{name}.bin").unlink()
    text = read_colmap(folder)
    assert {f.name for f in text.frames} == {f.name for f in binary.frames}
    ordered = {frame.name: frame for frame in text.frames}
    for frame in binary.frames:
        np.testing.assert_allclose(
            ordered[frame.name].camera_to_world, frame.camera_to_world, atol=1e-9
        )
        assert ordered[frame.name].lens == frame.lens
    np.testing.assert_allclose(np.sort(text.points, 0), np.sort(binary.points, 0))


def test_a_model_with_rigs_and_frames_written_by_colmap_is_read(folder):
    before = read_colmap(folder)
    _with_pycolmap(folder).write_binary(folder / "sparse" / "0")
    assert (folder / "sparse" / "0" / "rigs.bin").exists()
    after = {frame.name: frame for frame in read_colmap(folder).frames}
    for frame in before.frames:
        np.testing.assert_allclose(
            after[frame.name].camera_to_world, frame.camera_to_world, atol=1e-9
        )


def test_the_real_model_is_read_as_pycolmap_reads_it():
    import pycolmap

    folder = real("chess_king")
    listing, model = read_colmap(folder), pycolmap.Reconstruction(folder / "sparse" / "0")
    assert len(listing.frames) == model.num_images() == 23
    assert len(listing.points) == model.num_points3D() == 1443
    for frame in listing.frames:
        image = model.find_image_with_name(frame.name)
        np.testing.assert_allclose(
            frame.camera_to_world[:3], image.cam_from_world().inverse().matrix(), atol=1e-9
        )
        lens = frame.lens
        assert image.camera.params.tolist() == [lens.fx, lens.fy, lens.cx, lens.cy]


def test_every_camera_model_of_pycolmap_is_read_or_refused_by_name(tmp_path):
    import pycolmap

    refused = []
    for name in set(pycolmap.CameraModelId.__members__) - {"INVALID"}:
        camera = pycolmap.Camera.create_from_model_name(1, name, 250.0, 320, 240)
        numbers = np.round(camera.params + 0.01 * np.arange(len(camera.params)), 3)
        folder = tmp_path / name
        folder.mkdir()
        head = struct.pack("<QIiQQ", 1, 1, int(camera.model), 320, 240)
        (folder / "cameras.bin").write_bytes(head + numbers.tobytes())
        (folder / "images.bin").write_bytes(
            struct.pack("<QI7dI", 1, 1, 1, 0, 0, 0, 0, 0, 4, 1) + b"a.jpg\0" + bytes(8)
        )
        if not camera.focal_length_idxs():
            with pytest.raises(CaptureError, match=f"camera model {name} is not supported"):
                read_colmap(folder)
            refused.append(name)
            continue
        lens = read_colmap(folder).frames[0].lens
        assert lens.model == name
        # what the lens does is what pycolmap does with the numbers of the file
        camera.params = numbers
        ray = [0.1, -0.2]
        wanted = camera.img_from_cam(np.array([[*ray, 1.0]]))
        np.testing.assert_allclose(lens.project(np.array([ray])), wanted, atol=1e-9)
    assert set(refused) <= {"EQUIRECTANGULAR"}  # older releases do not know it


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("count", [2**63, 2**64 - 1, 2**32, 1000])
def test_a_hostile_count_is_refused_with_its_offset(folder, name, count):
    path = folder / "sparse" / "0" / name
    path.write_bytes(struct.pack("<Q", count) + path.read_bytes()[8:])
    with pytest.raises(CaptureError, match=rf"{name}: byte 0 promises {count} "):
        read_colmap(folder)


def test_a_hostile_count_inside_a_record_is_refused(folder):
    path = folder / "sparse" / "0" / "points3D.bin"
    data = bytearray(path.read_bytes())
    data[8 + 43 : 8 + 51] = struct.pack("<Q", 2**62)
    path.write_bytes(data)
    with pytest.raises(CaptureError, match="byte 51 promises"):
        read_colmap(folder)


@pytest.mark.parametrize(
    ("name", "keep"), [("cameras.bin", 100), ("images.bin", 0.5), ("points3D.bin", 0.5)]
)
def test_a_cut_file_of_a_real_model_is_refused_by_name(tmp_path, name, keep):
    source = real("chess_king")
    (tmp_path / "images").symlink_to(source / "images")
    (tmp_path / "sparse").mkdir()
    for path in (source / "sparse" / "0").iterdir():
        data = path.read_bytes()
        size = int(keep if keep > 1 else keep * len(data)) if path.name == name else len(data)
        (tmp_path / "sparse" / path.name).write_bytes(data[:size])
    with pytest.raises(CaptureError, match=rf"{name}.*byte \d+"):
        open_capture(tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_spoiled_byte_is_read_or_refused_never_worse(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("spoiled")
    (folder / "sparse").mkdir()
    lens = struct.pack("<QiiQQ4d", 1, 1, 1, 320, 240, 250, 250, 160, 120)
    image = struct.pack("<Qi7di", 1, 1, 1, 0, 0, 0, 0, 0, 4, 1) + b"a.jpg\0" + struct.pack("<Q", 0)
    point = struct.pack("<QQ3d3BdQ", 1, 1, 0, 0, 0, 1, 2, 3, 0.5, 0)
    for name, content in (("cameras", lens), ("images", image), ("points3D", point)):
        spoiled = bytearray(content)
        for _ in range(data.draw(st.integers(0, 2))):
            spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
        size = data.draw(st.integers(0, len(spoiled)) | st.just(len(spoiled)))
        (folder / "sparse" / f"{name}.bin").write_bytes(spoiled[:size])
    with contextlib.suppress(CaptureError):
        assert len(read_colmap(folder).frames) <= 1


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("cameras.txt", "1 PINHOLE 320 240 1 2 3", "line 1: PINHOLE has 4 parameters, 3 are given"),
        ("cameras.txt", "# c\n1 MAGIC 320 240 1 2 3", "line 2: camera model MAGIC"),
        ("cameras.txt", "1 PINHOLE x 240 1 2 3 4", "line 1: .* not all numbers"),
        ("cameras.txt", "1 PINHOLE 320 240 nan 2 3 4", "line 1: .* not all numbers"),
        ("cameras.txt", "1 PINHOLE 320 240 0 2 3 4", "not usable numbers"),
        ("images.txt", "1 1 0 0", "line 1: 4 words where at least 10"),
        ("images.txt", "1 1 0 0 0 0 0 4 9 a.jpg\n", "camera 9, which cameras.txt does not hold"),
        ("points3D.txt", "1 2 3", "line 1: 3 words where at least 8"),
    ],
)
def test_a_wrong_line_of_text_is_refused_with_its_number(tmp_path, name, text, reason):
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 320 240 250 250 160 120\n")
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 4 1 a.jpg\n\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(CaptureError, match=reason):
        read_colmap(tmp_path)


def test_picture_names_with_spaces_are_read_from_text(tmp_path):
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 320 240 250 250 160 120\n")
    (tmp_path / "images.txt").write_text(
        "# two lines each\n1 1 0 0 0 0 0 4 1 my picture.jpg\n\n2 1 0 0 0 1 0 4 1 b.jpg\n1 2 -1\n"
    )
    assert [frame.name for frame in read_colmap(tmp_path).frames] == ["my picture.jpg", "b.jpg"]


def test_the_last_picture_in_text_may_lack_its_line_of_observations(tmp_path):
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 320 240 250 250 160 120\n")
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 4 1 a.jpg\n\n2 1 0 0 0 1 0 4 1 b.jpg")
    assert [frame.name for frame in read_colmap(tmp_path).frames] == ["a.jpg", "b.jpg"]


def test_a_model_without_a_points_file_has_no_points(folder):
    (folder / "sparse" / "0" / "points3D.bin").unlink()
    listing = read_colmap(folder)
    assert len(listing.frames) == 6
    assert listing.points.shape == (0, 3)


def test_a_rotation_of_length_zero_is_no_pose_and_another_length_is_the_same_pose(folder):
    path = folder / "sparse" / "0" / "images.bin"
    data = bytearray(path.read_bytes())
    turn = np.frombuffer(data, np.float64, 4, 12)
    path.write_bytes(data[:12] + (3 * turn).tobytes() + data[44:])
    pose = read_colmap(folder).frames[0].camera_to_world
    np.testing.assert_allclose(pose, cameras()[0].camera_to_world, atol=1e-9)
    path.write_bytes(data[:12] + bytes(32) + data[44:])
    assert np.isnan(read_colmap(folder).frames[0].camera_to_world).all()


def test_a_picture_name_too_long_for_any_disk_is_a_picture_that_is_not_there(tmp_path):
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 320 240 250 250 160 120\n")
    (tmp_path / "images.txt").write_text(f"1 1 0 0 0 0 0 4 1 {'a' * 300}.jpg\n\n")
    assert read_colmap(tmp_path).frames[0].path is None


def test_a_point_seen_in_a_picture_that_is_not_there_is_refused_in_one_sentence(folder):
    path = folder / "sparse" / "0" / "points3D.bin"
    data = bytearray(path.read_bytes())
    data[8 + 51 : 8 + 55] = struct.pack("<I", 77)
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=r"contradicts itself .*77 does not exist"):
        read_colmap(folder)


def test_a_model_without_images_file_is_refused(folder):
    (folder / "sparse" / "0" / "images.bin").unlink()
    with pytest.raises(CaptureError, match=r"cameras\.bin has no images\.bin"):
        read_colmap(folder)


def _with_pycolmap(folder):
    import pycolmap

    return pycolmap.Reconstruction(folder / "sparse" / "0")


def _quaternion(rotation):
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return w, x, y, z
