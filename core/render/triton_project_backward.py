"""The analytic backward pass of the Triton projection; one lane is one Gaussian.

It takes twelve numbers per row (camera and Gaussian), named G_*, that are already summed over tiles. Several
cameras are a loop, so nothing is ever added by two programs. Shapes as in `triton_project`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from core.render.triton_project import (
    BLUR,
    NEAR,
    axes_of,
    covariance,
    lens,
    load_four,
    load_three,
    on_screen,
    point_of,
)

# columns of the gradients of one pair or one row
NUM_GRADIENTS = tl.constexpr(12)
G_X, G_Y = tl.constexpr(0), tl.constexpr(1)
G_XX, G_XY, G_YY = tl.constexpr(2), tl.constexpr(3), tl.constexpr(4)
G_OPACITY, G_RED, G_GREEN = tl.constexpr(5), tl.constexpr(6), tl.constexpr(7)
G_BLUE, G_DEPTH = tl.constexpr(8), tl.constexpr(9)
G_ABS_X, G_ABS_Y = tl.constexpr(10), tl.constexpr(11)

_SMALLEST_SHARE = tl.constexpr(1e-12)  # sharp / det below: antialiasing has erased the Gaussian


@triton.jit
def _turn_back(viewmats, camera, column, x, y, z):
    """Apply column `column` of a camera's rotation to a vector: from camera to world axes."""
    place = viewmats + 16 * camera + column
    return tl.load(place) * x + tl.load(place + 4) * y + tl.load(place + 8) * z


@triton.jit
def _turn_all_back(viewmats, camera, x, y, z):
    """Turn a vector from camera to world axes."""
    return (
        _turn_back(viewmats, camera, 0, x, y, z),
        _turn_back(viewmats, camera, 1, x, y, z),
        _turn_back(viewmats, camera, 2, x, y, z),
    )


@triton.jit
def _to_axis(a, b, a1, b1, a2, b2, g, push, det, sharp, p, q, r):
    """Take gradients of conic and opacity back to (a, b), one axis of the Gaussian on the screen.

    `g` is the conic's gradient and `push` half the opacity's times the opacity; the other two axes come along.
    dL/dcov = -X G X for the inverse X = [[p, q], [q, r]], so dL/d(a, b) = -2 X G X (a, b). The inverse times
    the axis is formed from cross products: for needles its plain form is a difference of nearly equal numbers.
    """
    cross_1, cross_2 = a * b1 - a1 * b, a * b2 - a2 * b
    sharp_a = b1 * cross_1 + b2 * cross_2
    sharp_b = -(a1 * cross_1 + a2 * cross_2)
    xa, xb = (BLUR * a + sharp_a) / det, (BLUR * b + sharp_b) / det
    ga, gb = g[2] * xa + 0.5 * g[3] * xb, 0.5 * g[3] * xa + g[4] * xb
    # share^2 = sharp / det, so d log(share) = (d log sharp - d log det) / 2
    to_a = 2.0 * push * (sharp_a / sharp - xa) - 2.0 * (p * ga + q * gb)
    to_b = 2.0 * push * (sharp_b / sharp - xb) - 2.0 * (q * ga + r * gb)
    return to_a, to_b


@triton.jit
def _to_world(viewmats, camera, m):
    """Turn the gradient `m` of a rotation matrix from camera to world axes."""
    x0, x1, x2 = _turn_all_back(viewmats, camera, m[0], m[3], m[6])
    y0, y1, y2 = _turn_all_back(viewmats, camera, m[1], m[4], m[7])
    z0, z1, z2 = _turn_all_back(viewmats, camera, m[2], m[5], m[8])
    return x0, y0, z0, x1, y1, z1, x2, y2, z2


