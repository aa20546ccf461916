"""The page in our colours: viser's page gets a title, the palette, and rules about what it may load."""

from __future__ import annotations

from collections.abc import Mapping

from websockets.http11 import Response

from app.palette import DARK


def _hex(role: str) -> str:
    return "#{:02X}{:02X}{:02X}".format(*DARK[role])


STYLE = f"""<style>
:root[data-mantine-color-scheme="dark"] {{
  --mantine-color-body: {_hex("panel")} !important;
  --mantine-color-text: {_hex("text")} !important;
  --mantine-color-dimmed: {_hex("secondary")} !important;
  --mantine-color-default: {_hex("raised")} !important;
  --mantine-color-default-hover: {_hex("line")} !important;
  --mantine-color-default-border: {_hex("line")} !important;
  --mantine-color-dark-4: {_hex("line")} !important;
  --mantine-color-dark-5: {_hex("raised")} !important;
  --mantine-color-dark-6: {_hex("raised")} !important;
}}
body {{ background: {_hex("window")}; }}
button:disabled {{ background: {_hex("raised")} !important; color: {_hex("disabled")} !important; }}
p:has(> label) {{ letter-spacing: 0 !important; }}
.uplot, .uplot .u-legend {{ font-family: inherit; }}
/* The picture is drawn on the server: the browser's own 3D speed does not matter. */
#webgl-software-rendering {{ display: none; }}
</style>"""

# The page may run its own code and talk to its own server, and to nothing else.
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' data: blob:",
        "worker-src 'self' data: blob:",
        "style-src 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src data:",
        "connect-src 'self' data: blob:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def dress(response: Response) -> Response:
    """Put our title and colours into a page, and our headers on any reply."""
    for name, value in PAGE_HEADERS.items():
        response.headers.pop(name, None)
        response.headers[name] = value
    if response.body and response.headers.get("Content-Encoding", "identity") == "identity":
        head = f"<title>HyRF Studio</title>{STYLE}".encode()
        response.body = response.body.replace(b"<title>Viser</title>", head, 1)
        response.headers.pop("Content-Length", None)
        response.headers["Content-Length"] = str(len(response.body))
    return response
