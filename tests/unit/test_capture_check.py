"""The check before training: each doubt is found, named with its figure, and a sound capture raises none."""

import json
import shutil

import numpy as np
import pytest
from captures import SmallCapture, real
from PIL import Image, ImageFilter

from app import actions, commands
from app.expected import expected, kernel_s
from app.panels.check import panel
from app.session import Session
from app.store import Store
from app.training import TrainingPlan
from core.capture.check import check_capture, examined
from core.capture.problems import Severity, from_notice, from_refusal


@pytest.fixture
def small(tmp_path):
    return SmallCapture(tmp_path / "capture", 12)


def checked(small):
    small.open(seeds="random")  # writes the JSON
    return check_capture(small.folder)


def told(small, part):
    """Return the only row whose text holds `part`."""
    (row,) = [row for row in checked(small).problems if part in row.text]
    assert row.remedy
    return row


def repaint(small, index, change):
    image = Image.open(small.picture(index))
    change(image).save(small.picture(index), quality=95)


def moved(small, index, change):
    pose = np.array(small.frames[index]["transform_matrix"])
    change(pose)
    small.frames[index]["transform_matrix"] = pose.tolist()


def test_a_sound_capture_has_no_problems(small):
    found = checked(small)
    assert found.problems == ()
    assert (found.stops, len(found.capture.photos)) == (False, 12)


def test_a_blurred_picture_is_named_with_its_sharpness(small):
    repaint(small, 3, lambda image: image.filter(ImageFilter.GaussianBlur(4)))
    row = told(small, "looks blurred")
    assert row.file == "images/003.jpg"
    assert float(row.value) > 0
    assert "% of the capture's median" in row.text


