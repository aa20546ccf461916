"""Compiled projection of Gaussians to the image plane and its analytic backward pass.

means      [N, 3]   scene units   centres
quats      [N, 4]   -             rotations (w, x, y, z), any length above zero
scales     [N, 3]   scene units   standard deviations
opacities  [N]      0..1
colors     [N, 3]
camera     [20]     float64       see `camera_numbers`
->
features   [N, 16]  float32       one cache line per Gaussian, columns named below
depths     [N]      float32       camera z, 0 where the Gaussian is not drawn
radii      [N]      int32 pixels  reach at which alpha falls to the cut, 0 where not drawn
means2d    [N, 2]   pixels

The backward pass takes, per tile and Gaussian, the twelve sums named below and adds them up
in a fixed order, so that gradients are the same at any number of threads.
Zwicker et al. 2001, "EWA volume splatting"; antialiasing: Yu et al. 2024, "Mip-Splatting".
"""

from __future__ import annotations

import math

import numpy as np

from core.nn.compiled import kernel, parallel_kernel, prange
from core.render.backend import ALPHA_CUT, BLUR, NEAR

X, Y, REACH_X, REACH_Y, CORRELATION, BULGE = range(6)  # the ellipse at the alpha cut
CONIC_XX, CONIC_XY, CONIC_YY, OPACITY, RED, GREEN, BLUE, DEPTH, LOG_OPACITY = range(6, 15)
NUM_FEATURES = 16

# Sums over the pixels of a tile: q = dL / d(half the squared distance), alone and times the powers of
# pixel - centre; |dL / d centre|; gradients of colour and depth.
Q, Q_X, Q_Y, Q_XX, Q_XY, Q_YY, G_ABS_X, G_ABS_Y, G_RED, G_GREEN, G_BLUE, G_DEPTH = range(12)
NUM_GRADIENTS = 12
# What these sums mean for one Gaussian, taking the places of the first six.
G_X, G_Y, G_XX, G_XY, G_YY, G_OPACITY = range(6)

CHUNK = 1024  # Gaussians per unit of parallel work
_LARGEST = 1e18  # a number beyond is treated like infinity: its square would leave float32
_LOG_CUT = math.log(ALPHA_CUT)
_SMALLEST_COMPENSATION = 1e-6  # below, antialiasing has erased the Gaussian and its gradient

# Intermediate values of one projection, shared by both passes.
_ROTATION, _POINT, _RATIO, _FREE, _ROW_X, _ROW_Y = 0, 9, 12, 14, 16, 19
_XX, _XY, _YY, _DET, _COMPENSATION, _LENGTH = 22, 23, 24, 25, 26, 27
_SCRATCH = 28


