"""Every kind of widget in the desktop's hands: shows, posts one action, follows the store, never echoes."""

from __future__ import annotations

import dearpygui.dearpygui as dpg
import numpy as np
from driver import below, resident_mb, xdotool
from windowed import windowed

from app.actions import (
    Action,
    DismissNotice,
    OpenPath,
    SetBlend,
    SetChannel,
    SetKnob,
    SnapToPhoto,
    TogglePause,
)
from app.panels.widgets import (
    Button,
    Choice,
    Gallery,
    Group,
    Notices,
    Number,
    Path,
    Plot,
    Progress,
    Readout,
    Row,
    Shares,
    Slider,
    Table,
    Text,
    Toggle,
)
from app.store import Store


def store_with(**values: object) -> Store:
    store = Store()
    store.update(**values)
    return store


def check_no_echo(driver, stage, key: str, value: object) -> None:
    """A value from the store is shown and posts nothing."""
    stage.store.set(key, value)
    driver.frames(6)
    assert stage.take() == [], "a value from the store posted an action"


def values_of(actions: list[Action]) -> list[object]:
    return [action.value for action in actions]


@windowed
def test_a_slider_follows_the_hand_and_the_store(driver):
    widget = Slider("Blend", "blend", low=0.0, high=1.0, default=0.5, action=SetBlend())
    stage = driver.open_widget(widget, store_with(blend=0.2))
    (bar,) = stage.items("mvSliderFloat")
    assert abs(dpg.get_value(bar) - 0.2) < 1e-6

    driver.click(bar, (0.75, 0.5))
    values = values_of(stage.take())
    assert values, "dragging posted nothing"
    assert abs(values[-1] - 0.75) < 0.05  # the grab's width stands for 5 % of the bar

    check_no_echo(driver, stage, "blend", 0.4)
    assert abs(dpg.get_value(bar) - 0.4) < 1e-6


@windowed
def test_a_slider_returns_to_its_default_on_a_double_click(driver):
    widget = Slider("Blend", "blend", low=0.0, high=1.0, default=0.5, action=SetBlend())
    stage = driver.open_widget(widget, store_with(blend=0.2))
    (bar,) = stage.items("mvSliderFloat")
    driver.double_click(bar, (0.9, 0.5))
    assert values_of(stage.take())[-1] == 0.5
    assert dpg.get_value(bar) == 0.5


@windowed
def test_a_slider_takes_a_typed_value_after_ctrl_click(driver):
    widget = Slider("Steps", "steps", low=0, high=100, is_integer=True, action=SetKnob("steps"))
    stage = driver.open_widget(widget, store_with(steps=10))
    (bar,) = stage.items("mvSliderInt")
    driver.move(*driver.place(bar))
    xdotool("keydown", "Control_L")
    driver.frames(3)
    driver.press()
    driver.release()
    xdotool("keyup", "Control_L")
    driver.frames(3)
    assert stage.drawer.is_typing()
    driver.type("77")
    driver.key("Return")
    driver.frames(4)
    assert values_of(stage.take())[-1] == 77
    assert not stage.drawer.is_typing()


@windowed
def test_a_slider_keeps_the_hand_s_value_while_it_is_held(driver):
    widget = Slider("Blend", "blend", low=0.0, high=1.0, action=SetBlend())
    stage = driver.open_widget(widget, store_with(blend=0.2))
    (bar,) = stage.items("mvSliderFloat")
    driver.move(*driver.place(bar, (0.8, 0.5)))
    driver.press()
    stage.store.set("blend", 0.1)
    driver.frames(4)
    assert dpg.get_value(bar) > 0.7
    driver.release()
    driver.frames(4)
    assert abs(dpg.get_value(bar) - 0.1) < 1e-6


@windowed
def test_a_number_is_posted_once_inside_its_limits(driver):
    widget = Number("Rate", "rate", low=0.0, high=2.0, action=SetKnob("rate"))
    stage = driver.open_widget(widget, store_with(rate=0.25))
    (field,) = stage.items("mvInputDouble")
    assert dpg.get_value(field) == 0.25
    driver.double_click(field)
    driver.key("ctrl+a")
    driver.type("9")
    driver.key("Return")
    driver.frames(4)
    assert stage.take() == [SetKnob("rate", 2.0)]
    assert dpg.get_value(field) == 2.0
    check_no_echo(driver, stage, "rate", 0.5)
    assert dpg.get_value(field) == 0.5


