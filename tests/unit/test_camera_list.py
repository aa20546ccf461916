"""Camera lists of other trainers: cameras.json and poses_bounds.npy."""

import json
import shutil

import numpy as np
import pytest

from assets import DEMO
from core.base.errors import CaptureError
from core.capture.camera_list import read_camera_list, read_llff
from core.capture.synthetic import cameras


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three demo pictures."""
    (tmp_path / "images").mkdir()
    for index in range(3):
        shutil.copy(DEMO / "images" / f"{index:03}.jpg", tmp_path / "images")
    return tmp_path


def entries() -> list[dict]:
    return [
        {
            "id": index,
            "img_name": f"{index:03}",
            "width": 320,
            "height": 240,
            "position": camera.center.tolist(),
            "rotation": camera.camera_to_world[:3, :3].tolist(),
            "fx": 250.0,
            "fy": 250.0,
        }
        for index, camera in enumerate(cameras()[:3])
    ]


def test_cameras_json_gives_poses_as_they_stand(folder):
    (folder / "cameras.json").write_text(json.dumps(entries()))
    shutil.copy(DEMO / "points.ply", folder / "points3D.ply")
    listing = read_camera_list(folder)
    for frame, camera in zip(listing.frames, cameras(), strict=False):
        np.testing.assert_allclose(frame.camera_to_world, camera.camera_to_world)
        assert (frame.lens.fx, frame.lens.cx, frame.lens.cy) == (250, 160, 120)
        assert frame.path is not None
    assert len(listing.points) == 3000


@pytest.mark.parametrize("key", ["img_name", "width", "position", "rotation", "fx"])
@pytest.mark.parametrize("value", [None, "x", [], [[1]]])
def test_a_wrong_entry_of_cameras_json_is_refused_by_number(folder, key, value):
    wrong = entries()
    wrong[1][key] = value
    if key == "img_name":
        del wrong[1][key]
    (folder / "cameras.json").write_text(json.dumps(wrong))
    with pytest.raises(CaptureError, match=r"cameras\.json, camera 1"):
        read_camera_list(folder)


@pytest.mark.parametrize("text", ["{", "{}", "3"])
def test_a_file_that_is_no_list_is_refused(folder, text):
    (folder / "cameras.json").write_text(text)
    with pytest.raises(CaptureError, match=r"cameras\.json is not"):
        read_camera_list(folder)


def test_llff_columns_become_the_same_cameras(folder):
    rows = []
    for camera in cameras()[:3]:
        pose = camera.camera_to_world
        right, down, forward, center = pose[:3].T
        lens = [240.0, 320.0, 250.0]
        rows.append([*np.column_stack([down, right, -forward, center, lens]).ravel(), 1.0, 9.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    listing = read_llff(folder)
    for frame, camera in zip(listing.frames, cameras(), strict=False):
        np.testing.assert_allclose(frame.camera_to_world, camera.camera_to_world)
        assert (frame.lens.width, frame.lens.height, frame.lens.fx) == (320, 240, 250)


@pytest.mark.parametrize("shape", [(3, 16), (2, 17), (17,), (0, 17)])
def test_llff_rows_that_do_not_fit_the_pictures_are_refused(folder, shape):
    np.save(folder / "poses_bounds.npy", np.ones(shape))
    with pytest.raises(CaptureError, match=r"images holds 3 pictures: \[3, 17\] is needed"):
        read_llff(folder)


def test_llff_files_that_hold_objects_or_nothing_are_refused(folder):
    np.save(folder / "poses_bounds.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(CaptureError, match="cannot be read"):
        read_llff(folder)
    sound = (folder / "poses_bounds.npy").read_bytes()
    for content in (
        b"",
        sound.replace(b"'|O'", b"'08'"),
    ):  # numpy asks Python's parser about the second
        (folder / "poses_bounds.npy").write_bytes(content)
        with pytest.raises(CaptureError, match="cannot be read"):
            read_llff(folder)


def test_llff_with_infinite_focal_length_is_refused(folder):
    rows = np.ones((3, 17))
    rows[1, 14] = np.inf
    np.save(folder / "poses_bounds.npy", rows)
    with pytest.raises(CaptureError, match=r"001\.jpg has no finite size"):
        read_llff(folder)
