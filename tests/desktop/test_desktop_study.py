"""A study in a real window: its pictures, its plots and tables, and the gallery that opens it."""

from __future__ import annotations

import dearpygui.dearpygui as dpg
import numpy as np
import pytest
from driver import below
from windowed import windowed

from app.actions import OpenStudy, PointAt
from app.panels import study
from app.panels.widgets import Group, Picture
from app.probes import publish
from app.store import Store
from core.study import Probe


def probes() -> tuple[Probe, ...]:
    ramp = np.linspace(0, 1, 64)
    return (
        Probe("Pictures", "image", np.tile(ramp, (3, 16, 1)), ("picture", "y", "x")),
        Probe("Map", "heat", np.outer(ramp, ramp), ("row", "column")),
        Probe("Curve", "curve", np.stack([ramp, ramp**2]), ("series", "x")),
        Probe("Bars", "bars", ramp[:8].copy(), ("bar",)),
        Probe("Table", "table", np.eye(3), ("row", "column")),
        Probe("Words", "text", np.array("Nothing recalled yet."), ()),
    )


def items(stage, kind: str) -> list[int]:
    """Every item of a kind in all widgets of the panel."""
    found = [item for leaf in stage.drawer.leaves() for item in below(leaf.slot)]
    return [item for item in found if dpg.get_item_type(item).endswith(kind)]


@windowed
def test_every_kind_of_probe_is_on_the_screen(driver):
    store = Store()
    publish(store, 7, probes())
    children = study.pictures(store).children
    stage = driver.open_widget(Group("Pictures", children), store)
    pictures = items(stage, "mvImage")
    assert len(pictures) == 3
    assert len(items(stage, "mvPlot")) == 1
    assert len(items(stage, "mvTable")) == 1
    assert {"Step 7", "Words"} <= {dpg.get_value(item) for item in items(stage, "mvText")}
    x, y = (int(v) for v in driver.place(pictures[1], (0.97, 0.97)))
    bright = driver.pixels()[y, x]
    assert bright[0] > 200  # the ends of the colour scale: yellow, dark violet
    assert bright[2] < 100
    x, y = (int(v) for v in driver.place(pictures[1], (0.03, 0.03)))
    assert driver.pixels()[y, x].max() < 100


@windowed
def test_a_newer_picture_replaces_the_one_that_is_shown(driver):
    store = Store()
    store.set("p", np.full((40, 60, 3), 250, np.uint8))
    stage = driver.open_widget(Picture(key="p", height=80), store)
    (item,) = stage.items("mvImage")
    store.set("p", np.full((40, 60, 3), 10, np.uint8))
    driver.frames(6)
    assert stage.items("mvImage") == [item]
    x, y = (int(v) for v in driver.place(item))
    assert driver.pixels()[y, x].max() < 20
    store.set("p", np.full((20, 60, 3), 250, np.uint8))
    driver.frames(6)
    (item,) = stage.items("mvImage")
    x, y = (int(v) for v in driver.place(item))
    assert driver.pixels()[y, x].min() > 240


@windowed
def test_a_clicked_thumbnail_opens_its_study(driver):
    store = Store()
    store.set("gallery.one", np.full((96, 144, 3), 90, np.uint8))
    widget = Picture(key="gallery.one", height=64, action=OpenStudy("one"))
    stage = driver.open_widget(widget, store)
    driver.click(stage.items("mvImageButton")[0])
    assert stage.take() == [OpenStudy("one")]


@windowed
def test_a_drag_over_a_picture_says_which_rectangle_even_when_it_ends_outside(driver):
    store = Store()
    store.set("p", np.full((40, 60, 3), 120, np.uint8))
    stage = driver.open_widget(
        Picture(key="p", height=120, action=PointAt("sample"), follows=True), store
    )
    (button,) = stage.items("mvImageButton")
    driver.move(*driver.place(button, (0.25, 0.75)))
    driver.frames(3)
    stage.take()
    driver.press(1)
    driver.frames(3)
    for place in ((0.4, 0.5), (0.6, 0.3), (1.4, 0.25)):
        driver.move(*driver.place(button, place))
        driver.frames(3)
    driver.release(1)
    driver.frames(4)
    posted = stage.take()
    assert {action.how for action in posted} <= {"hover", "area"}
    last = [action for action in posted if action.how == "area"][-1]
    assert (last.x, last.y) == pytest.approx((0.25, 0.75), abs=0.05)
    assert (last.to_x, last.to_y) == pytest.approx((1.0, 0.25), abs=0.05)
    driver.move(*driver.place(button, (0.5, 0.5)))
    driver.frames(3)
    assert {action.how for action in stage.take()} == {"hover"}


@windowed
def test_a_click_says_where_in_the_picture_and_with_which_key_or_button(driver):
    store = Store()
    store.set("p", np.full((40, 60, 3), 120, np.uint8))
    stage = driver.open_widget(
        Picture(key="p", height=120, action=PointAt("sample"), follows=True), store
    )
    (button,) = stage.items("mvImageButton")
    driver.move(*driver.place(button, (0.25, 0.75)))
    driver.frames(3)
    assert {action.how for action in stage.take()} == {"hover"}
    driver.click(button)
    driver.frames(3)
    (click,) = [action for action in stage.take() if action.how == "click"]
    assert click.picture == "sample"
    assert not [action for action in stage.take() if action.how == "area"]
    assert abs(click.x - 0.5) < 0.05
    assert abs(click.y - 0.5) < 0.05
