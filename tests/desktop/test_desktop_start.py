"""The start: a window first, everything heavy after its first frame."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from app.session import Session
from core.base.cache import cache_folder

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 300
# What runs in the child: the program as it is, told to say when it reaches something.
WATCHED = """
import os, sys, time
began = float(os.environ["TEST_BEGAN"])
import json
seen = {}
def reached(name):
    if name not in seen:
        seen[name] = (time.time() - began, time.process_time())
import app.commands
from app.desktop.window import Window
turn = Window.turn
def watched(self, **options):
    is_drawn = turn(self, **options)
    if is_drawn:
        if "window" not in seen:
            assert "torch" not in sys.modules, "the engine was imported before the first frame"
        reached("window")
        if self.store.get("engine.state") == "ready":
            reached("engine")
        if self.viewport.frame is not None:
            reached("picture")
            print(json.dumps(seen), flush=True)
            os._exit(0)
    return is_drawn
Window.turn = watched
app.commands.run(sys.argv[1:])
"""


def test_the_window_is_drawn_before_the_engine_is_imported(display, tmp_path):
    environment = {
        **os.environ,
        "TEST_BEGAN": repr(time.time()),
        "PYTHONPATH": str(ROOT),
        "DISPLAY": display,
        # the child's home is another one; its kernels need not be compiled anew
        "HYRF_CACHE": str(cache_folder("kernels").parent),
        "HOME": str(tmp_path),
    }
    # up to the first picture, so that a crash between window and optimizer is noticed too
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "open", "--no-train"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.stdout.strip(), f"exit {done.returncode} without an answer: {done.stderr}"
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["window"][0] < seen["engine"][0] <= seen["picture"][0]
    # of the processor: other work on this machine does not count; measured 0.55 s
    assert seen["window"][1] < 1.5


def test_a_session_loads_its_engine_once_and_only_when_told(tmp_path):
    session = Session(inline=True, home=tmp_path, starts_engine=False)
    try:
        session.tick()
        assert session.store.get("engine.state") == "starting"
        session.start_engine()
        session.start_engine()
        session.tick()
        assert session.store.get("engine.state") == "ready"
        assert session.frame("desktop") is None
    finally:
        session.close()
