"""How finely a scene file keeps each array: one step per array, from a fixed list of steps.

Values become whole multiples of a step. Steps are powers of the fourth root of two, so that an array
which lies on such a grid already (it was read from a file, or trained to be rounded) is recognised
and keeps its grid: saving again, however finely, costs nothing and loses nothing.

The coarseness of a file multiplies all steps: 1 is `balanced` (quality.py).
Its steps were chosen on fox: each array alone costs 0.02 to 0.06 dB on training pictures.
Positions are kept in a symmetric logarithm of units of the scene; their step follows the gaps
between as many Gaussians on surfaces.
"""

from __future__ import annotations

import math

import numpy as np

from core.radiance.parts import Coding

STEPS = {  # of `balanced`, in logits, logarithms, unit quaternions and harmonics
    "color_logits": 0.1,
    "scale_logits": 0.1,
    "opacity_logits": 0.4,
    "log_scales": 0.1,
    "quats": 0.03,
    "sh_base": 0.04,
    "sh_rest": 0.04,
}
STEPS_PER_RMS = {
    "radiance_grid": 2.0,
    "geometry_grid": 4.0,
    Coding.FLOAT16: 32.0,
    Coding.POSITION16: 4096.0,
}
OTHER_STEPS_PER_RMS = 16.0
STEPS_PER_GAP = 6.0
FINEST_PLACE = 2.0**-22  # of a unit: what 32-bit positions can tell apart
MOST_COARSER = 20  # quarter octaves above the wanted step in which an existing grid is looked for
LARGEST_CODE = 1 << 28
MOST_PLACES = (1 << 21) - 2  # per axis: three of them make one Morton code
_TOLERANCE = 1e-3  # steps
_FLOAT_ERROR = 2.5e-7


def step_of(number: int) -> float:
    """Return the step of a number of the list."""
    return float(2.0 ** (number / 4))


def wanted_number(name: str, coding: Coding, values: np.ndarray, coarseness: float) -> int:
    """Return the number of the step that an array should have."""
    step = STEPS.get(name)
    if step is None:
        share = STEPS_PER_RMS.get(name, STEPS_PER_RMS.get(coding, OTHER_STEPS_PER_RMS))
        step = math.sqrt(np.mean(np.square(values, dtype=np.float64))) / share if values.size else 1
    return _number_of(step * coarseness, float(np.abs(values).max(initial=0.0)))


def grid_of(name: str, coding: Coding, values: np.ndarray, coarseness: float) -> int:
    """Return the number of the step to keep an array in: its own, if it has one at least as coarse."""
    wanted = wanted_number(name, coding, values, coarseness)
    flat = values.reshape(-1)
    for number in range(wanted + MOST_COARSER, wanted - 1, -1):
        if all(_is_on(part, step_of(number)) for part in (flat[:256], flat)):
            return number
    return wanted


def codes_of(values: np.ndarray, number: int) -> np.ndarray:
    """Return the nearest multiples of a step, int32."""
    return np.rint(values.astype(np.float64) / step_of(number)).astype(np.int32)


def values_of(codes: np.ndarray, number: int) -> np.ndarray:
    """Return float32 values of whole multiples of a step."""
    with np.errstate(over="ignore"):
        return (codes * step_of(number)).astype(np.float32)


def _number_of(step: float, largest: float) -> int:
    step = max(step, largest / LARGEST_CODE, 1e-37)
    return math.ceil(4 * math.log2(step) - 0.5)


def _is_on(values: np.ndarray, step: float) -> bool:
    wide = values.astype(np.float64)
    away = np.abs(wide - np.rint(wide / step) * step)
    return bool((away <= np.maximum(_TOLERANCE * step, _FLOAT_ERROR * np.abs(wide))).all())


# --- positions ----------------------------------------------------------------------------------


def position_grid(means: np.ndarray, coarseness: float) -> tuple[int, int]:
    """Return log2 of the unit and the number of the step to keep positions [N, 3] in."""
    if not len(means):
        return 0, 0
    wide = means.astype(np.float64)
    spread = float(np.abs(wide - np.median(wide, axis=0)).mean()) or float(np.abs(wide).max())
    unit = math.ceil(math.log2(max(spread, 1e-30)))
    places = _logarithms(wide, unit)
    gap = float(np.abs(places - np.median(places, axis=0)).mean()) / math.sqrt(len(means))
    wanted = _number_of(max(coarseness * gap / STEPS_PER_GAP, FINEST_PLACE), 0.0)
    while np.ptp(places, axis=0).max() / step_of(wanted) > MOST_PLACES:
        wanted += 1
    for near in (unit, unit - 1, unit + 1):
        for number in range(wanted + MOST_COARSER, wanted - 1, -1):
            if all(_is_placed(part, near, number) for part in (wide[:256], wide)):
                return near, number
    return unit, wanted


def places_of(means: np.ndarray, unit: int, number: int) -> np.ndarray:
    """Return whole places [N, 3] int64 of positions."""
    return np.rint(_logarithms(means, unit) / step_of(number)).astype(np.int64)


def positions_of(places: np.ndarray, unit: int, number: int) -> np.ndarray:
    """Return float32 positions [N, 3] of places."""
    logs = places * step_of(number)
    with np.errstate(over="ignore"):
        return (np.copysign(np.expm1(np.abs(logs)), logs) * 2.0**unit).astype(np.float32)


def _logarithms(means: np.ndarray, unit: int) -> np.ndarray:
    wide = means.astype(np.float64) / 2.0**unit
    return np.copysign(np.log1p(np.abs(wide)), wide)


def _is_placed(means: np.ndarray, unit: int, number: int) -> bool:
    there = positions_of(places_of(means, unit, number), unit, number)
    room = max(_TOLERANCE * step_of(number), _FLOAT_ERROR) * (2.0**unit + np.abs(means))
    return bool((np.abs(there - means) <= room).all())
