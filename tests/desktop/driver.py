"""Drive a real window with real mouse and key events; run as a child process by `windowed`."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dearpygui.dearpygui as dpg
import numpy as np
from demo_session import DemoSession
from PIL import Image

from app.actions import Action
from app.desktop.draw import PanelDrawer
from app.desktop.kit import Kit
from app.desktop.theme import Theme
from app.desktop.window import Window
from app.panels.widgets import Group, Widget
from app.store import Store


class Driver:
    """Moves the mouse, presses keys, draws frames and looks at pixels."""

    def __init__(self) -> None:
        self.folder = Path(os.environ["HYRF_TEST_FOLDER"])
        self.turn: Callable[[], object] = dpg.render_dearpygui_frame
        self.is_open = False

    # Two kinds of stage

    def open_window(self, session: DemoSession, size: tuple[int, int] = (1280, 800)) -> Window:
        dpg.create_context()
        window = Window(session, size)
        self.is_open = True
        self.turn = lambda: window.turn(is_hurried=True)
        self.frames(8)
        self._focus()
        return window

    def open_widget(self, widget: Widget | Group, store: Store) -> Stage:
        stage = Stage(widget, store)
        self.is_open = True
        self.turn = stage.turn
        self.frames(5)
        self._focus()
        return stage

    def _focus(self) -> None:
        found = xdotool("search", "--pid", str(os.getpid())) or xdotool("search", "--name", ".+")
        for window in found.split():
            xdotool("windowfocus", window)
        self.move(2, 2)
        self.frames(3)

    # Time and input

    def frames(self, count: int = 4) -> None:
        for _ in range(count):
            self.turn()

    def during(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()

    def until(self, holds: Callable[[], bool], limit_s: float = 30.0) -> None:
        """Turn the loop until something holds: a loaded machine draws late, not never."""
        end = time.monotonic() + limit_s
        while not holds():
            assert time.monotonic() < end, f"{holds.__name__} not within {limit_s:.0f} s"
            self.turn()

    def move(self, x: float, y: float) -> None:
        """Put the pointer at a place of the window."""
        left, top = dpg.get_viewport_pos()
        xdotool("mousemove", str(int(left + x)), str(int(top + y)))
        self.frames(3)

    def press(self, button: int = 1) -> None:
        xdotool("mousedown", str(button))
        self.frames(3)

    def release(self, button: int = 1) -> None:
        xdotool("mouseup", str(button))
        self.frames(3)

    def click(self, item: int | str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        self.move(*self.place(item, at))
        self.press()
        self.release()

    def double_click(self, item: int | str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        self.move(*self.place(item, at))
        for _ in range(2):
            xdotool("mousedown", "1")
            self.frames(1)
            xdotool("mouseup", "1")
            self.frames(1)
        self.frames(3)

    def drag(self, start: tuple[float, float], end: tuple[float, float], button: int = 1) -> None:
        self.move(*start)
        self.press(button)
        for share in (0.25, 0.5, 0.75, 1.0):
            self.move(*(a + (b - a) * share for a, b in zip(start, end, strict=True)))
        self.release(button)

    def key(self, name: str) -> None:
        parts = name.split("+")
        for part in parts:
            xdotool("keydown", part)
            self.frames(2)
        for part in reversed(parts):
            xdotool("keyup", part)
            self.frames(2)

    def type(self, text: str) -> None:
        for letter in text:
            xdotool("type", letter)
            self.frames(2)

    def wheel(self, notches: int) -> None:
        for _ in range(abs(notches)):
            xdotool("click", "4" if notches > 0 else "5")
            self.frames(3)

    # What is on the screen

    def place(self, item: int | str, at: tuple[float, float] = (0.5, 0.5)) -> tuple[float, float]:
        """A point of an item in pixels of the window."""
        left, top = dpg.get_item_rect_min(item)
        width, height = dpg.get_item_rect_size(item)
        return left + at[0] * width, top + at[1] * height

    def pixels(self) -> np.ndarray:
        """The window's picture [H, W, 3] uint8."""
        path = self.folder / "look.png"
        path.unlink(missing_ok=True)
        dpg.output_frame_buffer(str(path))
        for _ in range(50):
            dpg.render_dearpygui_frame()
            if path.exists() and path.stat().st_size > 0:
                with Image.open(path) as image:
                    return np.array(image.convert("RGB"))
        raise AssertionError("no screenshot")

    def close(self) -> None:
        if self.is_open:
            dpg.destroy_context()


class Stage:
    """One panel alone in a window, with a store and a list of what was posted."""

    def __init__(self, widget: Widget | Group, store: Store) -> None:
        dpg.create_context()
        dpg.configure_app(manual_callback_management=True)
        dpg.create_viewport(title="stage", width=600, height=700, x_pos=0, y_pos=0, vsync=False)
        dpg.setup_dearpygui()
        dpg.show_viewport()
        theme = Theme()
        for _ in range(2):
            dpg.render_dearpygui_frame()
        self.store, self.posted = store, []
        self.described = widget if isinstance(widget, Group) else Group("Panel", (widget,))
        self.asked: list[Callable[[str], None]] = []
        self.replacing: list[str] = []
        self.kit = Kit(
            theme,
            self.posted.append,
            lambda _, picked: self.asked.append(picked),
            lambda path, _: self.replacing.append(path),
        )
        with dpg.window() as root:
            box = dpg.add_group()
        dpg.set_primary_window(root, True)
        self.drawer = PanelDrawer(box, (lambda _: self.described,), store, self.kit, 320)

    def turn(self) -> None:
        self.drawer.update()
        dpg.render_dearpygui_frame()
        dpg.run_callbacks(dpg.get_callback_queue())
        self.kit.sweep()

    @property
    def leaf(self):
        return next(self.drawer.leaves())

    def items(self, kind: str) -> list[int]:
        """Every item of a kind, such as `mvButton`, in drawing order."""
        return [item for item in below(self.leaf.slot) if dpg.get_item_type(item).endswith(kind)]

    def texts(self) -> list[str]:
        """Every text on the screen."""
        return [dpg.get_value(item) for item in self.items("mvText")]

    def take(self) -> list[Action]:
        posted = list(self.posted)
        self.posted.clear()
        return posted


def below(item: int) -> list[int]:
    found = []
    for child in dpg.get_item_children(item, 1):
        found += [child, *below(child)]
    return found


def resident_mb() -> float:
    """Memory of this process that is in use."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def xdotool(*arguments: str) -> str:
    done = subprocess.run(["xdotool", *arguments], capture_output=True, text=True, timeout=10)
    return done.stdout


def main() -> None:
    module, name = sys.argv[1:3]
    module = module.rpartition(".")[2]
    driver = Driver()
    try:
        getattr(importlib.import_module(module), name).body(driver)
    finally:
        driver.close()


if __name__ == "__main__":
    main()
