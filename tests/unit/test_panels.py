"""Panels are pure, never empty, and speak the words of people."""

import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from app import actions
from app.palette import DARK
from app.panels import (
    attention,
    cameras,
    check,
    evaluation,
    export,
    layers,
    notices,
    pixel,
    start,
    study,
    train,
    words,
)
from app.panels import widgets as kinds
from app.panels.help import SHORTCUTS
from app.panels.layout import (
    BOTTOM,
    LEFT,
    RIGHT,
    START,
    STUDY_BOTTOM,
    STUDY_LEFT,
    STUDY_PICTURES,
    STUDY_RIGHT,
)
from app.panels.widgets import (
    Button,
    Choice,
    Gallery,
    Group,
    Number,
    Row,
    Slider,
    Text,
    Toggle,
    Widget,
)
from app.panels.words import named
from app.store import Store
from core.base.config import Config, Field, Knob, knobs, live

STUDY = (*STUDY_LEFT, *STUDY_PICTURES, *STUDY_RIGHT, *STUDY_BOTTOM)
EVERY = tuple(dict.fromkeys((*START, *LEFT, *RIGHT, *BOTTOM, *STUDY)))


class Densify(Config):
    every: int = Field(100, ge=1, le=1000, description="Steps between two rounds.")


class Example(Config):
    mean_rate: float = live(1.6e-4, ge=0.0, le=1.0, description="Learning rate of the centres.")
    dssim: float = live(0.2, ge=0.0, le=1.0, description="Weight of the structural term.")
    gaussian_cap: int = Field(30000, ge=1000, le=5_000_000, description="Most Gaussians.")
    antialiased: bool = Field(False, description="Low-pass filter.")
    densify: Densify = Densify()


def scene_store(state="running"):
    store = Store()
    store.update(
        page="scene",
        train__has_capture=True,
        train__state=state,
        train__studies=(("hyrf", "HyRF: hybrid radiance fields"), ("splats_3dgs", "3DGS")),
        train__study="hyrf",
        train__presets=("quick", "full"),
        train__knobs=knobs(Example()),
        scene__gaussians="30.0 k",
        scene__shares=(("Gaussians", 100.0, "gaussians"),),
        cameras__count=12,
        curves__loss={"Loss, averaged": ((1, 2), (0.3, 0.2))},
        evaluation__rows=(("a", "24.10", "0.801"),),
        notices=((1, "error", "Something failed.", "Traceback"),),
        gallery__families=(("memory", (("one", "One: it recalls", "A. 2021", "Not run yet"),)),),
        study__variants=("one", "two"),
        study__title="One: it recalls",
        study__paper="A. 2021",
        study__claims=(("storage", "reproduced"), ("faces", "undecided")),
        probes__rows=(
            ("picture", "Recall", "probe.a", "Damaged, recalled", ()),
            ("plot", "Capacity", "probe.b", "", ()),
            ("table", "Scores", "probe.c", "", ("Row", "1")),
        ),
        measures__curves=(("Loss", "measures.curve.loss"),),
        measures__rows=(("Loss", "0.1", ""),),
    )
    return store


def every_store():
    yield "empty", Store()
    for state in ("idle", "loading", "running", "paused", "done", "failed"):
        yield state, scene_store(state)
    for name, watched in (("asked", {}), ("looking", {"on": True}), ("looked", LOOKED)):
        store = scene_store()
        store.update(attention__can=True, **{f"attention__{key}": v for key, v in watched.items()})
        yield name, store
    store = scene_store()
    store.update(pixel__text="Pixel 3, 4: 2 Gaussians give 97 %.", pixel__has_halves=True)
    yield "clicked", store


LOOKED = {
    "on": True,
    "layers": ("block 1", "block 2"),
    "heads": ("head 1", "head 2"),
    "methods": ("row", "rollout", "relevance"),
    "method": "rollout",
    "kind": "gated",
    "queries": 17,
    "samples": 20,
    "has_prefix": True,
    "sinks": 2,
    "names": ("cat", "dog"),
    "past_steps": (1, 2),
}


def widgets(group):
    for child in group.children:
        if isinstance(child, (Group, Row)):
            yield from widgets(child)
        else:
            yield child


def test_a_clicked_pixel_stands_above_everything_else_in_its_column():
    store = scene_store()
    assert RIGHT[0](store).children == ()
    store.set("pixel.text", "Pixel 3, 4: 2 Gaussians give 97 %.")
    shown = [panel for panel in RIGHT if panel(store).children]
    assert shown[0] is pixel.clicked
    assert pixel.panel not in shown


