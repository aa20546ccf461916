"""Worker threads that report their own failure and never take the process down."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from core.base.errors import HybridError
from core.base.events import Event, Failed


class Worker:
    """Run `work(stopping)` in a named daemon thread; a failure becomes one `Failed` event."""

    def __init__(
        self, name: str, work: Callable[[threading.Event], None], report: Callable[[Event], None]
    ) -> None:
        self.name = name
        self._work, self._report = work, report
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Ask the thread to end and wait; return whether it did within `timeout_s`."""
        self._stopping.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work(self._stopping)
        except Exception as error:  # the border of a thread: everything becomes an event
            self._report(failure(self.name, error))


def failure(where: str, error: Exception) -> Failed:
    """Describe an exception for the window: our own errors word for word, others with their type."""
    is_deliberate = isinstance(error, HybridError)
    message = str(error) if is_deliberate else f"{type(error).__name__}: {error}"
    text = "".join(traceback.format_exception(error))
    return Failed(where, message, text, is_deliberate)
