"""The Triton backend: draws on a CUDA device without its compiler (nvcc).

Project, list per tile, blend; the backward pass retraces the same lists. float32 throughout; sums run in a
fixed order, so a picture and its gradients have the same bits every time. Triton compiles the kernels at
their first use (seconds, once) and is imported only then. It needs a C compiler for its launcher.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from core.base.errors import RenderError
from core.base.shapes import expect
from core.radiance.splats import Splats
from core.render.backend import Channels, Layers, RenderStats
from core.render.pixel import contributors
from core.render.trial import disagreement

_BLOCK = 128  # Gaussians per program
_ADD_BLOCK = 16  # pairs added at once


class TritonRenderer:
    """Draw with Triton on a CUDA device."""

    name = "triton"

    def __init__(self) -> None:
        self._has_looked = False
        self._reason: str | None = None

    def probe(self) -> str | None:
        """Return why Triton cannot draw here, or None after a small frame and its gradients agreed."""
        if not self._has_looked:
            self._reason = _missing() or disagreement(self, "Triton", with_gradients=True)
            self._has_looked = True
        return self._reason

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
        device = _device(splats)
        inputs = _inputs(splats, device)
        cameras = _cameras(viewmats, Ks, width, height, device)
        job = _Job(cameras, width, height, antialiased, len(splats))
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            if cancelled is None:
                rgb, alpha, depth = _Rasterize.apply(job, *inputs)
            else:
                pictures = job.draw([value.detach() for value in inputs], cancelled)
                if pictures is None:
                    return None
                rgb, alpha, depth = pictures
        return Layers(rgb, alpha, depth if channels == "rgb+depth" else None, job.stats)

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
        return contributors(splats, viewmat, K, pixel, antialiased=antialiased)


class _Rasterize(torch.autograd.Function):
    """Gaussians to rgb, alpha and expected depth, with analytic gradients."""

    @staticmethod
    def forward(ctx: Any, job: _Job, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pictures = job.draw([value.detach() for value in inputs], lambda: False)
        ctx.job = job
        # saved as tensors, so that a picture changed in place is noticed
        ctx.save_for_backward(*inputs, *pictures)
        return pictures

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *to_pictures: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved = [value.detach() for value in ctx.saved_tensors]
        return None, *ctx.job.backward(saved[:5], saved[5:], to_pictures)


class _Job:
    """One call: the cameras, and what the backward pass needs again."""

    def __init__(
        self,
        cameras: tuple[torch.Tensor, torch.Tensor],
        width: int,
        height: int,
        antialiased: bool,
        num: int,
    ) -> None:
        self._cameras, self._antialiased = cameras, antialiased
        self._width, self._height, self._num = width, height, num
        shape = len(cameras[0]), num
        numbers = {"device": cameras[0].device, "dtype": torch.float32}
        self._features = torch.empty(shape[0] * num, 16, **numbers)
        radii = torch.empty(shape, device=numbers["device"], dtype=torch.int32)
        self.stats = RenderStats(torch.empty(*shape, 2, **numbers), radii)

    def draw(
        self, values: list[torch.Tensor], cancelled: Callable[[], bool]
    ) -> tuple[torch.Tensor, ...] | None:
        """Return rgb, alpha and depth [C, H, W, 3 | 1], or None when `cancelled` answered True on the way."""
        import triton

        from core.render import triton_blend, triton_project, triton_tiles

        if cancelled():
            return None
        num_cameras, radii = len(self._cameras[0]), self.stats.radii.flatten()
        depths = self._features.new_empty(len(self._features))
        if self._num:
            triton_project.project[(triton.cdiv(self._num, _BLOCK), num_cameras)](
                *values, *self._cameras, self._num, self._width, self._height,
                self._features, depths, radii, self.stats.means2d,
                ANTIALIASED=self._antialiased, BLOCK=_BLOCK, enable_fp_fusion=True,
            )  # fmt: skip
        self._tiles = triton_tiles.list_tiles(
            self._features, depths, radii, num_cameras, self._width, self._height
        )
        if cancelled():
            return None
        plane = num_cameras, self._height, self._width
        pictures = tuple(depths.new_empty(*plane, channels) for channels in (3, 1, 1))
        tiles = self._tiles
        triton_blend.blend[(len(tiles.tile_first) - 1,)](
            self._features, tiles.members, tiles.tile_first, tiles.tiles_x, tiles.tiles_y,
            self._width, self._height, *pictures, num_warps=2,
        )  # fmt: skip
        return pictures

    def backward(
        self,
        values: list[torch.Tensor],
        pictures: list[torch.Tensor],
        to_pictures: tuple[torch.Tensor, ...],
    ) -> list[torch.Tensor]:
        """Return the gradients of the five inputs and fill `stats.absgrad`."""
        import triton

        from core.render import triton_blend, triton_project_backward

        tiles, num_rows = self._tiles, len(self._features)
        gradients = [torch.empty_like(value) for value in values]
        absgrad = torch.empty_like(self.stats.means2d)
        if self._num:
            pairs = self._features.new_zeros(len(tiles.slots), 12)
            triton_blend.blend_backward[(len(tiles.tile_first) - 1,)](
                self._features, tiles.members, tiles.slots, tiles.tile_first,
                tiles.tiles_x, tiles.tiles_y, self._width, self._height, *pictures,
                *(gradient.to(torch.float32).contiguous() for gradient in to_pictures), pairs,
                num_warps=1,
            )  # fmt: skip
            summed = self._features.new_empty(num_rows, 12)
            triton_blend.add_pairs[(num_rows,)](
                tiles.row_first, tiles.counts, pairs, summed, BLOCK=_ADD_BLOCK, num_warps=1
            )
            triton_project_backward.project_backward[(triton.cdiv(self._num, _BLOCK),)](
                *values[:4], *self._cameras, self._num, len(self._cameras[0]),
                self._width, self._height, tiles.counts, summed, *gradients, absgrad,
                ANTIALIASED=self._antialiased, BLOCK=_BLOCK, enable_fp_fusion=True,
            )  # fmt: skip
        self.stats.absgrad = absgrad
        return gradients


def _missing() -> str | None:
    if not torch.cuda.is_available():
        return "No CUDA device"
    if torch.version.hip is None and torch.cuda.get_device_capability() < (7, 0):
        return "The GPU is older than Triton supports (compute capability 7.0)"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    return None


def _device(splats: Splats) -> torch.device:
    """Return where to draw: on the splats' CUDA device or the current one, interpreted kernels on the CPU."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        return torch.device("cpu")
    if splats.means.is_cuda:
        return splats.means.device
    if not torch.cuda.is_available():
        raise RenderError("No CUDA device: choose the CPU renderer.")
    return torch.device("cuda", torch.cuda.current_device())


