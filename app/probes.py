"""What a study shows of itself, made ready to be drawn: pictures, plots and tables with their legends.

Probe (core/study.py) -> one row of `probes.rows`: (kind, name, key, note, columns)

picture   the value of `key` is [h, w, 3] uint8
plot      {series: (x, values)}
table     rows of text under `columns`
text      a sentence
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from app.palette import DARK
from app.panels.words import three_digits
from app.store import Store
from core.study import Probe

GAP = 1  # pixels between the pictures of a grid, before they are enlarged
SMALLEST = 420  # pixels along the longer side: smaller pictures are enlarged, pixel by pixel
LARGEST = 1200
MOST_ROWS = 60
MOST_CELLS = 12
BARS_HIGH = 160
COLD, WHITE, WARM = (33, 102, 172), (247, 247, 247), (178, 24, 43)

Row = tuple[str, str, str, str, tuple[str, ...]]


def publish(store: Store, step: int, probes: Iterable[Probe]) -> np.ndarray | None:
    """Put probes into the store; return the first picture among them, for a thumbnail."""
    rows: list[Row] = []
    first = None
    for probe in probes:
        kind, make = SHOWN[probe.kind]
        key = f"probe.{probe.name}"
        value, legend, columns = make(probe)
        store.set(key, value)
        if kind == "picture" and first is None:
            first = value
        notes = (legend, probe.note)
        rows.append((kind, probe.name, key, ". ".join(n for n in notes if n), columns))
    store.update(probes__rows=tuple(rows), probes__step=f"Step {step}")
    assert first is None or isinstance(first, np.ndarray)
    return first


def _picture(probe: Probe) -> tuple[object, str, tuple[str, ...]]:
    values = probe.values
    if values.dtype != np.uint8:
        values = (np.clip(np.nan_to_num(values), 0, 1) * 255).round().astype(np.uint8)
    is_colored = probe.axes[-1] in ("channel", "color") and values.shape[-1] == 3
    if not is_colored:
        values = np.repeat(values[..., None], 3, axis=-1)
    return enlarged(tiled(values)), _captions(probe), ()


def _heat(probe: Probe) -> tuple[object, str, tuple[str, ...]]:
    values = np.asarray(probe.values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if probe.is_signed:
        high = max(abs(low), abs(high))
        low = -high
        colors = diverging(values, high)
    else:
        colors = heat_colors(values, low, high)
    axes = f"{probe.axes[-2]} down, {probe.axes[-1]} across"
    legend = f"{three_digits(low)} (dark) to {three_digits(high)} (bright), {axes}"
    if probe.is_signed:
        legend = f"{three_digits(low)} (blue) over 0 (white) to {three_digits(high)} (red), {axes}"
    return enlarged(tiled(colors)), legend, ()


def heat_colors(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return [..., 3] uint8."""
    import torch

    from core.render.colormap import viridis

    found = viridis(torch.tensor(values), low, high)
    colors: np.ndarray = (found * 255).round().to(torch.uint8).numpy()
    return colors


def diverging(values: np.ndarray, reach: float) -> np.ndarray:
    """Return [..., 3] uint8: blue below zero, white at zero, red above."""
    share = np.clip(np.nan_to_num(values) / max(reach, 1e-12), -1, 1)[..., None]
    cold, white, warm = (np.array(color, dtype=np.float64) for color in (COLD, WHITE, WARM))
    away = np.where(share < 0, cold, warm)
    colors: np.ndarray = (white + np.abs(share) * (away - white)).round().astype(np.uint8)
    return colors


def _curve(probe: Probe) -> tuple[object, str, tuple[str, ...]]:
    series, x = probe.axes
    count = probe.values.shape[1]
    places = probe.ticks.get(x, tuple(range(count)))
    numbers = [place for place in places if isinstance(place, (int, float))]
    steps = tuple(map(float, numbers)) if len(numbers) == count else tuple(map(float, range(count)))
    names = probe.ticks.get(series, tuple(range(1, len(probe.values) + 1)))
    curves = {
        str(name): (steps, tuple(map(float, np.nan_to_num(row))))
        for name, row in zip(names, probe.values, strict=True)
    }
    return curves, f"{x} from left to right", ()


