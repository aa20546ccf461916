"""Distinct pictures a second that reach a headless Chromium while the camera orbits and training runs.

    python -m tests.bench.live_web [CAPTURE] [--seconds 10] [--size 1280x800] [--json FILE]

A picture counts when the page has given it to WebGL, drawn with it, and the next frame has begun. The
page tells so itself: Chromium's screen capture would cost a third of the pictures. The page, the browser
and its software 3D run on the same cores as the training.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import tempfile
import threading
import time
from pathlib import Path

from websockets.exceptions import ConnectionClosed

from app.session import Session
from core.base.config import parse_settings
from tests.bench import live
from tests.web.browser import Browser, Tab, wait_for
from tests.web.serving import Serving

INPUTS_PER_S = 60
SMALLEST = 160  # pixels: narrower textures are not the scene's picture
NUDGES = 8  # single movements after a rest


COUNTER = """
window.drawn = {count: 0, first: 0};
const gl = WebGL2RenderingContext.prototype;
let isNew = false;
for (const name of ['texImage2D', 'texSubImage2D']) {
  const upload = gl[name];
  gl[name] = function (...given) {
    const source = given[given.length - 1];
    isNew ||= source !== null && typeof source === 'object' && source.width >= SMALLEST;
    return upload.apply(this, given);
  };
}
for (const name of ['drawArrays', 'drawElements']) {
  const draw = gl[name];
  gl[name] = function (...given) {
    if (isNew) {
      isNew = false;
      requestAnimationFrame(() => {
        window.drawn.count += 1;
        window.drawn.first ||= Date.now();
      });
    }
    return draw.apply(this, given);
  };
}
"""


class PictureCount:
    """Counts the pictures that a page has drawn, and moves its mouse."""

    def __init__(self, tab: Tab) -> None:
        self.tab, self.hand = tab, Tab(tab.url)
        self._ids = itertools.count(1)
        tab.run(f"(() => {{{COUNTER.replace('SMALLEST', str(SMALLEST))}}})()")
        threading.Thread(target=self._drain, daemon=True).start()

    def start(self) -> None:
        """Forget what was counted."""
        self.tab.run("window.drawn = {count: 0, first: 0}")

    def count(self) -> int:
        """Return how many pictures were drawn."""
        return int(self.tab.run("window.drawn.count"))

    def first_s(self) -> float:
        """Return when the first of them was, in seconds of the wall clock; 0 where none was."""
        return float(self.tab.run("window.drawn.first")) / 1000

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Send one event of a mouse whose left button is held while it moves; nobody waits for the answer."""
        place = {"x": x, "y": y, "button": "left", "clickCount": 1}
        params = {"type": kind, "buttons": 0 if kind == "mouseReleased" else 1, **place}
        message = {"id": next(self._ids), "method": "Input.dispatchMouseEvent", "params": params}
        self.hand.socket.send(json.dumps(message))

    def _drain(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for _answer in self.hand.socket:
                pass


def orbit(watcher: PictureCount, middle: tuple[float, float], seconds: float) -> None:
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
        watcher = PictureCount(tab)
        sizes = Sizes(session, view)
        time.sleep(2)
        span = live.Span(session)
        time.sleep(seconds)
        rest = span.figures()
        watcher.start()
        sent, span = serving.server.num_sent, live.Span(session)
        sizes.seen = {}
        orbit(watcher, middle, seconds)
        moving, shown = span.figures(), watcher.count()
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


def nudges(watcher: PictureCount, middle: tuple[float, float]) -> list[float]:
    """Move a resting camera a little, several times; return the delays until the screen changed, in seconds."""
    delays = []
    watcher.mouse("mouseMoved", *middle)
    watcher.mouse("mousePressed", *middle)
    for index in range(NUDGES):
        time.sleep(1.0)
        watcher.start()
        began = time.time()
        watcher.mouse("mouseMoved", middle[0] + 12 * (index + 1), middle[1] + 3 * (index + 1))
        time.sleep(0.8)
        if first_s := watcher.first_s():
            delays.append(first_s - began)
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
