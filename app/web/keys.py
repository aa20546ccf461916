"""Keys in the browser, listed with Ctrl+K; those that need a file dialog or a key viser lacks are absent."""

from __future__ import annotations

from typing import Any

import viser

from app.actions import Action, FrameScene, ResetView, SetBlend, TogglePause
from app.web.controls import Post
from core.render.view import BACKGROUND, BOTH, GAUSSIANS

COMMANDS: tuple[tuple[str, Any, Action], ...] = (
    ("Frame the scene", "F", FrameScene("")),
    ("Reset the view", "R", ResetView("")),
    ("Show both", "1", SetBlend(BOTH)),
    ("Show Gaussians", "2", SetBlend(GAUSSIANS)),
    ("Show background", "3", SetBlend(BACKGROUND)),
    ("Pause or resume training", "space", TogglePause()),
)


def register(gui: viser.GuiApi, post: Post) -> None:
    """Make the keys work on the page."""
    for label, key, action in COMMANDS:
        gui.add_command(label, hotkey=key).on_trigger(_posting(action, post))


def _posting(action: Action, post: Post) -> Any:
    async def triggered(event: Any) -> None:
        post(action, event.client_id)

    return triggered
