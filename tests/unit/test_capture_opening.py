"""Opening captures: layouts, split, names, sizes and scene units."""

import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from captures import Heard, SmallCapture, real

from assets import DEMO
from core.base.errors import CaptureError
from core.base.events import Notice, Progress
from core.capture.camera import Camera, look_at
from core.capture.opening import open_capture
from core.capture.placement import UP, common_point, scene_to_original
from core.capture.solids import first_hit
from core.capture.synthetic import SOLIDS, cameras

SPLITS = {
    "fox": (50, "0001 0012 0027 0042 0073 0089 0110"),
    "chess_king": (23, "DSC_5283 DSC_5291 DSC_5299"),
    "can_video": (71, "0000 0008 0016 0024 0032 0040 0048 0056 0064"),
    "plush": (49, " ".join(f"20240212_{t}" for t in
                           ["003919", "003936", "003956", "004014", "004037", "004107", "004138"])),
}  # fmt: skip


@pytest.mark.parametrize("name", SPLITS)
def test_every_eighth_picture_by_name_is_held_out(name):
    total, held_out = SPLITS[name]
    capture = open_capture(real(name), seeds="random")
    assert len(capture.photos) == total
    assert [photo.name for photo in capture.test] == held_out.split()


def test_files_with_their_own_split_keep_it():
    capture = open_capture(real("chair_rgba"), seeds="random")
    assert (len(capture.train), len(capture.test)) == (50, 25)
    assert all(photo.path.parent.name == "test" for photo in capture.test)
    assert len({photo.name for photo in capture.photos}) == 75


def test_fox_says_how_many_frames_have_no_picture():
    heard = Heard()
    capture = open_capture(real("fox"), seeds="random", report=heard)
    assert "17 of 67 frames have no picture" in capture.notices[0]
    assert any(isinstance(e, Notice) and e.text == capture.notices[0] for e in heard.events)


def test_a_picture_of_each_mixed_size_has_its_own_camera():
    capture = open_capture(real("chess_king"))
    assert len({photo.camera.height for photo in capture.photos}) == 7
    for photo in capture.photos[:4]:
        assert photo.image().shape == (photo.camera.height, photo.camera.width, 3)


def test_the_two_ways_can_video_stores_its_poses_agree(tmp_path):
    folder = real("can_video")
    (tmp_path / "images").symlink_to(folder / "images")
    (tmp_path / "poses_bounds.npy").symlink_to(folder / "poses_bounds.npy")
    colmap = open_capture(folder, seeds="random")
    llff = open_capture(tmp_path, seeds="random")
    turns = [
        np.degrees(np.arccos(np.clip(a.camera.forward @ b.camera.forward, -1, 1)))
        for a, b in zip(colmap.photos, llff.photos, strict=True)
    ]
    # scene units are found from either set alone; the same orbit differs by its noise only
    assert np.median(turns) < 2.0
    assert colmap.photos[0].name == llff.photos[0].name


def test_the_demo_opens_in_less_than_a_second_with_its_own_points():
    start = time.perf_counter()
    capture = open_capture(DEMO)
    assert time.perf_counter() - start < 1.0
    assert len(capture.photos) == 48
    assert len(capture.points) == 3000
    assert capture.seeds == "3,000 points from the capture (transforms.json)"
    assert capture.notices == ()


def test_seed_points_fall_on_pixels_of_their_colour():
    capture = open_capture(DEMO)
    photo = capture.photos[6]
    points = capture.points.astype(np.float64)
    pixels, _ = photo.camera.project(points)
    original = capture.to_original.apply(points)
    rays = original - capture.to_original.apply(photo.camera.center)
    lengths = np.linalg.norm(rays, axis=1)
    reach, _ = first_hit(SOLIDS, original - rays, rays / lengths[:, None])
    shown = (pixels >= 0).all(1) & (pixels < [320, 240]).all(1) & (reach > lengths - 1e-3)
    columns, rows = pixels[shown].astype(int).T
    colors = capture.point_colors[shown].astype(int)
    difference = np.abs(photo.image()[rows, columns] - colors).mean(1)
    # fine texture and highlights differ from point to pixel; a mirrored axis gives a median of 50
    assert shown.sum() > 1000
    assert np.median(difference) < 15


def test_scene_units_put_cameras_around_the_origin_with_up_at_minus_y():
    capture = open_capture(DEMO)
    placed = [photo.camera for photo in capture.photos]
    np.testing.assert_allclose(common_point(placed), 0, atol=1e-9)
    assert np.mean([-camera.camera_to_world[:3, 1] @ UP for camera in placed]) > 0.8
    np.testing.assert_allclose(capture.up, UP)
    # all stand within about one unit of the middle: a quarter more for those of the higher rings
    assert max(np.linalg.norm(camera.center) for camera in placed) < 1.25


