"""The drawing thread: newest request of the view that waited longest, from the newest snapshot.

    request   a front end wants a picture; only its newest view counts
    draft     small and quick, while the camera moves and as a first answer
    full      full size once the camera has rested; given up between tile rows for a newer request
    recompose another blend or channel of layers that are already there: no render
    refresh   the same view from a newer snapshot, rarely enough that training keeps its cores

A render that fails is told once; the view keeps its last frame and training goes on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from core.base.errors import HybridError
from core.base.events import EventQueue, Failed, Notice
from core.base.latest import Latest
from core.base.threads import Worker, failure
from core.engine.cores import use_cores
from core.engine.pictures import Drawing, Plan, draw, picture, same_camera
from core.engine.resolution import TARGET_MS, Resolution
from core.radiance.field import Snapshot
from core.render.backend import Renderer
from core.render.panorama import Panorama
from core.render.view import Frame, View

REST_S = 0.15  # of stillness before the full picture
MOVING_EXPIRES_S = 0.25  # a view said to move is at rest when nothing was asked for this long
REFRESH_EVERY_S = 0.25
REFRESH_SHARE = 0.25  # refreshing waits four times its own cost: at most a fifth of the time
MOVING_SNAPSHOT_S = 1.0  # decoding a new snapshot costs more than a frame: rarely while moving
MOVING_SHARE = 0.7  # of the time at most is spent on moving pictures: a rest keeps requests fresh
LONGEST_REST_S = 0.015
PATIENCE_S = 1.0  # a full picture waits this long for other people's moving views
POLL_S, MOVING_POLL_S = 0.02, 0.004


class Job(Enum):
    """What a view needs next."""

    RECOMPOSE = "recompose"
    DRAFT = "draft"
    FULL = "full"


@dataclass(eq=False)
class _Seat:
    """One view and what has been done for it; times on the service's clock."""

    asked: View
    asked_s: float
    waiting_s: float  # since when a request has been unanswered
    changed_s: float  # when the picture asked for last changed
    taken: View | None = None  # the newest request whose drawing has begun
    shown: View | None = None
    drawing: Drawing | None = None
    frame: Frame | None = None
    drawn_s: float = -math.inf
    postponed_s: float = -math.inf  # when a full picture was given up for others
    wanted_s: float | None = None  # since when a full picture is tried
    full_ms: float = 0.0
    latency_ms: float = 0.0
    failed: tuple[View, Snapshot] | None = None

    def is_moving(self, now: float) -> bool:
        """Whether a hand is on the camera."""
        return self.asked.is_moving and now - self.asked_s < MOVING_EXPIRES_S


