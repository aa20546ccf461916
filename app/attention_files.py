"""What the attention panel shows, in a file: a picture, the numbers, or a page that opens without a server.

.png    sample, map and board side by side, with the words below
.npz    what made the map, to compute with: for layer 0, 1, ... as far as it has them
            weights_0    [head, query, key]  rows of the chosen queries; of gated layers content_0, places_0 too
            queries_0    [query]             which queries these are
            q_0, k_0, v_0  [head, token, channel]  what was multiplied; scale_0, gate_0 [head] or a number
            visible_0    [head or 1, query, key]  which keys the queries see, where not all
        map [key], outputs and unchanged [output], and `about`: JSON text with names, kinds and grids
.html   the same pictures and words in one file
"""

from __future__ import annotations

import base64
import html
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app import attention_maps, attention_pictures
from app.attention_choices import Choices
from app.palette import DARK
from core.base.errors import FormatError
from core.engine.looking import Look
from core.nn.attention import AttentionLayer

SUFFIXES = (".png", ".npz", ".html")
GAP = 12
TEXT, LINE = 14, 20  # pixels


def expect_writable(path: Path) -> None:
    """Raise a FormatError where no attention can be written: ask before long preparations."""
    if path.suffix.lower() not in SUFFIXES:
        raise FormatError(
            f"{path.name}: attention is written as {', '.join(SUFFIXES)}. Choose one of them."
        )
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise FormatError(f"{path}: there is no such folder to write to. Choose another place.")


def write(path: Path, seen: Look, choices: Choices, study: str) -> str:
    """Write the attention to a file of the kind its suffix names; return what was written."""
    expect_writable(path)
    kind = path.suffix.lower()
    found = attention_maps.mapped(seen, choices)
    layer = found.layer
    _, maps = attention_maps.board(seen, choices)
    sample = attention_pictures.sample_picture(seen, layer, choices)
    pictures = {
        **({} if sample is None else {"Sample": sample}),
        "Map": attention_pictures.map_picture(seen, found, choices),
        "Heads": attention_pictures.board_picture(maps, layer.num_heads, choices.scale),
    }
    if kind == ".png":
        words = f"{study or 'Attention'}, {seen.attended.note or 'one sample'}. {found.words}"
        packed = _png(_captioned(_beside(list(pictures.values())), words))
    elif kind == ".html":
        packed = _page(study, found.words, seen, pictures).encode()
    else:
        packed = _numbers(seen, choices, found, study)
    try:
        path.write_bytes(packed)
    except OSError as error:
        raise FormatError(
            f"{path}: cannot be written ({error.strerror}). Choose another place."
        ) from None
    return f"{path.name}: attention of {study or 'the study'}, {found.words}"


def _numbers(seen: Look, choices: Choices, found: attention_maps.Map, study: str) -> bytes:
    arrays: dict[str, Any] = {"map": found.values}
    for at, layer in enumerate(seen.layers):
        arrays |= {f"{name}_{at}": values for name, values in _of_layer(layer, choices).items()}
    if len(seen.outputs):
        arrays |= {"outputs": seen.outputs, "unchanged": seen.unchanged}
    facts = json.dumps(about(seen, choices, found, study))
    packed = io.BytesIO()
    np.savez(packed, about=np.array(facts), **arrays)
    return packed.getvalue()


def _of_layer(layer: AttentionLayer, choices: Choices) -> dict[str, np.ndarray]:
    """Return the chosen rows of a layer and what they were made of."""
    asked = [*(choices.region or (choices.query,))]
    asked += [] if choices.second is None else [choices.second]
    rows = torch.tensor(sorted({min(one, layer.num_queries - 1) for one in asked}))
    found: dict[str, Any] = {"queries": rows, "weights": layer.weights(rows)}
    if layer.kind == "gated" and layer.position is not None:
        found |= {"content": layer.content(rows), "places": layer.places(rows)}
    found["visible"] = layer.visible(rows)
    found |= {name: getattr(layer, name) for name in ("q", "k", "v", "scale", "gate")}
    kept = {name: value for name, value in found.items() if value is not None}
    return {name: torch.as_tensor(value).cpu().numpy() for name, value in kept.items()}


