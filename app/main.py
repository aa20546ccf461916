"""Start the engine and a window: desktop where there is a display, the web page elsewhere."""

from __future__ import annotations

import sys
from argparse import Namespace

from app.session import Session
from core.base.config import parse_settings


def open_window(arguments: Namespace) -> int:
    """Open what was asked for and stay until the window closes."""
    settings = dict(parse_settings(arguments.set))
    if arguments.steps:
        settings["steps"] = str(arguments.steps)
    problem = None if arguments.web else _display_problem()
    if problem is not None:
        print(f"{problem} Serving the web view instead.", file=sys.stderr)
    session = Session()
    session.post(opening(arguments, settings))
    try:
        if arguments.web or problem is not None:
            from app.web import server

            return server.run(
                session,
                host=arguments.host,
                port=arguments.port,
                token=arguments.token,
                frames=arguments.frames,
            )
        from app.desktop import window

        return window.run(
            session,
            frames=arguments.frames,
            screenshot=arguments.screenshot,
            size=arguments.size,
        )
    finally:
        session.close()