class RenderService:
    """Serve pictures to any number of views. `start` uses a thread; `tick` does one job in the calling one."""

    def __init__(
        self,
        renderer: Renderer,
        snapshots: Latest[Snapshot],
        events: EventQueue,
        cores: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.renderer = renderer
        self.renders = 0  # layers drawn so far; recomposing does not count
        self.resolution = Resolution()
        self.cores = cores  # of the drawing thread; may change while it runs
        self._snapshots, self._events, self._clock = snapshots, events, clock
        self._snapshot: Snapshot | None = None
        self._panorama: Panorama | None = None  # of that snapshot
        self._taken_s = -math.inf
        self._seats: dict[str, _Seat] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closing = False
        self._told: set[str] = set()
        self._worker = Worker("drawing", self._work, events.post)

    # ---- from any thread -------------------------------------------------------------

    def request(self, view_id: str, view: View) -> None:
        """Ask for a picture; an older request of the same view is forgotten."""
        now = self._clock()
        with self._lock:
            seat = self._seats.get(view_id)
            if seat is None:
                self._seats[view_id] = _Seat(view, now, now, now)
            else:
                if not _same_picture(seat.asked, view):
                    seat.changed_s, seat.wanted_s = now, None
                if seat.asked is seat.taken:
                    seat.waiting_s = now
                seat.asked, seat.asked_s = view, now
        self._wake.set()

    def frame(self, view_id: str) -> Frame | None:
        """Return the newest finished picture of a view."""
        seat = self._seats.get(view_id)
        return seat.frame if seat else None

    def latency_ms(self, view_id: str) -> float:
        """Return how long the newest answered request of a view waited for its first picture."""
        seat = self._seats.get(view_id)
        return seat.latency_ms if seat else 0.0

    def close_view(self, view_id: str) -> None:
        """Forget a view."""
        with self._lock:
            self._seats.pop(view_id, None)

    @property
    def has_views(self) -> bool:
        """Whether anybody looks."""
        return bool(self._seats)

    @property
    def is_moving(self) -> bool:
        """Whether any camera moves."""
        now = self._clock()
        return any(seat.is_moving(now) for seat in self._all())

    def start(self) -> None:
        """Draw in a thread of its own until `close`."""
        self._worker.start()

    def close(self, timeout_s: float = 10.0) -> bool:
        """End the thread, giving up the picture under way; return whether it ended in time."""
        self._is_closing = True
        self._wake.set()
        return self._worker.stop(timeout_s) if self._worker.is_alive else True

    # ---- the loop --------------------------------------------------------------------

    def tick(self) -> bool:
        """Do the job that has waited longest; return whether there was one."""
        chosen = self._choose(self._clock())
        if chosen is None:
            return False
        seat, job = chosen
        if job is Job.RECOMPOSE:
            self._recompose(seat)
        else:
            self._draw(seat, job)
        return True

    def _work(self, stopping: threading.Event) -> None:
        used = 0
        while not stopping.is_set():
            self._wake.clear()
            if used != self.cores:
                used = self.cores
                use_cores(used)
            if not self.tick():
                self._wake.wait(MOVING_POLL_S if self.is_moving else POLL_S)

    def _all(self) -> list[_Seat]:
        with self._lock:
            return list(self._seats.values())

    def _choose(self, now: float) -> tuple[_Seat, Job] | None:
        if self._snapshot is None and not self._snapshots.is_fresh:
            return None
        waiting = []
        for seat in self._all():
            need = self._need(seat, now)
            if need is not None:
                waiting.append((need[1], seat, need[0]))
        if not waiting:
            return None
        _, seat, job = min(waiting, key=lambda entry: entry[0])
        return seat, job

    def _need(self, seat: _Seat, now: float) -> tuple[Job, float] | None:
        """Return what a view needs and since when, or None."""
        view, drawing, is_moving = seat.asked, seat.drawing, seat.is_moving(now)
        is_newer = self._snapshots.is_fresh
        if seat.failed is not None and not is_newer:
            failed_view, failed_snapshot = seat.failed
            if failed_view is view and failed_snapshot is self._snapshot:
                return None
        serves = drawing is not None and drawing.serves(view)
        if view is not seat.shown:
            if serves:
                return Job.RECOMPOSE, seat.waiting_s
            if is_moving and drawing is not None and now < seat.drawn_s + _rest_s(drawing):
                return None
            width, height = view.camera.width, view.camera.height
            is_quick = self.resolution.expected_ms(width * height) <= TARGET_MS
            return Job.FULL if is_quick and not is_moving else Job.DRAFT, seat.waiting_s
        if drawing is None:  # its render failed; a newer snapshot may do better
            due_s = seat.drawn_s + MOVING_SNAPSHOT_S
            return (Job.DRAFT, due_s) if is_newer and now >= due_s else None
        rested_s = seat.changed_s + REST_S
        if not is_moving and not drawing.is_full and now >= rested_s:
            return Job.FULL, max(rested_s, seat.postponed_s)
        if is_newer or drawing.snapshot is not self._snapshot:
            cost_s = (drawing.total_ms if is_moving else seat.full_ms) / 1000
            due_s = seat.drawn_s + max(REFRESH_EVERY_S, cost_s / REFRESH_SHARE)
            if now >= max(due_s, rested_s):
                return Job.DRAFT if is_moving else Job.FULL, max(due_s, seat.postponed_s)
        return None

    # ---- drawing ---------------------------------------------------------------------

    def _draw(self, seat: _Seat, job: Job) -> None:
        view, asked_s, began = seat.asked, seat.asked_s, self._clock()
        seat.taken = view
        is_first_of_snapshot = self._take_snapshot(job, began)
        snapshot = self._snapshot
        if snapshot is None:
            return
        try:
            drawing = self._render(seat, view, snapshot, job)
            if drawing is None:
                seat.postponed_s = self._clock()
                return
            # the first frame of a snapshot decodes its geometry too: no measure of the next one
            if job is Job.DRAFT and not is_first_of_snapshot:
                self.resolution.learn(drawing.pixels, drawing.decode_ms, drawing.total_ms)
            seat.drawn_s, seat.wanted_s = self._clock(), None
            if drawing.is_full:
                seat.full_ms = drawing.total_ms
            is_answer = seat.shown is not view
            self._show(seat, view, drawing, began)
            if is_answer:
                seat.latency_ms = (self._clock() - asked_s) * 1000
        except Exception as error:  # a failed picture never ends the drawing thread
            seat.failed, seat.shown = (view, snapshot), view
            seat.drawn_s = self._clock()
            self._tell(failure("drawing", error))

    def _render(self, seat: _Seat, view: View, snapshot: Snapshot, job: Job) -> Drawing | None:
        """Draw layers, at half the size again whenever memory runs out."""
        while True:
            width, height = view.camera.width, view.camera.height
            is_full = job is Job.FULL
            size = self.resolution.full if is_full else self.resolution.moving
            cancelled = self._cancels(seat, view) if is_full else None
            self.renders += 1
            try:
                plan = Plan(view, *size(width, height), is_full, cancelled, self._panorama)
                return draw(self.renderer, snapshot, plan)
            except Exception as error:
                if not _is_out_of_memory(error) or not self.resolution.shrink():
                    raise
            text = f"Memory ran out while drawing: pictures are now at most {self.resolution.limit:.0%} of the size."
            self._events.post(Notice(text, "warning", key="drawing memory"))

    def _recompose(self, seat: _Seat) -> None:
        """Answer from layers that are there; a request that only repeats the last one costs nothing."""
        view, drawing, frame = seat.asked, seat.drawing, seat.frame
        seat.taken = view
        assert drawing is not None
        if frame is not None and _same_picture(frame.view, view):
            seat.frame, seat.shown = replace(frame, view=view), view
        else:
            self._show(seat, view, drawing, self._clock())

    def _show(self, seat: _Seat, view: View, drawing: Drawing, began: float) -> None:
        try:
            image, legend = picture(drawing, view)
        except Exception as error:  # as in _draw: the view keeps its last frame
            seat.failed, seat.shown = (view, drawing.snapshot), view
            self._tell(failure("drawing", error))
            return
        render_ms = (self._clock() - began) * 1000
        seat.drawing, seat.shown, seat.failed = drawing, view, None
        seat.frame = Frame(
            image,
            view,
            drawing.snapshot.step,
            render_ms,
            drawing.is_full,
            drawing.num_visible,
            legend,
        )

    def _take_snapshot(self, job: Job, now: float) -> bool:
        """Adopt a newer snapshot where it is time; return whether there was one."""
        is_time = job is Job.FULL or now - self._taken_s >= MOVING_SNAPSHOT_S
        newer = self._snapshots.take() if self._snapshot is None or is_time else None
        if newer is None:
            return False
        self._snapshot, self._taken_s = newer, now
        sphere = newer.sphere() if newer.device.type == "cpu" else None
        self._panorama = None if sphere is None else Panorama(sphere)
        return True

    def _cancels(self, seat: _Seat, view: View) -> Callable[[], bool]:
        """Return the question a full picture asks between tile rows."""
        if seat.wanted_s is None:
            seat.wanted_s = self._clock()
        wanted_s, is_answer = seat.wanted_s, seat.shown is not view

        def cancelled() -> bool:
            if self._is_closing or not _same_picture(seat.asked, view):
                return True
            now = self._clock()
            if is_answer or now - wanted_s > PATIENCE_S:
                return False
            return any(
                other is not seat and other.asked is not other.shown and other.is_moving(now)
                for other in self._all()
            )

        return cancelled

    def _tell(self, failed: Failed) -> None:
        """Report a failure once for each distinct message."""
        if failed.message not in self._told:
            self._told.add(failed.message)
            self._events.post(failed)


def _rest_s(drawing: Drawing) -> float:
    """Return the pause after a moving picture: the hand goes on, and training wants its cores."""
    if drawing.is_full:
        return 0.0
    return min(LONGEST_REST_S, drawing.total_ms / 1000 * (1 / MOVING_SHARE - 1))


def _same_picture(one: View, other: View) -> bool:
    """Whether two requests show the same, whatever their serial and whether a hand is on the camera."""
    is_same_kind = (one.channel, one.blend) == (other.channel, other.blend)
    return is_same_kind and same_camera(one.camera, other.camera)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, HybridError):
        return False
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text