@windowed
def test_a_toggle_posts_its_new_state(driver):
    stage = driver.open_widget(
        Toggle("Yield", "yields", is_live=True, action=SetKnob("yields")), store_with(yields=False)
    )
    (box,) = stage.items("mvCheckbox")
    driver.click(box)
    assert stage.take() == [SetKnob("yields", True)]
    check_no_echo(driver, stage, "yields", True)
    assert dpg.get_value(box) is True
    check_no_echo(driver, stage, "yields", False)
    assert dpg.get_value(box) is False


@windowed
def test_a_choice_posts_the_option_behind_the_chosen_name(driver):
    widget = Choice(
        "Mode", "mode", options=("rgb", "depth"), names=("RGB", "Depth"), action=SetChannel()
    )
    stage = driver.open_widget(widget, store_with(mode="rgb"))
    (combo,) = stage.items("mvCombo")
    assert dpg.get_value(combo) == "RGB"
    driver.click(combo)
    left, top = driver.place(combo, (0.2, 1.0))
    driver.move(left, top + 42)  # the second line of the list that opened
    driver.press()
    driver.release()
    assert stage.take() == [SetChannel("depth")]
    check_no_echo(driver, stage, "mode", "depth")
    assert dpg.get_value(combo) == "Depth"
    check_no_echo(driver, stage, "mode", "rgb")
    assert dpg.get_value(combo) == "RGB"


@windowed
def test_a_control_returns_to_the_store_s_value_when_its_action_was_refused(driver):
    stage = driver.open_widget(
        Toggle("Yield", "yields", action=SetKnob("yields")), store_with(yields=False)
    )
    (box,) = stage.items("mvCheckbox")
    driver.click(box)
    assert dpg.get_value(box) is True
    driver.during(1.2)
    assert dpg.get_value(box) is False
    assert stage.take() == [SetKnob("yields", True)]


@windowed
def test_the_chosen_segment_is_lit_in_its_own_colour(driver):
    widget = Choice(
        "Show",
        "mode",
        options=(0.5, 0.0, 1.0),
        names=("Both", "Gaussians", "Background"),
        tints=("text", "gaussians", "neural"),
        is_radio=True,
        action=SetBlend(),
    )
    stage = driver.open_widget(widget, store_with(mode=0.5))
    both, gaussians, background = stage.items("mvButton")
    theme = stage.kit.theme
    assert dpg.get_item_theme(both) == theme.button("on:text")
    driver.click(gaussians)
    assert stage.take() == [SetBlend(0.0)]
    check_no_echo(driver, stage, "mode", 1.0)
    assert dpg.get_item_theme(background) == theme.button("on:neural")
    assert dpg.get_item_theme(both) == theme.button("plain")


@windowed
def test_a_button_posts_once_and_not_at_all_while_disabled(driver):
    stage = driver.open_widget(Button("Pause", action=TogglePause()), Store())
    (button,) = stage.items("mvButton")
    driver.click(button)
    assert stage.take() == [TogglePause()]
    stage.described = Group("Panel", (Button("Pause", is_enabled=False, action=TogglePause()),))
    stage.store.set("anything", 1)
    driver.frames(4)
    driver.click(stage.items("mvButton")[0])
    assert stage.take() == []


@windowed
def test_a_path_is_typed_or_picked(driver):
    widget = Path("Capture", "path", mode="open_folder", button="Open capture", action=OpenPath())
    stage = driver.open_widget(widget, store_with(path=""))
    (field,) = stage.items("mvInputText")
    driver.click(field)
    driver.type("/a/b")
    driver.key("Return")
    driver.frames(4)
    assert stage.take() == [OpenPath("/a/b")]
    opens, browse = stage.items("mvButton")
    driver.click(browse)
    stage.asked.pop()("/picked")
    assert stage.take() == [OpenPath("/picked")]
    driver.click(opens)
    assert stage.take() == [OpenPath("/picked")]
    check_no_echo(driver, stage, "path", "/from/store")
    assert dpg.get_value(field) == "/from/store"


