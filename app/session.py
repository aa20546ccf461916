"""The one object both front ends hold: actions in, store and frames out.

    post(action)   from any thread; carried out at the next tick
    tick()         by the app loop alone: actions -> commands, events -> store
    store          values for the panels; read on the app loop
    frame(view)    newest finished picture of a view, from any thread

Keys that front ends read beside their panels:

    page             "start" or "scene"
    title            text for the window's title
    camera.<view>    a Camera the session moved this view to (snap, reset, frame); the front end adopts it
    photo.<view>     index of the photograph that view looks from, -1 for none
    status           tuple of short texts for the status line
    scene.up         [3] upward direction of the scene
    scene.center     [3] point to orbit
    scene.radius     distance that shows the scene
    train.state      idle, loading, running, paused, done or failed; task.name: the long task under way

The engine (torch and everything on it) is loaded beside the window, once this has drawn its first
frame; what is opened before it is ready waits for it.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from app import actions, machine
from app.actions import Action
from app.engine import Engine, load_engine
from app.exporting import choose
from app.jobs import CHECKING, ENGINE, LEAVING, OPENING, Jobs
from app.opening import Content, checked, open_path
from app.panels.words import named
from app.pixels import Pixels
from app.readings import Readings
from app.scene import Scene
from app.store import Store
from app.studying import Studying
from app.training import Training, TrainingPlan, seen_as_preview
from app.views import Views
from assets import DEMO
from core.base.errors import HybridError
from core.base.events import EventQueue, Notice, StateChanged
from core.base.threads import failure
from core.engine.cores import cores_available
from core.render.view import Frame, View

if TYPE_CHECKING:
    from core.capture.capture import Capture

HOME = "~/hyrf-studio"  # runs, saved scenes and the list of recent ones


class Session:
    """The application without a window. `inline` runs trainer and renderer inside `tick`."""

    def __init__(
        self,
        *,
        inline: bool = False,
        device: str = "auto",
        home: Path | None = None,
        plan: TrainingPlan | None = None,
        starts_engine: bool = True,
    ) -> None:
        self.store = Store()
        self.is_inline = inline
        self.home = Path(home or HOME).expanduser().absolute()
        self._events = EventQueue()
        self._actions: queue.SimpleQueue[Action] = queue.SimpleQueue()
        self._readings = Readings(self.store)
        self._jobs = Jobs(self._events.post, is_inline=inline)
        self._plan = plan or TrainingPlan()
        self._device = device
        self._views = Views(self.store, self._request)
        self._training = Training(self.store, self._events, self._plan, self.home)
        self._engine: Engine | None = None
        self._waiting: deque[Callable[[], None]] = deque()  # for the engine
        self._after_leaving: Callable[[], None] | None = None
        self._told = ""  # the last mistake of ours that a tick ran into
        self._scene = Scene(
            self.store, self._events, self._jobs, self._training, self._views, self.home
        )
        self._pixels = Pixels(self.store, self._jobs, self._scene)
        self._studying = Studying(self.store, self._training, self._jobs, self._events, self._scene)
        self._is_closed = False
        self.store.update(page="start", title="HyRF Studio", status=())
        self.store.update(engine__state="starting", engine__text="starting")
        machine.describe(self.store, self.home, cores_available())
        self.store.set("recent", self._scene.recent.rows())
        self._studying.show_gallery()
        self._is_engine_started = False
        if starts_engine:
            self.start_engine()

    def start_engine(self) -> None:
        """Load the engine beside the window, once; a window draws its first frame before that.

        Importing torch holds the interpreter for a second or two.
        """
        if self._is_engine_started or self._is_closed:
            return
        self._is_engine_started = True
        device = self._device
        self._jobs.start(
            ENGINE, lambda task: load_engine(device, task), self._engine_ready, self._engine_failed
        )

    def post(self, action: Action) -> None:
        """Ask for something; returns at once."""
        self._actions.put(action)

    def tick(self) -> None:
        """Carry out what was asked and take in what the engine reports."""
        for part in (
            self._jobs.tick,
            self._carry_out,
            self._views.tick,
            lambda: self._scene.tick(is_inline=self.is_inline),
            self._studying.tick,
            self._take_events,
            lambda: self._scene.show_status(self.frame(self._views.last)),
        ):
            try:
                part()
            except Exception as error:
                self.report(error)

    def report(self, error: Exception) -> None:
        """Tell of a mistake of ours, once while it repeats: the window must outlive it, training goes on."""
        failed = failure("window", error)
        if failed.message != self._told:
            self._told = failed.message
            self._events.post(failed)

    def frame(self, view: str) -> Frame | None:
        """Return the newest finished picture of a view."""
        service = self._scene.service
        return None if service is None else service.frame(view)

    def close(self) -> None:
        """Stop every thread in order; a running training writes a checkpoint first."""
        if self._is_closed:
            return
        self._is_closed = True
        self._jobs.close()
        self._scene.leave()()

    def _request(self, name: str, view: View) -> None:
        if self._scene.service is not None:
            self._scene.service.request(name, view)

    def _take_events(self) -> None:
        for event in self._events.drain():
            if isinstance(event, StateChanged) and self._training.is_preview:
                event = seen_as_preview(event)
            self._readings.take(event)
            self._scene.note(event)

    # ---- the engine --------------------------------------------------------------------

    def _engine_ready(self, engine: Engine) -> None:
        self._engine = engine
        self._scene.engine = engine
        self._training.engine_ready(engine.device)
        self.store.update(
            engine__state="ready", engine__text="ready", machine__graphics=engine.graphics
        )
        while self._waiting:
            self._waiting.popleft()()

    def _engine_failed(self) -> None:
        self.store.update(engine__state="failed", engine__text="could not start; see the notices")

    def _with_engine(self, act: Callable[[], None]) -> None:
        """Act now, or as soon as the engine is there."""
        if self._engine is not None:
            act()
        elif self.store.get("engine.state") == "failed":
            text = "The engine did not start, so nothing can be opened. See the notice about it."
            self._events.post(Notice(text, "error", key="engine"))
        else:
            self._waiting.append(act)

    # ---- actions -----------------------------------------------------------------------

    def _carry_out(self) -> None:
        while True:
            try:
                action = self._actions.get_nowait()
            except queue.Empty:
                return
            try:
                self._do(action)
            except HybridError as error:
                self._events.post(Notice(str(error), "error"))
            except Exception as error:  # the window must outlive any mistake of ours
                self._events.post(failure(named(type(action).__name__), error))

    def _do(self, action: Action) -> None:
        others = (self._do_with_views, self._do_with_training, self._studying.do, self._pixels.do)
        if any(do(action) for do in others) or choose(self.store, action):
            return
        match action:
            case actions.OpenPath(value):
                self._open(value)
            case actions.OpenDemo():
                self._open(str(DEMO))
            case actions.OpenStudy(value):
                self._with_engine(lambda: self._leave(lambda: self._enter_study(str(value))))
            case actions.ChooseVariant(value):
                self._studying.choose_variant(value)
                self._start_training()
            case actions.CloseScene():
                self._leave(self._show_start)
            case actions.SaveScene(value):
                self._scene.save(value)
            case actions.ExportScene(value):
                self._scene.export(value)
            case actions.ChooseFormat(value):
                self._scene.choose_format(value)
            case actions.DismissNotice(value):
                self._readings.dismiss(value)
            case actions.CancelTask():
                self._cancel()
            case _:
                raise TypeError(f"no one carries out {type(action).__name__}")

    def _do_with_views(self, action: Action) -> bool:
        views = self._views
        match action:
            case actions.MoveCamera(view, camera, is_moving):
                views.move(view, camera, is_moving)
            case actions.ResizeView(view, width, height):
                views.resize(view, width, height)
            case actions.SnapToPhoto(view, value):
                views.snap(view, value)
            case actions.StepPhoto(view, value):
                views.step_photo(view, value)
            case actions.ResetView(view):
                views.reset(view)
            case actions.FrameScene(view):
                views.frame_scene(view)
            case actions.CloseView(view):
                views.close(view)
                if self._scene.service is not None:
                    self._scene.service.close_view(view)
            case actions.SetBlend(value):
                views.blend(value)
            case actions.SetChannel(value):
                views.channel(value)
            case _:
                return False
        return True

    def _do_with_training(self, action: Action) -> bool:
        training = self._training
        match action:
            case actions.StartTraining():
                self._with_engine(self._start_training)
            case actions.PauseTraining():
                training.pause()
            case actions.ResumeTraining():
                training.resume()
            case actions.TogglePause():
                if training.is_preview:
                    self._start_training()
                else:
                    training.toggle_pause()
            case actions.StepOnce():
                training.step_once()
            case actions.StopTraining():
                training.stop()
            case actions.Evaluate():
                training.evaluate()
            case actions.ChooseStudy(value):
                self._with_engine(lambda: training.choose_study(str(value)))
            case actions.ChoosePreset(value):
                self._with_engine(lambda: training.choose_preset(str(value)))
            case actions.SetKnob(key, value):
                self._with_engine(lambda: training.set_knob(key, value))
            case actions.SetYield(value):
                self.store.set("train.yields", bool(value))
            case _:
                return False
        return True

    # ---- opening and leaving -----------------------------------------------------------

    def _open(self, path: str) -> None:
        if self._jobs.is_running(OPENING):
            self._events.post(
                Notice("Something is being opened already. Cancel it first.", "warning", "opening")
            )
            return
        device, seeds = self._device, self._plan.seeds
        self._jobs.start(OPENING, lambda task: open_path(path, device, seeds, task), self._opened)

    def _opened(self, content: Content) -> None:
        self._with_engine(lambda: self._leave(lambda: self._enter(content)))

    def _enter(self, content: Content) -> None:
        self._forget_training()
        if content.run is not None and content.capture is None and content.scene is None:
            self._studying.resume(content.run)
            self._readings.restore(content.run.metrics())
            return
        earlier = self._scene.enter(content, trains=self._plan.starts)
        self._readings.restore(earlier)
        self._check(content.capture)

    def _enter_study(self, name: str) -> None:
        self._forget_training()
        self._studying.enter(name, trains=self._plan.starts)

    def _check(self, capture: Capture | None) -> None:
        """Look for what is wrong with the photographs, beside everything else."""
        self.store.update(check__state="", check__rows=(), check__counts="", check__poses="")
        if capture is None:
            return
        train, test = len(capture.train), len(capture.test)
        counts = f"{train + test} photographs, {train} to learn from, {test} held out."
        self.store.update(check__state="running", check__counts=counts, check__poses=capture.poses)

        def show(rows: tuple[tuple[str, str, str], ...]) -> None:
            if self._scene.capture is capture:
                self.store.update(check__state="done", check__rows=rows)

        def is_gone() -> bool:
            return self._is_closed or self._scene.capture is not capture

        self._jobs.start(CHECKING, lambda _task: checked(capture, is_gone), show)

    def _leave(self, then: Callable[[], None]) -> None:
        """Close the open scene or study; its training is saved beside the app loop."""
        self._studying.leave()
        self._pixels.close()
        self._wait_for(self._scene.leave(), then)

    def _wait_for(self, wait: Callable[[], None], then: Callable[[], None]) -> None:
        """Wait beside the app loop; what was asked last follows, once nothing is waited for any more."""
        self._after_leaving = then
        self._jobs.start(LEAVING, lambda _task: wait(), lambda _: self._left(), self._left)

    def _left(self) -> None:
        if self._jobs.is_running(LEAVING):
            return
        then, self._after_leaving = self._after_leaving, None
        try:
            if then is not None:
                then()
        except Exception as error:  # told as what it was about, not as what was waited for
            self._events.post(failure(OPENING, error))

    def _forget_training(self) -> None:
        """Clear the figures of the last training, after its last words."""
        self._take_events()
        self._readings.clear_training()

    def _show_start(self) -> None:
        self._forget_training()
        self.store.update(page="start", title="HyRF Studio", train__has_capture=False)
        self.store.set("recent", self._scene.recent.rows())
        self._studying.show_gallery()

    def _start_training(self) -> None:
        if self._jobs.is_running(LEAVING):
            return  # asked twice, or while another scene is on its way
        if self._studying.name:
            self._wait_for(self._training.detach(), self._restart_study)
            return
        if self._scene.capture is None:
            raise HybridError("There are no photographs to train on. Open a capture folder.")

        def begin() -> None:
            self._forget_training()
            self._scene.train(is_preview=False)

        self._wait_for(self._training.detach(), begin)

    def _restart_study(self) -> None:
        self._forget_training()
        self._studying.train()

    def _cancel(self) -> None:
        self._jobs.cancel(OPENING)
        if self.store.get("train.state") == "loading":
            self._training.stop()