@triton.jit
def _to_quat(quat, length, m):
    """Take the gradient `m` of a world rotation matrix back to the unnormalised quaternion."""
    length = tl.where(length > 0.0, length, 1.0)
    w, x, y, z = quat[0] / length, quat[1] / length, quat[2] / length, quat[3] / length
    gw = 2 * (x * (m[7] - m[5]) + y * (m[2] - m[6]) + z * (m[3] - m[1]))
    gx = 2 * (w * (m[7] - m[5]) + y * (m[1] + m[3]) + z * (m[2] + m[6]) - 2 * x * (m[4] + m[8]))
    gy = 2 * (w * (m[2] - m[6]) + x * (m[1] + m[3]) + z * (m[5] + m[7]) - 2 * y * (m[0] + m[8]))
    gz = 2 * (w * (m[3] - m[1]) + x * (m[2] + m[6]) + y * (m[5] + m[7]) - 2 * z * (m[0] + m[4]))
    along = gw * w + gx * x + gy * y + gz * z
    return (
        (gw - along * w) / length,
        (gx - along * x) / length,
        (gy - along * y) / length,
        (gz - along * z) / length,
    )


@triton.jit
def _to_gaussian(
    g, mean, quat, scale, opacity, viewmats, Ks, camera, width, height, ANTIALIASED: tl.constexpr
):
    """Take the twelve gradients `g` of one camera back to mean, quaternion, scales and opacity."""
    px, py, z = point_of(viewmats, camera, mean)
    z = tl.where(z > NEAR, z, 1.0)
    axes = axes_of(viewmats, camera, quat)
    fx, fy, _, _ = lens(Ks, camera)
    u, v, a, b = on_screen(px, py, z, axes, scale, Ks, camera, width, height)
    stretch_x, stretch_y = fx / z, fy / z
    xx, xy, yy, det, sharp = covariance(a, b)
    g_opacity, push = g[5], tl.zeros_like(z)
    if ANTIALIASED:
        share = tl.sqrt(sharp / det)
        push = 0.5 * g_opacity * tl.minimum(opacity, 1.0) * share
        push = tl.where(sharp > _SMALLEST_SHARE * det, push, 0.0)
        g_opacity = g_opacity * share
    sharp = tl.where(sharp > 0.0, sharp, 1.0)
    p, q, r = yy / det, -xy / det, xx / det
    xa, xb = _to_axis(a[0], b[0], a[1], b[1], a[2], b[2], g, push, det, sharp, p, q, r)
    ya, yb = _to_axis(a[1], b[1], a[2], b[2], a[0], b[0], g, push, det, sharp, p, q, r)
    za, zb = _to_axis(a[2], b[2], a[0], b[0], a[1], b[1], g, push, det, sharp, p, q, r)
    # z stretches all of (a, b); then from the screen to the camera's axes
    to_stretch = xa * a[0] + xb * b[0] + ya * a[1] + yb * b[1] + za * a[2] + zb * b[2]
    x0, y0, z0 = stretch_x * xa, stretch_x * ya, stretch_x * za
    x1, y1, z1 = stretch_y * xb, stretch_y * yb, stretch_y * zb
    x2, y2, z2 = -x0 * u - x1 * v, -y0 * u - y1 * v, -z0 * u - z1 * v
    to_scale = (
        x0 * axes[0] + x1 * axes[3] + x2 * axes[6],
        y0 * axes[1] + y1 * axes[4] + y2 * axes[7],
        z0 * axes[2] + z1 * axes[5] + z2 * axes[8],
    )
    m = (
        x0 * scale[0], y0 * scale[1], z0 * scale[2],
        x1 * scale[0], y1 * scale[1], z1 * scale[2],
        x2 * scale[0], y2 * scale[1], z2 * scale[2],
    )  # fmt: skip
    to_quat = _to_quat(quat, axes[9], _to_world(viewmats, camera, m))
    # the bound of x/z and y/z passes no gradient where it holds
    to_u = -(m[0] * axes[6] + m[1] * axes[7] + m[2] * axes[8])
    to_v = -(m[3] * axes[6] + m[4] * axes[7] + m[5] * axes[8])
    to_u, to_v = tl.where(u == px / z, to_u, 0.0), tl.where(v == py / z, to_v, 0.0)
    shift_x, shift_y = fx * g[0], fy * g[1]
    t0, t1 = (to_u + shift_x) / z, (to_v + shift_y) / z
    moved = to_u * u + to_v * v + (shift_x * px + shift_y * py) / z
    t2 = g[9] - (to_stretch + moved) / z
    to_mean = _turn_all_back(viewmats, camera, t0, t1, t2)
    return to_mean, to_quat, to_scale, tl.where(opacity <= 1.0, g_opacity, 0.0)


