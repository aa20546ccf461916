"""The real session behind the page: a scene file opens, is drawn, and turns under the hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from browser import wait_for
from serving import Serving

from app.actions import OpenPath
from app.session import Session

DATA = os.environ.get("HYRF_TEST_DATA")
SCENE = Path(DATA or "") / "splats" / "playbot_lod3.ply"


@pytest.mark.skipif(not DATA or not SCENE.exists(), reason="HYRF_TEST_DATA has no playbot scene")
def test_a_scene_file_opens_in_the_browser_and_turns_under_the_hand(browser, tmp_path):
    session = Session(home=tmp_path)
    serving = Serving(session)
    try:
        tab = browser.open(serving.server.url)
        wait_for(lambda: "Try the demo" in tab.text(), 60, "the start page")
        session.post(OpenPath(str(SCENE)))
        viewport = wait_for(lambda: next(iter(serving.server.viewports.values()), None), 60)

        def drawn():
            frame = session.frame(viewport.view)
            return frame if frame is not None and frame.is_full else None

        before = wait_for(drawn, 120, "a full picture")
        assert before.image.std() > 5  # the scene, not an even ground
        wait_for(lambda: "Layers" in tab.text() and "playbot_lod3" in tab.text())
        tab.drag((640, 400), (760, 430))
        turned = wait_for(
            lambda: (frame := drawn()) and frame.view.serial > before.view.serial and frame,
            60,
            "a picture from elsewhere",
        )
        first, second = before.view.camera, turned.view.camera
        assert np.degrees(np.arccos(first.forward @ second.forward)) > 10
        tab.close()
    finally:
        serving.close()
        session.close()
