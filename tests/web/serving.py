"""A served page for the tests: a session that paints directions, and the app loop in a thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np

from app.actions import Action, CloseView, MoveCamera, ResetView, ResizeView, SetBlend, SetChannel
from app.store import Store
from app.web.server import WebServer
from core.capture.camera import Camera, look_at
from core.render.view import Frame, View

UP = (0.0, -1.0, 0.0)


class PaintedSession:
    """Colours every pixel by its viewing direction: a frame tells which camera it belongs to."""

    def __init__(self) -> None:
        self.store = Store()
        self.is_inline = True
        self.asked: list[Action] = []
        self.frames: dict[str, Frame] = {}
        self.home = first_camera()
        self.opened: list[str] = []
        self.closed_views: list[str] = []
        self._waiting: deque[Action] = deque()
        self.store.update(page="scene", title="painted", scene__radius=4.0)
        self.store.set("scene.up", UP)
        self.store.set("scene.center", (0.0, 0.0, 0.0))

    def post(self, action: Action) -> None:
        self._waiting.append(action)

    def tick(self) -> None:
        while self._waiting:
            action = self._waiting.popleft()
            self.asked.append(action)
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, MoveCamera):
            self.frames[action.view] = paint(action.camera, action.is_moving)
        elif isinstance(action, ResizeView):
            if action.view not in self.opened:
                self.opened.append(action.view)
            if self.store.get(f"camera.{action.view}") is None:
                self._show(action.view)
        elif isinstance(action, ResetView):
            self._show(action.view)
        elif isinstance(action, CloseView):
            self.closed_views.append(action.view)
            self.frames.pop(action.view, None)
        elif isinstance(action, SetBlend):
            self.store.set("layers.blend", action.value)
            self.store.set("layers.mode", action.value)
        elif isinstance(action, SetChannel):
            self.store.set("layers.channel", action.value)

    def _show(self, view: str) -> None:
        self.store.set(f"camera.{view}", self.home.moved(self.home.camera_to_world))
        self.frames[view] = paint(self.home)

    def frame(self, view: str) -> Frame | None:
        return self.frames.get(view)

    def enter(self, up: tuple[float, float, float], camera: Camera) -> None:
        """Show another scene from another first view."""
        self.store.set("scene.up", up)
        self.home = camera
        for view in self.views():
            self._show(view)

    def report(self, error: Exception) -> None:
        raise error

    def start_over(self) -> None:
        """Forget what was asked and return every view to the first one."""
        self.store.update(page="scene", title="painted")
        self.enter(UP, first_camera())
        self.asked.clear()

    def close(self) -> None:
        self.frames.clear()

    def moves(self, view: str) -> list[MoveCamera]:
        return [a for a in list(self.asked) if isinstance(a, MoveCamera) and a.view == view]

    def views(self) -> list[str]:
        """Views of open tabs, oldest first."""
        return [view for view in list(self.opened) if view not in self.closed_views]


def first_camera() -> Camera:
    """Return a camera in front of the scene, looking at its centre."""
    pose = look_at(np.array([0.0, -1.0, -4.0]), np.zeros(3), np.array(UP))
    return Camera(pose, 300.0, 300.0, 240.0, 135.0, 480, 270)


def paint(camera: Camera, is_moving: bool = False) -> Frame:
    """Return a small frame whose colours are the viewing directions."""
    small = camera.resized(96, max(1, round(96 * camera.height / camera.width)))
    image = np.round(127.5 + 127.5 * small.directions()).astype(np.uint8)
    return Frame(image, View(camera, is_moving=is_moving), 1, 1.0, is_full=True)


class Serving:
    """A web server whose loop runs in a thread; `on_loop` runs something between two turns."""

    def __init__(self, session: Any, **options: Any) -> None:
        self.session = session
        self._jobs: deque[Any] = deque()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(options,), daemon=True)
        self._thread.start()
        assert self._ready.wait(30)
        if self.error is not None:
            raise self.error

    def _run(self, options: dict[str, Any]) -> None:
        try:
            self.server = WebServer(self.session, **{"port": 0, **options})
        except Exception as error:
            self.error = error
            self._ready.set()
            return
        self._ready.set()
        try:
            while not self._stopping.is_set():
                while self._jobs:
                    self._jobs.popleft()()
                self.server.tick()
                time.sleep(0.01)
        except Exception as error:
            self.error = error
        finally:
            self.server.close()

    def on_loop(self, job: Any) -> None:
        """Run a job on the app loop and wait for it."""
        done = threading.Event()
        self._jobs.append(lambda: (job(), done.set()))
        assert done.wait(10)

    def set(self, **values: Any) -> None:
        """Change the store where it may be changed."""
        self.on_loop(lambda: self.session.store.update(**values))

    def close(self) -> None:
        """Stop the loop; an error in it fails the test."""
        self._stopping.set()
        self._thread.join(20)
        assert self.error is None, self.error
