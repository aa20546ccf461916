"""The tour's pictures of the desktop window: `python -m tests.tour.desktop STORY FOLDER`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dearpygui.dearpygui as dpg
import numpy as np
from PIL import Image

from app import actions
from app.desktop.kit import VIEW
from app.desktop.pages import Column
from app.desktop.window import Window
from app.panels import export, layout, pixel
from app.session import Session
from app.training import TrainingPlan
from core.engine.cores import quiet_libraries
from tests.tour import stories
from tests.tour.pictures import FOLDER, beside, keep

SIZE = (1440, 960)
LIMIT_S = 900.0
SETTLED_S = 1.5  # until plots, textures and layouts are on the screen
PIXEL = (0.5, 0.55)
PHOTO = 12


class Tour:
    """A real window on a real session, driven by the actions its controls would post."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        plan = TrainingPlan(preset="full", settings=settings)
        self.session = Session(home=folder / "hyrf-studio", plan=plan, starts_engine=False)
        self.store, self.folder = self.session.store, folder
        dpg.create_context()
        self.window = Window(self.session, SIZE)
        self.rest(1)
        left, top = dpg.get_viewport_pos()  # the pointer hovers nothing at the lower edge
        corner = (str(int(left) + SIZE[0] - 40), str(int(top) + SIZE[1] - 8))
        subprocess.run(["xdotool", "mousemove", *corner], check=True)
        self.session.start_engine()
        self.until(lambda: self.store.get("engine.state") == "ready", "the engine")

    def until(self, holds: Callable[[], Any], what: str) -> None:
        """Turn the window's loop until something holds."""
        end = time.monotonic() + LIMIT_S
        while not holds():
            assert time.monotonic() < end, f"no {what}: {self.store.get('notices')}"
            self.window.turn()

    def rest(self, seconds: float = SETTLED_S) -> None:
        """Turn the loop for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.window.turn()

    def post(self, *asked: actions.Action) -> None:
        """Ask for something, as a control would, and let it show."""
        for action in asked:
            self.session.post(action)
        self.rest()

    def pixels(self) -> np.ndarray:
        """Return what is on the screen."""
        path = self.folder / "screen.png"
        assert self.window.save_screenshot(path), "no screenshot"
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))

    def keep(self, name: str) -> None:
        """Keep what is on the screen as a picture of the tour."""
        keep(self.pixels(), FOLDER / f"{name}.png")

    def scroll(self, column: Column, panel: layout.Panel) -> None:
        """Bring a panel of a column to its top, as far as there is enough below it."""
        assert column.drawer is not None
        slot = column.drawer.slots[column.panels.index(panel)]
        top = (
            dpg.get_item_state(slot)["pos"][1]
            - dpg.get_item_state(column.drawer.slots[0])["pos"][1]
        )
        dpg.set_y_scroll(column.box, top)
        self.rest()

    def close(self) -> None:
        """End everything."""
        self.session.close()
        dpg.destroy_context()


def demo(tour: Tour) -> None:
    """The demo is trained, its layers are faded, a pixel is taken apart, the scene exported."""
    store = tour.store
    tour.post(actions.OpenDemo())
    tour.until(lambda: stories.step_of(tour.session) >= stories.SHOWN_AT, "steps")
    tour.keep("training")
    tour.until(lambda: store.get("train.state") == "done", "end of training")
    tour.post(actions.SnapToPhoto(VIEW, PHOTO))
    area = tour.window.viewport.area
    faded = []
    for blend in (0.0, 0.5, 1.0):
        tour.post(actions.SetBlend(blend))
        whole = tour.pixels()
        faded.append(whole[area.top : area.top + area.height, area.left : area.left + area.width])
    keep(beside(faded), FOLDER / "layers.png")
    tour.post(actions.SetBlend(0.5), actions.InspectPixel(VIEW, *PIXEL))
    tour.until(lambda: store.get("pixel.text"), "pixel")
    tour.rest()
    tour.scroll(tour.window.scene.right, pixel.clicked)
    tour.keep("pixel")
    tour.post(actions.ClosePixel(), actions.ChooseFormat(".html"))
    tour.post(actions.ExportScene(str(store.get("export.path"))))
    tour.until(lambda: "MB" in str(store.get("notices")), "file")
    tour.scroll(tour.window.scene.right, export.panel)
    tour.keep("export")


def study(tour: Tour) -> None:
    """A study trains: pictures, curves, claims."""
    trained(tour, stories.STUDY)
    tour.rest()
    tour.keep("study")


def attention(name: str) -> Callable[[Tour], None]:
    """Return the story of one study's attention."""

    def told(tour: Tour) -> None:
        trained(tour, stories.ATTENDING[name])
        tour.post(actions.PauseTraining(), actions.WatchAttention(True))
        tour.until(lambda: tour.store.get("attention.words"), "attention")
        tour.post(*stories.chosen(tour.store, stories.ATTENDING[name]))
        tour.rest(4)
        tour.keep(name)

    return told


def trained(tour: Tour, story: stories.Story) -> None:
    """Open a study and train it for the story's steps."""
    tour.session.post(actions.OpenStudy(story.study))
    tour.until(lambda: tour.store.get("study.name") == story.study, "study")
    if story.variant:
        tour.post(actions.ChooseVariant(story.variant))
    tour.until(lambda: stories.is_trained(tour.session, story), "steps")


def start(tour: Tour) -> None:
    """The start page, and the end of its gallery."""
    tour.until(lambda: tour.store.get("gallery.families"), "gallery")
    tour.rest()
    tour.keep("start")
    box = tour.window.start.right.box
    dpg.set_y_scroll(box, dpg.get_y_scroll_max(box))
    tour.rest()
    tour.keep("gallery")


STORIES: dict[str, Callable[[Tour], None]] = {
    "demo": demo,
    "study": study,
    "start": start,
    **{name: attention(name) for name in stories.ATTENDING},
}


def main(story: str, folder: str) -> None:
    """Tell one story."""
    quiet_libraries()
    tour = Tour(Path(folder), {"steps": str(stories.DEMO_STEPS)} if story == "demo" else {})
    try:
        STORIES[story](tour)
    finally:
        tour.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
