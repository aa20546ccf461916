"""The least work of a training step, stage by stage: bytes moved, float32 operations, random reads.

Counted from what one view really needs, never from how the kernels do it: everything a stage reads
or writes counts once, and blending counts only pixels where a Gaussian's alpha passes the cut and
the pixel still takes light.

    N Gaussians, V in view (gathered), D drawn, P pairs (Gaussian, tile with such a pixel), L such
    pixels in all, X explicit numbers of a Gaussian, S background cells asked, Q = V + S queries

    stage               bytes                      operations
    cull                16 N + 8 V                 25 N
    gather              8 X V + 8 V
    activate            4 (X + 8 + 14) V hyrf      150 V, harmonics 160 V more
    encode              48 V                       60 V
    hash grids          4 (3 + LF) each grid       8 corners per level: (2 F + 7), 30 for the place
    networks            4 (in + out)               2 in * out per layer
    project             4 * 14 V + 64 D            220 V
    sort, bin           8 V + 3 * 16 D + 8 P       25 D + 10 P
    blend               68 P + 20 pixels           35 L  (5 distance, 16 exponential, 6 light, 8 colours)
    background          its grid and network, 12 pixels
    composite           32 pixels                  9 pixels
    loss                36 pixels                  1170 pixels: 11-tap filters, 3 there and 3 back, 3 channels
    blend backward      120 P + 40 pixels          66 L  (27 as forward, 14 to alpha, 25 sums)
    project backward    48 P + 4 * 28 D            12 P + 520 D
    networks backward   4 (2 in + out)             twice forward
    hash grids backward 4 (3 + 2 LF) each grid     as forward
    density statistics  28 D                       6 D
    optimizers          28 bytes, 12 operations for each number updated, 1 byte for each mark

Parameters and gradients of networks fit in the first cache and are left out.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch

import core.nn.compiled  # noqa: F401 - says where kernels are kept
from core.nn.hashgrid import HashGrid
from core.nn.mlp import Mlp
from core.radiance.splats import Splats
from core.radiance.visible import visible_rows
from core.render import reference
from core.render.backend import ALPHA_CUT, ALPHA_MAX, TRANSMITTANCE_STOP
from core.render.evaluate import matrices

TILE = 16


@dataclass(frozen=True)
class Work:
    """What a stage cannot do without. `table` is the size in bytes of what is read at random."""

    num_bytes: float
    operations: float = 0.0
    gathers: float = 0.0
    table: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.num_bytes + other.num_bytes,
            self.operations + other.operations,
            self.gathers + other.gathers,
            max(self.table, other.table),
        )


@dataclass(frozen=True)
class Counts:
    """What one view of a study needs; names as in the module's first lines."""

    gaussians: int
    visible: int
    drawn: int
    pairs: int
    lanes: int
    explicit: int
    pixels: int
    cells: int
    updated: int  # rows of tables


@torch.no_grad()
def counted(study: Any) -> Counts:
    """Count for the first training photograph of a prepared study."""
    model, camera = study.model, study.capture.train[0].camera
    rows = visible_rows(model.explicit["means"], camera, study.sizes)
    leaves = {name: values[rows] for name, values in model.explicit.items()}
    splats = model.decode(leaves, camera)
    viewmats, Ks = matrices(camera, study.device)
    projected = reference.project(splats, viewmats[0], Ks[0], camera.width, camera.height)
    arrays = (projected.means2d, projected.conics, projected.opacities, projected.radii)
    light = np.ones((camera.height, camera.width), np.float32)
    pairs, lanes = _needed(
        *(array.float().contiguous().numpy() for array in arrays), light, ALPHA_CUT, ALPHA_MAX,
        TRANSMITTANCE_STOP,
    )  # fmt: skip
    alpha = torch.from_numpy(1 - light)[..., None]
    return Counts(
        gaussians=len(study.sizes),
        visible=len(rows),
        drawn=len(projected.rows),
        pairs=pairs,
        lanes=lanes,
        explicit=sum(values.shape[1:].numel() for values in model.explicit.values()),
        pixels=camera.width * camera.height,
        cells=_background_cells(model, camera, alpha),
        updated=_updated_rows(model, leaves, camera),
    )


def _background_cells(model: Any, camera: Any, alpha: torch.Tensor) -> int:
    """Return how many cells of the background are asked for."""
    grids = _grids(model)
    if not grids:
        return 0
    asked: list[int] = []
    hook = grids["radiance_grid"].register_forward_pre_hook(
        lambda _module, inputs: asked.append(len(inputs[0]))
    )
    try:
        model.background(camera, alpha)
    finally:
        hook.remove()
    return sum(asked)


def _updated_rows(model: Any, leaves: dict[str, torch.Tensor], camera: Any) -> int:
    """Return how many table rows the visible Gaussians touch."""
    grids = _grids(model)
    if not grids:
        return 0
    with torch.enable_grad():
        splats: Splats = model.decode(leaves, camera)
        (splats.colors.sum() + splats.scales.sum()).backward()
    touched = sum(int(grid.touched().count_nonzero()) for grid in grids.values())
    for grid in grids.values():
        grid.gradient().zero_()
        grid.touched().zero_()
    for weight in model.networks.params.values():
        weight.grad = None
    return touched


