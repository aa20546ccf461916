"""Short-lived work beside the window: opening, saving, measuring. Results come back on the app loop.

A job may fail or be cancelled; either way the window goes on and one notice says so.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from core.base.events import Event, Notice, Progress
from core.base.threads import Worker, failure

T = TypeVar("T")

ENGINE, OPENING, LEAVING = "Starting the engine", "Opening", "Saving the training"
SAVING, SAVING_RUN, EXPORTING = "Saving the scene", "Saving the run", "Exporting"
CHECKING = "Checking the photographs"


class Task:
    """What a job is given: where to report, and whether to give up."""

    def __init__(self, name: str, post: Callable[[Event], None], stopping: threading.Event) -> None:
        self.name = name
        self._post, self._stopping = post, stopping
        self._unfinished: set[str] = set()

    def report(self, event: Event) -> None:
        """Pass an event on."""
        if isinstance(event, Progress):
            is_over = event.fraction is not None and event.fraction >= 1.0
            (self._unfinished.discard if is_over else self._unfinished.add)(event.task)
        self._post(event)

    def progress(self, fraction: float | None, detail: str = "") -> None:
        """Say how far the job is."""
        self.report(Progress(self.name, fraction, detail))

    def cancelled(self) -> bool:
        """Whether the user no longer wants the result."""
        return self._stopping.is_set()

    def finish(self) -> None:
        """End every progress bar the job began."""
        for task in sorted(self._unfinished):
            self._post(Progress(task, 1.0))
        self._unfinished.clear()


class Jobs:
    """Runs each job in its own thread, or inside `tick` when inline."""

    def __init__(self, post: Callable[[Event], None], *, is_inline: bool) -> None:
        self.is_inline = is_inline
        self._post = post
        self._waiting: deque[Callable[[], None]] = deque()
        self._results: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._running: dict[threading.Event, tuple[str, Worker | None]] = {}

    def start(
        self,
        name: str,
        work: Callable[[Task], T],
        then: Callable[[T], None] = lambda _result: None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Do `work` beside the app loop, then hand its result to `then`, or call `failed`, on the app loop."""
        stopping = threading.Event()

        def run(_stopping: Any = None) -> None:
            self._run(stopping, Task(name, self._post, stopping), work, then, failed)

        if self.is_inline:
            self._running[stopping] = (name, None)
            self._waiting.append(run)
            return
        worker = Worker(name, run, self._post)
        self._running[stopping] = (name, worker)
        worker.start()

    def is_running(self, name: str) -> bool:
        """Whether a job of this name has not delivered its result."""
        return any(name == running for running, _ in self._running.values())

    def cancel(self, name: str) -> None:
        """Ask a job to give up."""
        for stopping, (running, _) in self._running.items():
            if running == name:
                stopping.set()

    def deliver(self, act: Callable[[], None]) -> None:
        """Have something done on the app loop, from a job that has more to come."""
        self._results.put(act)

    def tick(self) -> None:
        """Deliver results; inline, do the work first."""
        while self._waiting:
            self._waiting.popleft()()
            self._deliver()
        self._deliver()

    def close(self, timeout_s: float = 20.0) -> None:
        """Cancel everything, wait for files to be complete, and forget the results."""
        self._waiting.clear()
        for stopping in self._running:
            stopping.set()
        ends_s = time.monotonic() + timeout_s
        for _, worker in list(self._running.values()):
            if worker is not None:
                worker.stop(max(0.1, ends_s - time.monotonic()))

    def _deliver(self) -> None:
        while True:
            try:
                deliver = self._results.get_nowait()
            except queue.Empty:
                return
            try:
                deliver()
            except Exception as error:  # what follows a job must not end the app loop
                self._post(failure("window", error))

    def _run(
        self,
        stopping: threading.Event,
        task: Task,
        work: Callable[[Task], T],
        then: Callable[[T], None],
        failed: Callable[[], None],
    ) -> None:
        outcome: Callable[[], None] = failed
        try:
            result = work(task)
            if not task.cancelled():
                outcome = lambda: then(result)  # noqa: E731 - closes over the result
        except Exception as error:  # the border of a thread: everything becomes an event
            if not task.cancelled():
                self._post(failure(task.name, error))
        if task.cancelled():
            self._post(Notice(f"{task.name}: cancelled.", key=task.name))
        task.finish()

        def deliver() -> None:
            self._running.pop(stopping, None)
            try:
                outcome()
            except Exception as error:  # what follows a job must not end the app loop either
                self._post(failure(task.name, error))

        self._results.put(deliver)