def test_a_study_keeps_its_own_curves_and_numbers_beside_the_viewport():
    store = scene_store()
    store.update(study__name="one", measures__rows=(("Chamfer", "0.1", "0.2"),))
    assert BOTTOM[0](store) == study.curves(store)
    assert BOTTOM[1](store) == study.measures(store)
    store.set("study.name", "")
    assert BOTTOM[1](store) == evaluation.panel(store)


def test_a_scene_of_networks_alone_is_not_called_one_of_gaussians():
    store = scene_store()
    store.update(scene__has_background=False, scene__gaussians="0")
    told = " ".join(part.text for part in widgets(layers.panel(store)) if isinstance(part, Text))
    assert "Gaussians only" not in told
    assert "network" in told


@pytest.mark.parametrize("panel", EVERY, ids=lambda panel: f"{panel.__module__}.{panel.__name__}")
@pytest.mark.parametrize(("name", "store"), list(every_store()))
def test_no_panel_is_ever_a_blank_rectangle(panel, name, store):
    group = panel(store)
    assert isinstance(group, Group)
    assert group.title
    shown_with = {
        check.panel: "train.has_capture",
        attention.panel: "attention.can",
        pixel.clicked: "pixel.text",
    }
    is_absent = panel in shown_with and not store.get(shown_with[panel])  # drawers leave it out
    is_absent |= panel is pixel.panel and bool(store.get("pixel.text"))
    assert bool(group.children) != is_absent
    assert is_absent or any(isinstance(widget, Widget) for widget in widgets(group))


@pytest.mark.parametrize("panel", EVERY, ids=lambda panel: f"{panel.__module__}.{panel.__name__}")
def test_a_panel_writes_nothing_and_repeats_itself(panel):
    store = scene_store()
    version = store.version
    assert panel(store) == panel(store)
    assert store.version == version


@pytest.mark.parametrize("panel", EVERY, ids=lambda panel: f"{panel.__module__}.{panel.__name__}")
def test_the_description_is_the_same_when_only_numbers_change(panel):
    store = scene_store()
    before = panel(store)
    store.update(
        train__step=500,
        train__progress=(0.5, "500 of 1000"),
        train__speed="3.1 steps/s",
        train__eta="2 min",
        scene__visible="12 k",
        layers__blend=0.2,
        knob__dssim=0.3,
    )
    store.set("scene.gaussians", "31.0 k")
    store.set("curves.loss", {"Loss, averaged": ((1, 2, 3), (0.3, 0.2, 0.1))})
    assert panel(store) == before


@pytest.mark.parametrize(("name", "store"), list(every_store()))
def test_words_are_free_of_identifiers_and_exclamation_marks(name, store):
    for panel in EVERY:
        group = panel(store)
        texts = [group.title]
        for widget in widgets(group):
            texts += [widget.label, getattr(widget, "text", ""), getattr(widget, "button", "")]
            texts += getattr(widget, "names", ())
        for text in texts:
            assert "_" not in text
            assert "!" not in text
            assert text[:1] == text[:1].upper(), text


@pytest.mark.parametrize(("name", "store"), list(every_store()))
def test_every_control_shows_a_value_or_asks_for_something(name, store):
    for panel in EVERY:
        for widget in widgets(panel(store)):
            if isinstance(widget, (Slider, Number, Toggle, Choice, kinds.Path, Button, Gallery)):
                assert isinstance(widget.action, actions.Action), widget
            elif not isinstance(widget, Text):
                assert widget.key, widget
            if isinstance(widget, Choice):
                assert len(widget.options) == len(widget.names)
                assert set(widget.tints) <= set(DARK)
            if isinstance(widget, Text):
                assert widget.text
                assert widget.tint in DARK


def test_every_action_of_a_panel_can_be_completed_with_a_value():
    needs_value = (Slider, Number, Toggle, Choice, kinds.Path, Gallery)
    for panel in EVERY:
        for widget in widgets(panel(scene_store())):
            if isinstance(widget, needs_value):
                assert is_dataclass(widget.action)
                assert "value" in {field.name for field in fields(widget.action)}


def test_the_training_buttons_follow_the_state():
    def verbs(state):
        return {w.label for w in widgets(train.panel(scene_store(state))) if isinstance(w, Button)}

    assert verbs("running") == {"Pause", "Stop"}
    assert verbs("paused") == {"Resume", "Step", "Stop"}
    assert verbs("idle") == {"Start training"}
    assert verbs("done") == verbs("failed") == {"Train again"}


def test_training_cannot_start_before_the_engine():
    store = scene_store("idle")
    store.set("engine.state", "starting")
    (start_button,) = [w for w in widgets(train.panel(store)) if isinstance(w, Button)]
    assert not start_button.is_enabled