def _grids(model: Any) -> dict[str, HashGrid]:
    return getattr(model, "grids", {})


@numba.njit(cache=True, nogil=True)
def _needed(means2d, conics, opacities, radii, light, cut, most, stop):
    """Return pairs and lanes; Gaussians come front to back. `light` [H, W] is what is left of every pixel."""
    height, width = light.shape
    pairs = lanes = 0
    for n in range(len(opacities)):
        x, y, reach = means2d[n, 0], means2d[n, 1], radii[n] + 1
        left, right = max(0, int(x - reach)), min(width - 1, int(x + reach))
        top, bottom = max(0, int(y - reach)), min(height - 1, int(y + reach))
        for tile_y in range(top // TILE, bottom // TILE + 1):
            for tile_x in range(left // TILE, right // TILE + 1):
                before = lanes
                for py in range(max(top, tile_y * TILE), min(bottom, tile_y * TILE + TILE - 1) + 1):
                    for px in range(
                        max(left, tile_x * TILE), min(right, tile_x * TILE + TILE - 1) + 1
                    ):
                        if light[py, px] <= 0:
                            continue
                        dx, dy = px + 0.5 - x, py + 0.5 - y
                        half = 0.5 * (conics[n, 0] * dx * dx + conics[n, 2] * dy * dy)
                        alpha = min(most, opacities[n] * math.exp(-half - conics[n, 1] * dx * dy))
                        if alpha < cut:
                            continue
                        lanes += 1
                        after = light[py, px] * (1 - alpha)
                        # finished: what is left stays as it was, marked by its sign
                        light[py, px] = after if after > stop else -light[py, px]
                pairs += lanes > before
    for py in range(height):
        for px in range(width):
            light[py, px] = abs(light[py, px])
    return pairs, lanes


def least_work(model: Any, c: Counts) -> dict[str, Work]:
    """Return the least work of every stage of a step."""
    grids = _grids(model)
    work = {
        "cull, gather": Work(16 * c.gaussians + 16 * c.visible + 8 * c.explicit * c.visible, 25 * c.gaussians),
        "activate": Work(4 * (c.explicit + 22) * c.visible, 150 * c.visible),
        "project": Work(56 * c.visible + 64 * c.drawn, 220 * c.visible),
        "sort, bin": Work(8 * c.visible + 48 * c.drawn + 8 * c.pairs, 25 * c.drawn + 10 * c.pairs),
        "blend": Work(68 * c.pairs + 20 * c.pixels, 35 * c.lanes),
        "composite": Work(32 * c.pixels, 9 * c.pixels),
        "loss": Work(36 * c.pixels, 1170 * c.pixels),
        "blend backward": Work(120 * c.pairs + 40 * c.pixels, 66 * c.lanes),
        "project backward": Work(48 * c.pairs + 112 * c.drawn, 12 * c.pairs + 520 * c.drawn),
        "density statistics": Work(28 * c.drawn, 6 * c.drawn),
        "optimizer, Gaussians and networks": Work(28 * c.explicit * c.visible, 12 * c.explicit * c.visible),
    }  # fmt: skip
    if not grids:
        work["activate"] += Work(0, 160 * c.visible)
        work["harmonics backward"] = Work(4 * (c.explicit + 3) * c.visible, 100 * c.visible)
        return work
    fields = model.decoder.fields
    both = list(grids.values())
    networks = [fields.geometry_network, fields.radiance_network]
    back = fields.radiance_grid
    work["encode"] = Work(48 * c.visible, 60 * c.visible)
    work["hash grids"] = _sum(_grid(grid, c.visible) for grid in both)
    work["networks"] = _sum(_network(network, c.visible) for network in networks)
    work["background"] = (
        _grid(back, c.cells) + _network(networks[1], c.cells) + Work(12 * c.pixels, 8 * c.pixels)
    )
    work["hash grids backward"] = _sum(
        _grid(grid, c.visible + (c.cells if grid is back else 0), 2) for grid in both
    )
    work["networks backward"] = _network(networks[0], c.visible, 2) + _network(
        networks[1], c.visible + c.cells, 2
    )
    features = both[0].config.features
    marks = sum(grid.config.levels * grid.config.rows for grid in both)
    work["optimizer, grids"] = Work(28 * features * c.updated + marks, 12 * features * c.updated)
    return work


def _sum(parts: Any) -> Work:
    total = Work(0)
    for part in parts:
        total = total + part
    return total


def _grid(grid: HashGrid, queries: int, times: int = 1) -> Work:
    """Return the work of encoding; `times` 2 for going back, where what was read at random is also written."""
    config = grid.config
    operations = config.levels * queries * (8 * (2 * config.features + 7) + 30)
    row = 4 * config.features
    table = float(sum(min(int(used), config.rows) for used in config.used_rows()) * row)
    corners = 8.0 * config.levels * queries
    return Work(
        4 * (3 + times * config.width) * queries, operations, corners, table / config.levels
    )


def _network(network: Mlp, queries: int, times: int = 1) -> Work:
    widths = network.widths
    products = sum(a * b for a, b in itertools.pairwise(widths))
    return Work(4 * (times * widths[0] + widths[-1]) * queries, 2.0 * times * products * queries)