@triton.jit
def _store_three(base, index, values, mask):
    """Store row `index` of an [N, 3] array."""
    tl.store(base + 3 * index, values[0], mask)
    tl.store(base + 3 * index + 1, values[1], mask)
    tl.store(base + 3 * index + 2, values[2], mask)


@triton.jit
def _added(total, part, drawn):
    """Add three numbers where a Gaussian was drawn."""
    return (
        total[0] + tl.where(drawn, part[0], 0.0),
        total[1] + tl.where(drawn, part[1], 0.0),
        total[2] + tl.where(drawn, part[2], 0.0),
    )


@triton.jit(do_not_specialize=["num", "num_cameras", "width", "height"])
def project_backward(
    means, quats, scales, opacities, viewmats, Ks, num, num_cameras, width, height,
    counts, gradients, to_means, to_quats, to_scales, to_opacities, to_colors, absgrad,
    ANTIALIASED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Carry the summed `gradients` [C * N, 12] of BLOCK Gaussians to the five inputs and `absgrad` [C * N, 2]."""
    index = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    inside = index < num
    mean, scale = load_three(means, index, inside), load_three(scales, index, inside)
    quat = load_four(quats, index, inside)
    opacity = tl.load(opacities + index, inside, other=0.0)
    zero = tl.zeros([BLOCK], tl.float32)
    sum_mean, sum_scale, sum_color = (zero, zero, zero), (zero, zero, zero), (zero, zero, zero)
    sum_w, sum_xyz, sum_opacity = zero, (zero, zero, zero), zero
    for camera in range(0, num_cameras):
        row = index + tl.cast(camera, tl.int64) * num
        drawn = tl.load(counts + row, inside, other=0) > 0
        place = gradients + NUM_GRADIENTS * row
        g = (
            tl.load(place + G_X, drawn, other=0.0),
            tl.load(place + G_Y, drawn, other=0.0),
            tl.load(place + G_XX, drawn, other=0.0),
            tl.load(place + G_XY, drawn, other=0.0),
            tl.load(place + G_YY, drawn, other=0.0),
            tl.load(place + G_OPACITY, drawn, other=0.0),
            tl.load(place + G_RED, drawn, other=0.0),
            tl.load(place + G_GREEN, drawn, other=0.0),
            tl.load(place + G_BLUE, drawn, other=0.0),
            tl.load(place + G_DEPTH, drawn, other=0.0),
        )
        to_mean, to_quat, to_scale, to_opacity = _to_gaussian(
            g, mean, quat, scale, opacity, viewmats, Ks, camera, width, height, ANTIALIASED
        )
        sum_mean = _added(sum_mean, to_mean, drawn)
        sum_w += tl.where(drawn, to_quat[0], 0.0)
        sum_xyz = _added(sum_xyz, (to_quat[1], to_quat[2], to_quat[3]), drawn)
        sum_scale = _added(sum_scale, to_scale, drawn)
        sum_color = _added(sum_color, (g[6], g[7], g[8]), drawn)
        sum_opacity += tl.where(drawn, to_opacity, 0.0)
        tl.store(absgrad + 2 * row, tl.load(place + G_ABS_X, drawn, other=0.0), inside)
        tl.store(absgrad + 2 * row + 1, tl.load(place + G_ABS_Y, drawn, other=0.0), inside)
    _store_three(to_means, index, sum_mean, inside)
    _store_three(to_scales, index, sum_scale, inside)
    _store_three(to_colors, index, sum_color, inside)
    tl.store(to_opacities + index, sum_opacity, inside)
    tl.store(to_quats + 4 * index, sum_w, inside)
    tl.store(to_quats + 4 * index + 1, sum_xyz[0], inside)
    tl.store(to_quats + 4 * index + 2, sum_xyz[1], inside)
    tl.store(to_quats + 4 * index + 3, sum_xyz[2], inside)
