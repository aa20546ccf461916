"""What is chosen in the window reaches the exported file, and the file starts the next training."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app import actions
from app.session import Session
from app.training import TrainingPlan

SETTINGS = {"steps": 400, "seed_gaussians": 600, "density.cap": 800}


def notices(session: Session) -> str:
    return "\n".join(row[2] for row in session.store.get("notices"))


def until(session: Session, is_done, most_s: float = 60.0) -> None:
    ends_s = time.monotonic() + most_s
    while not is_done():
        assert time.monotonic() < ends_s, notices(session)
        session.tick()


def test_a_shell_is_exported_and_the_file_starts_the_next_training(tmp_path, monkeypatch):
    monkeypatch.setattr("core.formats.shell.NUMBERS", (256, 1024))
    plan = TrainingPlan(preset="quick", settings=SETTINGS, max_size=64)
    session = Session(inline=True, device="cpu", home=tmp_path / "home", plan=plan)
    try:
        session.post(actions.OpenDemo())
        until(session, lambda: session.store.get("train.step", 0) >= 2)
        session.post(actions.PauseTraining())
        for action in (
            actions.ChooseFormat(".spz"),
            actions.ChooseBackground("shell"),
            actions.ChooseDegree(1),
        ):
            session.post(action)
        session.tick()
        path = Path(session.store.get("export.path"))
        assert path.suffix == ".spz"
        session.post(actions.ExportScene(str(path)))
        until(session, lambda: f"{path.name}: " in notices(session))
        assert path.is_file()
        assert "shell" in notices(session)
        assert not path.with_name(f"{path.name}.background.jpg").exists()
        session.post(actions.SetKnob("start", str(path)))
        until(session, lambda: session.store.get("train.needs_restart"))
        session.post(actions.StartTraining())
        until(session, lambda: f"Training starts from {path.name}" in notices(session))
        assert not [row for row in session.store.get("notices") if row[1] == "error"]
    finally:
        session.close()


def test_a_start_that_is_gone_is_one_sentence_and_the_window_lives(tmp_path):
    settings = {**SETTINGS, "start": str(tmp_path / "gone.ply")}
    plan = TrainingPlan(preset="quick", settings=settings, max_size=64)
    session = Session(inline=True, device="cpu", home=tmp_path / "home", plan=plan)
    try:
        session.post(actions.OpenDemo())
        until(session, lambda: "it is not there" in notices(session))
        assert session.store.get("train.state") == "failed"
    finally:
        session.close()


@pytest.mark.parametrize("value", ["nonsense", 3])
def test_a_background_nobody_knows_is_told(value):
    from core.base.errors import FormatError
    from core.formats.table import ExportOptions

    with pytest.raises(FormatError, match="picture, shell, none"):
        ExportOptions(background=value)