def test_original_coordinates_come_back():
    capture = open_capture(DEMO)
    for photo, original in zip(capture.photos, cameras(), strict=True):
        back = capture.to_original.apply_camera(photo.camera)
        # poses are written with nine decimals
        np.testing.assert_allclose(back.camera_to_world, original.camera_to_world, atol=1e-7)


def test_a_stray_camera_does_not_change_the_unit():
    ring = _ring(24)
    stray = ring[0].moved(look_at(np.array([0, 500.0, 0]), np.zeros(3), np.array([0, 0, 1.0])))
    alone, together = scene_to_original(ring), scene_to_original([*ring, stray])
    assert together.scale == pytest.approx(alone.scale, rel=0.05)


def test_parallel_cameras_are_centred_on_themselves():
    row = [camera.moved(_shifted(x)) for x, camera in enumerate(_ring(5))]
    np.testing.assert_allclose(common_point(row), [2.0, 0, 0], atol=1e-9)


def test_cameras_on_one_spot_still_have_a_unit():
    placed = scene_to_original([camera.moved(_turned_only(camera)) for camera in _ring(8)])
    assert placed.scale == 1.0
    assert np.isfinite(placed.translation).all()


def test_a_limited_capture_has_smaller_pictures_of_the_same_view(tmp_path):
    capture = SmallCapture(tmp_path / "c").open()
    small = capture.limited(80)
    assert small.photos[0].image().shape == (60, 80, 3)
    assert small.photos[0].camera.fx == pytest.approx(capture.photos[0].camera.fx / 4)
    # an area average keeps the mean colour, up to rounding
    large_mean = capture.photos[0].image().mean((0, 1))
    np.testing.assert_allclose(small.photos[0].image().mean((0, 1)), large_mean, atol=0.5)
    assert capture.limited(10_000).photos[0].camera.width == 320


def test_names_are_stems_unless_two_pictures_share_one(tmp_path):
    small = SmallCapture(tmp_path / "c", 4)
    (small.folder / "left").mkdir()
    shutil.move(small.picture(3), small.folder / "left" / "000.jpg")
    small.frames[3]["file_path"] = "left/000.jpg"
    names = {photo.name for photo in small.open().photos}
    assert names == {"images/000", "images/001", "images/002", "left/000"}


def test_a_folder_that_fits_nothing_lists_what_was_looked_for(tmp_path):
    with pytest.raises(CaptureError, match=r"transforms\.json.*COLMAP.*cameras\.json.*\.jpg"):
        open_capture(tmp_path)


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="no such folder"):
        open_capture(tmp_path / "missing")


def test_the_json_file_itself_may_be_opened(tmp_path):
    small = SmallCapture(tmp_path / "c")
    assert len(small.open().photos) == len(open_capture(small.folder / "transforms.json").photos)


def test_progress_ends_at_one_and_cancelling_stops(tmp_path):
    small, heard = SmallCapture(tmp_path / "c"), Heard()
    small.open(report=heard)
    assert [e.fraction for e in heard.events if isinstance(e, Progress)][-1] == 1.0
    with pytest.raises(CaptureError, match="cancelled"):
        small.open(cancelled=lambda: True)


def test_test_filenames_of_nerfstudio_are_held_out(tmp_path):
    small = SmallCapture(tmp_path / "c")
    small.values["test_filenames"] = ["images/003.jpg", "./images/004.jpg"]
    assert [photo.name for photo in small.open().test] == ["003", "004"]


def test_photo_reads_are_independent_of_the_camera_size(tmp_path):
    photo = SmallCapture(tmp_path / "c").open().photos[0]
    tiny = replace(photo, camera=photo.camera.resized(8, 6))
    assert tiny.image().shape == (6, 8, 3)
    assert tiny.read().shape == (240, 320, 3)


def _ring(count: int) -> list[Camera]:
    lens = Camera(np.eye(4), 100, 100, 50, 50, 100, 100)
    angles = np.arange(count) * 2 * np.pi / count
    centers = np.column_stack([3 * np.cos(angles), 3 * np.sin(angles), np.full(count, 1.0)])
    return [lens.moved(look_at(c, np.zeros(3), np.array([0, 0, 1.0]))) for c in centers]


def _shifted(x: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def _turned_only(camera: Camera) -> np.ndarray:
    pose = camera.camera_to_world.copy()
    pose[:3, 3] = 0
    return pose
