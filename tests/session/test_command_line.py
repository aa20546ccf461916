"""The real command line in processes of its own, on a small copy of the demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import commands
from assets import DEMO
from core.base.cache import cache_folder

ROOT = Path(__file__).parents[2]
LIMIT_S = 180  # a loaded machine with kernels still to compile
TINY = ("--preset", "quick", "--threads", "1", "--max-size", "48", "--set", "seed_gaussians=400")


def environment():
    kernels = str(cache_folder("kernels").parent)  # stays where it is when HOME moves
    return {**os.environ, "OMP_NUM_THREADS": "1", "HYRF_CACHE": kernels}


def hyrf(*words, **changes):
    """Run one command line and return how it ended."""
    return subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *map(str, words)],
        env={**environment(), **changes},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def hear_interrupts():
    """Undo what a shell does to its background jobs, this one's parents perhaps: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def done(*words, **changes):
    """Run a command line that must succeed; return what it printed."""
    child = hyrf(*words, **changes)
    assert child.returncode == 0, f"exit {child.returncode}\n{child.stdout}{child.stderr}"
    return child.stdout


def events(text):
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("command line")  # a name with a space, as people have them


@pytest.fixture(scope="module")
def capture(folder):
    """The demo with every fourth photograph."""
    small = folder / "small capture"
    (small / "images").mkdir(parents=True)
    listing = json.loads((DEMO / "transforms.json").read_text())
    listing["frames"] = listing["frames"][::4]
    (small / "transforms.json").write_text(json.dumps(listing))
    for name in [frame["file_path"] for frame in listing["frames"]]:
        (small / name).symlink_to(DEMO / name)
    (small / "points.ply").symlink_to(DEMO / "points.ply")
    return small


@pytest.fixture(scope="module")
def trained(folder, capture):
    """A finished run of six steps, and the lines it printed."""
    run = folder / "run"
    lines = events(done("train", capture, "--out", run, *TINY, "--steps", "6", "--json"))
    return run, lines


@pytest.fixture(scope="module")
def splats(folder, capture):
    """A finished run of the baseline, whose scenes a PLY holds without loss."""
    run = folder / "splats"
    done("train", capture, "--out", run, *TINY, "--steps", "3", "--study", "splats_3dgs")
    return run


@pytest.fixture(scope="module")
def exported(splats, folder):
    """That baseline as a PLY, which keeps the coordinates of the photographs' files."""
    path = folder / "splats.ply"
    done("export", splats, path)
    return path


def measured(scene, capture):
    return json.loads(done("eval", scene, capture, "--max-size", "48", "--json"))


def test_training_tells_its_steps_and_its_scene_as_json_lines(trained):
    run, lines = trained
    by_kind = {line["event"]: line for line in lines}
    assert by_kind["begin"]["picture_size"] == [48, 36], "--max-size bounds the longer side"
    assert by_kind["begin"]["train"] + by_kind["begin"]["held_out"] == 12
    assert by_kind["StepDone"]["step"] == 6
    assert by_kind["StateChanged"]["state"] == "done"
    assert by_kind["scene"]["path"] == str(run / "scene.hyrf")
    assert (run / "scene.hyrf").stat().st_size > 1000


def test_evaluation_says_what_programs_ask_for(trained, capture):
    run, lines = trained
    result = measured(run, capture)
    assert {"psnr", "ssim", "num_gaussians", "bytes", "steps", "pictures"} <= set(result)
    assert result["steps"] == 6
    assert result["num_gaussians"] == 400
    assert result["bytes"].pop("total") == (run / "scene.hyrf").stat().st_size
    values = [row["psnr"] for row in result["pictures"].values()]
    assert result["psnr"] == pytest.approx(np.mean(values))
    told = next(line for line in lines if line["event"] == "Evaluated")
    # the file keeps 8 bits of most numbers: a hundredth of a decibel at this quality
    assert result["psnr"] == pytest.approx(told["metrics"]["psnr"], abs=0.05)


