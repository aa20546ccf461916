"""A study on the page: every kind of probe arrives in the browser, and a newer one replaces it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from test_web_draw import Panel

from app.panels import study
from app.panels.widgets import Picture, Row
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


def of_kind(panel, kind):
    return [c for c in panel.visitor.controls.values() if c["kind"] == kind]


def test_every_kind_of_probe_reaches_the_browser(serve, monkeypatch):
    store = Store()
    publish(store, 7, probes())
    values = {key: store.get(key) for key in store.changed_since(-1)}
    panel = Panel(serve, monkeypatch, *study.pictures(store).children)
    for key, value in values.items():
        panel.session.store.set(key, value)
    panel.settle()
    assert len(of_kind(panel, "GuiImageMessage")) == 3
    assert len(of_kind(panel, "GuiUplotMessage")) == 1
    page = panel.visitor.html()
    for words in ("Step 7", "Nothing recalled yet.", "0 (dark) to 1.00 (bright)", "<table"):
        assert words in page


def test_a_newer_picture_takes_the_place_of_the_shown_one(serve, monkeypatch):
    panel = Panel(serve, monkeypatch, Picture(key="p"), p=np.zeros((40, 60, 3), np.uint8))
    (first,) = of_kind(panel, "GuiImageMessage")
    before = (first["uuid"], first["_data"])
    panel.serving.set(p=np.full((40, 60, 3), 200, np.uint8))
    panel.settle()
    (second,) = of_kind(panel, "GuiImageMessage")
    assert second["uuid"] == before[0]
    assert second["_data"] != before[1]


def test_pictures_of_a_row_stand_beside_each_other_and_follow_the_store(serve, monkeypatch):
    row = Row((Picture(key="p"), Picture(key="q")), columns=2)
    dark, light = np.zeros((40, 60, 3), np.uint8), np.full((20, 20, 3), 250, np.uint8)
    panel = Panel(serve, monkeypatch, row, p=dark, q=light)
    (shown,) = of_kind(panel, "GuiImageMessage")
    whole = decoded(shown["_data"])
    assert whole.shape[1] > 1.9 * 360
    assert whole[10, 10].max() < 10
    assert whole[10, 380].min() > 240
    panel.serving.set(q=dark)
    panel.settle()
    (shown,) = of_kind(panel, "GuiImageMessage")
    assert decoded(shown["_data"])[10, 380].max() < 10


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