def _inputs(splats: Splats, device: torch.device) -> list[torch.Tensor]:
    """Check the shapes and bring everything to contiguous float32 on the device, keeping gradients."""
    num = len(splats)
    wanted = {
        "means": (num, 3),
        "quats": (num, 4),
        "scales": (num, 3),
        "opacities": (num,),
        "colors": (num, 3),
    }
    return [
        expect(getattr(splats, name), *shape, name=name).to(device, torch.float32).contiguous()
        for name, shape in wanted.items()
    ]


def _cameras(
    viewmats: torch.Tensor, Ks: torch.Tensor, width: int, height: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    expect(viewmats, None, 4, 4, name="viewmats")
    expect(Ks, len(viewmats), 3, 3, name="Ks")
    if width < 1 or height < 1:
        raise RenderError(f"A picture of {width} x {height} pixels cannot be drawn.")
    # numbers that are already on the device are not looked at: the host would have to wait for them
    if viewmats.device.type == "cpu" and not bool(torch.isfinite(viewmats).all()):
        raise RenderError("The camera holds numbers that are not finite; reset the view.")
    if Ks.device.type == "cpu" and not bool((Ks[:, [0, 1], [0, 1]] > 0).all()):
        raise RenderError("The camera's focal length must be above zero; reset the view.")
    return (
        viewmats.detach().to(device, torch.float32).contiguous(),
        Ks.detach().to(device, torch.float32).contiguous(),
    )
