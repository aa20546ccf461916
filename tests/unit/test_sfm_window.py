"""Photographs without cameras in the window: progress with Cancel while they are placed, then the report."""

import time

import pytest
from corner_scene import cameras, photograph
from PIL import Image

from app import actions
from app.headless import check
from app.panels import check as check_panel
from app.panels import start
from app.panels.notices import task_widgets
from app.panels.widgets import Button, Path, Progress, Text
from app.session import Session
from app.store import Store
from core.capture import child

LIMIT_S = 60


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    for number, camera in enumerate(cameras(6, 320, 240)):
        Image.fromarray(photograph(camera)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def until(session: Session, is_reached) -> None:
    ends_s = time.monotonic() + LIMIT_S
    while not is_reached():
        assert time.monotonic() < ends_s, "nothing happened"
        session.tick()
        time.sleep(0.01)


def test_the_bar_names_the_stage_and_cancel_ends_it(folder, tmp_path, monkeypatch):
    processes = []
    spawned = child.subprocess.Popen

    def remember(*arguments, **options):
        processes.append(spawned(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(child.subprocess, "Popen", remember)
    session = Session(home=tmp_path / "home", starts_engine=False)
    try:
        session.post(actions.OpenPath(str(folder)))
        until(session, lambda: session.store.get("task.name") == "Finding features")
        bar, button = task_widgets(session.store)
        assert isinstance(bar, Progress)
        assert bar.label == "Finding features"
        assert "of 6 pictures" in session.store.get("task.progress")[1]
        assert isinstance(button, Button)
        session.post(button.action)
        until(session, lambda: session.store.get("task.name") == "")
        texts = [text for _, _, text, _ in session.store.get("notices")]
        assert texts == ["Opening: cancelled."]
        assert processes[0].poll() is not None
        assert session.store.get("page") == "start"
    finally:
        session.close()


def test_the_report_stands_with_the_photographs():
    store = Store()
    store.update(train__has_capture=True, check__counts="6 photographs.", check__state="running")
    store.set("check.poses", "estimated from the photographs: 6 of 6 placed")
    texts = [
        widget.text for widget in check_panel.panel(store).children if isinstance(widget, Text)
    ]
    assert "Cameras estimated from the photographs: 6 of 6 placed." in texts
    store.set("check.poses", "")
    texts = [
        widget.text for widget in check_panel.panel(store).children if isinstance(widget, Text)
    ]
    assert not any("estimated" in text for text in texts)


def test_the_start_page_takes_videos():
    paths = [widget for widget in start.panel(Store()).children if isinstance(widget, Path)]
    assert any(".mp4" in path.suffixes and ".hyrf" in path.suffixes for path in paths)


def test_the_check_tells_its_stages_and_the_report(folder, capsys):
    from app.commands import parser

    assert check(parser().parse_args(["check", str(folder), "--device", "cpu"])) == 0
    told = capsys.readouterr()
    assert "Cameras estimated from the photographs: 6 of 6 placed" in told.out
    assert "Placing cameras ..." in told.err
