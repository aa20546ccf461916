"""Photographs without cameras: these are estimated in a process of its own, whose finished stages are kept."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from captures import Heard
from corner_scene import FOCAL, cameras, photograph, small
from PIL import Image

from core.base.errors import CaptureError
from core.base.events import Notice, Progress
from core.capture import child, poses
from core.capture.check import check_capture
from core.capture.opening import open_capture
from core.capture.pairs import ALL_PAIRS_UP_TO, choose_pairs
from core.capture.poses import Shot, job_of
from core.capture.problems import Severity
from core.capture.unposed import focal_by_exif, photographs_in

COUNT, WIDTH, HEIGHT = 6, 320, 240


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [photograph(camera) for camera in cameras(COUNT, WIDTH, HEIGHT)]


@pytest.fixture
def folder(tmp_path, monkeypatch, pictures) -> Path:
    """Return a folder with pictures 0.png to 5.png of the corner, and an empty cache."""
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))
    return save(tmp_path / "photos", {f"{n}.png": picture for n, picture in enumerate(pictures)})


@pytest.fixture(scope="module")
def solved(tmp_path_factory, pictures):
    """Return a folder of six pictures, its cache, the capture it opened as, and what was heard."""
    root = tmp_path_factory.mktemp("solved")
    named = {f"{n}.png": picture for n, picture in enumerate(pictures)}
    save(root / "photos", named)
    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYRF_CACHE", str(root / "cache"))
        capture = open_capture(root / "photos", report=heard)
    return root, capture, heard


@pytest.fixture
def instant(solved, monkeypatch):
    """Have the process find at once what it found for the same pictures before."""
    (kept,) = (solved[0] / "cache/poses").glob("*.npz")

    def run(_module, job, _show, _stop) -> None:
        shutil.copy(kept, job / "found.npz")

    monkeypatch.setattr(poses, "run_child", run)


def save(folder: Path, pictures: dict[str, np.ndarray]) -> Path:
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / name)
    return folder


def tasks(heard: Heard) -> list[str]:
    """Return the names of the tasks heard of, in order, each once."""
    return list(dict.fromkeys(e.task for e in heard.events if isinstance(e, Progress)))


def no_process(*_arguments, **_options):
    raise AssertionError("a process was started")


def test_the_poses_are_those_the_pictures_were_taken_from(solved):
    _, capture, _ = solved
    truth = np.stack([camera.center for camera in cameras(COUNT, WIDTH, HEIGHT)])
    found = np.stack([photo.camera.center for photo in capture.photos])
    # the best similarity from one to the other (Umeyama 1991)
    a, b = truth - truth.mean(0), found - found.mean(0)
    left, _, right = np.linalg.svd(a.T @ b)
    turn = left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right
    scale = (a * (b @ turn.T)).sum() / (b**2).sum()
    # cameras stand three units from the walls: a thousandth of that is sub-pixel
    assert np.abs(a - scale * b @ turn.T).max() < 0.01
    assert capture.photos[0].camera.fx == pytest.approx(FOCAL, rel=0.01)
    assert capture.notices == ()


def test_the_report_counts_pictures_points_pixels_and_focal_length(solved):
    _, capture, heard = solved
    assert capture.poses.startswith("estimated from the photographs: 6 of 6 placed, ")
    assert "pixels at 320x240, focal length 3" in capture.poses
    assert "EXIF tells none" in capture.poses
    assert any(isinstance(e, Notice) and capture.poses in e.text for e in heard.events)
    assert len(capture.points) > 500
    assert "from the capture" in capture.seeds


def test_every_stage_tells_its_progress_with_counts_and_ends(solved):
    _, _, heard = solved
    assert tasks(heard) == [
        "Opening the photographs",
        "Reading the photographs",
        "Finding features",
        "Matching pictures",
        "Placing cameras",
    ]
    told = [event for event in heard.events if isinstance(event, Progress)]
    for task in tasks(heard):
        own = [event for event in told if event.task == task]
        assert own[-1].fraction == 1.0
        assert any(" of " in event.detail for event in own)


def test_a_second_opening_starts_no_process(solved, monkeypatch):
    root, capture, _ = solved
    monkeypatch.setenv("HYRF_CACHE", str(root / "cache"))
    monkeypatch.setattr(child.subprocess, "Popen", no_process)
    again = open_capture(root / "photos")
    assert again.poses == capture.poses
    for one, other in zip(again.photos, capture.photos, strict=True):
        np.testing.assert_array_equal(one.camera.camera_to_world, other.camera.camera_to_world)
    assert len(list((root / "cache/poses").glob("*/"))) == 0  # nothing is left of the work


def test_a_damaged_result_is_estimated_again(folder, instant):
    open_capture(folder)
    (kept,) = poses.cache_folder("poses").glob("*.npz")
    whole = kept.read_bytes()
    for damaged in (whole[:1000], whole[:-40] + bytes(40), b""):
        kept.write_bytes(damaged)
        assert len(open_capture(folder).photos) == COUNT
        assert kept.read_bytes() == whole


def test_cancelling_kills_the_process_and_opening_again_goes_on_after_the_finished_stages(folder):
    heard, pids, began = Heard(), [], []
    spawned = child.subprocess.Popen

    def remember(*arguments, **options):
        process = spawned(*arguments, **options)
        pids.append(process.pid)
        return process

    def wants_to_stop() -> bool:
        if {"Matching pictures", "Placing cameras"} & set(tasks(heard)):
            began.append(time.perf_counter())
        return bool(began)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child.subprocess, "Popen", remember)
        with pytest.raises(CaptureError, match="cancelled"):
            open_capture(folder, report=heard, cancelled=wants_to_stop)
    assert time.perf_counter() - began[0] < 5.0  # at once, on a machine that does other things too
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert not list(poses.cache_folder("poses").glob("*.npz"))

    heard = Heard()
    assert len(open_capture(folder, report=heard).photos) == COUNT
    assert "Finding features" not in tasks(heard)


def test_cancelling_before_the_process_starts_leaves_no_half_written_picture(folder, monkeypatch):
    monkeypatch.setattr(child.subprocess, "Popen", no_process)
    heard = Heard()
    with pytest.raises(CaptureError, match="cancelled"):
        open_capture(
            folder, report=heard, cancelled=lambda: "Reading the photographs" in tasks(heard)
        )
    written = [path for path in poses.cache_folder("poses").glob("*/*") if path.suffix == ".png"]
    assert all(cv2.imread(str(path)) is not None for path in written)


def test_a_killed_process_gets_one_sentence_and_its_features_are_kept(folder):
    spawned = child.subprocess.Popen
    started = []

    def remember(*arguments, **options):
        started.append(spawned(*arguments, **options))
        return started[-1]

    def kill(event) -> None:
        if isinstance(event, Progress) and event.task == "Finding features":
            started[-1].send_signal(signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child.subprocess, "Popen", remember)
        with pytest.raises(CaptureError, match=r"could not be estimated.*code -9.*go on"):
            open_capture(folder, report=kill)
    assert len(open_capture(folder).photos) == COUNT


def test_what_a_failed_process_stumbled_over_is_thrown_away(folder):
    heard = Heard()
    with pytest.raises(CaptureError, match="cancelled"):
        open_capture(folder, report=heard, cancelled=lambda: "Matching pictures" in tasks(heard))
    (job,) = poses.cache_folder("poses").glob("*/")
    (job / "database.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(CaptureError, match=r"could not be estimated.*begins anew"):
        open_capture(folder)
    assert len(open_capture(folder).photos) == COUNT


def test_a_full_disk_gets_one_sentence_with_the_remedy(folder, monkeypatch):
    def no_room(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(poses, "run_child", no_room)
    with pytest.raises(CaptureError, match=r"No space left on device.*Make room"):
        open_capture(folder)


def test_the_process_ends_when_its_parent_does():
    code = "from core.capture.child import end_with_parent as e; import time; e(); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    process.stdin.close()  # as the system does for a parent that is gone
    assert process.wait(timeout=20) == 1


def test_a_second_program_waits_for_the_first_and_can_be_cancelled(folder, monkeypatch):
    monkeypatch.setattr(child.subprocess, "Popen", no_process)
    heard = Heard()
    with pytest.raises(CaptureError, match="cancelled"):  # makes the lock's file
        open_capture(
            folder, report=heard, cancelled=lambda: "Reading the photographs" in tasks(heard)
        )
    (file,) = poses.cache_folder("poses").glob("*.lock")
    lock = sqlite3.connect(file, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    heard = Heard()

    def waited() -> bool:
        return any("waiting" in e.detail for e in heard.events if isinstance(e, Progress))

    with pytest.raises(CaptureError, match="cancelled"):
        open_capture(folder, report=heard, cancelled=waited)
    lock.close()


def test_without_a_writable_cache_the_cameras_are_estimated_all_the_same(
    folder, instant, tmp_path, monkeypatch
):
    blocker = tmp_path / "blocker"
    blocker.write_text("a file where the cache folder should be")
    monkeypatch.setenv("HYRF_CACHE", str(blocker))
    assert len(open_capture(folder).photos) == COUNT


def test_awkward_names_sizes_and_orientations_all_find_their_place(tmp_path, monkeypatch, pictures):
    """Names, a picture cut to another size, one stored on its side with a tag, one in a subfolder."""
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "Fotos für 城 🦊"
    names = ["ä ö.png", "ä b.png", "🦊.PNG", "城/1.png", "Flur/a b.Png", "turned.png"]
    save(folder, dict(zip(names[:4], pictures, strict=False)))
    narrow = small(cameras(COUNT, WIDTH, HEIGHT)[4], 0.8)
    save(folder, {names[4]: photograph(narrow)})
    tag = Image.Exif()
    tag[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(pictures[5]).copy()).save(folder / names[5], exif=tag)
    capture = open_capture(folder)
    assert len(capture.photos) == 6
    assert {str(photo.path.relative_to(folder)) for photo in capture.photos} == set(names)
    sizes = {photo.path.name: (photo.camera.width, photo.camera.height) for photo in capture.photos}
    assert sizes["a b.Png"] == (256, 192)
    assert sizes["turned.png"] == (WIDTH, HEIGHT)
    turned = next(photo for photo in capture.photos if photo.path.name == "turned.png")
    np.testing.assert_allclose(turned.image(), pictures[5], atol=40)  # but for undistorting
    assert np.abs(turned.image().astype(int) - pictures[5]).mean() < 8
    focals = [photo.camera.fx for photo in capture.photos]
    np.testing.assert_allclose(focals, FOCAL, rtol=0.02)


def test_each_picture_that_is_left_out_gets_a_sentence_with_the_reason(folder, pictures):
    rng = np.random.default_rng(0)
    save(
        folder,
        {
            "bare.png": np.full((HEIGHT, WIDTH, 3), 90, np.uint8),
            "other place.png": photograph(cameras(1, WIDTH, HEIGHT)[0], seed=5),
        },
    )
    (folder / "broken.jpg").write_bytes(rng.bytes(500))
    shutil.copy(folder / "2.png", folder / "copy.png")
    capture = open_capture(folder)
    told = "\n".join(capture.notices)
    assert len(capture.photos) == COUNT
    assert "6 of 8 placed" in capture.poses
    assert "bare.png: shows only 0 details that could be found again; it is left out." in told
    assert "other place.png: has " in told
    assert "broken.jpg is not a picture (500 bytes); it is left out." in told
    assert "copy.png (same bytes as 2.png)" in told
    rows = {row.file: row for row in check_capture(folder).problems}
    for name in ("bare.png", "other place.png"):
        assert rows[name].severity is Severity.LEFT_OUT
        assert rows[name].remedy.split()[0] in ("Remove", "Take")


def test_of_two_places_the_one_with_more_pictures_is_used_and_said_so(folder):
    others = {
        f"room {n}.png": photograph(camera, seed=7)
        for n, camera in enumerate(cameras(5, WIDTH, HEIGHT)[:4])
    }
    save(folder, others)
    capture = open_capture(folder)
    assert sorted(photo.name for photo in capture.photos) == list("012345")
    assert "fall into 2 groups that share too little, of 6, 4 pictures" in capture.notices[0]
    assert sum("belongs to another group" in text for text in capture.notices) == 4


def test_too_few_placed_pictures_are_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))
    (camera,) = cameras(1, WIDTH, HEIGHT)
    unrelated = {f"{seed}.png": photograph(camera, seed) for seed in (1, 2, 3)}
    save(tmp_path / "photos", unrelated)
    with pytest.raises(CaptureError, match=r"only 0 of 3 pictures.*at least 3.*Take more pictures"):
        open_capture(tmp_path / "photos")


def test_two_pictures_are_too_few_and_no_process_starts(tmp_path, monkeypatch, pictures):
    monkeypatch.setattr(child.subprocess, "Popen", no_process)
    save(tmp_path, {"a.png": pictures[0], "b.png": pictures[1]})
    with pytest.raises(CaptureError, match=r"2 of 2 pictures can be used.*3 or more.*Take more"):
        open_capture(tmp_path)


def test_the_focal_length_of_exif_is_where_the_estimate_starts(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 35
    Image.new("RGB", (1000, 751)).save(tmp_path / "a.jpg", exif=exif)
    assert focal_by_exif(tmp_path / "a.jpg", 1000) == pytest.approx(972.2, abs=0.1)
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x920A: 10.0, 0xA20E: 2000.0, 0xA210: 3})  # 200 pixels a mm
    Image.new("RGB", (1000, 751)).save(tmp_path / "b.jpg", exif=exif)
    assert focal_by_exif(tmp_path / "b.jpg", 500) == pytest.approx(1000)
    Image.new("RGB", (1000, 751)).save(tmp_path / "c.jpg")
    assert focal_by_exif(tmp_path / "c.jpg", 1000) is None


def test_pictures_share_a_lens_where_size_and_focal_length_agree():
    shot = Shot(Path("a"), "a", "", 3000, 2000, 2500.0)
    shots = [
        shot,
        replace(shot, focal=2510.0),
        replace(shot, focal=5000.0),
        replace(shot, width=2000, height=3000),
        replace(shot, focal=None),
    ]
    work = job_of(shots)
    assert [entry["lens"] for entry in work["pictures"]] == [0, 0, 1, 2, 3]
    assert (work["lenses"][0]["width"], work["lenses"][0]["height"]) == (1600, 1067)
    assert work["lenses"][0]["focal"] == pytest.approx(2500 * 1600 / 3000)
    assert json.dumps(work)  # what the process is given


def test_hidden_pictures_and_masks_are_no_photographs(tmp_path, pictures):
    for name in ("a.png", "sub/b.png", "masks/a.png", ".trash/c.png", "._a.png"):
        save(tmp_path, {name: pictures[0]})
    assert [path.name for path in photographs_in(tmp_path)] == ["a.png", "b.png"]
    save(tmp_path, {"images/d.png": pictures[0]})
    assert [path.name for path in photographs_in(tmp_path)] == ["d.png"]


def test_few_pictures_are_all_compared_and_many_with_neighbours_and_those_that_look_alike():
    assert len(choose_pairs([np.zeros((5, 8))] * 10)) == 45
    rng = np.random.default_rng(0)
    count = ALL_PAIRS_UP_TO + 30
    places = [rng.random((200, 32)) for _ in range(45)]
    # a walk that comes back: picture 45 + n shows the place of picture n
    seen = [places[n % 45] + 0.02 * rng.standard_normal((200, 32)) for n in range(count)]
    pairs = choose_pairs(seen)
    assert all((n, n + 1) in pairs for n in range(count - 1))
    assert all((n, n + 45) in pairs for n in range(count - 45))
    assert len(pairs) < count * 20 < count * (count - 1) / 2


def test_pictures_without_any_feature_are_still_paired_with_their_neighbours():
    pairs = choose_pairs([np.zeros((0, 128), np.uint8)] * (ALL_PAIRS_UP_TO + 1))
    assert (0, 1) in pairs
