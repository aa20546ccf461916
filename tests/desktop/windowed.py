"""Run a test body in a child process with a display.

Dear PyGui can abort a process, so a test that opens a window is marked `@windowed`: pytest starts
a child that runs the body, and a crash of the child is one failed test.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMIT_S = 60


def windowed(test: Callable[..., None]) -> Callable[[str], None]:
    """Run a test body, which takes a `Driver`, in a child process with a display."""

    @functools.wraps(test)
    def in_child(display: str, tmp_path: Path) -> None:
        environment = {
            **os.environ,
            "DISPLAY": display,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(HERE))),
            "HYRF_TEST_FOLDER": str(tmp_path),
        }
        child = subprocess.run(
            [sys.executable, str(HERE / "driver.py"), test.__module__, test.__name__],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert child.returncode == 0, f"exit {child.returncode}\n{child.stdout}{child.stderr}"

    del in_child.__wrapped__  # pytest asks for the child's arguments, not the body's
    in_child.body = test
    return in_child
