"""The Triton kernel that projects Gaussians to the image plane; one lane is one Gaussian.

means      [N, 3]      scene units   centres
quats      [N, 4]      -             rotations (w, x, y, z), any length above zero
scales     [N, 3]      scene units   standard deviations
opacities  [N]         0..1
colors     [N, 3]
viewmats   [C, 4, 4]   -             world to camera
Ks         [C, 3, 3]   pixels        intrinsics
->
features   [C * N, 16] one row per camera and Gaussian, columns named below; undefined where not drawn
depths     [C * N]     camera z, infinite where the Gaussian is not drawn
radii      [C * N]     int32 pixels, reach at which alpha falls to the cut, 0 where not drawn
means2d    [C * N, 2]  pixels

Zwicker et al. 2001, "EWA volume splatting"; antialiasing: Yu et al. 2024, "Mip-Splatting".
"""

from __future__ import annotations

import triton
import triton.language as tl

from core.render import backend

# columns of `features`: the first ten are read per pixel, the others find the tiles of an ellipse
NUM_FEATURES = tl.constexpr(16)
X, Y = tl.constexpr(0), tl.constexpr(1)
CONIC_XX, CONIC_XY, CONIC_YY = tl.constexpr(2), tl.constexpr(3), tl.constexpr(4)
OPACITY, RED, GREEN = tl.constexpr(5), tl.constexpr(6), tl.constexpr(7)
BLUE, DEPTH = tl.constexpr(8), tl.constexpr(9)
REACH_X, REACH_Y = tl.constexpr(10), tl.constexpr(11)
SLOPE, HALF_WIDTH = tl.constexpr(12), tl.constexpr(13)

NEAR = tl.constexpr(backend.NEAR)
BLUR = tl.constexpr(backend.BLUR)
_CUT = tl.constexpr(backend.ALPHA_CUT)
_SLACK = tl.constexpr(0.15)  # of the picture: 0.3 of the half field of view
_LARGEST = tl.constexpr(1e18)  # a number beyond is treated like infinity: its square leaves float32


@triton.jit
def load_three(base, index, mask):
    """Load row `index` of an [N, 3] array."""
    place = base + 3 * index
    return (
        tl.load(place, mask, other=0.0),
        tl.load(place + 1, mask, other=0.0),
        tl.load(place + 2, mask, other=0.0),
    )


@triton.jit
def load_four(base, index, mask):
    """Load row `index` of an [N, 4] array."""
    place = base + 4 * index
    return (
        tl.load(place, mask, other=0.0),
        tl.load(place + 1, mask, other=0.0),
        tl.load(place + 2, mask, other=0.0),
        tl.load(place + 3, mask, other=0.0),
    )


@triton.jit
def turn(viewmats, camera, row, x, y, z):
    """Apply row `row` of a camera's rotation to a vector."""
    place = viewmats + 16 * camera + 4 * row
    return tl.load(place) * x + tl.load(place + 1) * y + tl.load(place + 2) * z


@triton.jit
def lens(Ks, camera):
    """Return fx, fy, cx, cy."""
    place = Ks + 9 * camera
    return tl.load(place), tl.load(place + 4), tl.load(place + 2), tl.load(place + 5)


@triton.jit
def axes_of(viewmats, camera, quat):
    """Return the Gaussian's axes as columns of a matrix in camera axes (row by row) and the quaternion's length."""
    length = tl.sqrt(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3])
    divisor = tl.where(length > 0.0, length, 1.0)
    w, x, y, z = quat[0] / divisor, quat[1] / divisor, quat[2] / divisor, quat[3] / divisor
    ax, ay, az = 1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)
    bx, by, bz = 2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)
    cx, cy, cz = 2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)
    return (
        turn(viewmats, camera, 0, ax, ay, az),
        turn(viewmats, camera, 0, bx, by, bz),
        turn(viewmats, camera, 0, cx, cy, cz),
        turn(viewmats, camera, 1, ax, ay, az),
        turn(viewmats, camera, 1, bx, by, bz),
        turn(viewmats, camera, 1, cx, cy, cz),
        turn(viewmats, camera, 2, ax, ay, az),
        turn(viewmats, camera, 2, bx, by, bz),
        turn(viewmats, camera, 2, cx, cy, cz),
        length,
    )


@triton.jit
def point_of(viewmats, camera, mean):
    """Return a centre in camera axes."""
    place = viewmats + 16 * camera + 3
    return (
        turn(viewmats, camera, 0, mean[0], mean[1], mean[2]) + tl.load(place),
        turn(viewmats, camera, 1, mean[0], mean[1], mean[2]) + tl.load(place + 4),
        turn(viewmats, camera, 2, mean[0], mean[1], mean[2]) + tl.load(place + 8),
    )


@triton.jit
def _bounded(ratio, focal, center, size):
    """Return x/z within the bounds at which the Jacobian stops following a centre."""
    slack = _SLACK * size / focal
    return tl.minimum(tl.maximum(ratio, -center / focal - slack), (size - center) / focal + slack)


@triton.jit
def _screen_row(stretch, ratio, upper, lower):
    """Return one row of Jacobian x rotation: its three products with the Gaussian's axes of length one."""
    return (
        stretch * (upper[0] - ratio * lower[0]),
        stretch * (upper[1] - ratio * lower[1]),
        stretch * (upper[2] - ratio * lower[2]),
    )