@windowed
def test_a_typed_path_is_not_written_to_before_the_question_about_it(driver):
    widget = Path("Scene file", "path", mode="save_file", suffixes=(".hyrf",), action=OpenPath())
    stage = driver.open_widget(widget, store_with(path="/own.hyrf"))
    (field,) = stage.items("mvInputText")
    saves, _ = stage.items("mvButton")
    driver.click(saves)
    assert (stage.take(), stage.replacing) == ([OpenPath("/own.hyrf")], [])
    dpg.set_value(field, "/other")
    driver.click(saves)
    assert (stage.take(), stage.replacing) == ([], ["/other.hyrf"])


@windowed
def test_texts_and_readouts_follow_the_store(driver):
    group = Group("Panel", (Readout("Speed", "speed"), Text(key="line"), Text(text="Fixed")))
    stage = driver.open_widget(group, store_with(speed="3.1 steps/s", line="one"))
    leaves = list(stage.drawer.leaves())

    def texts() -> list[str]:
        items = [item for leaf in leaves for item in below(leaf.slot)]
        return [dpg.get_value(i) for i in items if dpg.get_item_type(i).endswith("mvText")]

    assert texts() == ["Speed", "3.1 steps/s", "one", "Fixed"]
    stage.store.set("speed", "9.9 steps/s")
    stage.store.set("line", "two")
    driver.frames()
    assert texts() == ["Speed", "9.9 steps/s", "two", "Fixed"]
    assert stage.take() == []


@windowed
def test_progress_fills_its_share_and_runs_where_the_share_is_unknown(driver):
    stage = driver.open_widget(Progress("Step", "p"), store_with(p=(0.5, "50 of 100")))
    assert stage.texts() == ["Step", "50 of 100"]
    accent = np.array(stage.kit.theme.color("action"))
    filled = (np.abs(driver.pixels().astype(int) - accent).sum(-1) < 30).sum(1).max()
    assert abs(filled - 160) < 8  # half of 320 pixels
    assert stage.drawer.animate(0.0) is False
    stage.store.set("p", (None, "Reading"))
    driver.frames()
    assert stage.drawer.animate(0.0) is True


@windowed
def test_curves_are_drawn_in_the_colours_of_their_roles(driver):
    steps = np.arange(50)
    plot = Plot("Gaussians", "c", tints=(("Gaussians", "gaussians"),))
    stage = driver.open_widget(plot, store_with(c={"Gaussians": (steps, steps * 100.0)}))
    driver.frames(6)
    amber = np.array(stage.kit.theme.color("gaussians"))

    def num_amber() -> int:
        return int((np.abs(driver.pixels().astype(int) - amber).sum(-1) < 60).sum())

    assert num_amber() > 150
    stage.store.set("c", {"Other": (steps, steps * 1.0)})
    driver.frames(6)
    assert num_amber() == 0
    stage.store.set("c", {"Other": (steps, np.full(50, np.nan))})
    driver.frames(4)  # values that are not finite do not break the plot
    assert stage.take() == []


@windowed
def test_shares_show_amber_for_gaussians_and_violet_for_the_neural_part(driver):
    parts = (("Gaussians", 3000, "gaussians"), ("Networks", 1000, "neural"))
    stage = driver.open_widget(Shares(key="s"), store_with(s=parts))
    pixels = driver.pixels().astype(int)
    theme = stage.kit.theme
    widths = [
        (np.abs(pixels - np.array(theme.color(role))).sum(-1) < 20).sum(1).max()
        for role in ("gaussians", "neural")
    ]
    assert abs(widths[0] - 240) < 6
    assert abs(widths[1] - 80) < 6
    assert stage.texts() == ["Gaussians", "3.0 kB", "Networks", "1.0 kB"]


