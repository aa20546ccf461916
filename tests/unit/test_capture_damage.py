"""Damaged captures: named, counted and left out, or refused with one sentence; never a traceback."""

import shutil
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from captures import SmallCapture

from core.base.errors import CaptureError
from core.capture.opening import open_capture
from core.formats import hyrf
from tests.unit.test_format_hyrf import scene_of


@pytest.fixture
def small(tmp_path):
    return SmallCapture(tmp_path / "capture")


def names(capture) -> list[str]:
    return [photo.name for photo in capture.photos]


# 1 truncated pictures


def test_a_truncated_jpeg_is_named_and_left_out(small):
    path = small.picture(3)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.4)])
    capture = small.open()
    assert "003" not in names(capture)
    assert len(capture.photos) == 9
    assert any("images/003.jpg" in text and "truncated" in text for text in capture.notices)


def test_strict_opening_refuses_what_would_be_left_out(small):
    path = small.picture(3)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CaptureError, match=r"003\.jpg"):
        small.open(is_strict=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a picture"),
        (b"hello", "not a picture"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    ],
)
def test_a_file_that_is_no_picture_is_left_out(small, content, reason):
    small.picture(2).write_bytes(content)
    capture = small.open()
    assert len(capture.photos) == 9
    assert any(reason in text for text in capture.notices)


# 2 pictures named but absent


def test_missing_pictures_are_counted_and_refused_when_none_is_left(small):
    small.picture(4).unlink()
    capture = small.open()
    assert "1 of 10 frames have no picture: images/004.jpg." in capture.notices
    small.images.rename(small.folder / "elsewhere")
    with pytest.raises(CaptureError, match=r"none of the 10 frames.*Searched .*capture"):
        small.open()


# 3 poses


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_pose_that_is_not_finite_is_named_and_dropped(small, bad):
    small.frames[5]["transform_matrix"][1][2] = bad
    capture = small.open()
    assert "005" not in names(capture)
    assert any("not finite" in text and "images/005.jpg" in text for text in capture.notices)


def test_a_pose_without_rotation_is_dropped_and_a_mirrored_one_refused(small):
    matrix = np.array(small.frames[5]["transform_matrix"])
    flat = matrix.copy()
    flat[:3, 0] = 0
    small.frames[5]["transform_matrix"] = flat.tolist()
    assert any("determinant 0" in text for text in small.open().notices)
    matrix[:3, 0] *= -1
    small.frames[5]["transform_matrix"] = matrix.tolist()
    with pytest.raises(CaptureError, match=r"images/005\.jpg is a mirror image"):
        small.open()


def test_a_skewed_pose_is_dropped_and_a_uniformly_scaled_one_made_rigid(small):
    skewed = np.array(small.frames[5]["transform_matrix"])
    skewed[:3, 0] *= 1.2
    small.frames[5]["transform_matrix"] = skewed.tolist()
    scaled = np.array(small.frames[6]["transform_matrix"])
    scaled[:3, :3] *= 2.0
    small.frames[6]["transform_matrix"] = scaled.tolist()
    capture = small.open()
    assert "005" not in names(capture)
    rotation = next(p for p in capture.photos if p.name == "006").camera.camera_to_world[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], "matrix", [["a"] * 4] * 4, None])
def test_a_pose_that_is_no_matrix_is_refused_by_name(small, value):
    small.frames[5]["transform_matrix"] = value
    with pytest.raises(CaptureError, match="frame 5"):
        small.open()


# 4 no pictures


def test_folders_and_files_without_pictures_are_refused(small, tmp_path):
    small.values["frames"] = []
    with pytest.raises(CaptureError, match=r"none of the 0 frames.*\.jpg"):
        small.open()
    text_only = tmp_path / "text"
    text_only.mkdir()
    (text_only / "notes.txt").write_text("nothing here")
    with pytest.raises(CaptureError, match=r"text is not a capture.*\.jpg"):
        open_capture(text_only)


