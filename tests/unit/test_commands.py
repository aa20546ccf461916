"""The command line without an engine: what it understands, and how failures end."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import commands
from app.progress import ProgressPrinter
from core.base.errors import CaptureError, ConfigError, HybridError
from core.base.events import Failed, Notice, StateChanged, StepDone, TrainerState
from core.base.threads import failure

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "gsplat", "numba", "dearpygui", "viser", "pycolmap", "trimesh", "imageio", "cv2")


def launched(*words):
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_help_is_told_at_once_and_imports_nothing_heavy():
    done = launched("-X", "importtime", "launch.py", "--help")
    assert done.returncode == 0
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }
    assert "app" in imported, "importtime printed nothing to look at"
    assert not imported & set(HEAVY)


def test_help_takes_less_than_half_a_second_of_processor_time():
    script = "import launch, sys; sys.argv = ['hyrf', '--help']; launch.main()"
    meter = f"""
import resource, subprocess, sys
subprocess.run([sys.executable, "-c", {script!r}], stdout=subprocess.DEVNULL)
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
print(spent.ru_utime + spent.ru_stime)
"""
    assert min(float(launched("-c", meter).stdout) for _ in range(3)) < 0.5


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as left:
        commands.run([command, "--help"])
    assert left.value.code == 0
    assert f"hyrf {command}" in capsys.readouterr().out


def test_a_path_alone_is_opened_in_a_window(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "app.main.open_window", lambda arguments, probe: seen.append(arguments) or 0
    )
    for words in ([], ["some/folder"], ["scene.hyrf", "--web"], ["--no-train"]):
        assert commands.run(words) == 0
    assert [(a.command, a.path, a.web) for a in seen] == [
        ("open", None, False),
        ("open", "some/folder", False),
        ("open", "scene.hyrf", True),
        ("open", None, False),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["train"],
        ["train", "--out", "x", "--steps", "0"],
        ["train", "--out", "x", "--steps", "many"],
        ["train", "--out", "x", "--max-size", "-4"],
        ["train", "--out", "x", "--study", "nothing"],
        ["open", "--size", "wide"],
        ["eval", "scene.hyrf"],
        ["render", "scene.hyrf", "--out", "x.mp4"],
    ],
)
def test_wrong_use_ends_with_2_and_a_sentence(words, capsys):
    with pytest.raises(SystemExit) as left:
        commands.run(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"hyrf {words[0]}: error: ")


def raising(error):
    def dispatch(_arguments):
        raise error

    return dispatch


def test_a_deliberate_error_is_told_word_for_word(monkeypatch, capsys):
    monkeypatch.setattr(commands, "_dispatch", raising(CaptureError("fox: 3 of 50 are missing.")))
    assert commands.run(["info", "x.hyrf"]) == 2
    assert capsys.readouterr().err == "hyrf: fox: 3 of 50 are missing.\n"


def test_an_unexpected_error_is_one_sentence(monkeypatch, capsys):
    monkeypatch.delenv("HYRF_DEBUG", raising=False)
    monkeypatch.setattr(commands, "_dispatch", raising(ZeroDivisionError("division by zero")))
    assert commands.run(["info", "x.hyrf"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("hyrf: a fault of this program: ZeroDivisionError: division by zero.")
    assert "HYRF_DEBUG=1" in told
    assert told.count("\n") == 1


def test_with_hyrf_debug_an_unexpected_error_shows_where_it_happened(monkeypatch, capsys):
    monkeypatch.setenv("HYRF_DEBUG", "1")
    monkeypatch.setattr(commands, "_dispatch", raising(ZeroDivisionError("division by zero")))
    assert commands.run(["info", "x.hyrf"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_ctrl_c_before_anything_began_is_no_traceback(monkeypatch, capsys):
    monkeypatch.setattr(commands, "_dispatch", raising(KeyboardInterrupt()))
    assert commands.run(["info", "x.hyrf"]) == 130
    assert capsys.readouterr().err == "hyrf: interrupted.\n"


def test_a_reader_that_leaves_early_is_no_failure(tmp_path):
    script = "import launch, sys; sys.argv = ['hyrf', 'doctor', '--json']; sys.exit(launch.main())"
    script = f"""
import app.doctor
app.doctor.report = lambda as_json: [print("x" * 100, flush=True) for _ in range(5000)] and 0
{script}
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    child.stdout.readline()
    child.stdout.close()
    assert child.wait(60) == 0
    assert child.stderr.read() == ""
    child.stderr.close()


# How a training is told


def test_json_lines_hold_no_number_that_is_not_one(capsys):
    printer = ProgressPrinter(as_json=True)
    printer.show(StepDone(3, 10, {"loss": float("nan"), "psnr": float("inf")}, 2.0, 1.5))
    line = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert line["metrics"] == {"loss": None, "psnr": None}


def test_a_log_file_gets_a_line_now_and_then_and_the_last_one(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    printer = ProgressPrinter(as_json=False)
    for step in range(1, 31):
        clock[0] = step * 1.0
        printer.show(StepDone(step, 30, {"loss": 0.1, "gaussians": 500}, 1.0, float(step)))
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told] == [
        "Step 1 of 30",
        "Step 11 of 30",
        "Step 21 of 30",
        "Step 30 of 30",
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_failed_training_is_told_once_and_without_a_traceback(capsys, monkeypatch, as_json):
    monkeypatch.delenv("HYRF_DEBUG", raising=False)
    printer = ProgressPrinter(as_json=as_json)
    failed = failure("training", ConfigError("The cap is too small."))
    printer.show(failed)
    printer.show(StateChanged(TrainerState.FAILED, 4, failed.message))
    told = capsys.readouterr()
    assert told.err == "hyrf: The cap is too small.\n"
    assert as_json or told.out == ""


def test_a_pause_by_the_trainer_is_told_once(capsys):
    printer = ProgressPrinter(as_json=False)
    printer.show(Notice("Step 4: loss is nan. Training is paused.", "error"))
    printer.show(StateChanged(TrainerState.PAUSED, 4, "Step 4: loss is nan."))
    assert capsys.readouterr().out.count("loss is nan") == 1


def test_only_our_own_errors_count_as_deliberate():
    assert failure("training", HybridError("no")).is_deliberate
    assert not failure("training", ValueError("no")).is_deliberate
    assert not Failed("training", "no").is_deliberate


def test_every_option_of_the_model_is_unset_until_it_is_asked_for():
    """A resumed run compares what was asked with what it has: a default must not look like a wish."""
    arguments = commands.parser().parse_args(["train", "--out", "x"])
    assert isinstance(arguments, argparse.Namespace)
    for name in ("study", "variant", "preset", "seed", "max_size", "device", "threads", "steps"):
        assert getattr(arguments, name) is None