def test_a_run_is_measured_on_the_pixels_it_was_told_to_learn(capture, folder):
    masked = folder / "masked capture"
    masked.mkdir()
    for part in capture.iterdir():
        (masked / part.name).symlink_to(part)
    (masked / "masks").mkdir()
    for picture in (capture / "images").iterdir():
        with Image.open(picture) as image:
            half = Image.new("L", image.size, 255)
        half.paste(0, (0, 0, half.width // 2, half.height))
        half.save(masked / "masks" / f"{picture.stem}.png")
    run = folder / "whole pictures"
    words = ("--steps", "3", "--set", "masks.is_used=false", "--json")
    lines = events(done("train", masked, "--out", run, *TINY, *words))
    told = next(line for line in lines if line["event"] == "Evaluated")
    whole, half = measured(run, masked), measured(run / "scene.hyrf", masked)
    assert whole["psnr"] == pytest.approx(told["metrics"]["psnr"], abs=0.05)
    assert abs(whole["psnr"] - half["psnr"]) > 0.2, "a scene file is measured where the masks allow"


def test_info_tells_what_a_file_holds(trained):
    run, _ = trained
    facts = json.loads(done("info", run / "scene.hyrf", "--json"))
    assert facts["num_gaussians"] == 400
    assert "sh_degree" in facts
    low, high = np.array(facts["bounds"])
    assert (low < high).all()
    assert sum(facts["bytes_by_component"].values()) == facts["bytes"]


def test_an_export_says_in_decibels_what_was_lost(trained, folder):
    run, _ = trained
    told = done("export", run, folder / "hybrid.ply")
    assert " dB " in told
    assert json.loads(done("info", folder / "hybrid.ply", "--json"))["num_gaussians"] == 400


def test_an_exported_file_measures_like_the_run_it_came_from(splats, exported, capture):
    run, file = measured(splats, capture), measured(exported, capture)
    assert run["psnr"] > 5
    # a PLY holds the same numbers in other units: only float32 rounding lies between
    assert file["psnr"] == pytest.approx(run["psnr"], abs=0.02)


def camera_path(folder):
    """Two cameras in the coordinates of the capture's files: the demo's first and second."""
    listing = json.loads((DEMO / "transforms.json").read_text())
    scale = 48 / listing["w"]
    lens = {"fx": listing["fl_x"], "fy": listing["fl_y"], "cx": listing["cx"], "cy": listing["cy"]}
    cameras = []
    for frame in listing["frames"][:2]:
        pose = np.array(frame["transform_matrix"]) @ np.diag([1.0, -1, -1, 1])  # OpenGL to OpenCV
        camera = {name: value * scale for name, value in lens.items()}
        cameras.append({**camera, "camera_to_world": pose.tolist(), "width": 48, "height": 36})
    path = folder / "path.json"
    path.write_text(json.dumps({"fps": 10, "cameras": cameras}))
    return path


def test_a_camera_path_becomes_pictures_from_the_files_own_coordinates(splats, exported, folder):
    path = camera_path(folder)
    seen = []
    for name, scene in (("run", splats), ("ply", exported)):
        done("render", scene, "--camera-path", path, "--out", folder / f"pictures {name}")
        files = sorted((folder / f"pictures {name}").glob("*.png"))
        assert len(files) == 2
        seen.append(np.stack([np.array(Image.open(file), float) for file in files]))
    assert seen[0].shape == (2, 36, 48, 3)
    assert seen[0].std() > 5, "something is in the pictures"
    assert np.abs(seen[0] - seen[1]).mean() < 1, "of 255: the same places from run and export"
    with Image.open(DEMO / "images" / "000.jpg") as photograph:
        wanted = np.array(photograph.convert("RGB").resize((48, 36)), float)
    own, other = (np.abs(picture - wanted).mean() for picture in seen[0])
    assert own < other, "the first camera sees the first photograph better than the second does"


def test_a_camera_path_becomes_a_video(trained, folder):
    import imageio.v3 as imageio

    run, _ = trained
    done("render", run, "--camera-path", camera_path(folder), "--out", folder / "film.mp4")
    assert len(imageio.imread(folder / "film.mp4", plugin="FFMPEG")) == 2


def test_doctor_tells_what_is_usable():
    found = json.loads(done("doctor", "--json"))["findings"]
    names = {entry["name"] for entry in found}
    assert {"renderer cpu", "compiled kernels", "desktop window"} <= names
    assert all(entry["detail"] for entry in found)
    assert next(entry for entry in found if entry["name"] == "renderer cpu")["is_usable"]


# Stopping and going on


def test_a_stopped_training_is_saved_and_goes_on(folder, capture):
    run = folder / "stopped"
    words = ("train", capture, "--out", run, *TINY, "--steps", "100000", "--json")
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "launch.py"), *map(str, words)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in child.stdout:
        if '"StepDone"' in line:
            break
    child.send_signal(signal.SIGINT)
    rest, told = child.communicate(timeout=LIMIT_S)
    assert child.returncode == 130
    assert "Traceback" not in told
    assert "--resume" in told
    stopped = [line for line in events(rest) if line["event"] == "CheckpointSaved"][-1]["step"]
    assert stopped > 0
    assert (run / "scene.hyrf").exists()

    # Going on, with the photographs in another place, and stopped again: by `kill` this time.
    moved = capture.rename(folder / "moved capture")
    try:
        words = ("train", moved, "--out", run, "--resume", "--json")
        child = subprocess.Popen(
            [sys.executable, str(ROOT / "launch.py"), *map(str, words)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        seen = []
        for line in child.stdout:
            seen.append(json.loads(line))
            if seen[-1]["event"] == "StepDone":
                break
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=LIMIT_S)
    finally:
        moved.rename(capture)
    assert child.returncode == 128 + signal.SIGTERM
    assert any(line.get("text") == f"Resumed at step {stopped}." for line in seen)
    assert seen[-1]["step"] > stopped


def test_a_resumed_run_names_the_options_it_would_not_follow(trained, capture):
    run, _ = trained
    child = hyrf("train", capture, "--out", run, "--resume", "--seed", "7", "--steps", "9")
    assert child.returncode == 2
    assert "--seed 0 (asked: 7)" in child.stderr
    assert "steps=6 (asked: 9)" in child.stderr
    repeated = hyrf("train", capture, "--out", run, *TINY, "--steps", "6", "--resume")
    assert repeated.returncode == 0, "the command that made the run, with --resume behind it"


# What goes wrong


def test_wrong_input_ends_with_2_and_one_sentence(trained, folder, capture, capfd, monkeypatch):
    monkeypatch.delenv("HYRF_DEBUG", raising=False)
    run, _ = trained
    empty, damaged = folder / "empty", folder / "damaged.hyrf"
    empty.mkdir()
    damaged.write_bytes((run / "scene.hyrf").read_bytes()[:5000])
    new = folder / "never made"
    cases = [
        (("train", folder / "nowhere", "--out", new), "nowhere"),
        (("train", empty, "--out", new), "not a capture"),
        (("train", capture, "--out", new, "--set", "nothing=1"), "no setting 'nothing'"),
        (("train", capture, "--out", new, "--set", "ssim_weight=3"), "ssim_weight"),
        (("train", capture, "--out", new, "--set", "ssim_weight"), "key=value"),
        (("train", capture, "--out", new, "--preset", "fast"), "no preset 'fast'"),
        (("train", capture, "--out", run, *TINY), "already holds a run"),
        (("train", "--out", new, "--resume"), "not a run folder"),
        (("info", damaged), "damaged"),
        (("export", run, folder / "scene.xyz"), "suffix"),
        (("eval", empty, capture), "not a run folder"),
        (("render", run, "--camera-path", damaged, "--out", new), "JSON"),
    ]
    for words, said in cases:
        code = commands.run([str(word) for word in words])  # in this process: torch is here already
        told = capfd.readouterr().err.strip().splitlines()
        assert code == 2, (words, told)
        assert len(told) == 1, (words, told)
        assert told[0].startswith("hyrf: "), words
        assert said in told[0], words
    child = hyrf("train", folder / "nowhere", "--out", new)
    assert (child.returncode, child.stderr.count("\n")) == (2, 1)
    assert not new.exists(), "a run folder is made once everything else is known to be usable"


# The window


@pytest.fixture(scope="module")
def display():
    """A screen of its own; see tests/desktop/conftest.py."""
    import shutil

    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb not installed")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x900x24", "-nolisten", "tcp"],
        pass_fds=(write,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait(10)


def test_a_screenshot_shows_the_picture_of_the_opened_scene(splats, folder, display):
    shot = folder / "shot.png"
    words = ("open", splats / "scene.hyrf", "--frames", "30", "--screenshot", shot)
    done(*words, DISPLAY=display, HOME=str(folder))
    with Image.open(shot) as picture:
        pixels = np.array(picture.convert("RGB"), float)
    assert pixels.shape == (800, 1280, 3)
    middle = pixels[200:600, 450:850]
    assert len(np.unique(middle.reshape(-1, 3), axis=0)) > 100, "a rendered picture, not a surface"


def test_without_a_display_the_web_page_is_served_and_said_so(folder):
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "launch.py"), "open", "--no-train", "--port", "18431"],
        env={**environment(), "DISPLAY": "", "HOME": str(folder)},
        preexec_fn=hear_interrupts,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "http://127.0.0.1:" in child.stdout.readline()
        time.sleep(0.5)
    finally:
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=LIMIT_S)
    assert told.startswith("There is no display")
    assert "web view instead" in told
    assert "Traceback" not in told


def test_a_screenshot_without_a_display_is_refused():
    child = hyrf("open", "--frames", "5", "--screenshot", "x.png", DISPLAY="")
    assert child.returncode == 2
    assert child.stderr.startswith("hyrf: --screenshot shows a window. There is no display")
