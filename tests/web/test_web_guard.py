"""Who may talk to the page."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import pytest
import viser
from browser import wait_for
from visitor import Visitor
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.web import address, server
from core.base.errors import ConfigError


def get(port: int, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def handshake_status(port: int, **headers: str) -> int:
    """Return 101 where a WebSocket opens, else the refusal."""
    try:
        Visitor(port, **headers).close()
    except InvalidStatus as refused:
        return refused.response.status_code
    return 101


def test_the_page_of_another_site_cannot_attach(serve):
    port = serve().server.port
    for origin in ("http://evil.example", f"http://evil.example:{port}", "null", "http://"):
        assert handshake_status(port, Origin=origin) == 403


def test_another_page_on_this_machine_cannot_attach(serve):
    port = serve().server.port
    assert handshake_status(port, Origin=f"http://localhost:{port + 1}") == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_our_own_page_attaches_under_every_name_of_this_machine(serve, name):
    port = serve().server.port
    assert handshake_status(port, Origin=f"http://{name}:{port}") == 101


def test_a_foreign_name_that_leads_to_this_machine_is_refused(serve):
    port = serve().server.port
    assert get(port, Host=f"rebound.example:{port}").status == 403
    assert get(port, Host=f"localhost:{port}").status == 200


def test_the_page_may_load_nothing_from_outside_and_stand_in_no_frame(serve):
    reply = get(serve().server.port)
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert b"<title>HyRF Studio</title>" in reply.read()


def test_a_link_cannot_choose_the_server_that_the_page_connects_to(serve):
    reply = get(serve().server.port, "/?websocket=ws://evil.example")
    assert (reply.status, reply.headers["Location"]) == (303, "/")


def test_a_port_open_to_others_asks_for_a_token_even_if_none_was_given(serve):
    web = serve(host="0.0.0.0").server
    assert len(web.guard.token or "") >= 20
    assert get(web.port).status == 403
    assert handshake_status(web.port) == 403


def test_a_wrong_token_is_refused(serve):
    web = serve(host="0.0.0.0", token="right").server
    port = web.port
    assert get(port, "/?token=wrong").status == 403
    assert get(port, "/?token=").status == 403
    assert handshake_status(port, Cookie="hyrf=right") == 403
    assert handshake_status(port, Cookie=f"{web.guard.cookie}=right") == 403


def test_the_printed_address_opens_the_page_and_its_cookie_the_socket(serve):
    web = serve(host="0.0.0.0", token="s3cret/ü").server
    query = urlsplit(web.url).query
    reply = get(web.port, f"/?{query}")
    cookie = reply.headers["Set-Cookie"].partition(";")[0]
    assert reply.status == 303
    assert "HttpOnly" in reply.headers["Set-Cookie"]
    assert get(web.port, Cookie=cookie).status == 200
    assert handshake_status(web.port, Cookie=cookie) == 101
    assert handshake_status(web.port, Cookie=cookie, Origin="http://evil.example") == 403


def test_a_request_for_a_public_link_opens_nothing(serve):
    serving = serve()
    tunnels = []
    serving.server.viser.request_share_url = lambda *a, **k: tunnels.append(a)
    visitor = Visitor(serving.server.port)
    visitor.look()
    visitor.send(type="ShareUrlRequest")
    visitor.send(type="ShareUrlDisconnect")
    # The camera after the request was handled: the request was, too.
    visitor.look((0.0, 0.0, -5.0))
    wait_for(serving.session.views)
    visitor.listen()
    assert tunnels == []
    assert serving.server.viser._share_tunnel is None
    assert not [m for m in visitor.messages if m["type"].startswith("ShareUrl")]
    visitor.close()


def test_a_viser_whose_share_link_cannot_be_switched_off_is_not_served(monkeypatch, serve):
    def unknown(self, message_cls, callback=None):
        raise AttributeError("renamed")

    monkeypatch.setattr(viser.infra.WebsockServer, "unregister_handler", unknown)
    with pytest.raises(ConfigError, match=r"pip install 'viser>=1\.1,<1\.2'"):
        serve()


def test_more_than_eight_browsers_are_turned_away(serve):
    serving = serve()
    visitors = [Visitor(serving.server.port) for _ in range(8)]
    ninth = Visitor(serving.server.port)
    with pytest.raises(ConnectionClosed, match="At most 8"):
        ninth.socket.recv(timeout=5)
    visitors.pop().close()
    wait_for(lambda: serving.server.guard.num_clients == 7)
    tenth = Visitor(serving.server.port)
    tenth.look()
    wait_for(serving.session.views)
    for visitor in (*visitors, tenth):
        visitor.close()


def test_nothing_large_can_be_sent_to_the_server(serve):
    visitor = Visitor(serve().server.port)
    visitor.socket.send(bytes(2 << 20))
    with pytest.raises(ConnectionClosed):
        visitor.listen(5.0)


def test_a_taken_port_gives_way_to_the_next_and_run_says_so(capsys):
    from serving import PaintedSession

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert server.run(PaintedSession(), port=port, stop=lambda: True) == 0
    printed = capsys.readouterr().out
    assert f"Port {port} is in use; serving on " in printed
    assert "viser" not in printed


def test_a_host_that_is_not_here_is_named_in_one_sentence():
    with pytest.raises(ConfigError, match=r"203\.0\.113\.7"):
        address.free_port("203.0.113.7", 8080)
    with pytest.raises(ConfigError, match="not an address of this machine"):
        address.free_port("no.such.host.invalid", 8080)
    with pytest.raises(ConfigError, match="Port 70000"):
        address.free_port("127.0.0.1", 70000)


def test_the_printed_address_can_be_opened():
    assert address.url("127.0.0.1", 8080, None) == "http://127.0.0.1:8080/"
    assert address.url("::1", 8080, None) == "http://[::1]:8080/"
    everywhere = address.url("0.0.0.0", 8080, "a b")
    assert "0.0.0.0" not in everywhere
    assert everywhere.endswith(":8080/?token=a%20b")


def test_on_a_remote_machine_the_way_through_ssh_is_printed():
    ssh = {"SSH_CONNECTION": "198.51.100.4 5000 192.0.2.9 22"}
    lines = "\n".join(address.instructions("http://127.0.0.1:8080/", "127.0.0.1", 8080, ssh))
    assert "ssh -N -L 8080:127.0.0.1:8080" in lines
    assert "@192.0.2.9" in lines
    assert "http://localhost:8080/" in lines
