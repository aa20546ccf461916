"""A truncated signed distance on a grid, filled from depth pictures; and a mesh drawn as depth.

depth    [H, W]  scene units along the viewing axis
weight   [H, W]  how far a pixel is trusted; 0 tells nothing, below 0 the whole ray is empty
camera   [16]    world-to-camera rotation (9) and translation (3), fx, fy, cx, cy
grid     [4]     lowest corner (3) and the size of a cell; a value belongs to the corner of a cell
sums, weights [X, Y, Z]  weighted sum of distances in units of the truncation, -1..1, and of weights

Curless and Levoy 1996, "A volumetric method for building complex models from range images".
"""

from __future__ import annotations

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_NEAR = np.float32(1e-3)


@parallel_kernel
def fuse(depth, weight, camera, grid, truncation, sums, weights):
    """Add one depth picture to the grid."""
    r, inverse = camera, _ONE / truncation
    for i in prange(sums.shape[0]):
        x = grid[0] + np.float32(i) * grid[3]
        for j in range(sums.shape[1]):
            y = grid[1] + np.float32(j) * grid[3]
            for k in range(sums.shape[2]):
                z = grid[2] + np.float32(k) * grid[3]
                ahead = r[6] * x + r[7] * y + r[8] * z + r[11]
                if ahead < _NEAR:
                    continue
                u = (r[0] * x + r[1] * y + r[2] * z + r[9]) / ahead * r[12] + r[14]
                v = (r[3] * x + r[4] * y + r[5] * z + r[10]) / ahead * r[13] + r[15]
                found, trust = _looked_up(depth, weight, u, v, truncation)
                if trust < _ZERO:  # nothing along this ray
                    sums[i, j, k] -= trust
                    weights[i, j, k] -= trust
                elif trust > _ZERO:
                    distance = found - ahead
                    if distance > -truncation:
                        sums[i, j, k] += trust * min(_ONE, distance * inverse)
                        weights[i, j, k] += trust


@kernel
def _looked_up(depth, weight, u, v, truncation):
    """Return depth and weight at a pixel position: interpolated inside a surface, the nearest at its edge."""
    height, width = depth.shape
    if not (_ZERO <= u < np.float32(width) and _ZERO <= v < np.float32(height)):
        return _ZERO, _ZERO
    column, row = int(u), int(v)
    near, trust = depth[row, column], weight[row, column]
    if trust <= _ZERO:
        return near, trust
    left, top = int(np.floor(u - _HALF)), int(np.floor(v - _HALF))
    if left < 0 or top < 0 or left + 1 >= width or top + 1 >= height:
        return near, trust
    du, dv = u - _HALF - np.float32(left), v - _HALF - np.float32(top)
    between = _ZERO
    for dy in range(2):
        for dx in range(2):
            other = depth[top + dy, left + dx]
            if weight[top + dy, left + dx] <= _ZERO or abs(other - near) > truncation:
                return near, trust
            between += other * (du if dx else _ONE - du) * (dv if dy else _ONE - dv)
    return between, trust


@kernel
def draw_depth(vertices, faces, camera, depth):
    """Lower `depth` [H, W] to the nearest triangle through each pixel's centre; vertices [V, 3] in the world."""
    height, width = depth.shape
    r = camera
    pixels = np.empty((len(vertices), 3), np.float32)
    for n in range(len(vertices)):
        x, y, z = vertices[n, 0], vertices[n, 1], vertices[n, 2]
        ahead = r[6] * x + r[7] * y + r[8] * z + r[11]
        safe = max(ahead, _NEAR)
        pixels[n, 0] = (r[0] * x + r[1] * y + r[2] * z + r[9]) / safe * r[12] + r[14]
        pixels[n, 1] = (r[3] * x + r[4] * y + r[5] * z + r[10]) / safe * r[13] + r[15]
        pixels[n, 2] = ahead
    for face in range(len(faces)):
        a, b, c = pixels[faces[face, 0]], pixels[faces[face, 1]], pixels[faces[face, 2]]
        if min(a[2], b[2], c[2]) <= _NEAR:
            continue
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if area == _ZERO:
            continue
        first = max(0, int(np.ceil(min(a[0], b[0], c[0]) - _HALF)))
        last = min(width - 1, int(np.floor(max(a[0], b[0], c[0]) - _HALF)))
        upper = max(0, int(np.ceil(min(a[1], b[1], c[1]) - _HALF)))
        lower = min(height - 1, int(np.floor(max(a[1], b[1], c[1]) - _HALF)))
        for row in range(upper, lower + 1):
            y = np.float32(row) + _HALF
            for column in range(first, last + 1):
                x = np.float32(column) + _HALF
                to_b = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / area
                to_c = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / area
                if to_b < _ZERO or to_c < _ZERO or to_b + to_c > _ONE:
                    continue
                # 1 / depth is linear on the screen
                inverse = (_ONE - to_b - to_c) / a[2] + to_b / b[2] + to_c / c[2]
                depth[row, column] = min(depth[row, column], _ONE / inverse)
