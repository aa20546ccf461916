"""Compiled look-ups in a cube of pictures: where each pixel's ray ends, and the colour found there.

lens      [13]            float32  rotation of camera_to_world (9), fx, fy, cx, cy
sphere    [8]             float32  camera minus sphere centre (3), camera minus cube centre (3), radius,
                                   least light that counts
alpha     [H, W]          float32  of the Gaussians; no rows: every pixel is asked for
texels    [H, W]          int32    upper left of four texels, -1 where nothing is asked for
weights   [H, W, 2]       float32  towards the texel on the right and below
is_wanted [6, TILES, TILES] uint8  tiles that some pixel needs
colors    [6 * SIDE * SIDE, 3] float32  the cube
picture   [H, W, 3]       float32

Face 2k looks along +axis k and 2k + 1 along -axis k; its right is axis k + 1 with the same sign and
its down is axis k + 2. 90 degrees span SIDE - 2 texels, so that no interpolation leaves its face.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

SIDE = 192  # texels: 8 milliradians each
TILE = 16  # texels a side of what is asked for at once
TILES = SIDE // TILE
FOCAL = SIDE / 2 - 1

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_FOCAL, _START = np.float32(FOCAL), np.float32(SIDE / 2 - 0.5)


@kernel
def _on_cube(qx, qy, qz):
    """Return the face and the position on it, in texels from the first texel's middle."""
    ax, ay, az = abs(qx), abs(qy), abs(qz)
    if ax >= ay and ax >= az:
        face, major, across, down = 0, qx, qy, qz
    elif ay >= az:
        face, major, across, down = 2, qy, qz, qx
    else:
        face, major, across, down = 4, qz, qx, qy
    if major < _ZERO:
        face += 1
    u = _START + _FOCAL * (across / major)
    v = _START + _FOCAL * (down / abs(major))
    return face, u, v


@parallel_kernel
def locate(lens, sphere, alpha, texels, weights, is_wanted):
    """Find every pixel's place on the cube and the tiles that are needed for it."""
    height, width = texels.shape
    offset2 = sphere[0] * sphere[0] + sphere[1] * sphere[1] + sphere[2] * sphere[2]
    room = sphere[6] * sphere[6] - offset2
    for y in prange(height):
        b = (np.float32(y) + _HALF - lens[12]) / lens[10]
        for x in range(width):
            texels[y, x] = -1
            if len(alpha) > 0 and not (_ONE - alpha[y, x] > sphere[7]):
                continue
            a = (np.float32(x) + _HALF - lens[11]) / lens[9]
            dx = lens[0] * a + lens[1] * b + lens[2]
            dy = lens[3] * a + lens[4] * b + lens[5]
            dz = lens[6] * a + lens[7] * b + lens[8]
            scale = _ONE / np.sqrt(dx * dx + dy * dy + dz * dz)
            dx, dy, dz = dx * scale, dy * scale, dz * scale
            along = dx * sphere[0] + dy * sphere[1] + dz * sphere[2]
            far = np.sqrt(max(along * along + room, _ZERO)) - along
            face, u, v = _on_cube(sphere[3] + far * dx, sphere[4] + far * dy, sphere[5] + far * dz)
            i, j = min(int(max(u, _ZERO)), SIDE - 2), min(int(max(v, _ZERO)), SIDE - 2)
            texels[y, x] = (face * SIDE + j) * SIDE + i
            weights[y, x, 0], weights[y, x, 1] = u - np.float32(i), v - np.float32(j)
            left, right, top, low = i // TILE, (i + 1) // TILE, j // TILE, (j + 1) // TILE
            is_wanted[face, top, left] = 1
            is_wanted[face, top, right] = 1
            is_wanted[face, low, left] = 1
            is_wanted[face, low, right] = 1


@parallel_kernel
def sample(texels, weights, colors, picture):
    """Interpolate between four texels at every pixel; black where nothing is asked for."""
    height, width = texels.shape
    for y in prange(height):
        for x in range(width):
            at = texels[y, x]
            if at < 0:
                picture[y, x, 0], picture[y, x, 1], picture[y, x, 2] = _ZERO, _ZERO, _ZERO
                continue
            right, low = weights[y, x, 0], weights[y, x, 1]
            for k in range(3):
                above = colors[at, k] + right * (colors[at + 1, k] - colors[at, k])
                below = colors[at + SIDE, k] + right * (
                    colors[at + SIDE + 1, k] - colors[at + SIDE, k]
                )
                picture[y, x, k] = above + low * (below - above)


def warm_up() -> Iterator[str]:
    """Compile the kernels, naming them when they are ready."""
    lens, sphere = np.ones(13, np.float32), np.ones(8, np.float32)
    texels, weights = np.zeros((1, 1), np.int32), np.zeros((1, 1, 2), np.float32)
    is_wanted = np.zeros((6, TILES, TILES), np.uint8)
    locate(lens, sphere, np.zeros((1, 1), np.float32), texels, weights, is_wanted)
    colors, picture = np.zeros((6 * SIDE * SIDE, 3), np.float32), np.zeros((1, 1, 3), np.float32)
    sample(texels, weights, colors, picture)
    yield "background of moving pictures"
