"""Distinct pictures a second that reach a headless Chromium while the camera orbits and training runs.

    python -m tests.bench.live_web CAPTURE [--seconds 10] [--size 1280x800]

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
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from websockets.exceptions import ConnectionClosed

from app.actions import OpenPath
from app.session import Session
from tests.web.browser import Browser, Tab, wait_for
from tests.web.serving import Serving


class ScreenCount:
    """Counts the different pictures that Chromium shows."""

    def __init__(self, tab: Tab, edge: int) -> None:
        self.tab, self.edge = tab, edge
        self.num_distinct = 0
        self._last: np.ndarray | None = None
        self._ids = itertools.count(1)
        self._send("Page.startScreencast", format="jpeg", quality=80, everyNthFrame=1)
        threading.Thread(target=self._listen, daemon=True).start()

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
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            middle = image.convert("L").crop((self.edge, 0, width - self.edge, height))
            pixels = np.asarray(middle.resize((64, 64)), dtype=np.int16)
        # One grey level is what encoding the same picture twice may differ by.
        if self._last is None or np.abs(pixels - self._last).max() > 1:
            self.num_distinct += 1
        self._last = pixels


def orbit(tab: Tab, middle: tuple[float, float], seconds: float) -> int:
    """Drag in circles; return the number of mouse events."""
    x, y = middle
    tab.mouse("mouseMoved", x, y)
    tab.mouse("mousePressed", x, y, buttons=1)
    start, moves = time.monotonic(), 0
    while (passed := time.monotonic() - start) < seconds:
        angle = 1.5 * passed
        tab.mouse("mouseMoved", x + 120 * math.sin(angle), y + 40 * math.sin(2 * angle), buttons=1)
        moves += 1
        time.sleep(1 / 60)
    tab.mouse("mouseReleased", x, y)
    return moves


def measure(capture: str, seconds: float, width: int, height: int) -> None:
    """Open a capture, wait for its picture, orbit, and print the figures."""
    session = Session(home=Path(tempfile.mkdtemp(prefix="hyrf-bench-")))
    serving = Serving(session)
    chromium = Browser(Path(tempfile.mkdtemp(prefix="chromium-")))
    try:
        session.post(OpenPath(capture))
        tab = chromium.open(serving.server.url, width, height)
        wait_for(lambda: serving.server.viewports, 60, "the browser")
        view = next(iter(serving.server.viewports.values())).view
        wait_for(lambda: session.frame(view), 600, "the first picture")
        wait_for(lambda: session.store.get("train.state") == "running", 600, "training")
        time.sleep(10)
        watcher = ScreenCount(Tab(tab.url), edge=310)
        idle = _steps(session, seconds, lambda: time.sleep(seconds))
        shown, sent = watcher.num_distinct, serving.server.num_sent
        busy = _steps(session, seconds, lambda: orbit(tab, (width / 2, height / 2), seconds))
        shown, sent = watcher.num_distinct - shown, serving.server.num_sent - sent
        frame = session.frame(view)
        print(f"machine          {os.cpu_count()} cores, {width}x{height} page")
        print(f"Gaussians        {session.store.get('scene.gaussians')}")
        print(f"last picture     {frame.image.shape[1]}x{frame.image.shape[0]}")
        print(f"pictures sent    {sent / seconds:.1f} per second")
        print(f"pictures shown   {shown / seconds:.1f} distinct per second")
        print(f"training         {busy:.1f} steps/s while orbiting, {idle:.1f} before")
    finally:
        chromium.close()
        serving.close()
        session.close()


def _steps(session: Session, seconds: float, act: Callable[[], object]) -> float:
    before = _step(session)
    act()
    return (_step(session) - before) / seconds


def _step(session: Session) -> int:
    """Return the step that the progress text names."""
    _, text = session.store.get("train.progress") or (0.0, "0")
    return int(str(text).split()[0].replace(",", ""))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", default="1280x800")
    arguments = parser.parse_args()
    measure(arguments.capture, arguments.seconds, *map(int, arguments.size.split("x")))
