"""The tour's pictures of the web page in a headless Chromium: `python -m tests.tour.web STORY FOLDER`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from app import actions
from app.session import Session
from app.training import TrainingPlan
from core.engine.cores import quiet_libraries
from tests.tour import stories
from tests.tour.pictures import FOLDER, keep
from tests.web.browser import Browser, wait_for
from tests.web.serving import Serving

SIZE = (1280, 900)
LIMIT_S = 900.0
SHOWN = ("convit", "care")
SETTLED_S = 6.0


def main(_story: str, folder: str) -> None:
    """Look at the attention of two studies."""
    quiet_libraries()
    session = Session(home=Path(folder) / "hyrf-studio", plan=TrainingPlan(preset="full"))
    serving, chromium = Serving(session), Browser(Path(folder) / "chromium")
    try:
        wait_for(lambda: session.store.get("engine.state") == "ready", LIMIT_S, "the engine")
        tab = chromium.open(serving.server.url, *SIZE)
        for name in SHOWN:
            look(session, stories.ATTENDING[name])
            keep(tab.picture(), FOLDER / f"web-{name}.png")
    finally:
        chromium.close()
        serving.close()
        session.close()


def look(session: Session, story: stories.Story) -> None:
    """Train a study for the story's steps and look at its attention."""
    store = session.store
    session.post(actions.OpenStudy(story.study))
    wait_for(lambda: store.get("study.name") == story.study, LIMIT_S, "the study")
    wait_for(lambda: stories.is_trained(session, story), LIMIT_S, "steps")
    session.post(actions.PauseTraining())
    session.post(actions.WatchAttention(True))
    wait_for(lambda: store.get("attention.words"), LIMIT_S, "attention")
    for action in stories.chosen(store, story):
        session.post(action)
    time.sleep(SETTLED_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
