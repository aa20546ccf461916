"""The program itself, which says when a first event has come and then closes its window.

Started by the benchmark `startup`: the moment of the start (monotonic clock, which processes of one
machine share), the event, and the words of the command line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def main(began: float, event: str, words: list[str]) -> int:
    """Run the command line until the event has come."""
    from app.commands import run
    from app.desktop.window import Window

    turn = Window.turn
    said = False

    def watched(window: Any, **named: Any) -> bool:
        nonlocal said
        drew = turn(window, **named)
        if not said and _HAS_COME[event](window, drew):
            said = True
            times = os.times()
            used = times.user + times.system + times.children_user + times.children_system
            print(json.dumps({"wall_s": time.monotonic() - began, "cpu_s": used}), flush=True)
            window.quit()
        return drew

    Window.turn = watched
    return run(words)


def _has_stepped(window: Any, _drew: bool) -> bool:
    trainer = window.session._training.trainer
    return trainer is not None and trainer.step >= 1


_HAS_COME: dict[str, Callable[[Any, bool], bool]] = {
    "window": lambda _window, drew: drew,
    "frame": lambda window, drew: drew and window.viewport.frame is not None,
    "step": _has_stepped,
}


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
