"""The CPU backend: compiled kernels under one differentiable function.

Project, sort and list per tile, blend; the backward pass retraces the same lists. float32 throughout,
and the same numbers at any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
        job = _Job(cameras, width, height, antialiased, channels == "rgb+depth", len(splats))
        if cancelled is None:
            rgb, alpha, depth = _Rasterize.apply(job, *inputs)
        else:
            if not job.draw([value.detach().numpy() for value in inputs], cancelled):
                return None
            rgb, alpha, depth = job.pictures()
        return Layers(rgb, alpha, depth, job.stats)

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
    """Gaussians to rgb, alpha and expected depth (or None), with analytic gradients."""

    @staticmethod
    def forward(ctx: Any, job: _Job, *inputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        job.draw([value.detach().numpy() for value in inputs])
        pictures = job.pictures()
        ctx.job = job
        ctx.set_materialize_grads(False)  # no gradient of depth: the kernels leave it out
        # saved as tensors, so that a picture changed in place is noticed
        ctx.save_for_backward(*inputs, *pictures)
        return pictures

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *to_pictures: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        arrays = [value.detach().numpy() for value in ctx.saved_tensors[:5]]
        gradients = [np.zeros_like(array) for array in arrays]
        ctx.job.backward(arrays, to_pictures, gradients)
        return None, *(torch.from_numpy(gradient) for gradient in gradients)


class _Job:
    """One call: the cameras, the arrays that the kernels fill, and what the backward pass needs again."""

    def __init__(
        self,
        cameras: list[np.ndarray],
        width: int,
        height: int,
        antialiased: bool,
        with_depth: bool,
        num: int,
    ) -> None:
        self._cameras, self._antialiased = cameras, antialiased
        self._width, self._height = width, height
        plane = (len(cameras), height, width)
        self._rgb = np.empty((*plane, 3), np.float32)
        self._alpha = np.empty(plane, np.float32)
        self._depth = np.empty(plane, np.float32) if with_depth else None
        self._means2d = np.empty((len(cameras), num, 2), np.float32)
        self._radii = np.empty((len(cameras), num), np.int32)
        self._lists: list[tuple[np.ndarray, cpu_tiles.Tiles]] = []  # features and tiles per camera
        self.stats = RenderStats(torch.from_numpy(self._means2d), torch.from_numpy(self._radii))

    def pictures(self) -> tuple[torch.Tensor | None, ...]:
        """Return rgb, alpha and depth [C, H, W, 3 | 1] on the memory that the kernels filled; depth may be None."""
        return (
            torch.from_numpy(self._rgb),
            torch.from_numpy(self._alpha)[..., None],
            None if self._depth is None else torch.from_numpy(self._depth)[..., None],
        )

    def _pictures_of(self, index: int) -> tuple[np.ndarray | None, ...]:
        return self._rgb[index], self._alpha[index], _at(self._depth, index)

    def draw(self, arrays: list[np.ndarray], cancelled: Callable[[], bool] | None = None) -> bool:
        """Draw every camera; return False when `cancelled` answered True on the way."""
        num, width, height = len(arrays[0]), self._width, self._height
        for index, camera in enumerate(self._cameras):
            if cancelled and cancelled():
                return False
            features, depths = cpu_project.empty_features(num), np.empty(num, np.float32)
            cpu_project.project(
                *arrays, camera, width, height, self._antialiased,
                features, depths, self._radii[index], self._means2d[index],
            )  # fmt: skip
            tiles = cpu_tiles.bin_gaussians(features, depths, width, height, cancelled is None)
            for part in _bands(tiles) if cancelled else (tiles.order,):
                if cancelled and cancelled():
                    return False
                cpu_kernels.blend(
                    features, tiles.pairs, tiles.first, part, tiles.tiles_x, width, height,
                    numba.get_num_threads(), *self._pictures_of(index),
                )  # fmt: skip
            self._lists.append((features, tiles))
        return True

    def backward(
        self,
        arrays: list[np.ndarray],
        to_pictures: tuple[torch.Tensor | None, ...],
        gradients: list[np.ndarray],
    ) -> None:
        """Add the gradients of every camera to `gradients` and fill `stats.absgrad`."""
        absgrad = np.zeros_like(self._means2d)
        to_rgb = _gradient(to_pictures[0], self._rgb)
        to_alpha = _gradient(to_pictures[1], self._alpha)
        to_depth = None if to_pictures[2] is None else _gradient(to_pictures[2], self._alpha)
        for index, (features, tiles) in enumerate(self._lists):
            pair_gradients = np.empty((len(tiles.pairs), cpu_project.NUM_GRADIENTS), np.float32)
            cpu_kernels.blend_backward(
                features, tiles.pairs, tiles.first, tiles.order,
                tiles.tiles_x, self._width, self._height, numba.get_num_threads(),
                self._rgb[index], self._alpha[index], _at(self._depth if to_depth is not None else None, index),
                to_rgb[index], to_alpha[index], _at(to_depth, index), pair_gradients,
            )  # fmt: skip
            cpu_project.project_backward(
                *arrays[:4], self._cameras[index], self._antialiased,
                tiles.slot_first, pair_gradients, *gradients, absgrad[index],
            )  # fmt: skip
        self.stats.absgrad = torch.from_numpy(absgrad)


def _at(pictures: np.ndarray | None, index: int) -> np.ndarray | None:
    return None if pictures is None else pictures[index]


def _gradient(of: torch.Tensor | None, picture: np.ndarray) -> np.ndarray:
    """Return the gradient of a picture in its shape; none at all is a gradient of zero."""
    if of is None:
        return np.zeros_like(picture)
    return np.ascontiguousarray(of.detach().numpy(), np.float32).reshape(picture.shape)


def _bands(tiles: cpu_tiles.Tiles) -> Iterator[np.ndarray]:
    """Split the tiles into bands of whole rows, each still heaviest first."""
    band = (tiles.order // tiles.tiles_x) * _BANDS // tiles.tiles_y
    for index in range(_BANDS):
        part = tiles.order[band == index]
        if len(part):
            yield part


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
    if not (intrinsics[:, [0, 1], [0, 1]] > 0).all():
        raise RenderError("The camera's focal length must be above zero; reset the view.")
    return [
        cpu_project.camera_numbers(view, K, width, height)
        for view, K in zip(views, intrinsics, strict=True)
    ]
