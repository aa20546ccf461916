"""A browser without a screen: speaks viser's messages over a plain WebSocket and counts what arrives."""

from __future__ import annotations

import time
from typing import Any

import msgspec.msgpack
import viser
import zstandard
from websockets.sync.client import connect


class Visitor:
    """Connects like a tab; `controls` holds what the page would show, by uuid."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", **headers: str) -> None:
        origin = headers.pop("Origin", None)
        self.socket = connect(
            f"ws://{host}:{port}",
            origin=origin,  # type: ignore[arg-type]
            subprotocols=[f"viser-v{viser.__version__}"],  # type: ignore[list-item]
            additional_headers=headers,
            compression=None,
            max_size=None,
            proxy=None,
        )
        self.controls: dict[str, dict[str, Any]] = {}
        self.messages: list[dict[str, Any]] = []

    def look(self, position: tuple[float, float, float] = (0.0, 0.0, -4.0)) -> None:
        """Report a camera that looks along +z; the first one makes the server notice us."""
        x, y, z = position
        self.send(
            type="ViewerCameraMessage",
            wxyz=(1.0, 0.0, 0.0, 0.0),
            position=position,
            fov=0.9,
            near=0.01,
            far=100.0,
            image_height=270,
            image_width=480,
            look_at=(x, y, z + 4.0),
            up_direction=(0.0, -1.0, 0.0),
        )

    def send(self, **message: Any) -> None:
        """Send one message."""
        self.socket.send(msgspec.msgpack.encode(message))

    def change(self, label: str, value: Any) -> None:
        """Give the control with this label a value, as a hand would."""
        uuid = self.find(label)["uuid"]
        self.controls[uuid]["value"] = value
        self.send(type="GuiUpdateMessage", uuid=uuid, updates={"value": value})

    def find(self, label: str) -> dict[str, Any]:
        """Return the control with a label."""
        found = [c for c in self.controls.values() if c.get("label") == label]
        assert found, f"no {label!r} among {[c.get('label') for c in self.controls.values()]}"
        return found[0]

    def html(self) -> str:
        """Return all visible pieces of HTML, one after the other."""
        return "\n".join(
            c["content"] for c in self.controls.values() if c.get("content") and c["visible"]
        )

    def listen(self, seconds: float = 0.3) -> list[dict[str, Any]]:
        """Take in what arrives for a while and return it."""
        end, start = time.monotonic() + seconds, len(self.messages)
        while (left := end - time.monotonic()) > 0:
            try:
                data = self.socket.recv(timeout=left)
            except TimeoutError:
                break
            assert isinstance(data, bytes)
            size = int.from_bytes(data[8:16], "little")
            inner = zstandard.ZstdDecompressor().decompress(data[16 : 16 + size])
            for message in msgspec.msgpack.decode(inner)["messages"]:
                self.messages.append(message)
                self._take(message)
        return self.messages[start:]

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "GuiUpdateMessage" and message["uuid"] in self.controls:
            self.controls[message["uuid"]].update(message["updates"])
        elif kind == "GuiRemoveMessage":
            self.controls.pop(message["uuid"], None)
        elif kind.startswith("Gui") and "props" in message:
            value = {"value": message["value"]} if "value" in message else {}
            known = {"uuid": message["uuid"], "kind": kind, **value}
            self.controls[message["uuid"]] = known | message["props"]

    def close(self) -> None:
        """Leave."""
        self.socket.close()