def test_settings_become_the_controls_that_fit_them():
    by_key = {knob.key: train.knob_widget(knob) for knob in knobs(Example())}
    assert isinstance(by_key["dssim"], Slider)
    assert by_key["dssim"].is_live
    assert by_key["dssim"].action == actions.SetKnob("dssim")
    assert isinstance(by_key["mean_rate"], Number)  # a slider over 0..1 could not reach 1.6e-4
    assert isinstance(by_key["gaussian_cap"], Number)
    assert by_key["gaussian_cap"].is_integer
    assert isinstance(by_key["antialiased"], Toggle)
    assert isinstance(by_key["densify.every"], Slider)
    choice = train.knob_widget(Knob("d", "Density", "", "choice", "a_b", choices=("a_b", "c")))
    assert choice.names == ("A b", "C")


def test_settings_that_wait_for_a_restart_say_so_and_stand_apart():
    group = train.panel(scene_store())
    settings = next(child for child in group.children if getattr(child, "title", "") == "Settings")
    later = next(child for child in settings.children if isinstance(child, Group))
    assert any("restart of training" in w.text for w in later.children if isinstance(w, Text))
    assert not any(getattr(w, "is_live", False) for w in widgets(later))
    assert any(w.is_live for w in settings.children if isinstance(w, Slider))


def test_the_layer_switch_is_amber_and_violet():
    switch = next(w for w in widgets(layers.panel(scene_store())) if w.label == "Show")
    assert dict(zip(switch.names, switch.tints, strict=True)) == {
        "Both": "text",
        "Gaussians": "gaussians",
        "Background": "neural",
    }


def test_a_scene_without_a_background_has_no_live_switch():
    store = scene_store()
    store.set("scene.has_background", False)
    switch = next(w for w in widgets(layers.panel(store)) if w.label == "Show")
    assert not switch.is_enabled


def test_an_empty_notice_list_says_so():
    assert isinstance(notices.panel(Store()).children[0], Text)


def test_nothing_can_be_saved_before_there_is_a_scene():
    assert not any(isinstance(w, kinds.Path) for w in widgets(export.panel(Store())))
    assert [
        w.button for w in widgets(export.panel(scene_store())) if isinstance(w, kinds.Path)
    ] == [
        "Save scene",
        "Export",
    ]


def test_recent_scenes_open_with_one_press():
    store = Store()
    store.set("recent", (("fox", "/data/fox", "24.1 dB, yesterday"),))
    (button,) = [w for w in widgets(start.recent(store)) if isinstance(w, Button)]
    assert button.action == actions.OpenPath("/data/fox")


def test_a_scene_file_has_no_photographs_to_step_through():
    labels = {w.label for w in widgets(cameras.panel(Store())) if isinstance(w, Button)}
    assert labels == {"Reset view", "Frame scene"}


def test_tooltips_name_the_shortcuts_of_the_sheet():
    tips = " ".join(
        w.tooltip
        for panel in EVERY
        for state in ("running", "paused")
        for w in widgets(panel(scene_store(state)))
    )
    for shortcut in ("(Space)", "Both (1)", "(R)", "(F)", "( [ )", "( ] )", "(C ", "Ctrl+S"):
        assert shortcut in tips
    keys = " ".join(keys for keys, _ in SHORTCUTS)
    for key in ("Space", "1, 2, 3", "R", "F", "[ and ]", "C", "H or F1", "Tab", "V", "F11", "Esc"):
        assert key in keys


def test_describing_the_window_loads_no_engine():
    check = (
        "import sys, app.panels.layout, app.store, app.camera, app.palette; "
        "heavy = {'torch', 'numba', 'pycolmap', 'dearpygui', 'viser', 'imageio'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (words.count, 950, "950"),
        (words.count, 12345, "12.3 k"),
        (words.count, 999_990, "1.00 M"),
        (words.count, 1_200_000, "1.20 M"),
        (words.data_size, 512, "512 B"),
        (words.data_size, 8_300_000, "8.3 MB"),
        (words.data_size, 123_000_000, "123 MB"),
        (words.duration, 0.2, "under a second"),
        (words.duration, 42, "42 s"),
        (words.duration, 130, "2 min"),
        (words.duration, 3900, "1 h 5 min"),
        (words.duration, float("inf"), "an unknown time"),
        (words.three_digits, 0.01234, "0.0123"),
        (words.three_digits, 3.14159, "3.14"),
        (words.three_digits, float("nan"), "not a number"),
        (words.shortened, "a" * 60, "a" * 13 + "…" + "a" * 14),
    ],
)
def test_numbers_read_like_a_person_would_write_them(write, value, text):
    assert write(value) == text


def test_names_and_abbreviations_are_spelled_as_papers_do():
    assert named("convit_longer") == "ConViT longer"
    assert named("gaussian_rbfnet") == "Gaussian RBFNet"
    assert named("psnr") == "PSNR"
    assert named("nearest_photograph") == "Nearest photograph"
