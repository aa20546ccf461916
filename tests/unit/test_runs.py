"""A run folder says what was trained, and its lines agree with its checkpoints."""

from __future__ import annotations

import json

import pytest

from core.base.errors import RunError
from core.engine.runs import Run, RunConfig

CONFIG = RunConfig(study="hyrf", preset="quick", settings={"steps": 5}, seed=3, threads=2)


def test_a_run_opens_with_the_settings_it_was_created_with(tmp_path):
    created = Run.create(tmp_path / "run", CONFIG)
    opened = Run.open(tmp_path / "run")
    assert opened.config == created.config
    assert opened.config.settings == {"steps": 5}
    assert opened.config.versions["torch"]
    created.release()


def test_a_run_is_told_from_other_folders_and_files(tmp_path):
    Run.create(tmp_path / "run", CONFIG).release()
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"name": "another program"}')
    assert Run.is_run(tmp_path / "run")
    assert not Run.is_run(other)
    assert not Run.is_run(tmp_path / "missing")
    assert not Run.is_run(tmp_path / "run" / "config.json")


def test_a_run_is_not_created_over_another_one_or_among_other_files(tmp_path):
    Run.create(tmp_path / "run", CONFIG).release()
    with pytest.raises(RunError, match="already holds a run"):
        Run.create(tmp_path / "run", CONFIG)
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(RunError, match=r"1 other files|2 other files"):
        Run.create(tmp_path, CONFIG)
    with pytest.raises(RunError, match="cannot be used as a run folder"):
        Run.create(tmp_path / "photo.jpg", CONFIG)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format": "hyrf-run-1"}', '{"format": "hyrf-run-1", "study": 3}', "\x00\xff"],
)
def test_damaged_settings_are_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=r"config\.json"):
        Run.open(tmp_path)


def test_a_folder_without_settings_is_no_run(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        Run.open(tmp_path)


def test_only_one_writer_at_a_time(tmp_path):
    first = Run.create(tmp_path / "run", CONFIG)
    second = Run.open(tmp_path / "run")
    with pytest.raises(RunError, match="another process"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_lines_after_the_checkpoint_are_cut(tmp_path):
    run = Run.create(tmp_path / "run", CONFIG)
    for step in (10, 20, 30):
        run.append_metrics(step, {"loss": 1 / step})
    run.release()
    run.cut_metrics(20)
    assert [line["step"] for line in run.metrics()] == [10, 20]
    run.append_metrics(25, {"loss": 0.5})
    assert run.metrics()[-1] == {"step": 25, "loss": 0.5}
    run.release()


def test_a_half_written_line_is_cut_and_a_new_one_follows_cleanly(tmp_path):
    run = Run.create(tmp_path / "run", CONFIG)
    run.append_metrics(10, {"loss": 0.1})
    run.release()
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 20, "lo')
    assert [line["step"] for line in run.metrics()] == [10]
    run.cut_metrics(100)
    run.append_metrics(20, {"loss": 0.2})
    run.release()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 20]


def test_lines_stay_strict_json_when_numbers_are_not_finite(tmp_path):
    run = Run.create(tmp_path / "run", CONFIG)
    run.append_metrics(1, {"loss": float("nan"), "pictures": {"a": {"psnr": float("inf")}}})
    run.release()
    assert run.metrics() == [{"step": 1, "loss": None, "pictures": {"a": {"psnr": None}}}]
