"""Seed points: the capture's own, triangulated in a process of their own, or random; always said which."""

import os
import time
from dataclasses import replace

import numpy as np
import pytest
from captures import Heard, SmallCapture, real, surface_distances

from assets import DEMO
from core.base.errors import CaptureError
from core.base.events import Notice, Progress
from core.capture import child, seeds, synthetic
from core.capture.opening import open_capture
from core.capture.placement import views_of
from core.capture.seeds import Opening, random_points, triangulate
from core.capture.triangulate import NEIGHBOURS, choose_pairs


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """Return a small capture without seed points, and an empty cache."""
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))
    small = SmallCapture(tmp_path / "capture")
    del small.values["ply_file_path"]
    return small


@pytest.fixture
def fake_triangulation(monkeypatch):
    """Replace the child process by 150 fixed points; return how often it ran."""
    calls = []

    def run(photos, how):
        calls.append(len(photos))
        return np.ones((150, 3), np.float32), np.full((150, 3), 7, np.uint8)

    monkeypatch.setattr(seeds, "triangulate", run)
    return calls


def test_random_points_are_said_to_be_random_and_lie_where_cameras_look(bare):
    capture = bare.open(seeds="random")
    assert capture.seeds == "20,000 random points in the cameras' common view (as chosen)"
    assert capture.points.shape == capture.point_colors.shape == (20_000, 3)
    seen = views_of(capture.points, [photo.camera for photo in capture.photos])
    assert (seen >= 3).mean() > 0.95


def test_random_points_are_the_same_every_time_and_have_colours_of_the_photographs(bare):
    photos = bare.open(seeds="random").photos
    points, colors = random_points(photos, 500)
    again, _ = random_points(photos, 500)
    np.testing.assert_array_equal(points, again)
    assert len(np.unique(colors, axis=0)) > 100
    assert abs(colors.mean() - np.mean([photo.image().mean() for photo in photos])) < 40


def test_the_captures_own_points_win_unless_random_ones_are_chosen(tmp_path):
    small = SmallCapture(tmp_path / "c")
    assert small.open().seeds.startswith("3,000 points from the capture")
    assert small.open(seeds="random").seeds.startswith("20,000 random points")


def test_asking_for_the_captures_points_refuses_when_it_brings_none(bare):
    with pytest.raises(CaptureError, match="brings no seed points"):
        bare.open(seeds="capture")


def test_an_unknown_choice_of_seeds_is_refused(bare):
    with pytest.raises(CaptureError, match="not 'magic'"):
        bare.open(seeds="magic")


def test_triangulated_points_are_kept_for_the_next_opening(bare, fake_triangulation):
    first, second = bare.open(), bare.open()
    assert fake_triangulation == [10]
    assert first.seeds == second.seeds == "150 points triangulated from the photographs"
    np.testing.assert_array_equal(first.points, second.points)


def test_another_pose_triangulates_again(bare, fake_triangulation):
    bare.open()
    bare.frames[3]["transform_matrix"][0][3] += 0.01
    bare.open()
    assert len(fake_triangulation) == 2


def test_a_damaged_cache_file_is_made_again(bare, fake_triangulation, tmp_path):
    bare.open()
    (stored,) = (tmp_path / "cache" / "seeds").iterdir()
    stored.write_bytes(stored.read_bytes()[:100])
    assert bare.open().seeds.startswith("150 points")
    assert len(fake_triangulation) == 2


def test_a_cache_that_cannot_be_written_only_costs_time(bare, fake_triangulation, monkeypatch):
    blocker = bare.folder / "file"
    blocker.write_text("a file where the cache folder should be")
    monkeypatch.setenv("HYRF_CACHE", str(blocker))
    assert bare.open().seeds.startswith("150 points")


def test_a_failed_triangulation_falls_back_to_random_points_and_says_why(bare, monkeypatch):
    monkeypatch.setattr(seeds, "LEAST_POINTS", 10**9)
    monkeypatch.setattr(seeds, "FEATURES", 50)  # quick: nobody looks at these points
    heard = Heard()
    capture = bare.open(report=heard)
    assert "random points" in capture.seeds
    assert "points were found" in capture.seeds
    assert any(
        isinstance(e, Notice) and "could not be triangulated" in e.text for e in heard.events
    )


def test_a_crashing_process_is_reported_with_its_last_line(bare, monkeypatch):
    monkeypatch.setattr(seeds, "FEATURES", "many")  # the process cannot read this number
    capture = bare.open()
    assert "random points" in capture.seeds
    assert "ended with code 1: ValueError" in capture.seeds


def test_triangulated_points_lie_on_the_surfaces_of_the_demo(monkeypatch):
    monkeypatch.setattr(seeds, "LEAST_POINTS", 20)  # eleven small pictures give 76
    capture = open_capture(DEMO)
    ring = replace(capture, photos=capture.photos[1:34:3])  # neighbours on the lowest ring
    heard = Heard()
    points, colors = triangulate(ring.photos, Opening(report=heard))
    fractions = [e.fraction for e in heard.events if isinstance(e, Progress)]
    assert fractions[0] is None
    assert fractions[-1] == 1.0
    original = capture.to_original.apply(points.astype(np.float64))
    distances = surface_distances(original)
    near = np.linalg.norm(original, axis=1) < 4  # the far hills triangulate to some far place
    # two pixels at four units' distance are 0.03; wrong poses or axes scatter points by units
    assert near.sum() > 20
    assert np.median(distances[near]) < 0.03
    assert colors.std() > 10


def test_cancelling_kills_the_process(bare):
    start, pids = time.perf_counter(), []
    spawned = child.subprocess.Popen

    def remember(*arguments, **options):
        child = spawned(*arguments, **options)
        pids.append(child.pid)
        return child

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child.subprocess, "Popen", remember)
        with pytest.raises(CaptureError, match="cancelled"):
            bare.open(cancelled=lambda: bool(pids))
    assert time.perf_counter() - start < 5
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_few_pictures_are_all_compared_and_many_only_with_neighbours():
    cameras = [camera.camera_to_world for camera in synthetic.cameras()]
    assert len(choose_pairs(np.stack(cameras[:10]))) == 45
    pairs = choose_pairs(np.stack(cameras))
    assert len(pairs) <= len(cameras) * NEIGHBOURS
    assert (0, 3) in pairs  # next on the same ring
    assert (0, 24) not in pairs  # opposite sides


@pytest.mark.slow
def test_fox_is_triangulated_to_thousands_of_points(tmp_path, monkeypatch):
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path))
    capture = open_capture(real("fox"))
    assert "triangulated" in capture.seeds
    # measured: 12,168
    assert len(capture.points) > 8000
    assert np.abs(capture.points).max() < 10
