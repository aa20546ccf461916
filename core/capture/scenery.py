"""Procedural surfaces and a far backdrop for the demo capture: noise, textures, sky.

    texture(points [P, 3])      -> colours [P, 3] 0..1    points in the solid's own units
    backdrop(directions [P, 3]) -> colours [P, 3] 0..1    what lies at infinity: sky, stars, clouds, hills, lake

The world is z up. Randomness is an integer hash of lattice points, the same on every machine.
"""

from __future__ import annotations

import numpy as np

SUN = np.array([0.62, 0.55, 0.56]) / np.linalg.norm([0.62, 0.55, 0.56])
SUN_COLOR = np.array([1.0, 0.83, 0.62])


def noise(points: np.ndarray) -> np.ndarray:
    """Return smooth value noise 0..1 at points [P, 3]: about one bump per unit."""
    cell = np.floor(points)
    part = points - cell
    part = part * part * (3 - 2 * part)
    corner = cell.astype(np.int64)
    x, y, z = ([1 - part[:, axis], part[:, axis]] for axis in range(3))
    total = np.zeros(len(points))
    for i, j, k in np.ndindex(2, 2, 2):
        total += x[i] * y[j] * z[k] * lattice(corner + np.array((i, j, k)))
    return total


def lattice(cells: np.ndarray) -> np.ndarray:
    """Return a fixed random number 0..1 for integer cells [P, 3]."""
    cells = cells.astype(np.uint64)
    mixed = cells[:, 0] * 73856093 ^ cells[:, 1] * 19349663 ^ cells[:, 2] * 83492791
    mixed = (mixed ^ (mixed >> np.uint64(13))) * np.uint64(1274126177) & np.uint64(0xFFFFFFFF)
    mixed ^= mixed >> np.uint64(16)
    mixed = mixed * np.uint64(2246822519) & np.uint64(0xFFFFFFFF)
    return (mixed ^ (mixed >> np.uint64(15))).astype(np.float64) / 0xFFFFFFFF


def fractal(points: np.ndarray, octaves: int = 4) -> np.ndarray:
    """Return noise 0..1 with detail at several scales."""
    total, weight = np.zeros(len(points)), 0.0
    for octave in range(octaves):
        total += noise(points * 2.0**octave + 17.3 * octave) * 0.5**octave
        weight += 0.5**octave
    return total / weight