@windowed
def test_numbers_of_a_table_end_at_the_same_edge(driver):
    rows = (("a.jpg", "7.20"), ("b.jpg", "27.20"))
    stage = driver.open_widget(Table(key="t", columns=("Picture", "PSNR")), store_with(t=rows))
    texts = dict(zip(stage.texts(), stage.items("mvText"), strict=True))
    edges = {driver.place(texts[cell], (1.0, 0.5))[0] for cell in ("7.20", "27.20", "PSNR")}
    assert max(edges) - min(edges) <= 1
    stage.store.set("t", (*rows, ("c.jpg", "30.00")))
    driver.frames()
    assert "30.00" in stage.texts()


@windowed
def test_a_clicked_thumbnail_posts_its_index(driver):
    red, green = np.zeros((30, 40, 3), np.uint8), np.zeros((30, 40, 3), np.uint8)
    red[..., 0], green[..., 1] = 255, 255
    pictures = (("red.jpg", red), ("green.jpg", green))
    stage = driver.open_widget(Gallery(key="g", action=SnapToPhoto("")), store_with(g=pictures))
    first, second = stage.items("mvImageButton")
    x, y = (int(v) for v in driver.place(first))
    assert driver.pixels()[y, x].tolist() == [255, 0, 0]
    driver.click(second)
    assert stage.take() == [SnapToPhoto("desktop", 1)]
    check_no_echo(driver, stage, "g", (("green.jpg", green),))
    assert len(stage.items("mvImageButton")) == 1


@windowed
def test_a_gallery_that_changes_often_keeps_one_texture(driver):
    stage = driver.open_widget(Gallery(key="g", action=SnapToPhoto("")), Store())

    def change(turn: int) -> None:
        image = np.full((64, 96, 3), turn, np.uint8)
        stage.store.set("g", tuple((f"{n}.jpg", image) for n in range(16)))
        driver.frames(5)

    for turn in range(10):
        change(turn)
    before = resident_mb()
    for turn in range(80):
        change(turn)
    kinds = [dpg.get_item_type(item) for item in dpg.get_all_items()]
    assert sum(kind.endswith("StaticTexture") for kind in kinds) == 1
    assert resident_mb() - before < 40  # 80 leaked ones would take 80 x 1.6 MB


@windowed
def test_a_notice_unfolds_its_details_and_is_dismissed_by_its_number(driver):
    notices = ((7, "error", "Training failed.", "ValueError: no"), (8, "info", "Ready.", ""))
    stage = driver.open_widget(Notices(key="n", action=DismissNotice()), store_with(n=notices))
    assert "ValueError: no" not in stage.texts()
    buttons = {dpg.get_item_label(item): item for item in stage.items("mvButton")}
    driver.click(buttons["Details"])
    driver.frames()
    assert "ValueError: no" in stage.texts()
    dismiss = [i for i in stage.items("mvButton") if dpg.get_item_label(i) == "Dismiss"]
    driver.click(dismiss[0])
    assert stage.take() == [DismissNotice(7)]


@windowed
def test_only_what_is_described_differently_is_built_again(driver):
    slider = Slider("Blend", "blend", action=SetBlend())
    before = Group("Panel", (slider, Row((Button("Pause", action=TogglePause()),))))
    stage = driver.open_widget(before, store_with(blend=0.5))
    (bar,) = stage.items("mvSliderFloat")
    stage.described = Group("Panel", (slider, Row((Button("Resume", action=TogglePause()),))))
    stage.store.set("other", 1)
    driver.frames()
    assert stage.items("mvSliderFloat") == [bar]
    labels = [dpg.get_item_label(item) for item in dpg.get_all_items()]
    assert "Resume" in labels
    assert "Pause" not in labels


@windowed
def test_a_panel_that_cannot_be_drawn_says_so_and_the_others_go_on(driver):
    stage = driver.open_widget(Readout("Speed", "speed"), store_with(speed="1"))
    stage.described = None
    stage.store.set("speed", "2")
    driver.frames()
    assert any("could not be drawn" in text for text in stage.texts())
    stage.described = Group("Panel", (Readout("Speed", "speed"),))
    stage.store.set("speed", "3")
    driver.frames()
    assert stage.texts() == ["Speed", "3"]
