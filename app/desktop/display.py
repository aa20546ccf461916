"""Is there a display, and has it something to say? Both asked without Dear PyGui in this process.

Without a usable display Dear PyGui aborts the whole process when the window is shown, and nothing
can catch that. So a child process opens a window first and this one looks at how it ended.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import socket
import subprocess
import sys
import time

PROBE = """
import dearpygui.dearpygui as dpg
dpg.create_context()
dpg.create_viewport(title="", width=1, height=1, min_width=1, min_height=1, decorated=False)
dpg.setup_dearpygui()
dpg.show_viewport()
dpg.render_dearpygui_frame()
dpg.destroy_context()
"""
PROBE_LIMIT_S = 20.0
NVIDIA_DEVICES = ("/dev/nvidiactl", "/dev/dxg")  # Linux, and Linux inside Windows


class DisplayProbe:
    """A child process that tries to open a window, started at once so that its answer is soon there."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        if not _is_without_display():
            self._child = subprocess.Popen(
                [sys.executable, "-c", PROBE],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )

    def problem(self) -> str | None:
        """Wait for the answer: a sentence that says why no window can be opened here, or None."""
        child = self._child
        if child is None:
            return "There is no display: the variable DISPLAY is not set."
        try:
            said = child.communicate(timeout=PROBE_LIMIT_S)[1]
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return f"The display did not answer within {PROBE_LIMIT_S:.0f} seconds."
        if child.returncode == 0:
            return None
        place = f" {os.environ['DISPLAY']}" if os.environ.get("DISPLAY") else ""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        # What an abort prints is about the toolkit's source, not about the display.
        reason = f" ({lines[-1]})" if lines and child.returncode > 0 else ""
        return (
            f"No window can be opened on the display{place}; nothing usable answers there{reason}."
        )


def display_problem() -> str | None:
    """Return a sentence that says why no window can be opened here, or None."""
    return DisplayProbe().problem()


def _is_without_display() -> bool:
    return sys.platform.startswith("linux") and not os.environ.get("DISPLAY")


def load_triton() -> None:
    """Load Triton before the display's driver, where there is a GPU that it may be needed for.

    Both may bring an LLVM library, and Triton crashes the process when the driver's was there first.
    """
    has_gpu = any(os.path.exists(device) for device in NVIDIA_DEVICES)
    if has_gpu and importlib.util.find_spec("triton") is not None:
        with contextlib.suppress(ImportError):  # damaged: then nobody else can load it either
            importlib.import_module("triton._C.libtriton")


class InputWaiter:
    """Sleeps until the display has an event, so that an idle window answers at once and costs nothing.

    Dear PyGui can only look for events by drawing a frame. Where its connection to the display is
    a local socket of the X server this waits on that socket; elsewhere it sleeps a frame's time.
    """

    def __init__(self) -> None:
        self._sockets = _display_sockets()

    @property
    def can_tell(self) -> bool:
        """Whether `wait` knows of input without a frame being drawn."""
        return bool(self._sockets)

    def wait(self, seconds: float) -> bool:
        """Sleep for at most `seconds`; return whether the display has something to say."""
        if not self._sockets:
            time.sleep(max(seconds, 0.0))
            return False
        return bool(select.select(self._sockets, [], [], max(seconds, 0.0))[0])


def _display_sockets() -> list[int]:
    """Return the descriptors of this process that lead to an X server on this machine."""
    if not sys.platform.startswith("linux"):
        return []
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as end:
                peer = end.getpeername()
        except OSError:  # closed meanwhile, or not connected
            continue
        if b".X11-unix" in (peer if isinstance(peer, bytes) else str(peer).encode()):
            found.append(int(name))
    return found
