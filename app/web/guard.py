"""Who may talk to the web page: every connection is checked before viser sees it.

    Host     on loopback must name this machine, so that a foreign name resolved to 127.0.0.1 fails
    Origin   of a WebSocket must be the page's own, so that other pages in the browser cannot attach
    token    where the port is reachable from outside: given once as ?token=..., then kept in a cookie
    query    nothing else: viser's page would let a link choose the server it connects to

viser accepts any connection, so `guarded` wraps the call with which it opens its port.
"""

from __future__ import annotations

import contextlib
import hashlib
import http
import secrets
from collections.abc import Iterator
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import websockets.asyncio.server
from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Request, Response

from app.web.theme import dress

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
LARGEST_MESSAGE_BYTES = 1 << 20  # a browser sends cameras and control values; nothing is uploaded


class Guard:
    """Decide about each request; closed until `is_open`, at most `max_clients` connections at once."""

    def __init__(self, *, is_loopback: bool, token: str | None, max_clients: int = 8) -> None:
        self.is_loopback, self.token, self.max_clients = is_loopback, token, max_clients
        self.is_open, self.is_installed = False, False
        self.num_clients = 0
        self.transports: set[Any] = set()
        # Tokens may hold any character, cookies not: the cookie carries a digest. Its name differs
        # by token, because the cookies of a host are shared by all of its ports.
        self.digest = hashlib.sha256((token or "").encode()).hexdigest()
        self.cookie = f"hyrf_{self.digest[:8]}"

    def hang_up(self) -> None:
        """Drop every connection, on viser's loop: closing waits for those that say nothing."""
        self.is_open = False
        for transport in tuple(self.transports):
            transport.abort()

    def answer(self, request: Request) -> Response | None:
        """Return the reply to a request that goes no further, or None to let it pass."""
        if not self.is_open:
            return _page(http.HTTPStatus.SERVICE_UNAVAILABLE, "HyRF Studio is still starting.")
        try:
            host = request.headers["Host"]
            origin = request.headers.get("Origin")
        except (KeyError, MultipleValuesError):
            return _page(http.HTTPStatus.BAD_REQUEST, "This request does not name one host.")
        if self.is_loopback and _name(host) not in LOOPBACK_NAMES:
            return _page(
                http.HTTPStatus.FORBIDDEN,
                "This page answers only to localhost. Open the address that HyRF Studio printed.",
            )
        if "Upgrade" in request.headers:
            return self._answer_handshake(request, host, origin)
        return self._answer_page(request)

    def _answer_handshake(self, request: Request, host: str, origin: str | None) -> Response | None:
        if origin is not None and not self._is_own(origin, host):
            return _page(http.HTTPStatus.FORBIDDEN, "Another site's page may not connect here.")
        if not (self._has_cookie(request) or self._has_token(request)):
            return _page(http.HTTPStatus.FORBIDDEN, "The access token is missing or wrong.")
        return None

    def _answer_page(self, request: Request) -> Response | None:
        if self.token is not None and self._has_token(request):
            # The token leaves the address bar at once: screenshots and bookmarks do not carry it.
            return _page(
                http.HTTPStatus.SEE_OTHER,
                "Opening HyRF Studio.",
                Location="/",
                **{"Set-Cookie": f"{self.cookie}={self.digest}; Path=/; HttpOnly; SameSite=Lax"},
            )
        if not self._has_cookie(request):
            return _page(
                http.HTTPStatus.FORBIDDEN,
                "The access token is missing or wrong. "
                "Open the whole address that HyRF Studio printed where it was started.",
            )
        if urlsplit(request.path).query:
            return _page(http.HTTPStatus.SEE_OTHER, "Opening HyRF Studio.", Location="/")
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        netloc = urlsplit(origin).netloc
        if not netloc:
            return False
        if netloc.lower() == host.lower():
            return True
        same_port = _port(netloc) == _port(host)
        return self.is_loopback and same_port and _name(netloc) in LOOPBACK_NAMES

    def _has_token(self, request: Request) -> bool:
        given = dict(parse_qsl(urlsplit(request.path).query)).get("token", "")
        return self.token is None or _equal(given, self.token)

    def _has_cookie(self, request: Request) -> bool:
        if self.token is None:
            return True
        try:
            cookies = SimpleCookie(request.headers.get("Cookie", ""))
        except (CookieError, MultipleValuesError):
            return False
        morsel = cookies.get(self.cookie)
        return morsel is not None and _equal(morsel.value, self.digest)


@contextlib.contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Let `guard` check every connection of the viser server that is created inside."""
    serve = websockets.asyncio.server.serve

    def guarded_serve(handler: Any, *args: Any, **options: Any) -> Any:
        inner = options.get("process_request")

        def process_request(connection: Any, request: Request) -> Any:
            response = guard.answer(request)
            if response is None and inner is not None:
                request.headers.pop(
                    "Accept-Encoding", None
                )  # the page is dressed before it is sent
                response = inner(connection, request)
            return None if response is None else dress(response)

        async def limited(connection: Any) -> None:
            if guard.num_clients >= guard.max_clients:
                await connection.close(1013, f"At most {guard.max_clients} browsers at once.")
                return
            guard.num_clients += 1
            try:
                await handler(connection)
            finally:
                guard.num_clients -= 1

        class Tracked(websockets.asyncio.server.ServerConnection):
            """Known from its first byte on: browsers open connections ahead and say nothing."""

            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                guard.transports.add(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                guard.transports.discard(self.transport)
                super().connection_lost(exc)

        guard.is_installed = True
        options |= {
            "process_request": process_request,
            "max_size": LARGEST_MESSAGE_BYTES,
            "create_connection": Tracked,
        }
        return serve(limited, *args, **options)

    websockets.asyncio.server.serve = guarded_serve  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        websockets.asyncio.server.serve = serve  # type: ignore[misc]


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine only."""
    return host.strip("[]").lower() in LOOPBACK_NAMES or host.startswith("127.")


def _equal(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _name(netloc: str) -> str:
    """Return the host of `host:port`, lower case, without brackets."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""


def _port(netloc: str) -> int | None:
    try:
        return urlsplit(f"//{netloc}").port
    except ValueError:
        return None


def _page(status: http.HTTPStatus, sentence: str, **headers: str) -> Response:
    body = (
        "<!doctype html><meta charset=utf-8><title>HyRF Studio</title>"
        "<body style='background:#111315;color:#E6E8EB;font:16px Roboto,sans-serif;padding:48px'>"
        f"<p>{sentence}</p>"
    ).encode()
    fields = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    return Response(status, status.phrase, Headers(**fields), body)
