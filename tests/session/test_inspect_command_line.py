"""`study inspect` and `inspect`, as people type them: the inspectors' answers without a window."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from app.commands import run
from core.base import discover
from core.base.config import resolve
from core.study import Setup

TOLERANCE = 1e-5  # float32 sums in another order


def printed(capsys, *words):
    assert run(list(words)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys, *words):
    assert run(list(words)) == 2
    return capsys.readouterr().err


def looked(capsys, path, *words):
    """Inspect Hopfield pooling after two steps."""
    pooling = ("hopfield", "--variant", "pooling", "--steps", "2", "--json")
    return json.loads(printed(capsys, "study", "inspect", *pooling, "--out", str(path), *words))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = ("study", "run", "hopfield", "--variant", "pooling", "--steps", "3", "--json")
    assert run([*words, "--out", str(folder)]) == 0
    return folder


def test_a_study_is_trained_looked_at_and_drawn(capsys, tmp_path):
    facts = looked(capsys, tmp_path / "seen.png", "--sample", "2", "--head", "head 3")
    assert facts["step"] == 2
    assert facts["choices"]["sample"] == 2
    assert "pooling, head 3" in facts["words"]
    with Image.open(tmp_path / "seen.png") as image:
        pixels = np.asarray(image)
    assert pixels.std() > 1
    assert (pixels[-20:].min(axis=-1) > 200).any()  # the words below


def test_the_page_says_what_the_command_prints(capsys, tmp_path):
    path = tmp_path / "seen.html"
    words = ("hopfield", "--variant", "pooling", "--steps", "1", "--out", str(path))
    told = printed(capsys, "study", "inspect", *words)
    page = path.read_text()
    assert told.startswith("seen.html: attention of hopfield")
    assert "What the query looks at" in told
    assert "What the query looks at" in page


def test_the_numbers_hold_what_was_multiplied(capsys, tmp_path):
    path = tmp_path / "seen.npz"
    facts = looked(capsys, path)
    with np.load(path, allow_pickle=False) as values:
        about = json.loads(str(values["about"]))
        q, k, scale = values["q_0"], values["k_0"], values["scale_0"]
        rows, queries, drawn = values["weights_0"], values["queries_0"], values["map"]
        outputs = values["outputs"]
    logits = np.reshape(scale, (-1, 1, 1)) * (q[:, queries] @ k.swapaxes(1, 2))
    expected = torch.softmax(torch.from_numpy(logits), dim=-1).numpy()
    np.testing.assert_allclose(rows, expected, atol=TOLERANCE)
    np.testing.assert_allclose(drawn, rows[:, 0].mean(axis=0), atol=TOLERANCE)
    assert about["layers"][0]["heads"] == facts["layers"][0]["heads"]
    assert list(facts["outputs"]) == ["positive"]
    assert outputs == pytest.approx(list(facts["outputs"].values()))


def test_gated_layers_hold_content_and_position_apart(tmp_path):
    from app import attention_files
    from app.attention_choices import Choices
    from core.engine.looking import Wish, look

    kind = discover.load("convit")
    study = kind(resolve(kind.Config, "quick"), Setup(kind.variants[0]))
    study.prepare()
    seen = look(study, Wish())
    at = next(i for i, layer in enumerate(seen.layers) if layer.kind == "gated")
    attention_files.write(tmp_path / "gated.npz", seen, Choices(layer=at, query=3, second=7), "")
    with np.load(tmp_path / "gated.npz", allow_pickle=False) as values:
        assert values[f"queries_{at}"].tolist() == [3, 7]
        gate = values[f"gate_{at}"].reshape(-1, 1, 1)
        mixed = (1 - gate) * values[f"content_{at}"] + gate * values[f"places_{at}"]
        np.testing.assert_allclose(values[f"weights_{at}"], mixed, atol=TOLERANCE)


def test_a_finished_run_is_looked_at_without_training_and_left_as_it_is(capsys, tmp_path, finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    (checkpoint,) = (finished / "checkpoints").glob("*.ckpt")
    words = ("study", "inspect", "hopfield", "--json", "--out", str(tmp_path / "seen.npz"))
    from_run = json.loads(printed(capsys, *words, "--run", str(finished)))
    from_file = json.loads(printed(capsys, *words, "--run", str(checkpoint)))
    assert from_run["step"] == 3
    assert from_run == from_file
    trained = looked(capsys, tmp_path / "again.npz", "--steps", "3")
    assert trained["outputs"] == from_run["outputs"]
    after = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("cam",), "does not attend"),
        (("hopfield", "--variant", "classical", "--steps", "1"), "attends nowhere"),
        (("hopfield", "--variant", "pooling", "--steps", "1", "--layer", "2"), "1 (pooling)"),
        (("hopfield", "--variant", "pooling", "--steps", "1", "--head", "9"), "4 (head 4)"),
        (("hopfield", "--variant", "pooling", "--steps", "1", "--query", "5"), "queries 0 to 0"),
        (("hopfield", "--variant", "pooling", "--steps", "1", "--sample", "9999"), "samples 0 to"),
        (("hopfield", "--variant", "pooling", "--steps", "1", "--map", "places"), "row, column"),
        (("hopfield", "--run", "nowhere"), "is not a run folder"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_one_sentence(capsys, tmp_path, words, sentence):
    told = refused(capsys, "study", "inspect", *words, "--out", str(tmp_path / "seen.png"))
    assert sentence in told
    assert told.count("\n") == 1
    assert not (tmp_path / "seen.png").exists()


def test_where_nothing_can_be_written_is_said_before_training(capsys, tmp_path):
    for name, sentence in (("seen.gif", ".png, .npz, .html"), ("none/seen.png", "no such folder")):
        out = ("--out", str(tmp_path / name))
        assert sentence in refused(capsys, "study", "inspect", "convit", *out)


def test_a_run_of_another_study_is_refused(capsys, tmp_path, finished):
    out = ("--out", str(tmp_path / "seen.png"), "--run", str(finished))
    assert "a run of hopfield, not of convit" in refused(capsys, "study", "inspect", "convit", *out)
    seed = ("hopfield", "--seed", "5")
    assert "--seed 0 (asked: 5)" in refused(capsys, "study", "inspect", *seed, *out)


@pytest.fixture(scope="module")
def scene(tiny_capture, tmp_path_factory):
    """A scene file of HyRF after two steps on ten small photographs."""
    from core.formats import save_scene

    kind = discover.load("hyrf")
    study = kind(resolve(kind.Config, "quick"), Setup(kind.variants[0], capture=tiny_capture))
    study.prepare()
    for _ in range(2):
        study.step()
    path = tmp_path_factory.mktemp("scene") / "tiny.hyrf"
    save_scene(study.snapshot(), path)
    return path


def test_a_pixel_of_a_file_is_taken_apart_and_adds_up(capsys, tmp_path, scene):
    words = ("inspect", str(scene), "--view", "2", "--pixel", "24", "18")
    out = tmp_path / "pixel.csv"
    facts = json.loads(printed(capsys, *words, "--json", "--out", str(out)))
    gaussians, behind = facts["gaussians"], facts["background"]
    assert gaussians
    whole = sum(row["weight"] for row in gaussians) + behind["share"]
    assert whole == pytest.approx(1, abs=1e-6)
    mixed = sum(row["weight"] * np.array(row["color"]) for row in gaussians)
    mixed = mixed + behind["share"] * np.array(behind["color"])
    assert facts["color"] == pytest.approx(mixed, abs=1e-6)
    assert all(len(row["explicit"]) == len(row["neural"]) == 3 for row in gaussians)
    with open(out, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["id"] for line in lines[:-1]] == [str(row["id"]) for row in gaussians]
    assert lines[-1]["id"] == "background"


def test_a_pixel_is_printed_as_the_window_shows_it(capsys, scene):
    told = printed(capsys, "inspect", str(scene), "--pixel", "24", "18").splitlines()
    assert "Pixel 24, 18 at step 2:" in told[0]
    assert told[1].split() == ["Gaussian", "Weight", "Depth", "Colour", "Explicit", "Neural"]
    rows = [line.split() for line in told[2:] if line.startswith("  ")]
    weights = [float(row[1]) for row in rows if row[0] != "background"]
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--view", "99", "--pixel", "1", "1"), "the views 0 to 11"),
        (("--pixel", "480", "1"), "48 x"),
        (("--pixel", "1", "1", "--out", "pixel.txt"), ".json or .csv"),
    ],
)
def test_a_pixel_that_is_not_there_is_refused_in_one_sentence(capsys, scene, words, sentence):
    assert sentence in refused(capsys, "inspect", str(scene), *words)