@pytest.mark.parametrize("text", ["{", "[]", '{"frames": 3}', '{"frames": [1]}', "\xff"])
def test_json_that_is_no_camera_file_is_refused(small, text):
    small.open()
    (small.folder / "transforms.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CaptureError, match=r"transforms\.json"):
        open_capture(small.folder)


# 10 awkward names


def test_awkward_names_load(small):
    wanted = ["with space", "über", "照片", "fox🦊", "deep/er"]
    (small.images / "deep").mkdir()
    for index, name in enumerate(wanted):
        _rename(small, index, f"images/{name}.jpg", f"images/{name}.jpg")
    _rename(small, 5, "images/upper.JPG", "images/upper.JPG")
    # the JSON spells the name composed, the disk holds the decomposed form
    decomposed = unicodedata.normalize("NFD", "images/é.jpg")
    _rename(small, 6, unicodedata.normalize("NFC", decomposed), decomposed)
    _rename(small, 7, "images\\back.jpg", "images/back.jpg")
    capture = small.open()
    assert len(capture.photos) == 10
    assert {"with space", "über", "照片", "fox🦊", "er", "upper", "back"} <= set(names(capture))
    assert all(photo.image().shape == (240, 320, 3) for photo in capture.photos)


def test_names_that_differ_only_in_form_or_case_stay_apart(small):
    wanted = ["é.jpg", "e\u0301.jpg", "a.JPG", "a.jpg"]  # composed, decomposed; case of the suffix
    before = [small.picture(index).read_bytes() for index in range(4)]
    for index, name in enumerate(wanted):
        _rename(small, index, f"images/{name}", f"images/{name}")
    photos = {photo.path.name: photo for photo in small.open().photos}
    if len({path.name for path in small.images.iterdir()}) < 10:
        pytest.skip("this disk does not tell such names apart")
    assert [photos[name].path.read_bytes() for name in wanted] == before
    assert len({photo.name for photo in photos.values()}) == 10


def test_awkward_names_survive_being_saved_and_opened_again(small):
    wanted = ["with space", "über", "e\u0301", "照片", "fox🦊"]
    for index, name in enumerate(wanted):
        _rename(small, index, f"images/{name}.jpg", f"images/{name}.jpg")
    cameras = [{"name": photo.name} for photo in small.open().photos]
    path = small.folder / "scene.hyrf"
    hyrf.write(replace(scene_of(), summary={"cameras": cameras}), path)
    kept = hyrf.read(path).summary["cameras"]
    assert kept == cameras
    assert set(wanted) <= {camera["name"] for camera in kept}


# 11 intrinsics


def test_an_angle_of_view_stands_in_for_a_focal_length(small):
    for key in ("fl_x", "fl_y", "w", "h", "cx", "cy"):
        del small.values[key]
    small.values["camera_angle_x"] = 2 * np.arctan(160 / 250)
    camera = small.open().photos[0].camera
    assert (camera.fx, camera.fy) == pytest.approx((250, 250))
    assert (camera.cx, camera.cy, camera.width, camera.height) == (160, 120, 320, 240)


def test_no_focal_length_is_ever_assumed(small):
    del small.values["fl_x"], small.values["fl_y"]
    with pytest.raises(CaptureError, match="neither a focal length"):
        small.open()


@pytest.mark.parametrize("value", [0, -5, float("nan"), "wide", True])
def test_an_impossible_focal_length_is_refused(small, value):
    small.values["fl_x"] = value
    with pytest.raises(CaptureError, match=r"fl_x|focal length"):
        small.open()


def test_frames_may_carry_their_own_intrinsics(small):
    small.frames[2]["fl_x"] = 300.0
    focal_lengths = [photo.camera.fx for photo in small.open().photos]
    assert focal_lengths[2] == 300.0
    assert focal_lengths[3] == 250.0


# 12 duplicates


def test_a_frame_listed_twice_is_kept_once_or_refused_with_another_pose(small):
    small.frames.append(dict(small.frames[0]))
    capture = small.open()
    assert len(capture.photos) == 10
    assert any("listed twice, kept once" in text for text in capture.notices)
    small.frames[-1]["transform_matrix"] = small.frames[1]["transform_matrix"]
    with pytest.raises(CaptureError, match=r"images/000\.jpg is listed twice with different poses"):
        small.open()


def test_copies_of_a_picture_are_never_in_both_training_and_test(small):
    shutil.copy(small.picture(0), small.images / "000_copy.jpg")
    small.frames.append({**small.frames[0], "file_path": "images/000_copy.jpg"})
    capture = small.open()
    assert "000_copy" not in names(capture)
    assert any("same bytes" in text for text in capture.notices)


def test_one_usable_picture_is_not_enough(small):
    for index in range(1, 10):
        small.picture(index).unlink()
    with pytest.raises(CaptureError, match="1 of 10 pictures can be used, at least 2"):
        small.open()


def test_a_seed_file_that_is_a_git_lfs_pointer_is_named(small):
    (small.folder / "points.ply").write_text("version https://git-lfs.github.com/spec/v1\nsize 1\n")
    with pytest.raises(CaptureError, match=r"points\.ply is a Git LFS pointer"):
        small.open()


def test_a_seed_file_that_promises_too_much_is_refused(small):
    path = small.folder / "points.ply"
    path.write_bytes(path.read_bytes().replace(b"vertex 3000", b"vertex 9000000000"))
    with pytest.raises(CaptureError, match="promises 9000000000 points"):
        small.open()


def test_a_picture_that_vanishes_after_opening_is_named(small):
    capture = small.open()
    small.picture(1).unlink()
    with pytest.raises(CaptureError, match=r"001\.jpg cannot be read any more"):
        capture.photos[1].image()


def _rename(small, index: int, listed: str, stored: str) -> None:
    small.picture(index).rename(small.folder / stored)
    small.frames[index]["file_path"] = listed