def camera_numbers(viewmat: np.ndarray, K: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pack a camera: rotation (9), translation (3), fx, fy, cx, cy, bounds of x/z and y/z (4)."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    slack_x, slack_y = 0.15 * width / fx, 0.15 * height / fy  # 0.3 of the half field of view
    bounds = (
        -cx / fx - slack_x,
        (width - cx) / fx + slack_x,
        -cy / fy - slack_y,
        (height - cy) / fy + slack_y,
    )
    return np.concatenate(
        [viewmat[:3, :3].ravel(), viewmat[:3, 3], (fx, fy, cx, cy), bounds]
    ).astype(np.float64)


def empty_features(num: int) -> np.ndarray:
    """Allocate features [N, 16] so that every row is one cache line."""
    numbers = np.empty((num + 1) * NUM_FEATURES, np.float32)
    start = (-numbers.ctypes.data // 4) % NUM_FEATURES
    return numbers[start : start + num * NUM_FEATURES].reshape(num, NUM_FEATURES)


@kernel
def _to_screen(means, quats, scales, n, camera, s):
    """Project the covariance of Gaussian `n` into the scratch `s`; answer whether it can be drawn."""
    qw, qx, qy, qz = quats[n, 0], quats[n, 1], quats[n, 2], quats[n, 3]
    length = math.sqrt(
        np.float64(qw) * qw + np.float64(qx) * qx + np.float64(qy) * qy + np.float64(qz) * qz
    )
    for row in range(3):
        s[_POINT + row] = (
            camera[3 * row] * means[n, 0]
            + camera[3 * row + 1] * means[n, 1]
            + camera[3 * row + 2] * means[n, 2]
            + camera[9 + row]
        )
    z = s[_POINT + 2]
    if not (length > 0.0 and length < _LARGEST and z > NEAR and z < _LARGEST):
        return False
    s[_LENGTH] = length
    w, x, y, z = qw / length, qx / length, qy / length, qz / length
    for row in range(3):
        c0, c1, c2 = camera[3 * row], camera[3 * row + 1], camera[3 * row + 2]
        s[_ROTATION + 3 * row] = (
            c0 * (1 - 2 * (y * y + z * z)) + c1 * 2 * (x * y + w * z) + c2 * 2 * (x * z - w * y)
        )
        s[_ROTATION + 3 * row + 1] = (
            c0 * 2 * (x * y - w * z) + c1 * (1 - 2 * (x * x + z * z)) + c2 * 2 * (y * z + w * x)
        )
        s[_ROTATION + 3 * row + 2] = (
            c0 * 2 * (x * z + w * y) + c1 * 2 * (y * z - w * x) + c2 * (1 - 2 * (x * x + y * y))
        )
    for axis in range(2):
        ratio = s[_POINT + axis] / s[_POINT + 2]
        low, high = camera[16 + 2 * axis], camera[17 + 2 * axis]
        clamped = min(max(ratio, low), high)
        s[_RATIO + axis] = clamped
        s[_FREE + axis] = 1.0 if ratio == clamped else 0.0
        stretch = camera[12 + axis] / s[_POINT + 2]
        for k in range(3):
            s[_ROW_X + 3 * axis + k] = (
                stretch
                * (s[_ROTATION + 3 * axis + k] - clamped * s[_ROTATION + 6 + k])
                * scales[n, k]
            )
    _covariance(s)
    return s[_XX] < _LARGEST and s[_YY] < _LARGEST and s[_DET] > 0.0


@kernel
def _covariance(s):
    """Form the blurred covariance, its determinant and the antialiasing compensation from two rows."""
    ax, ay, az = s[_ROW_X], s[_ROW_X + 1], s[_ROW_X + 2]
    bx, by, bz = s[_ROW_Y], s[_ROW_Y + 1], s[_ROW_Y + 2]
    xx, yy = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz
    cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    sharp = cx * cx + cy * cy + cz * cz  # determinant without blur, free of cancellation
    s[_XX], s[_YY] = xx + BLUR, yy + BLUR
    s[_XY] = ax * bx + ay * by + az * bz
    s[_DET] = sharp + BLUR * (xx + yy) + BLUR * BLUR
    s[_COMPENSATION] = math.sqrt(sharp / s[_DET])


@parallel_kernel
def project(
    means, quats, scales, opacities, colors, camera, width, height, antialiased,
    features, depths, radii, means2d,
):  # fmt: skip
    """Fill `features`, `depths`, `radii` and `means2d` of every Gaussian."""
    num = means.shape[0]
    for chunk in prange((num + CHUNK - 1) // CHUNK):
        s = np.empty(_SCRATCH, np.float64)
        for n in range(chunk * CHUNK, min(num, (chunk + 1) * CHUNK)):
            depths[n] = np.float32(0.0)
            radii[n] = 0
            means2d[n, 0] = np.float32(0.0)
            means2d[n, 1] = np.float32(0.0)
            color_size = abs(colors[n, 0]) + abs(colors[n, 1]) + abs(colors[n, 2])
            # written so that NaN fails every comparison
            if not (opacities[n] > ALPHA_CUT and opacities[n] < _LARGEST and color_size < _LARGEST):
                continue
            if not _to_screen(means, quats, scales, n, camera, s):
                continue
            opacity = min(np.float64(opacities[n]), 1.0)
            if antialiased:
                opacity *= s[_COMPENSATION]
            if not opacity > ALPHA_CUT:
                continue
            log_opacity = math.log(opacity)
            cut = math.sqrt(2.0 * (log_opacity - _LOG_CUT))
            reach_x, reach_y = cut * math.sqrt(s[_XX]), cut * math.sqrt(s[_YY])
            x = camera[12] * s[_POINT] / s[_POINT + 2] + camera[14]
            y = camera[13] * s[_POINT + 1] / s[_POINT + 2] + camera[15]
            if not (
                x + reach_x > 0 and x - reach_x < width and y + reach_y > 0 and y - reach_y < height
            ):
                continue
            depths[n] = s[_POINT + 2]
            radii[n] = np.int32(min(math.ceil(max(reach_x, reach_y)), 1e9))
            means2d[n, 0], means2d[n, 1] = x, y
            features[n, X], features[n, Y] = x, y
            features[n, CONIC_XX] = s[_YY] / s[_DET]
            features[n, CONIC_XY] = -s[_XY] / s[_DET]
            features[n, CONIC_YY] = s[_XX] / s[_DET]
            features[n, OPACITY] = opacity
            features[n, RED], features[n, GREEN], features[n, BLUE] = (
                colors[n, 0],
                colors[n, 1],
                colors[n, 2],
            )
            features[n, DEPTH] = s[_POINT + 2]
            features[n, REACH_X], features[n, REACH_Y] = reach_x, reach_y
            spread = math.sqrt(s[_XX] * s[_YY])
            features[n, CORRELATION] = s[_XY] / spread
            features[n, BULGE] = math.sqrt(s[_DET]) / spread  # sqrt(1 - correlation^2)
            features[n, LOG_OPACITY] = log_opacity


@kernel
def _from_sums(g, s, opacity):
    """Turn sums over pixels into the gradients of centre, conic and opacity, in place."""
    q, q_x, q_y = g[Q], g[Q_X], g[Q_Y]
    q_xx, q_xy, q_yy = g[Q_XX], g[Q_XY], g[Q_YY]
    xx, xy, yy = s[_YY] / s[_DET], -s[_XY] / s[_DET], s[_XX] / s[_DET]
    g[G_X], g[G_Y] = -(xx * q_x + xy * q_y), -(xy * q_x + yy * q_y)
    g[G_XX], g[G_XY], g[G_YY] = 0.5 * q_xx, q_xy, 0.5 * q_yy
    g[G_OPACITY] = -q / opacity


@kernel
def _rows_backward(s, g, camera, scales, n, antialiased, to_rotation, to_scales):
    """Take gradients of conic and opacity back to rotation (camera axes) and scales; return those of x/z, y/z, z."""
    xx, xy, yy, det = s[_XX], s[_XY], s[_YY], s[_DET]
    p, q, r = yy / det, -xy / det, xx / det
    h = 0.5 * g[G_XY]
    # dL/dcov = -X G X for the inverse X = [[p, q], [q, r]]
    left, cross, low = p * g[G_XX] + q * h, p * h + q * g[G_YY], q * g[G_XX] + r * h
    to_xx = -(left * p + cross * q)
    to_yy = -(low * q + (q * h + r * g[G_YY]) * r)
    to_xy = -2.0 * (left * q + cross * r)
    if antialiased and s[_COMPENSATION] > _SMALLEST_COMPENSATION:
        # compensation^2 = sharp / det, so d log(compensation) = (d log sharp - d log det) / 2
        sharp = s[_COMPENSATION] * s[_COMPENSATION] * det
        push = 0.5 * s[_COMPENSATION] * g[G_OPACITY]
        to_xx += push * ((yy - BLUR) / sharp - yy / det)
        to_yy += push * ((xx - BLUR) / sharp - xx / det)
        to_xy += push * 2.0 * xy * (1.0 / det - 1.0 / sharp)
    z = s[_POINT + 2]
    to_ratio_x = to_ratio_y = to_z = 0.0
    stretch_x, stretch_y = camera[12] / z, camera[13] / z
    for k in range(3):
        row_x, row_y = s[_ROW_X + k], s[_ROW_Y + k]
        to_x = 2.0 * to_xx * row_x + to_xy * row_y
        to_y = 2.0 * to_yy * row_y + to_xy * row_x
        to_z -= (to_x * row_x + to_y * row_y) / z
        scale = np.float64(scales[n, k])
        to_ratio_x -= stretch_x * to_x * s[_ROTATION + 6 + k] * scale
        to_ratio_y -= stretch_y * to_y * s[_ROTATION + 6 + k] * scale
        to_0, to_1 = stretch_x * to_x, stretch_y * to_y
        to_2 = -to_0 * s[_RATIO] - to_1 * s[_RATIO + 1]
        to_scales[k] = (
            to_0 * s[_ROTATION + k] + to_1 * s[_ROTATION + 3 + k] + to_2 * s[_ROTATION + 6 + k]
        )
        to_rotation[k], to_rotation[3 + k], to_rotation[6 + k] = (
            to_0 * scale,
            to_1 * scale,
            to_2 * scale,
        )
    return to_ratio_x * s[_FREE], to_ratio_y * s[_FREE + 1], to_z


@kernel
def _quat_backward(quats, n, length, m, to_quats):
    """Take the gradient `m` of a world rotation matrix back to the unnormalised quaternion."""
    w, x, y, z = (
        quats[n, 0] / length,
        quats[n, 1] / length,
        quats[n, 2] / length,
        quats[n, 3] / length,
    )
    gw = 2 * (x * (m[7] - m[5]) + y * (m[2] - m[6]) + z * (m[3] - m[1]))
    gx = 2 * (w * (m[7] - m[5]) + y * (m[1] + m[3]) + z * (m[2] + m[6]) - 2 * x * (m[4] + m[8]))
    gy = 2 * (w * (m[2] - m[6]) + x * (m[1] + m[3]) + z * (m[5] + m[7]) - 2 * y * (m[0] + m[8]))
    gz = 2 * (w * (m[3] - m[1]) + x * (m[2] + m[6]) + y * (m[5] + m[7]) - 2 * z * (m[0] + m[4]))
    along = gw * w + gx * x + gy * y + gz * z
    to_quats[n, 0] += (gw - along * w) / length
    to_quats[n, 1] += (gx - along * x) / length
    to_quats[n, 2] += (gy - along * y) / length
    to_quats[n, 3] += (gz - along * z) / length


@parallel_kernel
def project_backward(
    means, quats, scales, opacities, camera, antialiased, slot_first, pair_gradients,
    to_means, to_quats, to_scales, to_opacities, to_colors, absgrad,
):  # fmt: skip
    """Add up what the tiles found for each Gaussian and carry it to the five inputs (adding to them)."""
    num = means.shape[0]
    for chunk in prange((num + CHUNK - 1) // CHUNK):
        s, g = np.empty(_SCRATCH, np.float64), np.empty(NUM_GRADIENTS, np.float64)
        m, world, v, t = np.empty(9), np.empty(9), np.empty(3), np.empty(3)
        for n in range(chunk * CHUNK, min(num, (chunk + 1) * CHUNK)):
            if slot_first[n] == slot_first[n + 1]:
                continue
            g[:] = 0.0
            for slot in range(slot_first[n], slot_first[n + 1]):
                for k in range(NUM_GRADIENTS):
                    g[k] += pair_gradients[slot, k]
            _to_screen(means, quats, scales, n, camera, s)
            opacity = min(np.float64(opacities[n]), 1.0)
            seen = opacity * s[_COMPENSATION] if antialiased else opacity
            _from_sums(g, s, seen)
            if antialiased:
                # the tiles saw opacity * compensation
                g_opacity = g[G_OPACITY] * s[_COMPENSATION]
                g[G_OPACITY] *= opacity
            else:
                g_opacity = g[G_OPACITY]
            ratio_x, ratio_y, to_z = _rows_backward(s, g, camera, scales, n, antialiased, m, v)
            z = s[_POINT + 2]
            shift_x, shift_y = camera[12] * g[G_X], camera[13] * g[G_Y]
            t[0], t[1] = (ratio_x + shift_x) / z, (ratio_y + shift_y) / z
            t[2] = to_z + g[G_DEPTH] - (
                ratio_x * s[_RATIO] + ratio_y * s[_RATIO + 1]
                + (shift_x * s[_POINT] + shift_y * s[_POINT + 1]) / z
            ) / z  # fmt: skip
            for k in range(3):
                to_means[n, k] += camera[k] * t[0] + camera[3 + k] * t[1] + camera[6 + k] * t[2]
                to_scales[n, k] += v[k]
                to_colors[n, k] += g[G_RED + k]
                for column in range(3):
                    world[3 * k + column] = (
                        camera[k] * m[column]
                        + camera[3 + k] * m[3 + column]
                        + camera[6 + k] * m[6 + column]
                    )
            _quat_backward(quats, n, s[_LENGTH], world, to_quats)
            if opacities[n] <= 1.0:
                to_opacities[n] += g_opacity
            absgrad[n, 0], absgrad[n, 1] = g[G_ABS_X], g[G_ABS_Y]
