"""Work in a process of its own: its log becomes progress, cancelling kills it at once, and it never outlives us.

The parent holds the child's standard input; the child ends by itself when that closes, however
the parent ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

POLL_S = 0.1


class ChildError(Exception):
    """The process ended before its work was done; the text is the last line it wrote."""

    def __init__(self, code: int, last_line: str) -> None:
        super().__init__(f"the process ended with code {code}: {last_line}")
        self.was_killed = code in (-signal.SIGTERM, -9)


def threads() -> int:
    """Return how many threads native code may use."""
    return max(1, int(os.environ.get("HYRF_THREADS", 0)) or os.cpu_count() or 1)


def run_child(
    module: str, job: Path, show: Callable[[Iterable[str]], None], stop: Callable[[], None]
) -> None:
    """Run `python -m module job`; `show` is given the new lines of its log, `stop` raises to cancel."""
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    log = job / "log.txt"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", module, str(job)],
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads())},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            while child.poll() is None:
                stop()
                show(lines)
                time.sleep(POLL_S)
            show(lines)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        assert child.stdin is not None
        child.stdin.close()
    if child.returncode != 0:
        last = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        raise ChildError(child.returncode, last[0])


def end_with_parent() -> None:
    """In the child: end at once when the parent is gone."""

    def wait() -> None:
        os.read(0, 1)  # without Python's buffer, whose lock would outlast the interpreter
        os._exit(1)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()
