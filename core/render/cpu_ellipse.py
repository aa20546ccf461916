"""One Gaussian inside one tile: which rows it reaches, and how much light it takes from a pixel.

A tile is cut into strips, 8 pixels wide; a strip into blocks of 8 columns and WIDTH / 8 rows, one vector
each. All kernels here are made for the inner loops of core/render/cpu_kernels.py.
"""

from __future__ import annotations

import math

import numpy as np

from core.nn.compiled import kernel
from core.render import backend
from core.render.cpu_lanes import (
    WIDTH,
    any_lane,
    constant,
    least,
    magnitude,
    most,
    read,
    spread,
    where,
    write,
)
from core.render.cpu_project import BULGE, CORRELATION, REACH_X, REACH_Y, X, Y
from core.render.cpu_windows import TILE, edges

STRIP = 8  # pixels
STRIPS = TILE // STRIP
ROWS = WIDTH // STRIP  # of one block
BLOCKS = TILE // ROWS  # of one strip
CHECK_EVERY = 32  # Gaussians between two tests for saturated strips
AHEAD = 12  # Gaussians that memory is asked for before they are needed

# float32 constants: a plain number would turn the kernels into double precision
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
EIGHTH, SIXTEENTH = np.float32(1 / 8), np.float32(1 / 16)
_STOP = np.float32(backend.TRANSMITTANCE_STOP)
_MOST = np.float32(backend.ALPHA_MAX)
# in eighths, as `falloff` takes them: beyond the first alpha is cut, below the second it is bounded
_CUT = np.float32(-math.log(backend.ALPHA_CUT) / 8)
_BOUND = np.float32(-math.log(backend.ALPHA_MAX) / 8)
# exp(-t) on 0 .. 0.72, relative error 1e-7 (weighted least squares)
_E0, _E1, _E2 = np.float32(0.99999991), np.float32(-0.99999144), np.float32(0.49986917)
_E3, _E4, _E5 = np.float32(-0.16591692), np.float32(0.03967379), np.float32(-0.00578712)

column = constant(lane % STRIP + 0.5 for lane in range(WIDTH))  # pixel centres of a block
row = constant(lane // STRIP + 0.5 for lane in range(WIDTH))


@kernel
def reached_rows(f, g, left, top, rows, reached):
    """Write, per strip of a tile, the first row Gaussian `g` reaches, and in lanes 4 on the row after the last."""
    lanes = edges(
        ZERO, np.float32(STRIP), f[g, X] - left, f[g, REACH_X], f[g, Y] - top, f[g, REACH_Y],
        f[g, CORRELATION], f[g, BULGE], np.float32(rows),
    )  # fmt: skip
    write(reached, 0, lanes)


@kernel
def falloff(t):
    """Return exp(-8 t) for 0 .. 0.72 with a relative error of about 1e-6."""
    square = t * t
    e = (_E0 + t * _E1) + square * ((_E2 + t * _E3) + square * (_E4 + t * _E5))
    e = e * e
    e = e * e
    return e * e


@kernel
def take_light(t, transmittance):
    """Return the weights of a Gaussian in a block, the transmittance that would be left, and what to keep of it.

    exp(-8 t) is alpha without bound and cut. A finished pixel has a negative transmittance.
    """
    alpha = where(t <= _CUT, least(falloff(t), spread(_MOST)), spread(ZERO))
    weight = alpha * transmittance
    after = transmittance - weight
    goes_on = after > _STOP
    kept = where(goes_on, after, ZERO - magnitude(transmittance))
    return where(goes_on, weight, spread(ZERO)), after, kept


@kernel
def where_unbounded(t, lanes):
    """Return zero where the bound of alpha holds: nothing flows back through it."""
    return where(t > _BOUND, lanes, spread(ZERO))


@kernel
def takes_light(state, start, step):
    """Whether any pixel of a strip still takes light; `step`: from the transmittances of a block to the next."""
    highest = read(state, start)
    for block in range(1, BLOCKS):
        highest = most(highest, read(state, start + block * step))
    return any_lane(highest > ZERO)


@kernel
def whose_turn(turn, worker, workers):
    """Return the place in a heaviest-first list that is a worker's own: to and fro, so that nobody is always first."""
    own = np.int64(worker)  # prange counts without sign, which would turn the sum into a float
    return turn * workers + (own if turn % 2 == 0 else workers - 1 - own)
