"""Photographs are handed out in order, decoded ahead, and never held beyond a bound."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from core.base.errors import CaptureError
from core.capture.camera import Camera
from core.capture.capture import Photo
from core.radiance import picture_cache
from core.radiance.photo_supply import PhotoSupply, memory_available

WIDTH, HEIGHT = 40, 30
PICTURE_BYTES = 3 * WIDTH * HEIGHT


class Folder:
    """Generated photographs that note when and by whom they are decoded; picture i has the colour i + 1."""

    def __init__(self, count, broken=()):
        self.decoded, self.threads, self.broken = [], [], set(broken)
        camera = Camera(np.eye(4), 30.0, 30.0, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
        self.photos = [
            Photo(f"{i}", Path(f"{i}.jpg"), camera, lambda i=i: self.read(i)) for i in range(count)
        ]

    def read(self, index):
        self.decoded.append(index)
        self.threads.append(threading.current_thread().name)
        if index in self.broken:
            raise OSError("the disk is gone")
        return np.full((HEIGHT, WIDTH, 3), index + 1, np.uint8)


@pytest.fixture(autouse=True)
def _short_idle(monkeypatch):
    monkeypatch.setattr(picture_cache, "IDLE_S", 0.1)


def shown(supply, scale=1.0):
    """Return which photograph comes next."""
    camera, picture = supply.next(scale)
    assert picture.shape == (camera.height, camera.width, 3)
    values = torch.unique(picture)
    assert len(values) == 1
    return round(float(values) * 255) - 1


def test_nothing_is_asked_for_that_a_sigmoid_cannot_reach():
    camera = Camera(np.eye(4), 30.0, 30.0, 20.0, 15.0, WIDTH, HEIGHT)
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, WIDTH // 2 :] = 255
    picture[0, 0] = 77
    sample = PhotoSupply([Photo("a", Path("a.png"), camera, lambda: picture)], "cpu", 0).next()[1]
    assert sample.min() == pytest.approx(1 / 255)
    assert sample.max() == pytest.approx(254 / 255)
    assert sample[0, 0].tolist() == pytest.approx([77 / 255] * 3)


def order_without_looking_ahead(count, seed, length):
    """The rule, written down once more: a new random order when the last one is used up."""
    rng, line, found = np.random.default_rng(seed), [], []
    while len(found) < length:
        line = line or rng.permutation(count).tolist()
        found.append(line.pop())
    return found


def wait_until(is_so):
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end, "nothing happened for 20 seconds"
        time.sleep(0.002)


@pytest.mark.parametrize("pictures", [2, 3, 7, 20])
def test_the_bytes_held_never_pass_the_bound_and_pictures_come_in_order(pictures):
    folder = Folder(120)
    supply = PhotoSupply(folder.photos, "cpu", 5, bound=pictures * PICTURE_BYTES)
    found = [shown(supply) for _ in range(300)]
    assert found == order_without_looking_ahead(120, 5, 300)
    assert PICTURE_BYTES < supply.cache.most_bytes <= pictures * PICTURE_BYTES
    assert "pictures" in folder.threads  # some of them were decoded ahead


def test_a_picture_larger_than_the_bound_is_held_alone():
    supply = PhotoSupply(Folder(30).photos, "cpu", 5, bound=10)
    assert [shown(supply) for _ in range(60)] == order_without_looking_ahead(30, 5, 60)
    assert supply.cache.most_bytes == PICTURE_BYTES


def test_pictures_that_fit_are_decoded_once():
    folder = Folder(20)
    supply = PhotoSupply(folder.photos, "cpu", 5, bound=20 * PICTURE_BYTES)
    for _ in range(100):
        shown(supply)
    assert sorted(folder.decoded) == list(range(20))


def test_the_next_pictures_are_decoded_while_nobody_asks():
    folder = Folder(50)
    supply = PhotoSupply(folder.photos, "cpu", 5, bound=5 * PICTURE_BYTES)
    shown(supply)
    wait_until(lambda: len(folder.decoded) == 5)
    assert folder.decoded == order_without_looking_ahead(50, 5, 5)
    assert set(folder.threads[1:]) == {"pictures"}


def test_another_size_is_another_picture():
    folder = Folder(10)
    supply = PhotoSupply(folder.photos, "cpu", 5, bound=10 * PICTURE_BYTES)
    found = [shown(supply, 0.5 if step < 7 else 1.0) for step in range(20)]
    assert found == order_without_looking_ahead(10, 5, 20)
    assert supply.next(0.5)[1].shape == (HEIGHT // 2, WIDTH // 2, 3)


def test_a_picture_that_cannot_be_decoded_is_named_when_its_turn_comes():
    order = order_without_looking_ahead(10, 5, 4)
    folder = Folder(10, broken=[order[3]])
    supply = PhotoSupply(folder.photos, "cpu", 5, bound=10 * PICTURE_BYTES)
    assert [shown(supply) for _ in range(3)] == order[:3]
    wait_until(lambda: order[3] in folder.decoded)  # ahead: no reason to stop yet
    with pytest.raises(CaptureError, match=rf"^{order[3]}\.jpg could not be decoded"):
        supply.next()


def test_the_thread_ends_when_nothing_is_asked_of_it():
    supply = PhotoSupply(Folder(50).photos, "cpu", 5, bound=5 * PICTURE_BYTES)
    shown(supply)
    assert supply.cache.is_decoding
    wait_until(lambda: not supply.cache.is_decoding)
    shown(supply)  # and comes back
    assert supply.cache.is_decoding


def test_a_resumed_supply_goes_on_where_the_other_was():
    photos = Folder(9).photos
    supply, expected = PhotoSupply(photos, "cpu", 5), order_without_looking_ahead(9, 5, 60)
    for step in range(30):
        resumed = PhotoSupply(photos, "cpu", 99)
        resumed.load(supply.state())
        assert [shown(resumed) for _ in range(12)] == expected[step : step + 12]
        shown(supply)


def test_the_state_does_not_know_how_far_was_looked_ahead():
    photos = Folder(9).photos
    alone, ranks = (
        PhotoSupply(photos, "cpu", 5),
        [PhotoSupply(photos, "cpu", 5, r, 3) for r in range(3)],
    )
    for _ in range(7):
        for _ in range(3):
            shown(alone)
        for rank in ranks:
            shown(rank)
        assert all(rank.state() == alone.state() for rank in ranks)


def test_ranks_share_one_order():
    photos = Folder(8).photos
    ranks = [PhotoSupply(photos, "cpu", 5, rank, 3) for rank in range(3)]
    found = [shown(rank) for _ in range(10) for rank in ranks]
    assert found == order_without_looking_ahead(8, 5, 30)


def test_free_memory_is_the_smaller_of_machine_and_container(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 999 kB\nMemAvailable:   4000 kB\n")
    assert memory_available(meminfo, tmp_path) == 4000 * 1024
    (tmp_path / "memory.current").write_text("100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_available(meminfo, tmp_path) == 4000 * 1024
    (tmp_path / "memory.max").write_text("300000\n")
    assert memory_available(meminfo, tmp_path) == 200000
    assert memory_available(tmp_path / "none", tmp_path / "none") is None