def test_a_darker_picture_is_named_with_its_stops(small):
    # half of the sRGB value is 2.2 stops less light under the power law that the check uses
    repaint(small, 4, lambda image: image.point(lambda value: value // 2))
    row = told(small, "stops darker")
    assert row.file == "images/004.jpg"
    assert float(row.value.split()[0]) == pytest.approx(-2.2, abs=0.5)


def test_a_picture_stored_again_beside_itself_is_told_from_its_neighbours(small):
    again = small.images / "again.jpg"
    Image.open(small.picture(2)).save(again, quality=80)
    small.frames.append({**small.frames[2], "file_path": "images/again.jpg"})
    rows = checked(small).problems
    assert any("002 and again show the same picture" in row.text for row in rows)
    assert any("002 and again have the same pose" in row.text for row in rows)


def test_a_repeat_in_training_and_test_is_said_to_flatter(small):
    # sorted by name the copy comes last but one of 13: learnt, while picture 0 is held out
    Image.open(small.picture(0)).save(small.images / "zero.jpg", quality=80)
    small.frames.append({**small.frames[0], "file_path": "images/zero.jpg"})
    assert "the held-out figures are too good" in told(small, "show the same picture").text


def test_a_camera_far_from_all_others_is_named_with_its_distance(small):
    def change(pose):
        pose[:3, 3] *= 40

    moved(small, 5, change)
    row = told(small, "times as far")
    assert row.file == "images/005.jpg"


def test_a_camera_that_looks_away_sees_no_seed_points_and_is_named(small):
    def change(pose):
        pose[:3, 0] *= -1  # half a turn about its own vertical axis
        pose[:3, 2] *= -1

    moved(small, 5, change)
    rows = [row for row in checked(small).problems if row.file == "images/005.jpg"]
    texts = " ".join(row.text for row in rows)
    assert "005 sees 0.0% of the 3,000 seed points" in texts
    assert "looks" in texts
    assert "away from" in texts


def test_transparent_parts_are_counted_and_an_empty_picture_named(small):
    for index, alpha in ((1, 128), (2, 0)):
        mask = np.full((240, 320), 255, np.uint8)
        mask[: 120 if alpha else 240] = 0
        image = Image.open(small.picture(index))
        image.putalpha(Image.fromarray(mask))
        small.picture(index).unlink()
        image.save(small.picture(index).with_suffix(".png"))
        small.frames[index]["file_path"] = f"images/{small.picture(index).stem}.png"
    assert "2 of 12 pictures" in told(small, "have transparent parts").text
    assert told(small, "is transparent on 100.0%").file == "images/002.png"


def test_mixed_sizes_and_the_crop_of_a_lens_are_told(small):
    Image.open(small.picture(3)).resize((160, 120)).save(small.picture(3))
    assert "11 of 320x240, 1 of 160x120" in told(small, "different sizes").text
    small.values["k1"] = -0.1
    row = told(small, "Undistorting crops")
    # pinhole pixels at radius r lie at r (1 - 0.1 r^2) in the file, so of the rays
    # |x| < 0.64, |y| < 0.48 the area shown is the integral of (1 - 0.1 r^2)(1 - 0.3 r^2)
    x, y = np.meshgrid(np.linspace(-0.64, 0.64, 401), np.linspace(-0.48, 0.48, 401))
    squared = x * x + y * y
    shown = float(((1 - 0.1 * squared) * (1 - 0.3 * squared)).mean())
    assert float(row.value.rstrip("%")) / 100 == pytest.approx(1 - shown, abs=0.002)


def test_missing_seed_points_are_told_without_waiting_for_new_ones(small):
    (small.folder / "points.ply").unlink()
    small.values.pop("ply_file_path", None)
    assert told(small, "no seed points").severity is Severity.NOTE


def test_a_refusal_is_a_row_with_file_place_and_value(small):
    small.frames[5]["transform_matrix"] = [["a"] * 4] * 4
    (small.folder / "transforms.json").write_text(json.dumps(small.values))
    found = check_capture(small.folder)
    (row,) = found.problems
    assert found.stops
    assert (row.severity, row.file, row.where) == (Severity.STOPS, "transforms.json", "frame 5")


def test_sentences_are_split_into_rows():
    row = from_refusal(
        "images.bin: byte 8 promises 99 images, but only 3 bytes follow. Copy it again."
    )
    assert (row.file, row.where, row.value) == ("images.bin", "byte 8", "99")
    assert row.remedy == "Copy it again."
    row = from_refusal(
        "cameras.txt, line 7: in 'abc' not all numbers can be used. Export it again."
    )
    assert (row.file, row.where, row.value) == ("cameras.txt", "line 7", "'abc'")
    row = from_notice("images/with space.jpg is not a picture (5 bytes); it is left out.")
    assert (row.file, row.severity) == ("images/with space.jpg", Severity.LEFT_OUT)
    row = from_notice("Something new was dropped.")
    assert (row.severity, bool(row.remedy)) == (Severity.LEFT_OUT, True)


def test_an_open_capture_is_examined_alike(small):
    repaint(small, 3, lambda image: image.filter(ImageFilter.GaussianBlur(4)))
    capture = small.open()
    assert examined(capture).problems == check_capture(small.folder).problems
    assert examined(capture, cancelled=lambda: True).problems == ()


def test_a_picture_that_vanishes_while_it_is_checked_stops(small):
    capture = small.open()
    small.picture(1).unlink()
    (row,) = [row for row in examined(capture).problems if row.severity is Severity.STOPS]
    assert row.file == "001.jpg"


def run(capsys, *words):
    code = commands.run(["check", *map(str, words)])
    return code, capsys.readouterr().out


def test_the_command_prints_json_and_its_exit_code_says_whether_to_stop(small, capsys):
    small.open()
    small.picture(7).unlink()
    code, out = run(capsys, small.folder, "--json", "--preset", "quick", "--device", "cpu")
    values = json.loads(out)
    assert code == 0
    assert values["capture"] == "capture"
    assert (values["photographs"], values["train"], values["held_out"]) == (11, 9, 2)
    assert [row["severity"] for row in values["problems"]] == ["left out"]
    assert values["expected"]["steps"] == 600
    assert values["expected"]["seconds"] > 0
    shutil.rmtree(small.images)
    code, out = run(capsys, small.folder, "--json")
    values = json.loads(out)
    assert (code, values["expected"]) == (2, {})
    assert values["problems"][0]["severity"] == "stops"


def test_the_command_speaks_to_people_worst_first(small, capsys):
    repaint(small, 3, lambda image: image.filter(ImageFilter.GaussianBlur(4)))
    small.open()
    small.picture(7).unlink()
    code, out = run(capsys, small.folder, "--preset", "quick", "--device", "cpu")
    assert code == 0
    assert out.index("left out") < out.index("worth knowing")
    assert "roughly" in out
    assert "11 photographs, 9 to learn from, 2 held out" in out


def test_expectations_grow_with_pixels_gaussians_and_slower_kernels(small, tmp_path, monkeypatch):
    from core.base import discover
    from core.base.config import resolve

    assert 0 < kernel_s() < 1.0  # a quarter of a million numbers
    monkeypatch.setattr("app.expected.kernel_s", lambda: 3e-4)
    capture = small.open()
    settings = discover.load("hyrf").Config

    def estimate(preset="quick", pictures=capture, **changes):
        config = resolve(settings, preset, changes)
        words = {"study": "hyrf", "preset": preset, "device": "cpu", "cores": 2}
        return expected(pictures, config, folder=tmp_path, **words)

    usual = estimate()
    assert estimate(pictures=capture.limited(100)).seconds < usual.seconds
    more = estimate(**{"density.cap": 60_000})
    assert more.seconds > usual.seconds
    assert more.memory_bytes > usual.memory_bytes
    assert more.disk_bytes > usual.disk_bytes
    monkeypatch.setattr("app.expected.kernel_s", lambda: 6e-4)
    assert estimate().seconds == pytest.approx(2 * usual.seconds)


def shown(**values):
    store = Store()
    store.update(**{"train__has_capture": True, "check__state": "done", **values})
    return [(widget.tint, widget.text) for widget in panel(store).children]


ROWS = tuple(
    (mark, f"problem {number}", "remedy")
    for number, mark in enumerate(["stops", "left out", *["worth knowing"] * 6])
)


def test_the_panel_shows_the_worst_five_in_their_colours_before_training():
    lines = shown(check__rows=ROWS, check__counts="12 photographs")
    assert lines[0] == ("text", "12 photographs")
    tints = [tint for tint, _ in lines[1:]]
    assert tints == ["error", "warning", "secondary", "secondary", "secondary", "secondary"]
    assert lines[1][1] == "problem 0"
    assert lines[-1][1].startswith("and 3 more")
    assert shown(check__rows=ROWS[:2])[1:] == [("error", "problem 0"), ("warning", "problem 1")]


def test_the_panel_is_short_while_training_and_says_when_all_is_well():
    lines = shown(check__rows=ROWS, train__state="running")
    assert [text for _, text in lines[1:]] == ["8 problems were found before training."]
    assert ("good", "No problems found.") in shown(check__rows=())
    assert all(text for _, text in shown(check__state="running"))


def test_an_opened_capture_brings_its_problems_to_the_panel(small, tmp_path):
    small.open()
    small.picture(7).unlink()
    plan = TrainingPlan(preset="quick", max_size=64, starts=False)
    session = Session(inline=True, device="cpu", home=tmp_path / "home", plan=plan)
    try:
        session.post(actions.OpenPath(str(small.folder)))
        for _ in range(50):  # inline each waits for its work: not the clock's to limit
            if session.store.get("check.state") == "done":
                break
            session.tick()
        assert session.store.get("check.counts").startswith("11 photographs, 9 to learn from")
        (row,) = session.store.get("check.rows")
        assert row[0] == "left out"
        assert "images/007.jpg" in row[1]
    finally:
        session.close()


def test_the_real_fox_is_told_of_its_absent_pictures():
    found = check_capture(real("fox"))
    assert not found.stops
    assert found.problems[0].value == "17 of 67 frames"
    assert len(found.capture.photos) == 50
