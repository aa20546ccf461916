"""Damaged and unusual pictures: scaled, turned, composited, or left out by name; never silently wrong."""

import cv2
import numpy as np
import pytest
from captures import SmallCapture, real
from PIL import Image

from core.base.errors import CaptureError
from core.capture.opening import open_capture


@pytest.fixture
def small(tmp_path):
    return SmallCapture(tmp_path / "capture")


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


def test_the_stored_pixels_are_kept_and_told_where_the_cameras_fit_them(small):
    _save_tagged(Image.open(small.picture(1)), small.picture(1), 3)
    assert any(
        text.startswith(
            "1 of 10 frames have an orientation tag and cameras that fit the stored pixels"
        )
        for text in small.open().notices
    )


def _replace(small, index: int, suffix: str, save) -> None:
    """Store picture `index` under another suffix."""
    old = small.picture(index)
    old.unlink()
    save(old.with_suffix(suffix))
    small.frames[index]["file_path"] = f"images/{old.stem}{suffix}"


def _save_tagged(image, path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, quality=97, subsampling=0, exif=exif)
