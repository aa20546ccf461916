"""The web front end: the same panels and frames as the desktop window, served to browsers by viser.

The page answers to this machine alone unless it is told otherwise; then it asks for a token.
The app loop runs on the calling thread: session, panels and pictures are touched nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import viser

from app.actions import Action
from app.palette import DARK
from app.web import address
from app.web.guard import Guard, guarded, is_loopback
from app.web.page import Page
from app.web.viewport import Viewport, for_client
from core.base.errors import ConfigError

if TYPE_CHECKING:
    from app.session import Session

LOOP_S = 1 / 60
PANELS_S = 1 / 10


class WebServer:
    """An open port with its page. Made, ticked and closed on one thread."""

    def __init__(
        self,
        session: Session,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
    ) -> None:
        self.session, self.host = session, host
        self.is_local = is_loopback(host)
        if not self.is_local and not token:
            token = secrets.token_urlsafe(18)
        self.guard = Guard(is_loopback=self.is_local, token=token)
        self.viewports: dict[int, Viewport] = {}
        self.num_sent = 0
        self._arrivals: queue.SimpleQueue[tuple[viser.ClientHandle, bool]] = queue.SimpleQueue()
        self._panels_at = float("-inf")
        self.viser = _open(self.guard, host, address.free_port(host, port))
        self.port = self.viser.get_port()
        self.is_other_port = port not in (0, self.port)
        try:
            self._prepare()
        except Exception:
            self.close()
            raise

    def _prepare(self) -> None:
        _remove_sharing(self.viser)
        self.viser.gui.configure_theme(
            dark_mode=True,
            show_logo=False,
            show_share_button=False,
            brand_color=DARK["action"],
            control_width="medium",
        )
        self.page = Page(self.viser, self.session.store, self.post)

        async def came(client: viser.ClientHandle) -> None:
            self._arrivals.put((client, True))

        async def left(client: viser.ClientHandle) -> None:
            self._arrivals.put((client, False))

        self.viser.on_client_connect(came)
        self.viser.on_client_disconnect(left)
        self.guard.is_open = True

    @property
    def url(self) -> str:
        """The whole address to open, with its token where one is asked for."""
        return address.url(self.host, self.port, self.guard.token)

    def post(self, action: Action, client_id: int | None) -> None:
        """Hand a browser's request to the session; from any thread."""
        self.session.post(for_client(action, client_id))

    def tick(self) -> None:
        """Do one turn of the app loop."""
        self._greet()
        self.session.tick()
        now = time.monotonic()
        if now - self._panels_at >= PANELS_S:
            self._panels_at = now
            self._telling(self.page.draw)
        for viewport in self.viewports.values():
            sent = viewport.num_sent
            self._telling(partial(viewport.tick, now))
            self.num_sent += viewport.num_sent - sent

    def _telling(self, act: Callable[[], None]) -> None:
        """Do something for the browsers; a mistake is told and outlived: training goes on behind it."""
        try:
            act()
        except Exception as error:
            self.session.report(error)

    def _greet(self) -> None:
        while True:
            try:
                client, is_here = self._arrivals.get_nowait()
            except queue.Empty:
                return
            if is_here:
                self.viewports[client.client_id] = Viewport(client, self.session)
            elif client.client_id in self.viewports:
                self.viewports.pop(client.client_id).close()

    def close(self) -> None:
        """Close the port and every view."""
        for viewport in self.viewports.values():
            viewport.close()
        self.viewports = {}
        self.viser.get_event_loop().call_soon_threadsafe(self.guard.hang_up)
        with _quiet():
            self.viser.stop()


def run(
    session: Session,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str | None = None,
    stop: Callable[[], bool] | None = None,
    frames: int | None = None,
) -> int:
    """Serve until interrupted, until `stop()` says so, or until `frames` pictures were sent."""
    server = WebServer(session, host=host, port=port, token=token)
    try:
        if server.is_other_port:
            print(f"Port {port} is in use; serving on {server.port} instead.")
        for line in address.instructions(server.url, host, server.port, dict(os.environ)):
            print(line, flush=True)
        while not (stop is not None and stop()):
            started = time.monotonic()
            server.tick()
            if frames is not None and server.num_sent >= frames:
                break
            time.sleep(max(0.0, LOOP_S - (time.monotonic() - started)))
    except KeyboardInterrupt:
        print("Stopped.")
    finally:
        server.close()
    return 0


def _open(guard: Guard, host: str, port: int) -> viser.ViserServer:
    with guarded(guard), _quiet():
        server = viser.ViserServer(host=host, port=port, label="HyRF Studio", verbose=False)
    if not guard.is_installed:
        server.stop()
        raise ConfigError(_changed("its connections cannot be guarded"))
    return server


def _remove_sharing(server: viser.ViserServer) -> None:
    """Make sure that no browser can open a public tunnel through an outside host."""
    try:
        # viser offers no public way to switch sharing off.
        from viser import _messages

        for message in (_messages.ShareUrlRequest, _messages.ShareUrlDisconnect):
            server._websock_server.unregister_handler(message)
    except (ImportError, AttributeError, AssertionError) as error:
        raise ConfigError(_changed("its public share link cannot be switched off")) from error


def _changed(what: str) -> str:
    return (
        f"viser {viser.__version__} differs from the version this program knows: {what}, so the "
        "web view stays closed. Install a known one: pip install 'viser>=1.1,<1.2'."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep viser from printing its own address, which lacks the token and may be 0.0.0.0."""
    import rich

    console: Any = rich.get_console()
    was_quiet, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = was_quiet
