"""The page while cameras are estimated: the stage with its count, and Cancel under a real click."""

from __future__ import annotations

import numpy as np
from browser import wait_for
from PIL import Image
from serving import Serving

from app.actions import OpenPath
from app.session import Session


def test_the_page_shows_the_stage_and_its_cancel_button_ends_it(browser, tmp_path, monkeypatch):
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(40):  # many features and nothing in common: seconds of work
        noise = rng.integers(0, 255, (150, 200, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((800, 600)).save(folder / f"{number}.png")
    session = Session(home=tmp_path / "home", starts_engine=False)
    serving = Serving(session)
    try:
        tab = browser.open(serving.server.url)
        wait_for(lambda: "or a video" in tab.text(), 60, "the start page")
        session.post(OpenPath(str(folder)))
        wait_for(lambda: "Finding features" in tab.text(), 60, "the stage")
        wait_for(lambda: "of 40 pictures" in tab.text(), 60, "its count")
        tab.click(tab.button("Cancel"))
        wait_for(lambda: session.store.get("task.name") == "", 30, "the end of it")
        wait_for(lambda: "Opening: cancelled." in tab.text(), 30, "the notice")
        assert session.store.get("page") == "start"
        tab.close()
    finally:
        serving.close()
        session.close()
