"""The CPU backend: compiled kernels under one differentiable function.

Project, sort and list per tile, blend; the backward pass retraces the same lists. float32 throughout,
and the same numbers at any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from torch.autograd.function import once_differentiable

from core.base.errors import RenderError
from core.base.shapes import expect
from core.radiance.splats import Splats
from core.render import cpu_kernels, cpu_project, cpu_tiles
from core.render.backend import Channels, Layers, RenderStats
from core.render.pixel import contributors

_BANDS = 8  # a cancellable frame is drawn in this many bands of tile rows


@dataclass(eq=False)
class _Drawn:
    """One camera's frame and what its backward pass needs."""

    camera: np.ndarray
    features: np.ndarray
    tiles: cpu_tiles.Tiles
    rgb: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray
    means2d: np.ndarray
    radii: np.ndarray


class CpuRenderer:
    """Draw on the CPU with compiled kernels."""

    name = "cpu"

    def probe(self) -> str | None:
        """Return None: this backend works wherever the package does."""
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
        inputs = _inputs(splats)
        cameras = _cameras(viewmats, Ks, width, height)
        request = _Request(cameras, width, height, antialiased)
        if cancelled is None:
            rgb, alpha, depth = _Rasterize.apply(request, *inputs)
        else:
            arrays = [value.detach().numpy() for value in inputs]
            for camera in cameras:
                drawn = _draw(arrays, camera, request, cancelled)
                if drawn is None:
                    return None
                request.drawn.append(drawn)
            rgb, alpha, depth = _pictures(request.drawn, height, width)
        stats = request.publish(len(splats))
        return Layers(rgb, alpha, depth if channels == "rgb+depth" else None, stats)

    def contributors(
        self, splats: Splats, viewmat: torch.Tensor, K: torch.Tensor, pixel: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return rows of `splats` [M], compositing weights [M] and depths [M] of one pixel (x, y), front to back."""
        return contributors(splats, viewmat, K, pixel)


class _Request:
    """What to draw; collects the frames of the forward pass and hands the statistics out."""

    def __init__(
        self, cameras: list[np.ndarray], width: int, height: int, antialiased: bool
    ) -> None:
        self.cameras, self.width, self.height = cameras, width, height
        self.antialiased = antialiased
        self.drawn: list[_Drawn] = []
        self.stats: RenderStats | None = None

    def publish(self, num: int) -> RenderStats:
        """Make the statistics; the backward pass fills `absgrad` later and the frames are let go."""
        means2d = np.stack([drawn.means2d for drawn in self.drawn])
        radii = np.stack([drawn.radii for drawn in self.drawn])
        self.stats = RenderStats(torch.from_numpy(means2d), torch.from_numpy(radii))
        self.drawn = []
        return self.stats


class _Rasterize(torch.autograd.Function):
    """Gaussians to rgb, alpha and expected depth, with analytic gradients."""

    @staticmethod
    def forward(ctx: Any, request: _Request, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        arrays = [value.detach().numpy() for value in inputs]
        request.drawn = [_draw(arrays, camera, request) for camera in request.cameras]
        ctx.save_for_backward(*inputs)
        ctx.request, ctx.drawn = request, list(request.drawn)
        return _pictures(request.drawn, request.height, request.width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *to_pictures: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        arrays = [value.detach().numpy() for value in ctx.saved_tensors]
        gradients = [np.zeros_like(array) for array in arrays]
        absgrad = np.zeros((len(ctx.drawn), len(arrays[0]), 2), np.float32)
        to_rgb, to_alpha, to_depth = (
            np.ascontiguousarray(gradient.detach().numpy(), np.float32) for gradient in to_pictures
        )
        for index, drawn in enumerate(ctx.drawn):
            plane = ctx.request.height, ctx.request.width
            pictures = to_rgb[index], to_alpha[index].reshape(plane), to_depth[index].reshape(plane)
            _backward(arrays, drawn, ctx.request, pictures, gradients, absgrad[index])
        ctx.request.stats.absgrad = torch.from_numpy(absgrad)
        return None, *(torch.from_numpy(gradient) for gradient in gradients)


def _draw(
    arrays: list[np.ndarray],
    camera: np.ndarray,
    request: _Request,
    cancelled: Callable[[], bool] | None = None,
) -> _Drawn | None:
    num, width, height = len(arrays[0]), request.width, request.height
    features = cpu_project.empty_features(num)
    depths, radii = np.empty(num, np.float32), np.empty(num, np.int32)
    means2d = np.empty((num, 2), np.float32)
    cpu_project.project(
        *arrays, camera, width, height, request.antialiased, features, depths, radii, means2d
    )
    tiles = cpu_tiles.bin_gaussians(features, depths, width, height)
    rgb = np.empty((height, width, 3), np.float32)
    alpha, depth = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    order = tiles.heaviest_first()
    for part in _bands(order, tiles) if cancelled else (order,):
        if cancelled and cancelled():
            return None
        cpu_kernels.blend(
            features, tiles.rows, tiles.tile_first, part, tiles.tiles_x, width, height,
            numba.get_num_threads(), rgb, alpha, depth,
        )  # fmt: skip
    return _Drawn(camera, features, tiles, rgb, alpha, depth, means2d, radii)


def _bands(order: np.ndarray, tiles: cpu_tiles.Tiles) -> Iterator[np.ndarray]:
    """Split the tiles into bands of whole rows, each still heaviest first."""
    band = (order // tiles.tiles_x) * _BANDS // tiles.tiles_y
    for index in range(_BANDS):
        part = order[band == index]
        if len(part):
            yield part


def _backward(
    arrays: list[np.ndarray],
    drawn: _Drawn,
    request: _Request,
    to_pictures: tuple[np.ndarray, ...],
    gradients: list[np.ndarray],
    absgrad: np.ndarray,
) -> None:
    tiles = drawn.tiles
    pair_gradients = np.empty((len(tiles.rows), cpu_project.NUM_GRADIENTS), np.float32)
    cpu_kernels.blend_backward(
        drawn.features, tiles.rows, tiles.slots, tiles.tile_first, tiles.heaviest_first(),
        tiles.tiles_x, request.width, request.height, numba.get_num_threads(),
        drawn.rgb, drawn.alpha, drawn.depth, *to_pictures, pair_gradients,
    )  # fmt: skip
    means, quats, scales, opacities, _ = arrays
    cpu_project.project_backward(
        means, quats, scales, opacities, drawn.camera, request.antialiased,
        tiles.slot_first, pair_gradients, *gradients, absgrad,
    )  # fmt: skip


def _pictures(drawn: list[_Drawn], height: int, width: int) -> tuple[torch.Tensor, ...]:
    stacks = (
        (np.stack([frame.rgb for frame in drawn]), 3),
        (np.stack([frame.alpha for frame in drawn]), 1),
        (np.stack([frame.depth for frame in drawn]), 1),
    )
    return tuple(
        torch.from_numpy(stack.reshape(len(drawn), height, width, channels))
        for stack, channels in stacks
    )


def _inputs(splats: Splats) -> list[torch.Tensor]:
    """Check the shapes and bring everything to contiguous float32 on the CPU, keeping gradients."""
    num = len(splats)
    wanted = {
        "means": (num, 3),
        "quats": (num, 4),
        "scales": (num, 3),
        "opacities": (num,),
        "colors": (num, 3),
    }
    return [
        expect(getattr(splats, name), *shape, name=name).to("cpu", torch.float32).contiguous()
        for name, shape in wanted.items()
    ]


def _cameras(viewmats: torch.Tensor, Ks: torch.Tensor, width: int, height: int) -> list[np.ndarray]:
    expect(viewmats, None, 4, 4, name="viewmats")
    expect(Ks, len(viewmats), 3, 3, name="Ks")
    if width < 1 or height < 1:
        raise RenderError(f"A picture of {width} x {height} pixels cannot be drawn.")
    views = viewmats.detach().to("cpu", torch.float64).numpy()
    intrinsics = Ks.detach().to("cpu", torch.float64).numpy()
    if not (np.isfinite(views).all() and np.isfinite(intrinsics).all()):
        raise RenderError("The camera holds numbers that are not finite; reset the view.")
    return [
        cpu_project.camera_numbers(view, K, width, height)
        for view, K in zip(views, intrinsics, strict=True)
    ]
