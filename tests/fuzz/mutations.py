"""Damage a file as disks, networks and hostile people do: one small change of bytes, words or contents.

Packed files are also damaged inside and packed again, or every change would end at the first checksum.
"""

from __future__ import annotations

import base64
import gzip
import io
import re
import warnings
import zipfile
import zlib

import numpy as np

NUMBERS = (
    0,
    1,
    127,
    128,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**64 - 1,
)
WORDS = (
    *(
        b"nan",
        b"inf",
        b"-1",
        b"0",
        b"1e999",
        b"-1e-320",
        b"99999999999999999999",
        b"1e9",
        b"x",
        b"",
    ),
    *(b"null", b"true", b"[]", b"{}", b'""', b"[[", b'"' + b"a" * 300 + b'"', b"\xff\xfe", b"\0"),
)
TOKEN = re.compile(rb"-?\d[\d.eE+-]*|[A-Za-z_]+")
HEAD = 4200  # bytes in which headers lie, a .ksplat's among them
_NESTING = b"[" * 3000


def damaged(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Return a changed copy; `kind` is binary, text, gzip, zip, page or png-like binary."""
    if rng.random() < 0.5 and kind in _INSIDE:
        return _INSIDE[kind](content, rng)
    changes = _TEXT if kind == "text" and rng.random() < 0.7 else _BYTES
    for _ in range(int(rng.integers(1, 4))):
        content = changes[rng.integers(len(changes))](content, rng)
    return content


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content) + 1)]


def _bytes(content: bytes, rng: np.random.Generator) -> bytes:
    held = bytearray(content)
    end = min(len(held), HEAD) if rng.random() < 0.7 else len(held)
    for place in rng.integers(0, max(end, 1), rng.integers(1, 9)) if held else ():
        held[place] = rng.integers(256)
    return bytes(held)


def _number(content: bytes, rng: np.random.Generator) -> bytes:
    held = bytearray(content)
    width = int(rng.choice([2, 4, 8]))
    if len(held) < width:
        return content
    end = min(len(held), HEAD) if rng.random() < 0.7 else len(held)
    place = int(rng.integers(0, max(1, end - width)))
    value = NUMBERS[rng.integers(len(NUMBERS))] % 2 ** (8 * width)
    held[place : place + width] = value.to_bytes(width, "little")
    return bytes(held)


def _moved(content: bytes, rng: np.random.Generator) -> bytes:
    """Leave a stretch out, or say it twice."""
    start, end = sorted(rng.integers(0, len(content) + 1, 2))
    end = min(end, start + 400)
    middle = b"" if rng.random() < 0.5 else content[start:end] * 2
    return content[:start] + middle + content[end:]


def _word(content: bytes, rng: np.random.Generator) -> bytes:
    found = list(TOKEN.finditer(content[: 2 * HEAD]))
    if not found:
        return content
    place = found[rng.integers(len(found))]
    word = WORDS[rng.integers(len(WORDS))] if rng.random() < 0.98 else _NESTING
    return content[: place.start()] + word + content[place.end() :]


def _sign(content: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(0, len(content) + 1))
    sign = (b",", b'"', b"{", b"}", b"]", b"<", b">", b"\n", b" ", b"&a;", b"-")[rng.integers(11)]
    return content[:place] + sign + content[place + int(rng.integers(0, 2)) :]


_BYTES = (_cut, _bytes, _number, _moved)
_TEXT = (_word, _word, _sign, _moved)


def _in_gzip(content: bytes, rng: np.random.Generator) -> bytes:
    try:
        inside = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content
    return gzip.compress(damaged(inside, "binary", rng), 1)


def _in_zip(content: bytes, rng: np.random.Generator) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [[entry.filename, archive.read(entry)] for entry in archive.infolist()]
    member = members[rng.integers(len(members))]
    if rng.random() < 0.1:
        member[0] = str(rng.choice(["../out", "", "meta.json", "a" * 300]))
    kind = "text" if str(member[0]).endswith(".json") else "binary"
    member[1] = damaged(member[1], kind, rng)
    packed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w") as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, values in members:
            archive.writestr(name or "x", values)
    return packed.getvalue()


def _in_page(content: bytes, rng: np.random.Generator) -> bytes:
    """Change what a page carries: its JSON, or what is packed in one of its elements."""
    found = list(re.finditer(rb'id="(?:facts|splats|background)">([^<]*)</script>', content))
    found = [one for one in found if one[1].strip()]
    if not found:
        return _word(content, rng)
    one = found[rng.integers(len(found))]
    text = one[1].strip()
    if text.startswith(b"{"):
        changed = damaged(text, "text", rng)
    else:
        packed = base64.b64decode(text + b"==")
        changed = base64.b64encode(
            damaged(packed, "gzip" if packed[:2] == b"\x1f\x8b" else "binary", rng)
        )
    return content[: one.start(1)] + changed + content[one.end(1) :]


_INSIDE = {"gzip": _in_gzip, "zip": _in_zip, "page": _in_page}
