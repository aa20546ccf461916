"""Start the engine and a window: desktop where there is a display, the web page elsewhere."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from app.actions import Action, OpenDemo, OpenPath
from app.desktop.display import DisplayProbe
from app.session import Session
from app.training import TrainingPlan
from core.base.config import parse_settings
from core.base.errors import ConfigError


def open_window(arguments: Namespace, probe: DisplayProbe | None) -> int:
    """Open what was asked for and stay until the window closes; without a probe serve the web page."""
    problem = None if probe is None else probe.problem()
    if arguments.screenshot and (probe is None or problem is not None):
        raise ConfigError(f"--screenshot shows a window. {problem or 'Leave --web out.'}")
    if problem is not None:
        print(f"{problem} Serving the web view instead.", file=sys.stderr)
    is_web = probe is None or problem is not None
    session = Session(
        device=arguments.device or "auto", plan=_plan(arguments), starts_engine=is_web
    )
    session.post(_opening(arguments.path))
    try:
        if is_web:
            return _serve(session, arguments)
        return _show(session, arguments)
    finally:
        session.close()


def _plan(arguments: Namespace) -> TrainingPlan:
    settings = dict(parse_settings(arguments.set))
    if arguments.steps:
        settings["steps"] = str(arguments.steps)
    if arguments.start:
        settings["start"] = str(Path(arguments.start).expanduser().absolute())
    names = ("study", "preset", "variant", "seeds", "seed", "max_size")
    asked = {name: getattr(arguments, name) for name in names}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    return TrainingPlan(settings=settings, starts=not arguments.no_train, **given)


def _opening(path: str | None) -> Action:
    return OpenDemo() if path is None else OpenPath(path)


def _serve(session: Session, arguments: Namespace) -> int:
    from app.web import server

    return server.run(
        session,
        host=arguments.host,
        port=arguments.port,
        token=arguments.token,
        frames=arguments.frames,
    )


def _show(session: Session, arguments: Namespace) -> int:
    from app.desktop import window

    return window.run(
        session,
        frames=arguments.frames,
        screenshot=arguments.screenshot,
        size=arguments.size,
    )