def about(seen: Look, choices: Choices, found: attention_maps.Map, study: str) -> dict[str, Any]:
    """Return what was looked at and how, as JSON values."""
    wish = seen.wish
    layers = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "heads": [layer.head_name(head) for head in range(layer.num_heads)],
            "query_grid": layer.query_shape,
            "key_grid": layer.key_shape,
            "query_prefix": layer.prefix,
            "prefix": layer.prefix_keys,
            "queries": layer.queries,
            "keys": layer.keys,
        }
        for layer in seen.layers
    ]
    return {
        "study": study,
        "step": seen.step,
        "choices": asdict(choices),
        "words": found.words,
        "range": [found.low, found.high],
        "layer": found.layer.name,
        "query": attention_maps.token(found.layer, choices.query),
        "sample": seen.attended.note,
        "changes": None if wish.changes.is_empty else asdict(wish.changes),
        "has_random_weights": wish.is_shuffled,
        "outputs": dict(zip(names_of(seen), map(float, seen.outputs), strict=False)),
        "layers": layers,
    }


def names_of(seen: Look) -> tuple[str, ...]:
    """Return what to call the outputs."""
    return seen.attended.names or tuple(str(at) for at in range(len(seen.outputs)))


def _page(study: str, words: str, seen: Look, pictures: dict[str, np.ndarray]) -> str:
    shown = "".join(
        f"<figure><img alt='{name}' src='data:image/png;base64,{base64.b64encode(_png(picture)).decode()}'>"
        f"<figcaption>{name}</figcaption></figure>"
        for name, picture in pictures.items()
    )
    outputs = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{value:.4g}</td><td>{before:.4g}</td></tr>"
        for name, value, before in zip(names_of(seen), seen.outputs, seen.unchanged, strict=False)
    )
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Attention of {html.escape(study)}</title>"
        "<style>body{background:#111315;color:#e6e8eb;font:15px sans-serif;margin:2em}figure{display:inline-block;"
        "margin:0 1em 1em 0;vertical-align:top}img{image-rendering:pixelated;min-width:20em}td{padding-right:2em}"
        f"</style><h1>Attention of {html.escape(study)}</h1><p>{html.escape(words)}</p>{shown}"
        f"<table><tr><th>Output</th><th>now</th><th>unchanged</th></tr>{outputs}</table>"
        "<p>Attention weights say what was mixed, not why the model decided.</p></html>"
    )


def _beside(pictures: list[np.ndarray]) -> np.ndarray:
    height = max(one.shape[0] for one in pictures)
    width = sum(one.shape[1] for one in pictures) + GAP * (len(pictures) - 1)
    ground = np.empty((height, width, 3), np.uint8)
    ground[:] = DARK["panel"]
    left = 0
    for one in pictures:
        ground[: one.shape[0], left : left + one.shape[1]] = one
        left += one.shape[1] + GAP
    return ground


def _captioned(picture: np.ndarray, words: str) -> np.ndarray:
    """Return a picture with words below it, in as many lines as they need."""
    from PIL import Image, ImageDraw, ImageFont

    font, width = ImageFont.load_default(TEXT), picture.shape[1]
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width - GAP:
            lines.append(word)
        else:
            lines[-1] = longer
    caption = Image.new("RGB", (width, GAP + len(lines) * LINE), DARK["panel"])
    ImageDraw.Draw(caption).multiline_text(
        (GAP // 2, GAP // 2), "\n".join(lines), DARK["text"], font, spacing=LINE - TEXT
    )
    return np.concatenate((picture, np.asarray(caption)))


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, "PNG")
    return packed.getvalue()
