"""Every widget kind on the page: values both ways, one action for one change, no echo."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from browser import wait_for
from serving import PaintedSession
from visitor import Visitor

from app.actions import Action, DismissNotice, FrameScene, OpenPath, SetKnob, SnapToPhoto
from app.panels import layout
from app.panels import widgets as w
from app.web import controls, displays, draw

HAND_LEADS_S = 0.2  # shorter than in the program, and still longer than the gap between two events


@dataclass(frozen=True)
class Take(Action):
    """An action that only a test knows."""

    name: str
    value: Any = None


class EchoSession(PaintedSession):
    """Puts what is asked for into the store, as the real session does; refuses the value 13."""

    def _carry_out(self, action: Action) -> None:
        super()._carry_out(action)
        if isinstance(action, Take) and action.value != 13:
            self.store.set(action.name, action.value)

    def taken(self) -> list[Any]:
        return [action.value for action in self.asked if isinstance(action, Take)]


class Panel:
    """One group on the page, whose children a test chooses."""

    def __init__(self, serve, monkeypatch, *children: Any, **values: Any) -> None:
        monkeypatch.setattr(controls, "HAND_LEADS_S", HAND_LEADS_S)
        self.group = w.Group("Test", children)
        for side in ("LEFT", "BOTTOM"):
            monkeypatch.setattr(layout, side, ())
        monkeypatch.setattr(layout, "RIGHT", (lambda store: self.group,))
        session = EchoSession()
        session.store.update(**values)
        self.serving = serve(session)
        self.session = session
        self.visitor = Visitor(self.serving.server.port)
        self.visitor.look()
        wait_for(session.views)
        self.visitor.listen(0.5)

    def settle(self) -> list[dict[str, Any]]:
        """Let hands rest and the page be drawn, and return what was sent about controls."""
        messages = self.visitor.listen(HAND_LEADS_S + 0.35)
        return [m for m in messages if m["type"] == "GuiUpdateMessage" and "value" in m["updates"]]


INPUTS = [
    (w.Slider("Amount", "x", low=0.0, high=2.0, action=Take("x")), 0.5, 0.5, 1.25, 1.25),
    (w.Slider("Rank", "x", low=1, high=9, is_integer=True, action=Take("x")), 4, 4, 7, 7),
    (w.Number("Seed", "x", low=0, is_integer=True, action=Take("x")), 4, 4, 7, 7),
    (w.Number("Rate", "x", action=Take("x")), 0.01, 0.01, 0.5, 0.5),
    (w.Toggle("Wait", "x", action=Take("x")), True, True, False, False),
    (
        w.Choice("Mode", "x", options=("a", "b"), names=("First", "Second"), action=Take("x")),
        "b",
        "Second",
        "First",
        "a",
    ),
]


@pytest.mark.parametrize(("widget", "stored", "shown", "typed", "asked"), INPUTS)
def test_a_control_shows_the_store_and_posts_one_action(
    serve, monkeypatch, widget, stored, shown, typed, asked
):
    panel = Panel(serve, monkeypatch, widget, x=stored)
    assert panel.visitor.find(widget.label)["value"] == shown
    panel.visitor.change(widget.label, typed)
    wait_for(panel.session.taken)
    echoes = panel.settle()
    assert panel.session.taken() == [asked]
    assert type(panel.session.taken()[0]) is type(asked)
    assert echoes == []
    panel.serving.set(x=stored)
    panel.settle()
    assert panel.visitor.find(widget.label)["value"] == shown
    assert panel.session.taken() == [asked]


def test_a_drag_keeps_its_order_and_is_not_pulled_back(serve, monkeypatch):
    slider = w.Slider("Amount", "x", low=0.0, high=1.0, action=Take("x"))
    panel = Panel(serve, monkeypatch, slider, x=0.0)
    values = [step / 20 for step in range(1, 20)]
    for value in values:
        panel.visitor.change("Amount", value)
        time.sleep(0.02)
    assert panel.settle() == []
    assert panel.session.taken() == values


def test_a_small_number_keeps_its_digits(serve, monkeypatch):
    panel = Panel(serve, monkeypatch, w.Number("Rate", "x", action=Take("x")), x=0.00016)
    number = panel.visitor.find("Rate")
    assert number["value"] == 0.00016
    assert number["precision"] >= 5
    assert number["step"] == pytest.approx(1e-5)


def test_a_refused_value_gives_way_to_the_stored_one(serve, monkeypatch):
    number = w.Number("Amount", "x", is_integer=True, action=Take("x"))
    panel = Panel(serve, monkeypatch, number, x=4)
    panel.visitor.change("Amount", 13)
    panel.settle()
    assert panel.visitor.find("Amount")["value"] == 4


def test_a_change_in_one_browser_shows_in_the_other(serve, monkeypatch):
    panel = Panel(serve, monkeypatch, w.Toggle("Wait", "x", action=Take("x")), x=False)
    other = Visitor(panel.serving.server.port)
    other.look()
    other.listen(0.5)
    panel.visitor.change("Wait", True)
    other.listen(0.5)
    assert other.find("Wait")["value"] is True
    other.close()


def test_a_radio_choice_fills_the_chosen_option_with_its_colour(serve, monkeypatch):
    choice = w.Choice(
        "Show",
        "x",
        options=(0.5, 0.0),
        names=("Both", "Gaussians"),
        tints=("text", "gaussians"),
        is_radio=True,
        action=Take("x"),
    )
    panel = Panel(serve, monkeypatch, choice, x=0.5)
    amber = [255, 180, 84]
    assert panel.visitor.find("Gaussians")["color"] != amber
    panel.visitor.change("Gaussians", True)
    panel.settle()
    assert panel.session.taken() == [0.0]
    assert panel.visitor.find("Gaussians")["color"] == amber


def test_a_button_posts_its_action_for_the_view_of_its_browser(serve, monkeypatch):
    panel = Panel(serve, monkeypatch, w.Button("Frame scene", action=FrameScene("")))
    panel.visitor.change("Frame scene", True)
    panel.settle()
    framed = [a.view for a in panel.session.asked if isinstance(a, FrameScene)]
    assert framed == panel.session.views()


def test_a_path_says_on_which_machine_it_is_and_posts_what_was_typed(serve, monkeypatch):
    path = w.Path("Capture", "p", mode="open_folder", button="Open capture", action=OpenPath())
    panel = Panel(serve, monkeypatch, path)
    assert "machine that runs HyRF Studio" in panel.visitor.html()
    panel.visitor.change("Folder", " /data/fox ")
    panel.visitor.change("Open capture", True)
    panel.settle()
    assert [a.value for a in panel.session.asked if isinstance(a, OpenPath)] == ["/data/fox"]


def test_values_that_are_only_read_follow_the_store(serve, monkeypatch):
    panel = Panel(
        serve,
        monkeypatch,
        w.Readout("Speed", "speed"),
        w.Text(key="reason", tint="warning"),
        w.Shares("Size", "shares"),
        w.Table(key="rows", columns=("Picture", "PSNR, dB")),
        w.Progress("Step", "progress"),
        speed="3.1 steps/s",
    )
    assert "3.1 steps/s" in panel.visitor.html()
    panel.serving.set(
        speed="4.2 steps/s",
        reason="Loss is <b>not</b> finite",
        shares=(("Gaussians", 1.1e6, "gaussians"), ("Networks", 7e5, "neural")),
        rows=(("a.jpg", "23.40"),),
        progress=(0.25, "250 of 1000"),
    )
    panel.settle()
    shown = panel.visitor.html()
    for text in ("4.2 steps/s", "1.8 MB", "700 kB", "a.jpg", "23.40", "250 of 1000"):
        assert text in shown
    assert "Loss is &lt;b&gt;not&lt;/b&gt; finite" in shown
    bars = [c for c in panel.visitor.controls.values() if c["kind"] == "GuiProgressBarMessage"]
    assert [bar["value"] for bar in bars] == [25.0]


def test_curves_appear_with_their_first_values_and_grow(serve, monkeypatch):
    panel = Panel(serve, monkeypatch, w.Plot("PSNR", "curves", unit="dB"))
    assert "nothing measured yet" in panel.visitor.html()
    panel.serving.set(curves={"Held out": ([0, 100], [15.0, 20.0])})
    panel.settle()
    charts = [c for c in panel.visitor.controls.values() if c["kind"] == "GuiUplotMessage"]
    assert [line.get("label") for line in charts[0]["series"]] == ["Step", "Held out"]


def test_thousands_are_named_beside_a_curve_so_that_its_numbers_fit(serve, monkeypatch):
    panel = Panel(serve, monkeypatch, w.Plot("Gaussians", "curves"))
    panel.serving.set(curves={"Gaussians": ([0, 100], [15_000.0, 15_500.0])})
    panel.settle()
    assert "Gaussians, k" in panel.visitor.html()
    drawer, _ = panel.serving.server.page.drawers[0]
    _, values = drawer.nodes[0].children[0].control.chart.data
    np.testing.assert_allclose(values, [15.0, 15.5])


def test_curves_with_different_steps_share_one_axis():
    steps, dense, sparse = displays.aligned(
        {"a": ([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0]), "b": ([1, 3], [10.0, 30.0])}
    )
    np.testing.assert_array_equal(steps, [0, 1, 2, 3])
    np.testing.assert_array_equal(dense, [0, 1, 2, 3])
    np.testing.assert_array_equal(sparse, [np.nan, 10, 20, 30])


def test_an_axis_spans_what_is_known_where_one_curve_is_shorter():
    scales = displays.scales_of(
        displays.aligned({"a": ([0, 1, 2], [0.0, 1.0, 2.0]), "b": ([1, 2], [3.0, 4.0])})
    )
    low, high = scales["y"]["range"]
    assert low < 0
    assert high > 4
    assert np.isfinite([low, high]).all()


def test_choosing_a_photograph_looks_from_it(serve, monkeypatch):
    pictures = tuple((f"{n}.jpg", np.full((6, 9, 3), 40 * n, np.uint8)) for n in range(3))
    gallery = w.Gallery(key="photos", action=SnapToPhoto(""))
    panel = Panel(serve, monkeypatch, gallery, photos=pictures)
    panel.visitor.change("Picture", "3  2.jpg")
    panel.settle()
    (snap,) = [a for a in panel.session.asked if isinstance(a, SnapToPhoto)]
    assert (snap.view, snap.value) == (panel.session.views()[0], 2)


def test_a_notice_shows_its_text_and_can_be_dismissed(serve, monkeypatch):
    notices = w.Notices(key="notices", action=DismissNotice())
    panel = Panel(serve, monkeypatch, notices, notices=((7, "warning", "No CUDA device.", ""),))
    assert "No CUDA device." in panel.visitor.html()
    panel.visitor.change("Dismiss", True)
    panel.settle()
    assert [a.value for a in panel.session.asked if isinstance(a, DismissNotice)] == [7]
    panel.serving.set(notices=())
    panel.settle()
    assert "No CUDA device." not in panel.visitor.html()


def test_only_what_is_described_differently_is_built_again(serve, monkeypatch):
    first, second = w.Toggle("First", "x"), w.Toggle("Second", "y")
    panel = Panel(serve, monkeypatch, first, second)
    before = panel.visitor.find("Second")["uuid"]
    folder = panel.visitor.find("Test")["uuid"]
    panel.group = w.Group("Test", (w.Readout("New", "z"), second))
    panel.settle()
    assert panel.visitor.find("Second")["uuid"] == before
    assert panel.visitor.find("Test")["uuid"] == folder
    assert all(control.get("label") != "First" for control in panel.visitor.controls.values())


def test_settings_say_whether_they_act_while_training(serve, monkeypatch):
    panel = Panel(
        serve,
        monkeypatch,
        w.Toggle("Now", "a", is_live=True, action=SetKnob("a")),
        w.Toggle("Later", "b", tooltip="Size.", action=SetKnob("b")),
        w.Button("Save", tooltip="Write the file (Ctrl+S)", action=Take("s")),
    )
    assert panel.visitor.find("Now •")["hint"] is None
    assert panel.visitor.find("Later")["hint"] == "Size. Takes effect on restart of training."
    assert panel.visitor.find("Save")["hint"] == "Write the file"


def test_every_widget_kind_can_be_drawn():
    kinds = {
        kind
        for kind in vars(w).values()
        if isinstance(kind, type) and issubclass(kind, w.Widget) and kind is not w.Widget
    }
    assert kinds == {*draw.KINDS, w.Choice}
