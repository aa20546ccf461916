"""Distinct pictures a second that reach a headless Chromium while the camera orbits and training runs.

    python -m tests.bench.live_web [CAPTURE] [--seconds 10] [--size 1280x800] [--json FILE]

A picture counts when the middle of Chromium's own screen capture differs from the one before; the
page, the browser and its software 3D run on the same cores as the training.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import math
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image
from websockets.exceptions import ConnectionClosed

from app.session import Session
from core.base.config import parse_settings
from tests.bench import live
from tests.web.browser import Browser, Tab, wait_for
from tests.web.serving import Serving

INPUTS_PER_S = 60
CAPTURED = 480  # pixels, longer side of a screen capture
EDGE = 0.25  # of the page on either side that holds panels
NUDGES = 8  # single movements after a rest


class ScreenCount:
    """Counts the different pictures that Chromium shows."""

    def __init__(self, tab: Tab, edge: float) -> None:
        self.tab, self.edge = tab, edge
        self.start()
        self._last: np.ndarray | None = None
        self._ids = itertools.count(1)
        # Small: reading the whole page back would cost the browser as much as showing it.
        size = {"maxWidth": CAPTURED, "maxHeight": CAPTURED}
        self._send("Page.startScreencast", format="jpeg", quality=80, everyNthFrame=1, **size)
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self) -> None:
        """Forget what was counted."""
        self.num_distinct = 0
        self.first_s: float | None = None  # when the first of them came

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Send one event of a mouse whose left button is held while it moves."""
        place = {"x": x, "y": y, "button": "left", "clickCount": 1}
        buttons = 0 if kind == "mouseReleased" else 1
        self._send("Input.dispatchMouseEvent", type=kind, buttons=buttons, **place)

    def _send(self, method: str, **params: object) -> None:
        message = {"id": next(self._ids), "method": method, "params": params}
        self.tab.socket.send(json.dumps(message))

    def _listen(self) -> None:
        try:
            for data in self.tab.socket:
                message = json.loads(data)
                if message.get("method") == "Page.screencastFrame":
                    params = message["params"]
                    self._send("Page.screencastFrameAck", sessionId=params["sessionId"])
                    self._count(base64.b64decode(params["data"]))
        except ConnectionClosed:
            return

    def _count(self, data: bytes) -> None:
        came = time.monotonic()
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            edge = round(self.edge * width)
            middle = image.convert("L").crop((edge, 0, width - edge, height))
            pixels = np.asarray(middle.resize((64, 64)), dtype=np.int16)
        # One grey level is what encoding the same picture twice may differ by.
        if self._last is None or np.abs(pixels - self._last).max() > 1:
            self.num_distinct += 1
            self.first_s = self.first_s or came
        self._last = pixels


def orbit(watcher: ScreenCount, middle: tuple[float, float], seconds: float) -> None:
    """Drag in circles without waiting for the browser's answers."""
    x, y = middle
    watcher.mouse("mouseMoved", x, y)
    watcher.mouse("mousePressed", x, y)
    start = time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        angle = 1.5 * passed
        watcher.mouse("mouseMoved", x + 120 * math.sin(angle), y + 40 * math.sin(2 * angle))
        time.sleep(1 / INPUTS_PER_S)
    watcher.mouse("mouseReleased", x, y)


def measure(session: Session, arguments: argparse.Namespace) -> dict[str, object]:
    """Open a capture, wait for its picture, orbit, and return the figures."""
    seconds, (width, height) = arguments.seconds, map(int, arguments.size.split("x"))
    serving = Serving(session)
    chromium = Browser(Path(tempfile.mkdtemp(prefix="chromium-")))
    try:
        session.post(live.opening(arguments.capture))
        tab = chromium.open(serving.server.url, width, height)
        wait_for(lambda: serving.server.viewports, 60, "the browser")
        view = next(iter(serving.server.viewports.values())).view
        wait_for(lambda: session.frame(view), 600, "the first picture")
        wait_for(lambda: live.gaussians_of(session) >= arguments.gaussians, 600, "Gaussians")
        wait_for(lambda: live.step_of(session) >= 40, 120, "the first steps")
        middle = (width / 2, height / 2)
        watcher = ScreenCount(Tab(tab.url), edge=EDGE)
        sizes = Sizes(session, view)
        time.sleep(2)
        span = live.Span(session)
        time.sleep(seconds)
        rest = span.figures()
        watcher.start()
        sent, span = serving.server.num_sent, live.Span(session)
        sizes.seen = {}
        orbit(watcher, middle, seconds)
        moving, shown = span.figures(), watcher.num_distinct
        sent = serving.server.num_sent - sent
        sizes.close()
        time.sleep(1)
        delays = nudges(watcher, middle)
    finally:
        chromium.close()
        serving.close()
    smallest = min(sizes.seen, key=lambda size: size[0] * size[1], default=(0, 0))
    return {
        "gaussians": live.gaussians_of(session),
        "page": arguments.size,
        "at_rest": rest,
        "moving": moving,
        "distinct_pictures_per_s": shown / moving["seconds"],
        "pictures_sent_per_s": sent / moving["seconds"],
        "smallest_picture": "{}x{}".format(*smallest),
        "training_share": moving["steps_per_s"] / max(rest["steps_per_s"], 1e-9),
        "delay_after_rest_ms": live.latencies(delays),
    }


class Sizes:
    """Notes the sizes of the moving pictures of a view."""

    def __init__(self, session: Session, view: str) -> None:
        self.seen: dict[tuple[int, int], int] = {}
        self._is_closed = False
        threading.Thread(target=self._watch, args=(session, view), daemon=True).start()

    def _watch(self, session: Session, view: str) -> None:
        while not self._is_closed:
            frame = session.frame(view)
            if frame is not None and frame.view.is_moving:
                size = frame.image.shape[1], frame.image.shape[0]
                self.seen[size] = self.seen.get(size, 0) + 1
            time.sleep(0.02)

    def close(self) -> None:
        """Stop looking."""
        self._is_closed = True


def nudges(watcher: ScreenCount, middle: tuple[float, float]) -> list[float]:
    """Move a resting camera a little, several times; return the delays until the screen changed, in seconds."""
    delays = []
    watcher.mouse("mouseMoved", *middle)
    watcher.mouse("mousePressed", *middle)
    for index in range(NUDGES):
        time.sleep(1.0)
        watcher.start()
        began = time.monotonic()
        watcher.mouse("mouseMoved", middle[0] + 12 * (index + 1), middle[1] + 3 * (index + 1))
        time.sleep(0.8)
        if watcher.first_s is not None:
            delays.append(watcher.first_s - began)
    watcher.mouse("mouseReleased", *middle)
    return delays


def main() -> None:
    """Read the arguments, serve the page and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    live.add_options(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hyrf-bench-") as home:
        session = live.training_session(dict(parse_settings(arguments.set)), Path(home))
        try:
            figures = measure(session, arguments)
        finally:
            session.close()
    live.report(figures, arguments.json)


if __name__ == "__main__":
    main()
