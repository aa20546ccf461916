"""Every open view: its camera, its size, and the request for a picture that follows from them.

Cameras belong to one view each; the blend and the channel are shared by all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.camera import OrbitControl
from app.store import Store
from core.capture.camera import Camera, look_at
from core.render.view import BACKGROUND, BOTH, GAUSSIANS, Channel, View

SETTLED_AFTER_S = 0.4  # a hand that says nothing for so long has let go
SMALLEST, LARGEST = 16, 8192  # pixels a side


@dataclass(frozen=True, eq=False)
class Place:
    """Where a scene is and how it is first looked at."""

    home: Camera
    up: np.ndarray
    center: np.ndarray
    radius: float
    cameras: tuple[Camera, ...] = ()  # of the photographs, in the order of their names


@dataclass(eq=False)
class _View:
    width: int = 0
    height: int = 0
    camera: Camera | None = None
    is_moving: bool = False
    moved_s: float = 0.0
    photo: int = -1
    serial: int = 0
    is_due: bool = True


class Views:
    """The views of all front ends; `request` hands a picture's description to the drawing thread."""

    def __init__(
        self,
        store: Store,
        request: Callable[[str, View], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._request, self._clock = store, request, clock
        self._views: dict[str, _View] = {}
        self._place: Place | None = None
        self._blend, self._channel = BOTH, Channel.RGB
        self.last = ""  # the view somebody touched last
        self._publish_layers()

    def __len__(self) -> int:
        return len(self._views)

    @property
    def is_moving(self) -> bool:
        """Whether a hand is on any camera."""
        now = self._clock()
        return any(
            view.is_moving and now - view.moved_s < SETTLED_AFTER_S for view in self._views.values()
        )

    def enter(self, place: Place | None) -> None:
        """Look at another scene, or at none."""
        self._place = place
        if place is None:
            for view in self._views.values():
                view.camera, view.photo = None, -1
            return
        self._store.update(
            scene__up=place.up, scene__center=place.center, scene__radius=place.radius
        )
        for name in self._views:
            self._show(name, place.home, photo=-1)

    def resize(self, name: str, width: int, height: int) -> None:
        """Take in the size of a view, new or not."""
        view = self._touched(name)
        view.width = min(max(width, SMALLEST), LARGEST)
        view.height = min(max(height, SMALLEST), LARGEST)
        if view.camera is not None:
            view.camera = view.camera.fitted(view.width, view.height)
            view.is_due = True
        elif self._place is not None:
            self._show(name, self._place.home, photo=-1)

    def move(self, name: str, camera: Camera, is_moving: bool) -> None:
        """Follow a camera that a hand moved."""
        if not np.isfinite(camera.camera_to_world).all():
            return
        view = self._touched(name)
        if not view.width:
            view.width, view.height = camera.width, camera.height
        if (camera.width, camera.height) != (view.width, view.height):
            camera = camera.fitted(view.width, view.height)
        view.camera, view.is_moving, view.is_due = camera, is_moving, True
        view.moved_s = self._clock()

    def close(self, name: str) -> None:
        """Forget a view."""
        if self._views.pop(name, None) is not None:
            self._store.set(f"camera.{name}", None)
            if name == self.last:
                self.last = next(reversed(self._views), "")

    def reset(self, name: str) -> None:
        """Return to the first view of the scene."""
        if self._place is not None:
            self._show(self._named(name), self._place.home, photo=-1)

    def frame_scene(self, name: str) -> None:
        """Move back or forth until the whole scene fills the view."""
        name, place = self._named(name), self._place
        view = self._views.get(name)
        if place is None or view is None or view.camera is None:
            return
        control = OrbitControl(view.camera, place.center, place.up, place.radius)
        control.frame(place.center, place.radius)
        self._show(name, control.camera(view.width, view.height), photo=view.photo)

    def snap(self, name: str, index: int) -> None:
        """Look from where a photograph was taken."""
        if self._place is not None and 0 <= index < len(self._place.cameras):
            self._show(self._named(name), self._place.cameras[index], photo=index)

    def step_photo(self, name: str, steps: int) -> None:
        """Look from the next or previous photograph, around the ends."""
        name = self._named(name)
        view = self._views.get(name)
        if self._place is None or not self._place.cameras or view is None:
            return
        start = view.photo if view.photo >= 0 else (-1 if steps > 0 else 0)
        self.snap(name, (start + steps) % len(self._place.cameras))

    def blend(self, value: float) -> None:
        """Fade between the layers in every view."""
        self._blend = min(max(float(value), GAUSSIANS), BACKGROUND)
        self._publish_layers()

    def channel(self, value: str) -> None:
        """Show colour, depth or opacity in every view."""
        self._channel = Channel(value)
        self._publish_layers()

    def tick(self) -> None:
        """Ask for every picture that is due."""
        for name, view in self._views.items():
            if view.is_due and view.camera is not None:
                view.is_due = False
                view.serial += 1
                self._request(
                    name, View(view.camera, self._channel, self._blend, view.is_moving, view.serial)
                )

    def _touched(self, name: str) -> _View:
        self.last = name
        return self._views.setdefault(name, _View())

    def _named(self, name: str) -> str:
        """Return the view an action concerns: without a name, the one touched last."""
        return name or self.last

    def _show(self, name: str, camera: Camera, photo: int) -> None:
        view = self._views.get(name)
        if view is None or not view.width:
            return
        view.camera = camera.fitted(view.width, view.height)
        view.is_moving, view.is_due, view.photo = False, True, photo
        # Always another object, so that a view moved away by hand sees the key change.
        self._store.set(f"camera.{name}", view.camera)
        self._store.set(f"photo.{name}", photo)

    def _publish_layers(self) -> None:
        nearest = min((BOTH, GAUSSIANS, BACKGROUND), key=lambda mode: abs(mode - self._blend))
        self._store.update(
            layers__blend=self._blend, layers__mode=nearest, layers__channel=self._channel.value
        )
        for view in self._views.values():
            view.is_due = True


def place_of(bounds: np.ndarray, up: np.ndarray, cameras: tuple[Camera, ...] = ()) -> Place:
    """Find the middle of a scene, its size and a first view: the first camera's, else from above and aside."""
    up = np.asarray(up, dtype=np.float64)
    bounds = np.asarray(bounds, dtype=np.float64)
    center = bounds.mean(axis=0)
    radius = float(np.linalg.norm(bounds[1] - bounds[0])) / 2
    if not (np.isfinite(center).all() and radius > 0):
        center, radius = np.zeros(3), 1.0
    if cameras:
        first = cameras[0]
    else:
        away = np.cross(up, [0.31, 0.57, 0.76]) + 0.4 * up
        pose = look_at(center + away / np.linalg.norm(away) * radius, center, up)
        control = OrbitControl(
            Camera(pose, 600.0, 600.0, 400.0, 300.0, 800, 600), center, up, radius
        )
        control.frame(center, radius)
        first = control.camera(800, 600)
    return Place(first, up, center, radius, cameras)
