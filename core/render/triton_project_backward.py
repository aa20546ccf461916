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
    scaled,
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
def _to_axis(a, b, a1, b1, a2, b2, g, push, det, sharp, p, q, r):
    """Return 2 H (a, b), where H = dL/dcov on the screen and (a, b) is one of the Gaussian's axes there.

    `g` is the conic's gradient and `push` half the opacity's times the opacity; the other two axes, scaled, come
    along. H = -X G X for the inverse X = [[p, q], [q, r]] of the covariance. X times the axis is formed from
    cross products: for needles its plain form is a difference of nearly equal numbers.
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
def _to_axes(a, b, scale, g, opacity, ANTIALIASED: tl.constexpr):
    """Return 2 H times each axis of length one (both rows), and the gradient of the opacity."""
    xx, xy, yy, det, sharp = covariance(scaled(a, scale), scaled(b, scale))
    g_opacity, push = g[5], tl.zeros_like(det)
    if ANTIALIASED:
        share = tl.sqrt(sharp / det)
        push = 0.5 * g_opacity * tl.minimum(opacity, 1.0) * share
        push = tl.where(sharp > _SMALLEST_SHARE * det, push, 0.0)
        g_opacity = g_opacity * share
    sharp = tl.where(sharp > 0.0, sharp, 1.0)
    p, q, r = yy / det, -xy / det, xx / det
    sa, sb = scaled(a, scale), scaled(b, scale)
    x = _to_axis(a[0], b[0], sa[1], sb[1], sa[2], sb[2], g, push, det, sharp, p, q, r)
    y = _to_axis(a[1], b[1], sa[2], sb[2], sa[0], sb[0], g, push, det, sharp, p, q, r)
    z = _to_axis(a[2], b[2], sa[0], sb[0], sa[1], sb[1], g, push, det, sharp, p, q, r)
    return (x[0], y[0], z[0]), (x[1], y[1], z[1]), g_opacity


@triton.jit
def _to_quat(quat, length, scale, a, b, to_a, to_b):
    """Return the gradient of the unnormalised quaternion.

    Turning a Gaussian about its own axis k changes L by (s_i^2 - s_j^2) times 2 e_i H e_j over its two other axes
    e_i, e_j: exactly zero for equal scales, where forming the gradient of a matrix first leaves rounding that an
    optimiser would follow. A turn by t changes the quaternion by q (0, t / 2).
    """
    x, y, z = scale
    turn_x = (y - z) * (y + z) * (to_a[1] * a[2] + to_b[1] * b[2])
    turn_y = (z - x) * (z + x) * (to_a[2] * a[0] + to_b[2] * b[0])
    turn_z = (x - y) * (x + y) * (to_a[0] * a[1] + to_b[0] * b[1])
    length = tl.where(length > 0.0, length, 1.0)
    factor = 2.0 / (length * length)
    return (
        -factor * (quat[1] * turn_x + quat[2] * turn_y + quat[3] * turn_z),
        factor * (quat[0] * turn_x + quat[2] * turn_z - quat[3] * turn_y),
        factor * (quat[0] * turn_y + quat[3] * turn_x - quat[1] * turn_z),
        factor * (quat[0] * turn_z + quat[1] * turn_y - quat[2] * turn_x),
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
    u, v, a, b = on_screen(px, py, z, axes, Ks, camera, width, height)
    to_a, to_b, g_opacity = _to_axes(a, b, scale, g, opacity, ANTIALIASED)
    to_quat = _to_quat(quat, axes[9], scale, a, b, to_a, to_b)
    to_scale = (
        scale[0] * (to_a[0] * a[0] + to_b[0] * b[0]),
        scale[1] * (to_a[1] * a[1] + to_b[1] * b[1]),
        scale[2] * (to_a[2] * a[2] + to_b[2] * b[2]),
    )
    # z stretches every axis on the screen
    to_stretch = scale[0] * to_scale[0] + scale[1] * to_scale[1] + scale[2] * to_scale[2]
    # the bound of x/z and y/z passes no gradient where it holds
    to_a, to_b = scaled(scaled(to_a, scale), scale), scaled(scaled(to_b, scale), scale)
    to_u = -fx / z * (to_a[0] * axes[6] + to_a[1] * axes[7] + to_a[2] * axes[8])
    to_v = -fy / z * (to_b[0] * axes[6] + to_b[1] * axes[7] + to_b[2] * axes[8])
    to_u, to_v = tl.where(u == px / z, to_u, 0.0), tl.where(v == py / z, to_v, 0.0)
    shift_x, shift_y = fx * g[0], fy * g[1]
    t0, t1 = (to_u + shift_x) / z, (to_v + shift_y) / z
    moved = to_u * u + to_v * v + (shift_x * px + shift_y * py) / z
    t2 = g[9] - (to_stretch + moved) / z
    to_mean = (
        _turn_back(viewmats, camera, 0, t0, t1, t2),
        _turn_back(viewmats, camera, 1, t0, t1, t2),
        _turn_back(viewmats, camera, 2, t0, t1, t2),
    )
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