def _bars(probe: Probe) -> tuple[object, str, tuple[str, ...]]:
    values = np.nan_to_num(np.asarray(probe.values, dtype=np.float64))
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    span = max(high - low, 1e-12)
    rows = np.linspace(high, low, BARS_HIGH)[:, None]  # [BARS_HIGH, 1]
    is_bar = (rows <= np.maximum(values, 0) + span / BARS_HIGH) & (
        rows >= np.minimum(values, 0) - span / BARS_HIGH
    )
    wide = max(2, SMALLEST // max(len(values), 1))
    is_bar = np.repeat(is_bar, wide, axis=1)
    if wide > 3:
        is_bar[:, wide - 1 :: wide] = False
    colors = np.where(is_bar[..., None], DARK["action"], DARK["raised"]).astype(np.uint8)
    legend = f"{three_digits(low)} to {three_digits(high)}, {len(values)} of {probe.axes[0]}"
    return colors, legend, ()


def _table(probe: Probe) -> tuple[object, str, tuple[str, ...]]:
    down, across = probe.axes
    count = min(probe.values.shape[1], MOST_CELLS)
    heads = probe.ticks.get(across, tuple(range(1, probe.values.shape[1] + 1)))[:count]
    names = probe.ticks.get(down, tuple(range(1, len(probe.values) + 1)))
    rows = tuple(
        (str(name), *(_cell(value) for value in row[:count]))
        for name, row in zip(names[:MOST_ROWS], probe.values, strict=False)
    )
    return rows, "", (down, *map(str, heads))


def _cell(value: object) -> str:
    return three_digits(float(value)) if isinstance(value, (int, float, np.number)) else str(value)


def _text(probe: Probe) -> tuple[object, str, tuple[str, ...]]:
    return str(probe.values), "", ()


def _captions(probe: Probe) -> str:
    """Return the names of the pictures in a grid, as far as a line holds them."""
    names = [str(name) for name in probe.ticks.get(probe.axes[0], ())]
    if not names:
        return ""
    shown = ", ".join(names[:MOST_CELLS])
    return shown if len(names) <= MOST_CELLS else f"{shown}, and so on to {names[-1]}"


SHOWN: dict[str, tuple[str, Callable[[Probe], tuple[object, str, tuple[str, ...]]]]] = {
    "image": ("picture", _picture),
    "heat": ("picture", _heat),
    "attention": ("picture", _heat),
    "curve": ("plot", _curve),
    "bars": ("picture", _bars),
    "table": ("table", _table),
    "text": ("text", _text),
}


def tiled(pictures: np.ndarray) -> np.ndarray:
    """Lay pictures [..., h, w, 3] out in a grid about as wide as three halves of its height."""
    if pictures.ndim == 3:
        return pictures
    flat = pictures.reshape(-1, *pictures.shape[-3:])
    count, height, width = flat.shape[:3]
    across = max(1, min(count, round((1.5 * count * height / width) ** 0.5)))
    if pictures.ndim == 5:  # its rows and columns are those of the probe
        across = pictures.shape[1]
    down = -(-count // across)
    ground = np.empty((down * (height + GAP), across * (width + GAP), 3), np.uint8)
    ground[:] = DARK["panel"]
    for at, picture in enumerate(flat):
        top, left = (at // across) * (height + GAP), (at % across) * (width + GAP)
        ground[top : top + height, left : left + width] = picture
    return ground[:-GAP, :-GAP]


def enlarged(picture: np.ndarray) -> np.ndarray:
    """Repeat the pixels of a small picture [h, w, 3]; thin out a huge one."""
    longer = max(picture.shape[:2])
    if longer > LARGEST:
        skip = -(-longer // LARGEST)
        return np.ascontiguousarray(picture[::skip, ::skip])
    times = max(1, SMALLEST // longer)
    return np.ascontiguousarray(picture.repeat(times, axis=0).repeat(times, axis=1))
