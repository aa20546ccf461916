"""Distinct pictures a second on a real desktop window while the camera orbits and training runs.

    python -m tests.bench.live_desktop [CAPTURE] [--seconds 10] [--size 1280x800] [--json FILE]

The mouse is driven from outside by xdotool, on a virtual screen where there is no display. A
picture counts once it has been drawn on the screen and differs from the one before. The delay of
an input runs from the moment the mouse is told to move to the end of the drawn frame that shows a
picture from the camera it moved. Software OpenGL runs on the same cores as the training.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dearpygui.dearpygui as dpg
import numpy as np

from app.actions import MoveCamera
from app.desktop.window import Window
from core.base.config import parse_settings
from core.render.view import Frame
from tests.bench import live

INPUTS_PER_S = 60
NUDGES = 8  # single movements after a rest


@contextlib.contextmanager
def display() -> Iterator[None]:
    """Provide a screen: the one that is there, or a virtual one of 1920 x 1080 pixels."""
    if os.environ.get("DISPLAY"):
        yield
        return
    read, write = os.pipe()
    screen = ["-screen", "0", "1920x1080x24", "-nolisten", "tcp"]
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), *screen],
        pass_fds=(write,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as answer:
            os.environ["DISPLAY"] = f":{answer.readline().strip()}"
        yield
    finally:
        del os.environ["DISPLAY"]
        server.terminate()
        server.wait(10)


class Mouse:
    """A hand outside the window: moves are told to one xdotool process, with the time of each."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["xdotool", "-"], stdin=subprocess.PIPE, text=True)
        self.corner = (0, 0)  # of the window on the screen
        self.sent: dict[tuple[int, int], float] = {}  # place -> when the mouse was last sent there

    def focus_own_window(self) -> None:
        """Find this process's window and give it the keyboard, as a window manager would."""
        self.corner = tuple(map(int, dpg.get_viewport_pos()))
        found = ["xdotool", "search", "--pid", str(os.getpid())]
        for name in subprocess.run(found, capture_output=True, text=True).stdout.split():
            self.tell(f"windowfocus {name}")

    def tell(self, command: str) -> None:
        """Carry out one xdotool command."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def move(self, x: float, y: float) -> None:
        """Go to a place of the window and remember when."""
        place = round(x), round(y)
        self.sent[place] = time.monotonic()
        self.tell(f"mousemove {place[0] + self.corner[0]} {place[1] + self.corner[1]}")

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(10)


class Watch:
    """Follows one window: which pictures reached the screen, and how late."""

    def __init__(self, window: Window, mouse: Mouse) -> None:
        self.window, self.mouse = window, mouse
        # id of a camera -> when the mouse was told to go there, when the window asked for its picture
        self.moved: dict[int, tuple[float, float]] = {}
        self.cameras: list[object] = []  # kept alive, so that the ids stay their own
        self.start()
        self._last: Frame | None = None
        send = window.viewport.kit.send
        window.viewport.kit.send = lambda action: (self._note(action), send(action))

    def start(self) -> None:
        """Forget what was counted."""
        self.shown = self.drawn = 0
        self.sizes: list[tuple[int, int]] = []
        self.delays_s: list[float] = []
        self.parts_s: list[tuple[float, float, float]] = []
        self.render_ms: list[float] = []

    def _note(self, action: object) -> None:
        if not (isinstance(action, MoveCamera) and action.is_moving):
            return
        x, y = self.window.viewport._mouse
        at = self.mouse.sent.get((round(x), round(y)))
        if at is not None:
            self.cameras.append(action.camera)
            self.moved[id(action.camera)] = at, time.monotonic()

    def turn(self) -> None:
        """Do one turn of the window's loop and look at what it drew."""
        began = time.monotonic()
        if not self.window.turn():
            return
        now = time.monotonic()
        self.drawn += 1
        frame = self.window.viewport.frame
        if frame is not None and frame is not self._last:
            self._on_screen(frame, began, now)

    def _on_screen(self, frame: Frame, came: float, now: float) -> None:
        before, self._last = self._last, frame
        is_same = (
            before is not None
            and before.image.shape == frame.image.shape
            and np.array_equal(before.image, frame.image)
        )
        if is_same:
            return
        self.shown += 1
        self.sizes.append((frame.image.shape[1], frame.image.shape[0]))
        self.render_ms.append(frame.render_ms)
        told = self.moved.pop(id(frame.view.camera), None)
        if told is not None:
            self.delays_s.append(now - told[0])
            self.parts_s.append((told[1] - told[0], came - told[1], now - came))

    def during(self, seconds: float) -> None:
        """Turn the loop for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()


def orbit(mouse: Mouse, middle: tuple[float, float], seconds: float) -> threading.Thread:
    """Drag in loops from a thread, one movement every sixtieth of a second."""

    def drag() -> None:
        mouse.move(*middle)
        mouse.tell("mousedown 1")
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            angle = 1.5 * passed
            x, y = 120 * math.sin(angle), 50 * math.sin(2 * angle)
            mouse.move(middle[0] + x, middle[1] + y)
            time.sleep(1 / INPUTS_PER_S)
        mouse.tell("mouseup 1")

    thread = threading.Thread(target=drag, daemon=True)
    thread.start()
    return thread


def nudges(watch: Watch, mouse: Mouse, middle: tuple[float, float]) -> list[float]:
    """Move a resting camera a little, several times; return the delays in seconds."""
    delays = []
    mouse.move(*middle)
    mouse.tell("mousedown 1")
    for index in range(NUDGES):
        watch.during(0.8)
        watch.start()
        mouse.move(middle[0] + 7 * (index + 1), middle[1] + 3 * (index + 1))
        watch.during(0.5)
        delays += watch.delays_s[:1]
    mouse.tell("mouseup 1")
    watch.during(0.3)
    return delays


def measure(session, window, seconds: float, least_gaussians: int) -> dict[str, object]:
    """Let it train, then orbit, and return the figures."""
    mouse = Mouse()
    watch = Watch(window, mouse)
    try:
        watch.during(0.5)
        mouse.focus_own_window()
        state = session.store
        live.wait_until(lambda: state.get("train.state") == "running", watch.turn, 240, "training")
        live.wait_until(
            lambda: live.gaussians_of(session) >= least_gaussians, watch.turn, 240, "Gaussians"
        )
        live.wait_until(lambda: live.step_of(session) >= 40, watch.turn, 120, "the first steps")
        view = window.viewport.area
        middle = (view.left + view.width / 2, view.top + view.height / 2)
        mouse.move(*middle)
        watch.during(2.0)
        span = live.Span(session)
        watch.start()
        watch.during(seconds)
        rest = {**span.figures(), "window_frames_per_s": watch.drawn / seconds}
        span = live.Span(session)
        watch.start()
        hand = orbit(mouse, middle, seconds)
        watch.during(seconds)
        moving = span.figures()
        hand.join()
        figures = _moving(watch, moving, seconds)
        watch.during(1.0)
        after_rest = nudges(watch, mouse, middle)
    finally:
        mouse.close()
    return {
        "gaussians": live.gaussians_of(session),
        "view": f"{view.width}x{view.height}",
        "at_rest": rest,
        **figures,
        "training_share": moving["steps_per_s"] / max(rest["steps_per_s"], 1e-9),
        "delay_after_rest_ms": live.latencies(after_rest),
    }


def _moving(watch: Watch, figures: dict[str, float], seconds: float) -> dict[str, object]:
    pixels = sorted(watch.sizes, key=lambda size: size[0] * size[1]) or [(0, 0)]
    return {
        "moving": figures,
        "distinct_pictures_per_s": watch.shown / seconds,
        "window_frames_per_s": watch.drawn / seconds,
        "smallest_picture": "{}x{}".format(*pixels[0]),
        "median_picture": "{}x{}".format(*pixels[len(pixels) // 2]),
        "render_ms": live.latencies([value / 1000 for value in watch.render_ms]),
        "delay_ms": live.latencies(watch.delays_s),
        **{
            f"delay_{name}_ms": live.latencies([parts[at] for parts in watch.parts_s])
            for at, name in enumerate(("to_request", "to_picture", "to_screen"))
        },
    }


def main() -> None:
    """Read the arguments, open the window and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    live.add_options(parser)
    arguments = parser.parse_args()
    size = tuple(map(int, arguments.size.split("x")))
    with display(), tempfile.TemporaryDirectory(prefix="hyrf-bench-") as home:
        settings = dict(parse_settings(arguments.set))
        session = live.training_session(settings, Path(home))
        dpg.create_context()
        try:
            window = Window(session, size)
            session.post(live.opening(arguments.capture))
            figures = measure(session, window, arguments.seconds, arguments.gaussians)
        finally:
            session.close()
            dpg.destroy_context()
    live.report(figures, arguments.json)


if __name__ == "__main__":
    main()