@triton.jit
def scaled(axes, scale):
    """Return three numbers times the three scales."""
    return axes[0] * scale[0], axes[1] * scale[1], axes[2] * scale[2]


@triton.jit
def covariance(a, b):
    """Return blurred xx, xy, yy, their determinant, and the determinant without blur."""
    xx = a[0] * a[0] + a[1] * a[1] + a[2] * a[2]
    yy = b[0] * b[0] + b[1] * b[1] + b[2] * b[2]
    xy = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    # = xx yy - xy^2, without its cancellation
    cx, cy, cz = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    sharp = cx * cx + cy * cy + cz * cz
    return xx + BLUR, xy, yy + BLUR, sharp + BLUR * (xx + yy) + BLUR * BLUR, sharp


@triton.jit
def on_screen(px, py, z, axes, Ks, camera, width, height):
    """Return x/z and y/z within their bounds, and both rows of Jacobian x rotation."""
    fx, fy, cx, cy = lens(Ks, camera)
    lower = (axes[6], axes[7], axes[8])
    u, v = _bounded(px / z, fx, cx, width), _bounded(py / z, fy, cy, height)
    a = _screen_row(fx / z, u, (axes[0], axes[1], axes[2]), lower)
    b = _screen_row(fy / z, v, (axes[3], axes[4], axes[5]), lower)
    return u, v, a, b


@triton.jit
def _store_row(f, conic, opacity, color, z, reach, slope, half_width, x, y, drawn):
    """Write one row of features per lane."""
    tl.store(f + X, x, drawn)
    tl.store(f + Y, y, drawn)
    tl.store(f + CONIC_XX, conic[0], drawn)
    tl.store(f + CONIC_XY, conic[1], drawn)
    tl.store(f + CONIC_YY, conic[2], drawn)
    tl.store(f + OPACITY, opacity, drawn)
    tl.store(f + RED, color[0], drawn)
    tl.store(f + GREEN, color[1], drawn)
    tl.store(f + BLUE, color[2], drawn)
    tl.store(f + DEPTH, z, drawn)
    tl.store(f + REACH_X, reach[0], drawn)
    tl.store(f + REACH_Y, reach[1], drawn)
    tl.store(f + SLOPE, slope, drawn)
    tl.store(f + HALF_WIDTH, half_width, drawn)


@triton.jit(do_not_specialize=["num", "width", "height"])
def project(
    means, quats, scales, opacities, colors, viewmats, Ks, num, width, height,
    features, depths, radii, means2d,
    ANTIALIASED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Project BLOCK Gaussians into one camera; the grid is (blocks of Gaussians, cameras)."""
    camera = tl.program_id(1)
    index = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    inside = index < num
    row = index + camera.to(tl.int64) * num
    mean, scale = load_three(means, index, inside), load_three(scales, index, inside)
    color = load_three(colors, index, inside)
    opacity = tl.load(opacities + index, inside, other=0.0)
    px, py, z = point_of(viewmats, camera, mean)
    axes = axes_of(viewmats, camera, load_four(quats, index, inside))
    length = axes[9]
    color_size = tl.abs(color[0]) + tl.abs(color[1]) + tl.abs(color[2])
    # written so that NaN fails every comparison
    drawn = inside & (opacity > _CUT) & (opacity < _LARGEST) & (color_size < _LARGEST)
    drawn = drawn & (length > 0.0) & (length < _LARGEST) & (z > NEAR) & (z < _LARGEST)
    z = tl.where(drawn, z, 1.0)
    _, _, a, b = on_screen(px, py, z, axes, Ks, camera, width, height)
    xx, xy, yy, det, sharp = covariance(scaled(a, scale), scaled(b, scale))
    drawn = drawn & (xx < _LARGEST) & (yy < _LARGEST) & (det > 0.0)
    opacity = tl.minimum(opacity, 1.0)
    if ANTIALIASED:
        opacity = opacity * tl.sqrt(sharp / det)
    drawn = drawn & (opacity > _CUT)
    cut = tl.sqrt(2.0 * tl.log(tl.maximum(opacity / _CUT, 1.0)))
    reach_x, reach_y = cut * tl.sqrt(xx), cut * tl.sqrt(yy)
    fx, fy, cx, cy = lens(Ks, camera)
    x, y = fx * px / z + cx, fy * py / z + cy
    drawn = drawn & (x + reach_x > 0.0) & (x - reach_x < width)
    drawn = drawn & (y + reach_y > 0.0) & (y - reach_y < height)
    radius = tl.where(drawn, tl.minimum(tl.ceil(tl.maximum(reach_x, reach_y)), 1e9), 0.0)
    tl.store(depths + row, tl.where(drawn, z, float("inf")), inside)
    tl.store(radii + row, radius.to(tl.int32), inside)
    tl.store(means2d + 2 * row, tl.where(drawn, x, 0.0), inside)
    tl.store(means2d + 2 * row + 1, tl.where(drawn, y, 0.0), inside)
    conic = (yy / det, -xy / det, xx / det)
    _store_row(
        features + NUM_FEATURES * row, conic, opacity, color, z, (reach_x, reach_y),
        xy / yy, cut * tl.sqrt(det / yy), x, y, drawn,
    )  # fmt: skip
