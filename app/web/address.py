"""Where the page is: a port that is free, and an address that works when it is opened."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from urllib.parse import quote

from app.web.guard import is_loopback
from core.base.errors import ConfigError

MOST_PORTS = 20
EVERYWHERE = ("0.0.0.0", "::", "")


def free_port(host: str, port: int) -> int:
    """Return the first port from `port` on that can be opened; 0 leaves the choice to the system."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"Port {port} does not exist. Choose one from 1024 to 65535.")
    try:
        family, _, _, _, _ = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(
            f"--host {host} is not an address of this machine ({error}). "
            "Use 127.0.0.1, or 0.0.0.0 to be reachable from outside."
        ) from error
    last = min(port + MOST_PORTS, 65536) if port else 1
    reason: OSError | None = None
    for candidate in range(port, last):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
                return int(probe.getsockname()[1])
            except OSError as error:
                reason = error
    raise ConfigError(
        f"No port from {port} to {last - 1} can be opened on {host} ({reason}). "
        "Choose another one with --port."
    )


def url(host: str, port: int, token: str | None) -> str:
    """Return the address to open: never a wildcard, with the token where one is asked for."""
    name = host
    if host in EVERYWHERE:
        name = outside_name()
    elif is_loopback(host) and host != "::1":
        name = "localhost" if host == "localhost" else host
    if ":" in name:
        name = f"[{name.strip('[]')}]"
    query = f"?token={quote(token, safe='')}" if token else ""
    return f"http://{name}:{port}/{query}"


def instructions(
    address: str, host: str, port: int, environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Return what to print: the address, and the way there from another machine."""
    lines = [f"HyRF Studio is open at {address}"]
    if is_loopback(host):
        connection = environment.get("SSH_CONNECTION", "").split()
        machine = connection[2] if len(connection) == 4 else socket.gethostname()
        if len(connection) == 4:
            lines.append("This machine is remote. On the one with the browser, run")
        else:
            lines.append("From another machine: run there")
        query = address.partition("?")[2]
        local = f"http://localhost:{port}/" + (f"?{query}" if query else "")
        lines.append(f"    ssh -N -L {port}:127.0.0.1:{port} {_user()}@{machine}")
        lines.append(f"and open {local}")
    else:
        lines.append("Whoever has this address can use the program; the link is not encrypted.")
    return tuple(lines)


def outside_name() -> str:
    """Return the address of this machine on its network; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: only the route is looked up
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "USER"
