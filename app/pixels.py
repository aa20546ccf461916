"""The pixel inspector: a click in a view, answered beside the app loop from the newest snapshot.

pixel.text    what made the pixel, in a sentence; empty: nothing was asked
pixel.rows    the Gaussians with the largest weights; pixel.halves: both halves of their colours
pixel.curve   {"Weight", "Light left"} over the depth
pixel.swatch  [h, w, 3] uint8: whole, explicit alone, neural alone, background
pixel.marks   (places [M, 3], weights [M], sizes [M]) for the views; None for none
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from app import actions
from app.actions import Action
from app.engine import use_one_core
from app.jobs import Jobs
from app.panels.words import three_digits
from app.store import Store
from core.base.errors import HybridError

if TYPE_CHECKING:
    from app.scene import Scene
    from core.engine.pixels import PixelParts

TAKING = "Taking a pixel apart"
MOST_ROWS = 12
SWATCH = 28  # pixels along a colour


class Pixels:
    """Takes one pixel apart at a time; a newer click while one is under way follows it."""

    def __init__(self, store: Store, jobs: Jobs, scene: Scene) -> None:
        self._store, self._jobs, self._scene = store, jobs, scene
        self._next: actions.InspectPixel | None = None
        self.close()

    def do(self, action: Action) -> bool:
        """Carry out what concerns pixels; return whether it did."""
        match action:
            case actions.InspectPixel():
                self._ask(action)
            case actions.ClosePixel():
                self.close()
            case _:
                return False
        return True

    def close(self) -> None:
        """Forget the pixel."""
        self._next = None
        self._store.update(
            pixel__text="", pixel__rows=(), pixel__halves=(), pixel__curve={}, pixel__marks=None
        )

    def _ask(self, asked: actions.InspectPixel) -> None:
        service, snapshot = self._scene.service, self._scene.snapshots.peek()
        frame = None if service is None else service.frame(asked.view)
        if service is None or snapshot is None or frame is None:
            raise HybridError("There is no picture to take a pixel of yet. Wait for the first one.")
        if self._jobs.is_running(TAKING):
            self._next = asked
            return
        renderer, camera = service.renderer, frame.view.camera
        pixel = (
            min(int(asked.x * camera.width), camera.width - 1),
            min(int(asked.y * camera.height), camera.height - 1),
        )

        def work(_task: Any) -> PixelParts:
            from core.engine.pixels import taken_apart

            use_one_core()
            return taken_apart(snapshot, renderer, camera, pixel)

        snapshots = self._scene.snapshots

        def show(parts: PixelParts) -> None:
            if self._scene.snapshots is snapshots:  # still the same scene
                self._show(parts)

        self._jobs.start(TAKING, work, show)

    def _show(self, parts: PixelParts) -> None:
        order = np.argsort(-parts.weights)[:MOST_ROWS]
        has_halves = bool(len(order)) and bool(np.isfinite(parts.explicit).all())
        rows = [row_of(parts, int(at), has_halves) for at in order]
        self._store.update(
            pixel__text=sentence(parts),
            pixel__rows=tuple(row[:4] for row in rows),
            pixel__halves=tuple((row[0], *row[4:]) for row in rows if has_halves),
            pixel__curve=_curve(parts),
            pixel__swatch=_swatches(parts, has_halves),
            pixel__has_halves=has_halves,
            pixel__marks=(parts.places, parts.weights, parts.sizes) if len(order) else None,
        )
        if self._next is not None:
            asked, self._next = self._next, None
            self._ask(asked)


def sentence(parts: PixelParts) -> str:
    """Say how much of a pixel is whose."""
    x, y = parts.pixel
    count = len(parts.ids)
    if not count:
        return f"Pixel {x}, {y} at step {parts.step}: no Gaussian, all background."
    half = int((np.sort(parts.weights)[::-1].cumsum() < 0.5 * parts.weights.sum()).sum()) + 1
    return (
        f"Pixel {x}, {y} at step {parts.step}: {count} Gaussians give "
        f"{100 * (1 - parts.background_share):.0f} %, the background "
        f"{100 * parts.background_share:.0f} %. "
        f"Half of the Gaussians' part comes from {half}."
    )


def row_of(parts: PixelParts, at: int, has_halves: bool) -> tuple[str, ...]:
    """Write one Gaussian's part in words: id, weight, depth, colour and its halves."""
    row = (
        str(parts.ids[at]),
        three_digits(float(parts.weights[at])),
        three_digits(float(parts.depths[at])),
        color_of(parts.colors[at]),
    )
    return (*row, color_of(parts.explicit[at]), color_of(parts.neural[at])) if has_halves else row


def color_of(color: np.ndarray) -> str:
    """Write a colour 0..1 as three numbers of 0 to 255."""
    return " ".join(str(round(255 * float(one))) for one in np.clip(color, 0, 1))


def _curve(parts: PixelParts) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    if not len(parts.ids):
        return {}
    depths = tuple(map(float, parts.depths))
    return {
        "Weight": (depths, tuple(map(float, parts.weights))),
        "Light left": (depths, tuple(map(float, np.clip(parts.left, 0, 1)))),
    }


def _swatches(parts: PixelParts, has_halves: bool) -> np.ndarray:
    """Return the pixel, its explicit and its neural half and the background as squares."""
    colors = [parts.color, parts.background]
    if has_halves:
        total = max(float(parts.weights.sum()), 1e-9)
        colors[1:1] = [
            parts.weights @ parts.explicit / total,
            parts.weights @ parts.neural / total,
        ]
    row = (np.clip(np.stack(colors), 0, 1) * 255).round().astype(np.uint8)
    return np.repeat(np.repeat(row[None], SWATCH, axis=0), SWATCH * 2, axis=1)
