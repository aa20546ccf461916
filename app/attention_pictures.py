"""The attention panel's pictures: the sample with its query marked, a map over its keys, the board of heads."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from app.attention_choices import Choices
from app.attention_maps import DECADES, Map, on_grid
from app.palette import DARK
from app.probes import diverging, enlarged, heat_colors
from core.engine.looking import Look
from core.nn.attention import AttentionLayer

SIDE = 360  # pixels along the longer side of the sample and the map
THUMB = 44
GAP = 3
MOST_ACROSS = 16


def sample_picture(look: Look, layer: AttentionLayer, choices: Choices) -> np.ndarray | None:
    """Return the sample [h, w, 3] uint8 with a frame around the queries, another around the second one.

    A single query that is no part of a picture, such as a learned one, has nothing to be shown.
    """
    rows, columns = layer.query_shape
    picture = look.attended.picture
    if picture is None:
        if rows * columns == 1:
            return None
        picture = np.full((rows, columns), 0.35)
    shown = fitted(colored(picture), (rows, columns))
    if rows * columns == 1:
        return shown
    second = () if choices.second is None else (choices.second,)
    for indices, role in ((second, "warning"), (choices.region or (choices.query,), "action")):
        places = [index - layer.prefix for index in indices if index >= layer.prefix]
        if places:
            _outline(shown, (rows, columns), places, DARK[role])
    return shown


def map_picture(look: Look, found: Map, choices: Choices) -> np.ndarray:
    """Return the map [h, w, 3] uint8 over the picture of its keys."""
    layer, of_queries = found.layer, choices.method == "column"
    grid = on_grid(layer, found.values, of_queries=of_queries)
    colors = tinted(grid, found.low, found.high, choices.scale, is_signed=found.is_signed)
    attended = look.attended
    under = attended.key_picture if attended.key_picture is not None and not of_queries else None
    if under is None and (
        of_queries or layer.key_shape == layer.query_shape or layer.kind == "gradcam"
    ):
        under = attended.picture
    if under is None:
        return fitted(colors, grid.shape)
    base = fitted(colored(under), grid.shape)
    over = _resized(colors, base.shape[:2])
    is_seen = _resized(np.isfinite(grid), base.shape[:2])[..., None]
    share = np.where(is_seen, choices.opacity, 0.0)
    mixed: np.ndarray = (base * (1 - share) + over * share).round().astype(np.uint8)
    return mixed


def board_picture(
    maps: list[np.ndarray], heads: int, scale: str, chosen: Collection[int] = ()
) -> np.ndarray:
    """Return every map [rows, columns] as a thumbnail, the heads of a layer in a row, the chosen ones framed."""
    across = board_across(len(maps), heads)
    down = -(-len(maps) // across)
    cell = THUMB + GAP
    ground = np.empty((down * cell + GAP, across * cell + GAP, 3), np.uint8)
    ground[:] = DARK["panel"]
    whole = max((float(np.nanmax(one)) for one in maps), default=1.0)
    for at, values in enumerate(maps):
        high = {"one": 1.0, "layer": whole}.get(scale, float(np.nanmax(values)))
        thumb = _resized(tinted(values, 0.0, high, scale), (THUMB, THUMB))
        top, left = GAP + at // across * cell, GAP + at % across * cell
        if at in chosen:
            ground[top - GAP : top + THUMB + GAP, left - GAP : left + THUMB + GAP] = DARK["action"]
        ground[top : top + THUMB, left : left + THUMB] = thumb
    return ground


def board_across(count: int, heads: int) -> int:
    """Return how many thumbnails stand in a row: whole layers, as many as make the board about square."""
    heads = max(1, min(heads, MOST_ACROSS))
    layers = range(1, max(1, MOST_ACROSS // heads) + 1)
    return heads * min(layers, key=lambda many: max(many * heads, -(-count // (many * heads))))


def board_index(picture: tuple[int, int], x: float, y: float, across: int) -> int:
    """Return which thumbnail of a board of (height, width) pixels a place 0..1 is in."""
    cell = THUMB + GAP
    column = min(int(x * picture[1] / cell), across - 1)
    return int(y * picture[0] / cell) * across + column


def tinted(
    values: np.ndarray, low: float, high: float, scale: str, *, is_signed: bool = False
) -> np.ndarray:
    """Return colours [h, w, 3] uint8: viridis, or blue over white to red where signs matter."""
    if is_signed:
        return diverging(values, high)
    if scale == "log":
        top = math.log10(max(high, 1e-12))
        logs = np.log10(np.maximum(values, 10 ** (top - DECADES)))
        return heat_colors(np.where(np.isfinite(values), logs, np.nan), top - DECADES, top)
    return heat_colors(values, low, high)


def colored(picture: np.ndarray) -> np.ndarray:
    """Return a picture of 0..1 or uint8, grey or coloured, as [h, w, 3] uint8."""
    if picture.dtype != np.uint8:
        picture = (np.clip(np.nan_to_num(picture), 0, 1) * 255).round().astype(np.uint8)
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=-1)


def fitted(picture: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Enlarge a picture to about SIDE, in whole cells of a grid [rows, columns]."""
    if max(grid) > SIDE:
        return enlarged(picture)
    rows, columns = grid
    height, width = picture.shape[:2]
    if rows * columns == 1:
        rows, columns = height, width
    times = max(1, round(SIDE / max(rows, columns)))
    return _resized(picture, (rows * times, columns * times))


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Take the nearest pixels."""
    height, width = picture.shape[:2]
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)
    return np.ascontiguousarray(picture[rows[:, None], columns[None, :]])


def _outline(
    picture: np.ndarray, grid: tuple[int, int], places: list[int], color: tuple[int, ...]
) -> None:
    """Draw a line inside the edge of some cells of a grid (rows, columns), around all of them together."""
    chosen = np.zeros(grid[0] * grid[1], dtype=bool)
    chosen[[place for place in places if place < len(chosen)]] = True
    high, wide = picture.shape[0] / grid[0], picture.shape[1] / grid[1]
    area = np.pad(_resized(chosen.reshape(grid), picture.shape[:2]), 1)
    inside = area.copy()
    for _ in range(max(1, min(3, int(high / 6), int(wide / 6)))):
        inner = inside.copy()
        inner[1:-1, 1:-1] &= inside[:-2, 1:-1] & inside[2:, 1:-1]
        inner[1:-1, 1:-1] &= inside[1:-1, :-2] & inside[1:-1, 2:]
        inside = inner
    picture[(area & ~inside)[1:-1, 1:-1]] = color[:3]
