"""What the engine reports becomes what panels show."""

import math

import pytest

from app.measures import MOST_POINTS, Curve
from app.readings import AVERAGED, MOST_NOTICES, Readings
from app.recent import Recent
from app.store import Store
from core.base.events import (
    Evaluated,
    Failed,
    Notice,
    Progress,
    StateChanged,
    StepDone,
    TrainerState,
)


def make_readings():
    return Readings(Store())


def step(number, total=1000, **metrics):
    return StepDone(number, total, {"loss": 0.5, **metrics}, 4.0, 1.0)


def test_a_curve_keeps_its_length_bounded_and_its_ends_true():
    curve = Curve()
    for number in range(1, 10_001):
        curve.add(number, float(number))
    steps, values = curve.points()
    assert len(steps) <= MOST_POINTS
    assert steps[-1] > 9900
    # each point is the mean of the samples up to its step
    assert values[0] == pytest.approx((steps[0] + 1) / 2)
    assert list(steps) == sorted(steps)


def test_a_curve_shows_every_point_while_there_are_few():
    curve = Curve()
    for number in range(5):
        curve.add(number, 2.0 * number)
    assert curve.points() == ((0, 1, 2, 3, 4), (0.0, 2.0, 4.0, 6.0, 8.0))


def test_a_curve_leaves_out_what_is_not_finite():
    curve = Curve()
    curve.add(1, math.nan)
    curve.add(2, math.inf)
    curve.add(3, 1.0)
    assert curve.points() == ((3,), (1.0,))


def test_progress_speed_and_time_left_are_written_in_words():
    readings = make_readings()
    readings.take(StateChanged(TrainerState.RUNNING))
    readings.take(step(400))
    store = readings.store
    assert store.get("train.progress") == (0.4, "400 of 1000")
    assert store.get("train.speed") == "4.00 steps/s"
    assert store.get("train.eta") == "2 min"
    assert store.get("curves.loss") == {"Loss, averaged": ((400,), (0.5,))}


def test_slow_steps_are_given_in_seconds_a_step():
    readings = make_readings()
    readings.take(StepDone(1, 10, {"loss": 1.0}, 0.25, 4.0))
    assert readings.store.get("train.speed") == "4.0 s a step"


def test_the_evaluation_table_begins_with_the_mean():
    readings = make_readings()
    pictures = {"a": {"psnr": 20.0, "ssim": 0.8}, "b": {"psnr": 22.0, "ssim": 0.9}}
    readings.take(Evaluated(100, {"psnr": 21.0, "ssim": 0.85}, pictures))
    rows = readings.store.get("evaluation.rows")
    assert rows[0] == ("Mean", "21.00", "0.850")
    assert rows[2] == ("b", "22.00", "0.900")
    assert readings.store.get("evaluation.summary") == "21.00 dB, SSIM 0.850 at step 100"
    assert readings.store.get("curves.psnr") == {"Held out": ((100,), (21.0,))}


def test_repeated_notices_replace_each_other_and_others_stay():
    readings = make_readings()
    readings.take(Notice("One.", key="x"))
    readings.take(Notice("Other."))
    readings.take(Notice("Two.", "warning", key="x"))
    assert [row[1:3] for row in readings.store.get("notices")] == [
        ("warning", "Two."),
        ("info", "Other."),
    ]


def test_a_failure_keeps_its_traceback_as_details():
    readings = make_readings()
    readings.take(Failed("training", "the loss went away", "Traceback ..."))
    ((notice_id, level, text, details),) = readings.store.get("notices")
    assert (level, text) == ("error", "Training stopped: the loss went away")
    assert "Traceback" in details
    readings.dismiss(notice_id)
    assert readings.store.get("notices") == ()


def test_the_list_of_notices_is_bounded():
    readings = make_readings()
    for number in range(3 * MOST_NOTICES):
        readings.take(Notice(f"Number {number}."))
    assert len(readings.store.get("notices")) == MOST_NOTICES


def test_the_newest_unfinished_task_is_shown():
    readings, store = make_readings(), None
    store = readings.store
    readings.take(Progress("Starting the engine", None, "torch"))
    readings.take(Progress("Opening the photographs", 0.25, "5 of 20 pictures"))
    assert store.get("task.name") == "Opening the photographs"
    assert store.get("task.can_cancel")
    readings.take(Progress("Opening the photographs", 1.0))
    assert store.get("task.name") == "Starting the engine"
    assert not store.get("task.can_cancel")
    readings.take(Progress("Starting the engine", 1.0))
    assert store.get("task.name") == ""


def test_curves_of_a_resumed_run_continue():
    readings = make_readings()
    readings.restore(
        [
            {"step": 10, "kind": "train", "elapsed_s": 1.0, "loss": 0.4, "psnr": 18.0},
            {"step": 20, "kind": "test", "psnr": 19.0, "pictures": {"a": {"psnr": 19.0}}},
            {"step": 30, "kind": "train", "elapsed_s": 2.0, "loss": None, "psnr": 20.0},
        ]
    )
    readings.take(step(40))
    steps, values = readings.store.get("curves.loss")["Loss, averaged"]
    assert steps == (10, 40)
    # the mean of 0.4 and 0.5, the later one counting 1 / 0.95 times as much
    assert values == pytest.approx((0.4, (0.95 * 0.4 + 0.5) / 1.95))
    assert readings.store.get("curves.psnr")["Held out"] == ((20,), (19.0,))


def test_a_noisy_curve_is_averaged_and_keeps_its_level():
    curve = Curve(AVERAGED)
    for number in range(400):
        curve.add(number, 5.0 + (-1) ** number)
    _, values = curve.points()
    assert max(values[100:]) - min(values[100:]) < 0.1  # the samples are 2 apart
    assert values[-1] == pytest.approx(5.0, abs=0.05)


def test_a_preparation_that_fails_leaves_no_bar_behind():
    readings = make_readings()
    readings.take(StateChanged(TrainerState.LOADING))
    readings.take(Progress("Building the model"))
    assert readings.store.get("task.name") == "Building the model"
    readings.take(StateChanged(TrainerState.FAILED))
    assert readings.store.get("task.name") == ""


def test_recent_entries_survive_and_show_their_figures(tmp_path):
    folder = tmp_path / "fox"
    folder.mkdir()
    recent = Recent(tmp_path / "home" / "recent.json")
    recent.add(folder, "fox")
    recent.measured(folder, psnr=24.123, num_bytes=3_200_000)
    again = Recent(tmp_path / "home" / "recent.json")
    assert again.rows() == (("fox", str(folder), "24.12 dB, 3.2 MB, today"),)


def test_opening_again_moves_an_entry_to_the_front(tmp_path):
    recent = Recent(tmp_path / "recent.json")
    for name in ("a", "b", "a"):
        (tmp_path / name).mkdir(exist_ok=True)
        recent.add(tmp_path / name, name)
    assert [row[0] for row in recent.rows()] == ["a", "b"]


def test_what_was_deleted_is_not_offered(tmp_path):
    recent = Recent(tmp_path / "recent.json")
    recent.add(tmp_path / "gone", "gone")
    assert recent.rows() == ()


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '[{"path": 3}]', "null"])
def test_a_damaged_list_is_an_empty_list(tmp_path, content):
    (tmp_path / "recent.json").write_text(content)
    assert Recent(tmp_path / "recent.json").entries == []
