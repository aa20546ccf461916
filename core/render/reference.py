"""The reference backend: the formulas of splatting in plain torch, every Gaussian at every pixel.

Slow and obvious, on any device and in any precision; the other backends are tested against it.

    covariance on screen  J W S S^T W^T J^T + 0.3 I     (EWA splatting, Zwicker et al. 2001, eq. 29)
    alpha                 min(0.999, opacity exp(-d^2 / 2)), dropped below 1/255
    weight                alpha times what the nearer Gaussians let through; stops at 1e-4

`antialiased` multiplies the opacity by sqrt(det(covariance without blur) / det(with blur)) (Mip-Splatting,
Yu et al. 2024). Nothing is cut at tiles or ellipses here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from core.base.errors import RenderError
from core.base.shapes import expect
from core.radiance.splats import Splats
from core.render.backend import (
    ALPHA_CUT,
    ALPHA_MAX,
    BLUR,
    NEAR,
    TRANSMITTANCE_STOP,
    Channels,
    Layers,
    RenderStats,
)

_CLAMP = 0.3  # half fields of view beyond the border at which the Jacobian stops following a centre
_BLOCK = 1 << 22  # Gaussian-pixel products held at once


@dataclass(frozen=True, eq=False)
class Projected:
    """Gaussians that one camera can see, front to back.

    rows       [V]     rows of the splats
    means2d    [V, 2]  pixels
    conics     [V, 3]  1/pixel^2, upper triangle of the inverse screen covariance
    opacities  [V]     compensated when antialiased
    depths     [V]     camera z
    radii      [V]     pixels, reach at which alpha falls to the cut
    """

    rows: torch.Tensor
    means2d: torch.Tensor
    conics: torch.Tensor
    opacities: torch.Tensor
    depths: torch.Tensor
    radii: torch.Tensor


def rotations(quats: torch.Tensor) -> torch.Tensor:
    """Return rotation matrices [N, 3, 3] of quaternions (w, x, y, z) of any length."""
    w, x, y, z = F.normalize(quats, dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def project(
    splats: Splats,
    viewmat: torch.Tensor,
    K: torch.Tensor,
    width: int,
    height: int,
    antialiased: bool = False,
) -> Projected:
    """Project what can be drawn: finite, in front of the camera, opaque enough, touching the picture."""
    rows = _usable(splats)
    means, quats = splats.means[rows], splats.quats[rows]
    means_camera = means @ viewmat[:3, :3].T + viewmat[:3, 3]  # [V, 3]
    in_front = means_camera[:, 2] > NEAR
    rows, quats, means_camera = rows[in_front], quats[in_front], means_camera[in_front]
    scales = splats.scales[rows]
    x, y, z = means_camera.unbind(-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    u = _clamped(x / z, fx, cx, width)
    v = _clamped(y / z, fy, cy, height)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [
            torch.stack([fx / z, zero, -fx * u / z], -1),
            torch.stack([zero, fy / z, -fy * v / z], -1),
        ],
        -2,
    )  # [V, 2, 3]
    half = jacobian @ viewmat[:3, :3] @ (rotations(quats) * scales[:, None, :])  # [V, 2, 3]
    xx, xy, yy = ((half[:, i] * half[:, j]).sum(-1) for i, j in ((0, 0), (0, 1), (1, 1)))
    sharp = (
        torch.linalg.cross(half[:, 0], half[:, 1]).square().sum(-1)
    )  # = xx yy - xy^2, without cancellation
    det = sharp + BLUR * (xx + yy) + BLUR**2
    xx, yy = xx + BLUR, yy + BLUR
    opacities = splats.opacities[rows].clamp(max=1.0)
    if antialiased:
        opacities = opacities * torch.sqrt(sharp / det)
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    conics = torch.stack([yy / det, -xy / det, xx / det], -1)
    with torch.no_grad():
        cut = torch.sqrt(2 * torch.log((opacities / ALPHA_CUT).clamp(min=1.0)))
        reach = cut[:, None] * torch.sqrt(torch.stack([xx, yy], -1))
        size = torch.tensor([width, height], device=means.device)
        drawn = (opacities > ALPHA_CUT) & ((means2d + reach > 0) & (means2d - reach < size)).all(-1)
        drawn &= torch.isfinite(conics).all(-1)
        kept = drawn.nonzero().flatten()
        kept = kept[torch.sort(z[kept], stable=True).indices]
        radii = reach.amax(-1).ceil()
    return Projected(rows[kept], means2d[kept], conics[kept], opacities[kept], z[kept], radii[kept])


def distance2(
    projected: Projected, points: torch.Tensor, watch: Callable[[torch.Tensor], None] | None = None
) -> torch.Tensor:
    """Return half the squared Mahalanobis distance [V, P] of pixel positions [P, 2]."""
    offsets = points[None] - projected.means2d[:, None]  # [V, P, 2]
    if watch is not None and offsets.requires_grad:
        offsets.register_hook(watch)
    dx, dy = offsets.unbind(-1)
    xx, xy, yy = projected.conics[:, None].unbind(-1)
    return 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy


def weights(alphas: torch.Tensor) -> torch.Tensor:
    """Return compositing weights [V, P] of alphas [V, P] that are sorted front to back."""
    through = torch.cumprod(1 - alphas, 0)
    before = torch.cat([torch.ones_like(through[:1]), through[:-1]])
    return torch.where(through > TRANSMITTANCE_STOP, alphas * before, torch.zeros_like(alphas))


class ReferenceRenderer:
    """Draw with plain torch.

    `smooth_cut` widens the cut at 1/255 to a smooth step of that half-width, so that finite
    differences of the picture exist; 0 is the hard cut of the other backends.
    """

    name = "reference"

    def __init__(self, smooth_cut: float = 0.0) -> None:
        self.smooth_cut = smooth_cut

    def probe(self) -> str | None:
        """Return None: plain torch works everywhere."""
        return None

    def rasterize(
        self,
        splats: Splats,
        viewmats: torch.Tensor,
        Ks: torch.Tensor,
        width: int,
        height: int,
        channels: Channels = "rgb",
        antialiased: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> Layers | None:
        """Draw [C, H, W] pictures; with `cancelled` (no gradients then) return None as soon as it answers True."""
        expect(viewmats, None, 4, 4, name="viewmats")
        expect(Ks, len(viewmats), 3, 3, name="Ks")
        if width < 1 or height < 1:
            raise RenderError(f"A picture of {width} x {height} pixels cannot be drawn.")
        num = len(splats)
        stats = RenderStats(
            means2d=splats.means.new_zeros(len(viewmats), num, 2),
            radii=splats.means.new_zeros(len(viewmats), num, dtype=torch.int32),
        )
        pictures = []
        with torch.set_grad_enabled(torch.is_grad_enabled() and cancelled is None):
            for index, (viewmat, K) in enumerate(zip(viewmats, Ks, strict=True)):
                viewmat, K = viewmat.to(splats.means), K.to(splats.means)
                projected = project(splats, viewmat, K, width, height, antialiased)
                stats.means2d[index, projected.rows] = projected.means2d.detach()
                stats.radii[index, projected.rows] = projected.radii.to(torch.int32)
                colors = splats.colors[projected.rows]
                watch = _watcher(stats, index, projected)
                picture = self._blend(projected, colors, width, height, watch, cancelled)
                if picture is None:
                    return None
                pictures.append(picture)
        rgb, alpha, depth = torch.stack(pictures).split([3, 1, 1], -1)
        return Layers(rgb, alpha, depth if channels == "rgb+depth" else None, stats)

    def contributors(
        self,
        splats: Splats,
        viewmat: torch.Tensor,
        K: torch.Tensor,
        pixel: tuple[int, int],
        *,
        antialiased: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return rows of `splats` [M], compositing weights [M] and depths [M] of one pixel (x, y), front to back."""
        from core.render.pixel import contributors

        return contributors(splats, viewmat, K, pixel, antialiased=antialiased)

    def _alphas(self, opacities: torch.Tensor, squared: torch.Tensor) -> torch.Tensor:
        alphas = (opacities[:, None] * torch.exp(-squared)).clamp(max=ALPHA_MAX)
        if self.smooth_cut:
            step = ((alphas - ALPHA_CUT) / (2 * self.smooth_cut) + 0.5).clamp(0, 1)
            return alphas * step * step * (3 - 2 * step)
        return torch.where(alphas >= ALPHA_CUT, alphas, torch.zeros_like(alphas))

    def _blend(
        self,
        projected: Projected,
        colors: torch.Tensor,
        width: int,
        height: int,
        watch: Callable[[torch.Tensor], None],
        cancelled: Callable[[], bool] | None,
    ) -> torch.Tensor | None:
        """Return [H, W, 5]: rgb, alpha and expected depth, some rows of pixels at a time."""
        if not len(projected.rows):
            # keeps the graph, so that gradients are zero rather than absent
            numbers = (colors, projected.means2d, projected.conics, projected.opacities)
            nothing = sum(value.sum() for value in numbers)
            return colors.new_zeros(height, width, 5) + nothing
        rows_at_once = max(1, _BLOCK // (len(projected.rows) * width))
        across = torch.arange(width, device=colors.device, dtype=colors.dtype) + 0.5
        bands = []
        for top in range(0, height, rows_at_once):
            if cancelled is not None and cancelled():
                return None
            down = torch.arange(top, min(height, top + rows_at_once), device=colors.device) + 0.5
            points = torch.cartesian_prod(down.to(colors.dtype), across).flip(-1)
            alphas = self._alphas(projected.opacities, distance2(projected, points, watch))
            weight = weights(alphas)  # [V, P]
            alpha = weight.sum(0)[:, None]
            summed = (weight * projected.depths[:, None]).sum(0)[:, None]
            depth = summed / torch.where(alpha > 0, alpha, torch.ones_like(alpha))
            bands.append(torch.cat([weight.T @ colors, alpha, depth], -1))
        return torch.cat(bands).reshape(height, width, 5)


def _watcher(
    stats: RenderStats, camera: int, projected: Projected
) -> Callable[[torch.Tensor], None]:
    """Return a hook that adds |dL/d means2d| of some pixels to the statistics."""

    def watch(to_offsets: torch.Tensor) -> None:
        if stats.absgrad is None:
            stats.absgrad = torch.zeros_like(stats.means2d)
        stats.absgrad[camera, projected.rows] += to_offsets.detach().abs().sum(1)

    return watch


def _usable(splats: Splats) -> torch.Tensor:
    """Return rows whose numbers are finite and whose rotation exists."""
    with torch.no_grad():
        usable = splats.quats.square().sum(-1) > 0
        usable &= splats.opacities > ALPHA_CUT
        for values in (
            splats.means,
            splats.quats,
            splats.scales,
            splats.opacities[:, None],
            splats.colors,
        ):
            usable &= torch.isfinite(values).all(-1)
        return usable.nonzero().flatten()


def _clamped(
    ratio: torch.Tensor, focal: torch.Tensor, center: torch.Tensor, size: int
) -> torch.Tensor:
    slack = _CLAMP * 0.5 * size / focal
    low, high = float(-center / focal - slack), float((size - center) / focal + slack)
    return ratio.clamp(low, high)
