"""Undistorted pictures are resampled once, kept without loss, and never trusted when damaged."""

import os

import cv2
import numpy as np
import pytest
from captures import SmallCapture, real

from core.capture.opening import open_capture
from core.capture.pictures import decode

FOX = {"k1": 0.0578421, "k2": -0.0805099, "p1": -0.000980296, "p2": 0.00015575}


@pytest.fixture
def small(tmp_path):
    """Return a small capture whose lens bends."""
    small = SmallCapture(tmp_path / "capture", 4)
    small.values |= FOX
    return small


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return where undistorted pictures are kept, in an empty cache."""
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "undistorted"


@pytest.fixture
def resampled(cache, monkeypatch):
    """Return a list that grows with every picture that is resampled."""
    calls, remap = [], cv2.remap

    def counted(*arguments, **options):
        calls.append(arguments)
        return remap(*arguments, **options)

    monkeypatch.setattr(cv2, "remap", counted)
    return calls


def uncached(photo):
    path, lens, is_turned = photo.read.args
    return lens.undistort(decode(path.read_bytes(), is_turned))


def test_the_second_reading_gives_the_same_bits_without_resampling(small, resampled):
    photo = small.open().photos[0]
    first, second = photo.read(), photo.read()
    assert len(resampled) == 1
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(second, uncached(photo))
    assert second.flags.writeable
    again = small.open().photos[0]
    assert len(resampled) == 2  # by `uncached` alone
    np.testing.assert_array_equal(again.read(), first)
    assert len(resampled) == 2


def test_transparency_is_kept(small, resampled):
    rgba = np.random.default_rng(0).integers(0, 256, (240, 320, 4), dtype=np.uint8)
    cv2.imwrite(str(small.picture(0).with_suffix(".png")), rgba)
    small.picture(0).unlink()
    small.frames[0]["file_path"] = "images/000.png"
    photo = small.open().photos[0]
    photo.read()
    assert photo.read().shape == (240, 320, 4)
    np.testing.assert_array_equal(photo.read(), uncached(photo))
    assert len(resampled) == 2


def test_a_real_picture_comes_back_bit_by_bit(cache):
    photo = open_capture(real("fox"), seeds="random").photos[3]
    photo.read()
    np.testing.assert_array_equal(photo.read(), uncached(photo))


def test_a_picture_without_distortion_is_not_kept(tmp_path, cache):
    SmallCapture(tmp_path / "straight", 4).open().photos[0].read()
    assert not cache.exists()


def test_a_changed_picture_or_lens_takes_the_place_of_what_was_kept(small, resampled, cache):
    small.open().photos[0].read()
    small.values["k1"] = 0.1
    changed = small.open().photos[0]
    np.testing.assert_array_equal(changed.read(), uncached(changed))
    white = np.full((240, 320, 3), 255, np.uint8)
    cv2.imwrite(str(small.picture(0)), white)
    assert (changed.read() == 255).all()
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign"])
def test_a_damaged_file_is_ignored_and_written_again(small, resampled, cache, damage):
    photo = small.open().photos[0]
    before = photo.read()
    (entry,) = cache.iterdir()
    content = bytearray(entry.read_bytes())
    sound = bytes(content)
    content[len(content) // 2] ^= 1
    spoiled = {"cut": sound[:-9], "empty": b"", "flipped": content, "foreign": b"x" * 500}
    entry.write_bytes(spoiled[damage])
    np.testing.assert_array_equal(photo.read(), before)
    assert len(resampled) == 2
    assert entry.read_bytes() == sound
    assert [path.name for path in cache.iterdir()] == [entry.name]


def test_a_cache_that_cannot_be_written_only_costs_time(small, resampled, tmp_path, monkeypatch):
    blocker = tmp_path / "file"
    blocker.write_text("a file where the cache folder should be")
    monkeypatch.setenv("HYRF_CACHE", str(blocker))
    photo = small.open().photos[0]
    np.testing.assert_array_equal(photo.read(), photo.read())
    assert len(resampled) == 2


def test_a_disk_that_is_full_leaves_nothing_behind(small, resampled, cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(cache), "replace", full)
    photo = small.open().photos[0]
    np.testing.assert_array_equal(photo.read(), uncached(photo))
    assert os.listdir(cache) == []
