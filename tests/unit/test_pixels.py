"""Pictures of every kind decode to the same pixels, or are refused with what to do."""

import io
import sys

import cv2
import numpy as np
import pytest
from captures import SmallCapture, real
from PIL import Image, ImageCms, ImageOps

from core.capture.opening import open_capture
from core.capture.pictures import check, header_size
from core.capture.pixels import decode

RNG = np.random.default_rng(5)
COLOR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def stored(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def encoded(values: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, values)[1].tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_eight_bit_pictures_without_transparency_become_three_channels(mode, kind):
    image = Image.fromarray(COLOR).convert(mode)
    wanted = np.array(image.convert("RGB"))
    np.testing.assert_array_equal(decode(stored(image, kind)), wanted)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_kept_straight(mode):
    rgba = np.dstack([COLOR, np.linspace(0, 255, 54).reshape(6, 9).astype(np.uint8)])
    image = Image.fromarray(rgba).convert(mode)
    got = decode(stored(image))
    np.testing.assert_array_equal(got, np.array(image.convert("RGBA")))
    np.testing.assert_array_equal(got[..., 3], rgba[..., 3])


def test_a_grey_picture_with_a_transparent_level_is_transparent_there():
    image = Image.fromarray(np.array([[0, 7, 200]], np.uint8))
    np.testing.assert_array_equal(
        decode(stored(image, transparency=7))[0], [[0, 0, 0, 255], [7, 7, 7, 0], [200] * 3 + [255]]
    )


def test_a_cmyk_jpeg_has_the_colours_that_viewers_show():
    wanted = np.zeros((16, 16, 3), np.uint8)
    wanted[:, 8:] = (250, 40, 10)
    data = stored(Image.fromarray(wanted).convert("CMYK"), "JPEG", quality=98)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    # JPEG, and a conversion there and back
    assert np.abs(decode(data).astype(int) - wanted)[:, [0, 1, 14, 15]].max() < 12


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_scaled_and_neither_clipped_nor_wrapped(suffix, channels):
    deep = RNG.integers(0, 65536, (6, 9, channels), dtype=np.uint16)
    deep[0, 0], deep[0, 1] = 65535, 0
    wanted = np.rint(deep / 257.0).astype(int)
    if channels == 1:
        wanted = np.repeat(wanted, 3, axis=2)
    bgr = deep if channels == 1 else deep[..., [2, 1, 0, 3][:channels]]
    # one step: Pillow reads 16-bit colour in TIFF by its upper byte
    assert np.abs(decode(encoded(bgr, suffix)).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
def test_an_orientation_tag_turns_every_kind_of_picture_alike(orientation, bits):
    exif = Image.Exif()
    exif[0x0112] = orientation
    if bits == 8:
        image = Image.fromarray(COLOR)
        plain = COLOR
    else:
        image = Image.fromarray(COLOR[..., 0].astype(np.uint16) * 257)
        plain = np.repeat(COLOR[..., :1], 3, axis=2)
    data = stored(image, exif=exif)
    shown = Image.fromarray(plain)
    shown.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(decode(data), plain)
    np.testing.assert_array_equal(
        decode(data, is_turned=True), np.array(ImageOps.exif_transpose(shown))
    )


def test_an_embedded_colour_profile_does_not_stop_a_picture():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(
        decode(stored(Image.fromarray(COLOR), icc_profile=profile)), COLOR
    )


# ---- EXR -------------------------------------------------------------------------------


def exr(folder, **channels) -> bytes:
    library = pytest.importorskip("OpenEXR", reason="EXR needs the package OpenEXR")
    path = folder / "made.exr"
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
    with library.File(header, channels) as file:
        file.write(str(path))
    return path.read_bytes()


def test_exr_holds_linear_light_and_becomes_srgb(tmp_path):
    light = np.array([[0.0, 0.0031308, 0.2158605, 1.0, 7.5, np.nan]], np.float32)
    got = decode(exr(tmp_path, R=light, G=light, B=light))
    # 0.216 is the light of 128 of 255 (IEC 61966-2-1); brighter than white is white
    np.testing.assert_array_equal(got[0, :, 0], [0, 10, 128, 255, 255, 0])
    assert got.shape == (1, 6, 3)


def test_exr_of_one_grey_channel_and_with_alpha(tmp_path):
    half = np.full((2, 3), 0.25, np.float16)
    assert decode(exr(tmp_path, Y=half)).shape == (2, 3, 3)
    # multiplied by its alpha, a light of 0.25 under alpha 0.25 was 1
    got = decode(exr(tmp_path, R=half, G=half, B=half, A=half))
    np.testing.assert_array_equal(got[0, 0], [255, 255, 255, 64])


def test_the_real_exr_has_its_size_and_plausible_brightness():
    pytest.importorskip("OpenEXR", reason="EXR needs the package OpenEXR")
    path = real("fox").parent.parent / "images" / "albert.exr"
    picture = check(path)
    assert (picture.width, picture.height, picture.problem) == (1024, 1024, "")
    assert header_size(path) == (1024, 1024)
    # its median light of 0.0865 is 83 of 255 in sRGB
    assert np.median(decode(path.read_bytes())) == pytest.approx(83, abs=1)


@pytest.mark.parametrize("keep", [40, 400, 0.5])
def test_a_cut_exr_does_not_decode(tmp_path, keep):
    light = RNG.random((64, 64)).astype(np.float32)
    data = exr(tmp_path, R=light, G=light, B=light)
    path = tmp_path / "cut.exr"
    path.write_bytes(data[: keep if keep > 1 else len(data) // 2])
    assert check(path).problem.startswith("does not decode")
    assert header_size(path) in (None, (64, 64))


# ---- HEIC ------------------------------------------------------------------------------


def test_a_capture_of_heic_pictures_opens(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="HEIC needs the package pillow-heif")
    heif.register_heif_opener()
    small = SmallCapture(tmp_path / "capture", 4)
    before = []
    for index, frame in enumerate(small.frames):
        old = small.picture(index)
        image = Image.open(old)
        before.append(np.array(image).astype(int))
        image.save(old.with_suffix(".heic"), quality=95)
        old.unlink()
        frame["file_path"] = f"images/{old.stem}.heic"
    capture = small.open(seeds="random")
    assert len(capture.photos) == 4
    for photo, wanted in zip(capture.photos, before, strict=True):
        assert np.abs(photo.image() - wanted).mean() < 3  # lossy


@pytest.mark.parametrize(
    ("suffix", "start", "module"),
    [
        (".heic", b"\0\0\0\x18ftypheic\0\0\0\0", "pillow_heif"),
        (".exr", b"\x76\x2f\x31\x01\x02\0\0\0", "OpenEXR"),
    ],
)
def test_without_its_package_a_picture_is_left_out_with_what_to_install(
    tmp_path, monkeypatch, suffix, start, module
):
    monkeypatch.setitem(sys.modules, module, None)  # an import of it fails
    small = SmallCapture(tmp_path / "capture", 4)
    path = small.picture(1).with_suffix(suffix)
    small.picture(1).unlink()
    path.write_bytes(start)
    small.frames[1]["file_path"] = f"images/{path.name}"
    notices = small.open(seeds="random").notices
    package = module.replace("_", "-")
    assert any(f"cannot be read without the package {package}" in text for text in notices)
    # and a folder of nothing else is refused in the same words
    small.frames[:] = [small.frames[1]]
    with pytest.raises(Exception, match=f"cannot be read without the package {package}"):
        small.open(seeds="random")


def test_a_capture_opens_whatever_kinds_its_pictures_are(tmp_path):
    small = SmallCapture(tmp_path / "capture", 6)
    made = [
        (".png", lambda image, path: image.convert("L").save(path)),
        (".png", lambda image, path: image.convert("P").save(path)),
        (".jpg", lambda image, path: image.convert("CMYK").save(path, quality=95)),
        (".tif", lambda image, path: image.save(path)),
        (".webp", lambda image, path: image.save(path, lossless=True)),
        (".bmp", lambda image, path: image.save(path)),
    ]
    before = []
    for index, (suffix, save) in enumerate(made):
        old = small.picture(index)
        image = Image.open(old)
        image.load()
        before.append(np.array(image).mean())
        old.unlink()
        save(image, old.with_suffix(suffix))
        small.frames[index]["file_path"] = f"images/{old.stem}{suffix}"
    photos = small.open(seeds="random").photos
    assert [photo.image().shape for photo in photos] == [(240, 320, 3)] * 6
    np.testing.assert_allclose([photo.image().mean() for photo in photos], before, atol=6)


def test_opening_again_gives_the_same_pixels(tmp_path):
    small = SmallCapture(tmp_path / "capture", 4)
    first = small.open(seeds="random").photos[0].image()
    np.testing.assert_array_equal(
        open_capture(small.folder, seeds="random").photos[0].image(), first
    )
