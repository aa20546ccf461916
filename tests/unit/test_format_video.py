"""Camera paths and pictures on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.base.errors import FormatError
from core.capture.camera import Camera, look_at
from core.formats.video import between, read_camera_path, write_pictures


def camera(x: float, focal: float = 50.0) -> Camera:
    pose = look_at(np.array([x, 0.0, -5.0]), np.zeros(3), np.array([0.0, -1.0, 0.0]))
    return Camera(pose, focal, focal, 32.0, 24.0, 64, 48)


def path_file(tmp_path: Path, values: object) -> Path:
    path = tmp_path / "path.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return path


def test_listed_cameras_come_back_as_they_are(tmp_path):
    cameras = [camera(0.0), camera(1.0)]
    values = {"fps": 24, "cameras": [one.to_json() for one in cameras]}
    path = read_camera_path(path_file(tmp_path, values))
    assert path.fps == 24
    assert [one.to_json() for one in path.cameras] == [one.to_json() for one in cameras]


def test_keyframes_become_a_smooth_path_of_the_asked_length(tmp_path):
    stations = [camera(-2.0, 50.0), camera(0.0, 60.0), camera(2.0, 50.0)]
    values = {"fps": 10, "seconds": 2.1, "keyframes": [one.to_json() for one in stations]}
    cameras, _ = read_camera_path(path_file(tmp_path, values))
    assert len(cameras) == 21
    for number, station in ((0, stations[0]), (10, stations[1]), (20, stations[2])):
        np.testing.assert_allclose(
            cameras[number].camera_to_world, station.camera_to_world, atol=1e-9
        )
        assert cameras[number].fx == pytest.approx(station.fx)
    steps = np.diff([one.center[0] for one in cameras])
    # evenly placed stations: the spline is a straight line at constant speed
    np.testing.assert_allclose(steps, 0.2, atol=1e-9)
    for one in cameras:
        rotation = one.camera_to_world[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)


def test_a_single_keyframe_stands_still():
    assert len({id(one) for one in between([camera(0.0)], 5)}) == 1


def _changed(**changes):
    return {"cameras": [{**camera(0.0).to_json(), **changes}]}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("", "no readable JSON"),
        ("[" * 100_000, "no readable JSON"),
        ([1], "path.json: "),
        ({}, "either"),
        ({"cameras": [camera(0.0).to_json()], "keyframes": [camera(0.0).to_json()]}, "either"),
        ({**_changed(), "fps": 0}, "fps"),
        (_changed(fx=-1.0), r"cameras\.0\.fx"),
        (_changed(width=10**9), "width"),
        (_changed(camera_to_world=[[0.0] * 4] * 4), "no rotation"),
        (_changed(camera_to_world=[[1.0] * 3] * 3), "camera_to_world"),
        (_changed(cx=float("nan")), "cx"),
        ({"cameras": [camera(0.0).to_json(), camera(0.0).resized(32, 24).to_json()]}, "differ"),
        ({"keyframes": [camera(0.0).to_json()], "fps": 240, "seconds": 3600}, "864000 pictures"),
    ],
)
def test_a_path_that_makes_no_sense_gets_one_sentence(tmp_path, values, said):
    with pytest.raises(FormatError, match=said) as caught:
        read_camera_path(path_file(tmp_path, values))
    assert "path.json" in str(caught.value)


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    return [np.full((height, width, 3), 40 * k, np.uint8) for k in range(count)]


def test_a_video_holds_every_picture_even_of_odd_size(tmp_path):
    import imageio.v3 as imageio

    assert write_pictures(iter(pictures(6, 49, 65)), tmp_path / "orbit.mp4", 25) == 6
    video = np.stack(list(imageio.imiter(tmp_path / "orbit.mp4")))
    assert video.shape == (6, 50, 66, 3)
    # lossy, but grey stays grey
    np.testing.assert_allclose(video.mean(axis=(1, 2, 3)), [40 * k for k in range(6)], atol=4)
    assert [path.name for path in tmp_path.iterdir()] == ["orbit.mp4"]


def test_a_folder_holds_numbered_pictures_exactly(tmp_path):
    from PIL import Image

    assert write_pictures(pictures(3, 9, 7), tmp_path / "out", 30) == 3
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["00000.png", "00001.png", "00002.png"]
    np.testing.assert_array_equal(Image.open(tmp_path / "out" / names[2]), pictures(3, 9, 7)[2])


def test_a_drawing_that_fails_leaves_no_video(tmp_path):
    def broken():
        yield from pictures(2, 16, 16)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_pictures(broken(), tmp_path / "orbit.mp4", 25)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_suffix_and_no_pictures_are_refused(tmp_path):
    with pytest.raises(FormatError, match="or a folder"):
        write_pictures(pictures(1, 8, 8), tmp_path / "orbit.gif", 25)
    for name in ("none.mp4", "none"):
        with pytest.raises(FormatError, match="no pictures"):
            write_pictures([], tmp_path / name, 25)
