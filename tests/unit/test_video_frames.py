"""Videos: sharp frames are chosen by how far the picture moved, written once, and opened like photographs."""

import cv2
import imageio.v2
import numpy as np
import pytest
from captures import Heard
from corner_scene import cameras, photograph

from app.jobs import Task
from app.opening import open_path
from core.base.errors import CaptureError, FormatError
from core.base.events import Notice, Progress
from core.capture import video_frames
from core.capture.opening import open_capture
from core.capture.seeds import Opening
from core.capture.video_frames import choose_frames, frames_of, survey

WIDTH, HEIGHT, FRAMES = 320, 240, 30
BLURRED = range(1, FRAMES, 2)


@pytest.fixture(scope="module")
def film() -> list[np.ndarray]:
    """Return frames along the arc, every second one shaken."""
    frames = [photograph(camera) for camera in cameras(FRAMES, WIDTH, HEIGHT)]
    for index in BLURRED:
        frames[index] = cv2.blur(frames[index], (15, 1))
    return frames


@pytest.fixture
def video(tmp_path, monkeypatch, film):
    """Return a video file with an awkward name, and an empty cache."""
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))
    return write(tmp_path / "Gang ä 🦊.MP4", film)


def write(path, frames, **options):
    options = {"fps": 10, "quality": 9, "macro_block_size": 1, **options}
    with imageio.v2.get_writer(str(path), format="ffmpeg", **options) as writer:
        for frame in frames:
            writer.append_data(frame)
    return path


def numbers(files) -> list[int]:
    return [int(file.stem.split("_")[1]) for file in files]


def test_shaken_frames_are_passed_over_and_the_files_show_what_the_video_shows(video, film):
    files = frames_of(video, Opening())
    chosen = numbers(files)
    assert len(chosen) >= 10
    assert not set(chosen) & set(BLURRED)
    for number, file in list(zip(chosen, files, strict=True))[::4]:
        picture = cv2.imread(str(file))[..., ::-1].astype(int)
        error = np.abs(picture - film[number]).mean()
        # H.264 keeps colour at half the size, which costs a good deal on such a texture
        assert error < 20
        assert error < np.abs(picture - film[(number + 2) % FRAMES]).mean()


def test_frames_stand_at_even_steps_of_the_picture_not_of_time():
    motion = np.concatenate([np.zeros(100), np.full(60, 0.03), np.full(60, 0.003)])
    sharpness = np.ones(220)
    chosen = choose_frames(sharpness, motion)
    still, fast, slow = (
        np.sum((chosen >= a) & (chosen < b)) for a, b in ((0, 100), (100, 160), (160, 220))
    )
    assert still <= 2
    assert fast > 5 * slow > 0


def test_the_number_of_frames_has_limits():
    assert len(choose_frames(np.ones(1000), np.full(1000, 0.5))) == video_frames.MOST
    assert len(choose_frames(np.ones(1000), np.full(1000, 0.0002))) == video_frames.LEAST
    assert len(choose_frames(np.ones(30), np.full(30, 0.0002))) == 10
    assert len(choose_frames(np.ones(30), np.zeros(30))) == 1


def test_frames_are_written_once_and_again_alike_when_the_cache_was_emptied(video, monkeypatch):
    heard = Heard()
    files = frames_of(video, heard_by(heard))
    told = {e.task for e in heard.events if isinstance(e, Progress)}
    assert told == {"Choosing sharp frames", "Writing the chosen frames"}
    contents = [file.read_bytes() for file in files]
    with monkeypatch.context() as patch:
        patch.setattr(video_frames, "survey", None)
        assert frames_of(video, Opening()) == files
    files[3].unlink()
    assert [file.read_bytes() for file in frames_of(video, Opening())] == contents


def heard_by(heard: Heard, cancelled=lambda: False) -> Opening:
    return Opening(report=heard, cancelled=cancelled)


def test_cancelling_leaves_no_folder_of_frames(video):
    heard = Heard()
    is_writing = lambda: any(  # noqa: E731
        e.task == "Writing the chosen frames" for e in heard.events if isinstance(e, Progress)
    )
    with pytest.raises(CaptureError, match="cancelled"):
        frames_of(video, heard_by(heard, is_writing))
    assert not any(video_frames.cache_folder("frames").iterdir())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"this is no video" * 100, r"cannot be decoded .*Check that it plays"),
        (b"\0\0\0\x20ftypisom" + bytes(5000), r"cannot be decoded .*Check that it plays"),
    ],
)
def test_an_empty_or_damaged_video_gets_one_sentence(tmp_path, content, said):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=said) as caught:
        open_capture(path)
    assert str(caught.value).startswith("film.mp4")
    assert "\n" not in str(caught.value)


def test_a_video_cut_short_is_used_as_far_as_it_goes_and_said_so(tmp_path, film):
    whole = write(tmp_path / "whole.avi", film, codec="mjpeg")
    cut = tmp_path / "cut.avi"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    heard = Heard()
    found = survey(cut, heard_by(heard))
    assert 5 < len(found.sharpness) < 25
    told = [e.text for e in heard.events if isinstance(e, Notice)]
    # AVI tells the length at its beginning, and ffmpeg may know better than that
    assert told == [] or "can be decoded, the others are left out" in told[0]


def test_a_camera_that_does_not_move_is_refused_with_the_remedy(tmp_path, monkeypatch, film):
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "still.mp4", [film[0]] * 12)
    monkeypatch.setattr(video_frames, "SPARE", 6)
    with pytest.raises(CaptureError, match=r"of its 12 frames.*at least 3.*Film while walking"):
        open_capture(path)


def test_a_video_opens_alone_and_as_the_only_thing_in_a_folder(video, monkeypatch):
    monkeypatch.setattr(video_frames, "SPARE", 5)  # six frames are enough here
    heard = Heard()
    capture = open_path(str(video), "cpu", "auto", Task("Opening", heard, Stopping())).capture
    assert capture.name == video.stem
    assert capture.folder == video
    assert len(capture.photos) >= 6
    assert "of its 30 frames were chosen" in "".join(
        e.text for e in heard.events if isinstance(e, Notice)
    )
    again = open_capture(video.parent)
    assert [photo.name for photo in again.photos] == [photo.name for photo in capture.photos]
    assert again.folder == video.parent


class Stopping:
    """Nobody cancels."""

    def is_set(self) -> bool:
        return False


def test_two_videos_in_a_folder_ask_for_a_choice(video):
    (video.parent / "other.mov").write_bytes(b"x")
    with pytest.raises(CaptureError, match=r"holds 2 videos \(.*other\.mov\).*by its name"):
        open_capture(video.parent)


def test_other_files_are_still_refused_and_the_sentence_names_videos(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(FormatError, match=r"not a scene file.*videos in \.mp4"):
        open_path(str(tmp_path / "a.txt"), "cpu", "auto", Task("Opening", Heard(), Stopping()))