def mix(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Blend colours by a share [P] 0..1."""
    share = np.clip(share, 0.0, 1.0)[:, None]
    return np.asarray(low) * (1 - share) + np.asarray(high) * share


def step(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    return share * share * (3 - 2 * share)


def paving(points: np.ndarray) -> np.ndarray:
    """Return rings of light and dark stone slabs around z, with joints and grain."""
    radius = np.hypot(points[:, 0], points[:, 1])
    ring = np.floor(radius / 0.36)
    slabs = np.maximum(6 * ring, 1)
    around = (np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) + 0.5) * slabs + 0.5 * ring
    slab = np.floor(around)
    along = np.abs(around - slab - 0.5) * 2 * np.pi * radius / slabs
    across = np.abs(radius / 0.36 - ring - 0.5) * 0.36
    edge = np.minimum(np.pi * radius / slabs - along, 0.18 - across)
    shade = lattice(np.column_stack([ring, slab % slabs, ring * 0 + 5]).astype(np.int64))
    is_dark = (slab + ring) % 2 == 0
    stone = np.where(is_dark[:, None], [0.42, 0.39, 0.40], [0.80, 0.74, 0.64])
    stone = stone * (0.82 + 0.3 * shade[:, None])
    stone = stone * (0.72 + 0.5 * fractal(points * 9.0, 4))[:, None]
    return mix([0.20, 0.17, 0.15], stone, step(0.004, 0.018, edge))


def bricks(points: np.ndarray) -> np.ndarray:
    """Return rows of red bricks in light mortar on upright faces."""
    row = np.floor(points[:, 2] / 0.11)
    along = (points[:, 0] + points[:, 1]) / 0.24 + 0.5 * (row % 2)
    brick = np.floor(along)
    joint = np.minimum(
        0.5 - np.abs(along - brick - 0.5), (0.5 - np.abs(points[:, 2] / 0.11 - row - 0.5)) * 0.46
    )
    tone = lattice(np.column_stack([row, brick, row * 0 + 2]).astype(np.int64))
    clay = mix([0.50, 0.17, 0.12], [0.84, 0.42, 0.26], tone)
    clay = clay * (0.7 + 0.6 * fractal(points * 22.0, 3))[:, None]
    return mix([0.80, 0.76, 0.70], clay, step(0.02, 0.055, joint))


def planks(points: np.ndarray) -> np.ndarray:
    """Return wooden boards with grain and a darker frame, for a cube of half size 0.4."""
    board = np.floor(points[:, 2] / 0.16)
    gap = 0.5 - np.abs(points[:, 2] / 0.16 - board - 0.5)
    stretched = points * [4.0, 4.0, 26.0] + board[:, None] * 7.7
    rings = np.sin(14 * fractal(stretched, 3) + 3 * points[:, 0]) * 0.5 + 0.5
    wood = mix([0.52, 0.30, 0.13], [0.88, 0.64, 0.36], rings)
    edge = np.sort(np.abs(points), axis=1)[:, 1]  # the second largest: near 0.4 along an edge
    wood = mix(wood, wood * [0.55, 0.50, 0.48], step(0.315, 0.325, edge))
    return mix([0.12, 0.07, 0.04], wood, step(0.01, 0.05, gap))


def marble(points: np.ndarray) -> np.ndarray:
    """Return blue-green stone with gold veins."""
    warp = fractal(points * 3.0, 4)
    vein = np.abs(np.sin(6.0 * points[:, 0] + 4.0 * points[:, 2] + 9.0 * warp))
    stone = mix([0.03, 0.20, 0.30], [0.16, 0.60, 0.62], fractal(points * 7.0 + 4.0, 4) * 1.4 - 0.2)
    return mix([0.95, 0.80, 0.42], stone, step(0.03, 0.20, vein))


def stripes(points: np.ndarray) -> np.ndarray:
    """Return a ball of red, white, yellow and blue segments."""
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    angle = (np.arctan2(unit[:, 1], unit[:, 0]) / (2 * np.pi) + 0.5) * 8
    palette = np.array([[0.86, 0.14, 0.16], [0.95, 0.94, 0.90], [0.97, 0.74, 0.12]])
    palette = np.vstack([palette, [[0.95, 0.94, 0.90], [0.12, 0.34, 0.74], [0.95, 0.94, 0.90]]])
    palette = np.vstack([palette, [[0.16, 0.62, 0.38], [0.95, 0.94, 0.90]]])
    color = palette[np.floor(angle).astype(int) % 8]
    return mix(color, [0.95, 0.94, 0.90], step(0.945, 0.955, np.abs(unit[:, 2])))


def dots(points: np.ndarray) -> np.ndarray:
    """Return an orange skin with violet spots."""
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    spots = np.abs(np.sin(unit[:, 0] * 8) * np.sin(unit[:, 1] * 8) * np.cos(unit[:, 2] * 8))
    skin = mix([0.96, 0.50, 0.12], [1.0, 0.72, 0.30], fractal(points * 30.0, 2))
    return mix(skin, [0.36, 0.10, 0.46], step(0.22, 0.28, spots))


def gold(points: np.ndarray) -> np.ndarray:
    """Return brushed gold."""
    return mix([0.72, 0.45, 0.10], [1.0, 0.80, 0.34], fractal(points * [50.0, 50.0, 6.0], 3))


def tiles(points: np.ndarray) -> np.ndarray:
    """Return small glazed tiles in blues, each of its own tone."""
    cell = np.floor(points / 0.075 + 1e-6)
    edge = (0.5 - np.abs(points / 0.075 - cell - 0.5)).copy()
    edge[np.abs(points / 0.075 - np.round(points / 0.075)) < 1e-3] = 0.5  # the face's own axis
    tone = lattice(cell.astype(np.int64))
    glaze = mix([0.05, 0.16, 0.50], [0.55, 0.82, 0.95], tone)
    glaze = np.where((tone > 0.9)[:, None], [0.98, 0.90, 0.60], glaze)
    return mix([0.90, 0.90, 0.86], glaze, step(0.04, 0.12, edge.min(axis=1)))


def backdrop(directions: np.ndarray) -> np.ndarray:
    """Return what lies at infinity in unit directions [P, 3]."""
    up = directions[:, 2]
    colors = np.zeros_like(directions)
    is_lake, is_hill, is_sky = up < -0.04, (up >= -0.06) & (up < 0.26), up >= -0.03
    colors[is_sky] = _clouds(_sky(directions[is_sky]), directions[is_sky])
    colors[is_hill] = _hills(colors[is_hill], directions[is_hill])
    water = _lake(directions[is_lake])
    is_shore = (up >= -0.06)[is_lake]
    shore = step(0.0, 0.012, -0.047 - up[is_lake][is_shore])
    water[is_shore] = mix(colors[is_lake][is_shore], water[is_shore], shore)
    colors[is_lake] = water
    return colors


def _hills(colors: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Draw three ridges, far to near, over colours [P, 3]."""
    up = directions[:, 2]
    around = directions / np.hypot(directions[:, 0], directions[:, 1])[:, None] * [1.0, 1.0, 0.0]
    for layer, (base, height, detail) in enumerate(
        ((0.05, 0.20, 2.2), (0.015, 0.13, 3.6), (-0.03, 0.08, 6.0))
    ):
        ridge = base + height * (fractal(around * detail + 31.0 * layer, 6) - 0.30)
        cover = step(-0.0015, 0.0015, ridge - up)
        rows = cover > 0
        hill = _hill(directions[rows], layer, ridge[rows])
        colors[rows] = mix(colors[rows], hill, cover[rows])
    return colors


def _sky(directions: np.ndarray) -> np.ndarray:
    up = directions[:, 2]
    color = mix([1.0, 0.80, 0.60], [0.42, 0.62, 0.88], step(0.0, 0.30, up))
    color = mix(color, [0.08, 0.17, 0.42], step(0.22, 0.85, up))
    toward = directions @ SUN
    glow = np.exp((toward - 1) * 40)[:, None] * 0.55 + np.exp((toward - 1) * 5)[:, None] * 0.28
    color = color + glow * SUN_COLOR
    cells = np.floor(directions * 60).astype(np.int64)
    center = (cells + 0.5) / 60
    distance = np.linalg.norm(directions - center, axis=1)
    star = (lattice(cells) > 0.90) * step(0.0085, 0.002, distance) * step(0.30, 0.6, up)
    color = mix(color, [1.0, 1.0, 0.95], star)
    return mix(color, [1.0, 0.98, 0.90], step(0.9972, 0.9980, toward))


def _clouds(color: np.ndarray, directions: np.ndarray) -> np.ndarray:
    up = np.maximum(directions[:, 2], 0.0)
    flat = directions[:, :2] / (up + 0.16)[:, None] * 0.9
    layer = np.column_stack([flat, np.full(len(up), 3.7)])
    shape = fractal(layer * 1.6, 6)
    lit = fractal((layer - 0.12 * np.append(SUN[:2], 0.0)) * 1.6, 5) - shape
    body = mix([0.62, 0.60, 0.70], [1.0, 0.94, 0.86], 0.55 - 5.0 * lit)
    return mix(color, body, step(0.50, 0.68, shape) * step(0.02, 0.16, up) * 0.95)


def _hill(directions: np.ndarray, layer: int, ridge: np.ndarray) -> np.ndarray:
    woods = fractal(directions * (34.0 + 22.0 * layer), 4)
    near = np.array([[0.40, 0.46, 0.66], [0.25, 0.38, 0.44], [0.10, 0.26, 0.16]])[layer]
    sunny = np.array([[0.74, 0.66, 0.74], [0.48, 0.56, 0.42], [0.46, 0.52, 0.18]])[layer]
    color = mix(near, sunny, woods * 2.4 - 0.75)
    depth = ridge - directions[:, 2]
    color = mix(
        color, [0.93, 0.93, 0.97], step(0.0, -0.02, depth - 0.035) * (layer == 0) * (woods > 0.42)
    )
    return mix(color, [0.96, 0.80, 0.68], step(0.03, 0.16, depth) * (0.5 - 0.15 * layer))


def _lake(directions: np.ndarray) -> np.ndarray:
    down = np.maximum(-directions[:, 2], 0.03)
    flat = np.column_stack([directions[:, :2] / down[:, None], np.zeros(len(down))])
    waves = fractal(flat * [2.5, 2.5, 1.0], 5)
    water = mix([0.80, 0.68, 0.62], [0.09, 0.31, 0.43], step(0.03, 0.42, down))
    water = water * (0.74 + 0.5 * waves)[:, None]
    rise = fractal(flat * 0.55 + 9.0, 6)
    land = mix([0.10, 0.26, 0.12], [0.56, 0.52, 0.24], fractal(flat * 5.0, 4) * 1.8 - 0.4)
    land = mix([0.86, 0.76, 0.56], land, step(0.565, 0.58, rise))
    return mix(water, land, step(0.552, 0.558, rise))
