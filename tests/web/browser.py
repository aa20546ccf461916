"""A headless Chromium driven over its debugging socket, with nothing but `websockets`."""

from __future__ import annotations

import base64
import io
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from websockets.sync.client import connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--remote-debugging-port=0",
    "--window-size=1280,800",
)


def find_chromium() -> str | None:
    """Return the path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


class Browser:
    """One Chromium process with an empty profile."""

    def __init__(self, profile: Path) -> None:
        self.process = subprocess.Popen(
            [str(find_chromium()), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file = profile / "DevToolsActivePort"
        self.port = int(wait_for(lambda: port_file.exists() and port_file.read_text().split())[0])

    def open(self, url: str, width: int = 1280, height: int = 800) -> Tab:
        """Open a tab of its own size on an address."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT"
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            target = json.load(reply)
        tab = Tab(target["webSocketDebuggerUrl"])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        tab.call("Emulation.setDeviceMetricsOverride", **size)
        # A tab in the background draws no frames unless it believes to be looked at.
        tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
        tab.call("Page.enable")
        tab.call("Page.navigate", url=url)
        return tab

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


class Tab:
    """A page: scripts, mouse, screenshots."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.socket = connect(url, max_size=None, open_timeout=20)
        self.ids = itertools.count(1)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        call_id = next(self.ids)
        self.socket.send(json.dumps({"id": call_id, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=30))
            if message.get("id") == call_id:
                assert "error" not in message, message["error"]
                return dict(message["result"])

    def run(self, script: str) -> Any:
        """Return the value of an expression."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def text(self) -> str:
        """Return all visible text."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def picture(self) -> np.ndarray:
        """Return a screenshot [H, W, 3] uint8."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            return np.asarray(image.convert("RGB"))

    def mouse(self, kind: str, x: float, y: float, buttons: int = 0) -> None:
        """Send one mouse event: mousePressed, mouseMoved or mouseReleased."""
        button = "left" if buttons or kind == "mouseReleased" else "none"
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button=button,
            buttons=buttons,
            clickCount=1,
        )

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """Press, move in steps, let go."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, buttons=1)
        for step in range(1, steps + 1):
            share = step / steps
            x, y = (a + (b - a) * share for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", x, y, buttons=1)
            time.sleep(0.03)
        self.mouse("mouseReleased", *end)

    def click(self, selector_script: str) -> None:
        """Click in the middle of the element that an expression returns."""
        box = self.run(
            f"(() => {{ const e = {selector_script}; e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.mouse("mouseMoved", *box)
        self.mouse("mousePressed", *box, buttons=1)
        self.mouse("mouseReleased", *box)

    def button(self, label: str) -> str:
        """Return the expression that finds a button by its words."""
        return (
            "[...document.querySelectorAll('button')]"
            f".find(b => b.innerText.trim() === {json.dumps(label)})"
        )

    def close(self) -> None:
        """Close the tab."""
        self.call("Page.close")
        self.socket.close()


def wait_for(condition: Any, timeout_s: float = 30.0, what: str = "") -> Any:
    """Return the first true value of `condition`, or fail after a while."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout_s:.0f} s for {what or condition}"
        time.sleep(0.05)
