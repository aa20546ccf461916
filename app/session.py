"""The one object both front ends hold: actions in, store and frames out.

    post(action)   from any thread; carried out at the next tick
    tick()         by the app loop alone: actions -> commands, events -> store
    store          values for the panels; read on the app loop
    frame(view)    newest finished picture of a view, from any thread

Keys that front ends read beside their panels:

    page             "start" or "scene"
    title            text for the window's title
    camera.<view>    a Camera the session moved this view to (snap, reset, frame); the front end adopts it
    status           tuple of short texts for the status line
    scene.up         [3] upward direction of the scene
    scene.center     [3] point to orbit
    scene.radius     distance that shows the scene
"""

from __future__ import annotations

from app.actions import Action
from app.store import Store
from core.render.view import Frame


class Session:
    """The application without a window. `inline` runs trainer and renderer inside `tick`."""

    def __init__(self, *, inline: bool = False) -> None:
        self.store = Store()
        self.is_inline = inline

    def post(self, action: Action) -> None:
        """Ask for something; returns at once."""

    def tick(self) -> None:
        """Carry out what was asked and take in what the engine reports."""

    def frame(self, view: str) -> Frame | None:
        """Return the newest finished picture of a view."""
        return None

    def close(self) -> None:
        """Stop every thread in order; a running training writes a checkpoint first."""
