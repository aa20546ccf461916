"""Damaged captures: named, counted and left out, or refused with one sentence; never a traceback."""

import shutil
import tempfile
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from captures import SmallCapture, real
from damages import DAMAGES, PICTURES, STOPS, write
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.base.errors import CaptureError
from core.capture.check import check_capture
from core.capture.opening import open_capture


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


# 5 mixed sizes


def test_a_picture_of_half_the_declared_size_has_its_focal_length_halved_and_said(small):
    Image.open(small.picture(3)).resize((160, 120)).save(small.picture(3))
    capture = small.open()
    camera = capture.photos[3].camera
    assert (camera.width, camera.fx) == (160, 125.0)
    assert any("another size than declared" in text and "003" in text for text in capture.notices)


def test_a_picture_of_another_shape_than_declared_is_refused(small):
    Image.open(small.picture(3)).crop((0, 0, 200, 240)).save(small.picture(3))
    with pytest.raises(CaptureError, match=r"003\.jpg is 200x240 pixels.*320x240"):
        small.open()


# 6 sixteen bits


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_pictures_are_scaled_not_clipped(small, channels):
    before = np.array(Image.open(small.picture(1)).convert("RGB"))
    deep = before.astype(np.uint16) * 257
    stored = deep[..., 0] if channels == 1 else deep[..., ::-1]
    _replace(small, 1, ".png", lambda path: cv2.imwrite(str(path), stored))
    image = small.open().photos[1].image()
    wanted = before if channels == 3 else np.repeat(before[..., :1], 3, axis=2)
    np.testing.assert_array_equal(image, wanted)


# 7 transparency


def test_transparent_pixels_become_white_and_mixed_sets_load(small):
    before = np.array(Image.open(small.picture(1)))
    alpha = np.full((240, 320, 1), 255, np.uint8)
    alpha[50:100, 50:100] = 0
    rgba = np.concatenate([before, alpha], axis=2)
    _replace(small, 1, ".png", lambda path: Image.fromarray(rgba).save(path))
    image = small.open().photos[1].image()
    assert (image[50:100, 50:100] == 255).all()
    np.testing.assert_array_equal(image[:50], before[:50])


def test_a_palette_png_with_a_transparent_colour_becomes_white_there(small):
    picture = Image.new("P", (320, 240), 0)
    picture.putpalette([0, 0, 0, 200, 10, 10] + [0] * 762)
    picture.paste(1, (0, 0, 160, 240))
    _replace(small, 1, ".png", lambda path: picture.save(path, transparency=0))
    image = small.open().photos[1].image()
    assert image[0, 0].tolist() == [200, 10, 10]
    assert image[0, 319].tolist() == [255, 255, 255]


def test_half_transparent_edges_do_not_darken_when_made_smaller(small):
    rgba = np.zeros((240, 320, 4), np.uint8)  # black, fully transparent
    rgba[:, ::2] = (255, 255, 255, 255)
    _replace(small, 1, ".png", lambda path: Image.fromarray(rgba).save(path))
    assert (small.open().limited(160).photos[1].image() == 255).all()


def test_the_real_set_with_alpha_is_white_around_the_chair():
    capture = open_capture(real("chair_rgba"), seeds="random")
    image = capture.train[0].image()
    assert image.shape == (400, 400, 3)
    assert (image[0, 0] == 255).all()


# 8 orientation tags


def test_an_orientation_tag_is_ignored_where_the_stored_pixels_fit_the_camera(small):
    image = Image.open(small.picture(1))
    before = np.array(image)
    _save_tagged(image, small.picture(1), 3)
    after = small.open().photos[1].image().astype(int)
    assert np.abs(after - before).mean() < 3  # JPEG was written twice


def test_an_orientation_tag_is_obeyed_where_only_the_turned_picture_fits(small):
    image = Image.open(small.picture(1))
    before = np.array(image)
    # stored lying on its side; a viewer that obeys tag 6 turns it clockwise
    _save_tagged(image.transpose(Image.Transpose.ROTATE_90), small.picture(1), 6)
    capture = small.open()
    assert np.abs(capture.photos[1].image().astype(int) - before).mean() < 3
    assert any("turned by their orientation tag: images/001.jpg" in t for t in capture.notices)


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


# the same damages through the check, alone and together


def _rows(problems) -> list[tuple[str, str]]:
    return [(row.severity.value, row.text) for row in problems]


@pytest.mark.parametrize("name", DAMAGES)
def test_the_check_tells_every_damage_with_its_severity_and_a_remedy(tmp_path, name):
    damage = DAMAGES[name]
    small = SmallCapture(tmp_path / "capture", PICTURES)
    damage.spoil(small)
    found = check_capture(write(small))
    rows = _rows(found.problems)
    assert all(row.remedy for row in found.problems)
    assert found.stops == (damage.severity == STOPS)
    if damage.said:
        assert (damage.severity, True) in [(kind, damage.said in text) for kind, text in rows]
    else:
        assert found.problems == ()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(list(DAMAGES)), min_size=2, max_size=3, unique=True))
def test_damages_together_are_all_told_or_one_of_them_stops(names):
    chosen = [DAMAGES[name] for name in sorted(names, key=list(DAMAGES).index)]
    with tempfile.TemporaryDirectory() as folder:
        small = SmallCapture(Path(folder) / "capture", PICTURES)
        for damage in chosen:
            damage.spoil(small)
        found = check_capture(write(small))
    rows = _rows(found.problems)
    stopping = [damage for damage in chosen if damage.severity == STOPS]
    assert found.stops == bool(stopping)
    for damage in [] if stopping else chosen:
        assert any(damage.said in text for _, text in rows) or not damage.said
    if stopping:
        assert any(
            damage.said in text for damage in stopping for kind, text in rows if kind == STOPS
        )
    assert all(row.remedy for row in found.problems)


@pytest.mark.parametrize(
    ("name", "keep"), [("cameras.bin", 100), ("images.bin", 0.5), ("points3D.bin", 0.5)]
)
def test_the_check_names_the_file_and_byte_of_a_cut_model(tmp_path, name, keep):
    source = real("chess_king")
    model = next(path.parent for path in source.rglob("cameras.bin"))
    folder = tmp_path / "chess"
    place = folder / model.relative_to(source)
    shutil.copytree(model, place)
    data = (place / name).read_bytes()
    (place / name).write_bytes(data[: keep if keep > 1 else len(data) // 2])
    (row,) = check_capture(folder).problems
    assert (row.severity.value, row.file) == (STOPS, name)
    assert row.where.startswith("byte ")
    (place / name).write_bytes((2**63).to_bytes(8, "little") + data[8:])
    (row,) = check_capture(folder).problems
    assert (row.file, row.value) == (name, str(2**63))


def test_the_check_refuses_what_is_no_capture_in_one_row(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    for folder, said in ((tmp_path, "is not a capture"), (tmp_path / "none", "no such folder")):
        (row,) = check_capture(folder).problems
        assert row.severity.value == STOPS
        assert said in row.text


def _replace(small, index: int, suffix: str, save) -> None:
    """Store picture `index` under another suffix."""
    old = small.picture(index)
    old.unlink()
    save(old.with_suffix(suffix))
    small.frames[index]["file_path"] = f"images/{old.stem}{suffix}"


def _rename(small, index: int, listed: str, stored: str) -> None:
    small.picture(index).rename(small.folder / stored)
    small.frames[index]["file_path"] = listed


def _save_tagged(image, path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, quality=97, subsampling=0, exif=exif)
