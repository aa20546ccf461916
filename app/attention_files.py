"""What the attention panel shows, in a file: a picture, the numbers, or a page that opens without a server.

.png    sample, map and board side by side
.npz    weights of the query by layer [head, key], the map, and what made them, as JSON text
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

SUFFIXES = (".png", ".npz", ".html")
GAP = 12


def write(path: Path, seen: Look, choices: Choices, study: str) -> str:
    """Write the attention to a file of the kind its suffix names; return what was written."""
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise FormatError(
            f"{path.name}: attention is written as {', '.join(SUFFIXES)}. Choose one of them."
        )
    found = attention_maps.mapped(seen, choices)
    layer = found.layer
    _, maps = attention_maps.board(seen, choices)
    pictures = {
        "Sample": attention_pictures.sample_picture(seen, layer, choices),
        "Map": attention_pictures.map_picture(seen, found, choices),
        "Heads": attention_pictures.board_picture(maps, layer.num_heads, choices.scale, -1),
    }
    if kind == ".png":
        packed = _png(_beside(list(pictures.values())))
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
    rows: dict[str, Any] = {}
    for at, layer in enumerate(seen.layers):
        query = torch.tensor([min(choices.query, layer.num_queries - 1)])
        rows[f"weights_{at}"] = layer.weights(query)[:, 0].numpy()  # [head, key]
    facts = {
        "study": study,
        "step": seen.step,
        "choices": asdict(choices),
        "words": found.words,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "key_grid": layer.key_shape,
                "prefix": layer.prefix_keys,
            }
            for layer in seen.layers
        ],
    }
    packed = io.BytesIO()
    np.savez(packed, map=found.values, about=np.array(json.dumps(facts)), **rows)
    return packed.getvalue()


def _page(study: str, words: str, seen: Look, pictures: dict[str, np.ndarray]) -> str:
    shown = "".join(
        f"<figure><img alt='{name}' src='data:image/png;base64,{base64.b64encode(_png(picture)).decode()}'>"
        f"<figcaption>{name}</figcaption></figure>"
        for name, picture in pictures.items()
    )
    outputs = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{value:.4g}</td><td>{before:.4g}</td></tr>"
        for name, value, before in zip(
            seen.attended.names or [str(at) for at in range(len(seen.outputs))],
            seen.outputs,
            seen.unchanged,
            strict=False,
        )
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


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, "PNG")
    return packed.getvalue()
