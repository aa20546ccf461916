"""The gsplat backend: its CUDA rasterizer, imported only where a CUDA device is present.

gsplat builds its kernels the first time it is used (minutes, once), which needs the CUDA compiler;
`probe` says what is missing. Its answer is trusted only after a small frame agrees with the reference.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable

import torch

from core.base.errors import RenderError
from core.radiance.splats import Splats
from core.render.backend import ALPHA_CUT, BLUR, NEAR, Channels, Layers, RenderStats
from core.render.pixel import contributors
from core.render.trial import disagreement

# why gsplat cannot run on a CUDA machine, and what to do about it
REMEDIES = {
    "gsplat is not installed": "install it: pip install gsplat ninja setuptools",
    "No CUDA compiler (nvcc), which gsplat needs once": "install the CUDA toolkit, which brings nvcc",
    "No C++ compiler, which gsplat needs once": "install a C++ compiler (g++)",
    "The build tool ninja is missing, which gsplat needs once": "install it: pip install ninja",
}
_NOT_INSTALLED, _NO_NVCC, _NO_COMPILER, _NO_NINJA = REMEDIES


class CudaStats(RenderStats):
    """Statistics whose `absgrad` is read from gsplat, which leaves it on its own tensor while going back."""

    def __init__(self, means2d: torch.Tensor, radii: torch.Tensor) -> None:
        self._source = means2d
        self.means2d = means2d.detach()
        self.radii = radii

    @property
    def absgrad(self) -> torch.Tensor | None:
        """Sum over pixels of |dL/d means2d| [C, N, 2]; None before the backward pass."""
        return getattr(self._source, "absgrad", None)


class CudaRenderer:
    """Draw with gsplat on a CUDA device."""

    name = "gsplat"

    def __init__(self) -> None:
        self._has_looked = False
        self._reason: str | None = None

    def probe(self) -> str | None:
        """Return why gsplat cannot draw here, or None after a small frame agreed with the reference."""
        if not self._has_looked:
            self._reason = _missing() or disagreement(self, "gsplat")
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
        if not torch.cuda.is_available():
            raise RenderError("No CUDA device: choose the CPU renderer.")
        if width < 1 or height < 1:
            raise RenderError(f"A picture of {width} x {height} pixels cannot be drawn.")
        if cancelled is not None and cancelled():
            return None
        device = _device(splats)
        viewmats, Ks = (matrix.to(device, torch.float32).contiguous() for matrix in (viewmats, Ks))
        with torch.set_grad_enabled(torch.is_grad_enabled() and cancelled is None):
            values = _harmless(splats, device)
            if not len(splats):
                return _nothing(values, len(viewmats), width, height, channels)
            # only here: the import is cheap, but the first call builds kernels
            from gsplat import rasterization

            pictures, alpha, meta = rasterization(
                *values, viewmats, Ks, width, height,
                near_plane=NEAR, eps2d=BLUR, packed=False, absgrad=True,
                rasterize_mode="antialiased" if antialiased else "classic",
                render_mode="RGB+ED" if channels == "rgb+depth" else "RGB",
            )  # fmt: skip
        stats = CudaStats(meta["means2d"], meta["radii"].amax(-1))  # gsplat's radii are [C, N, 2]
        depth = pictures[..., 3:] if channels == "rgb+depth" else None
        return Layers(pictures[..., :3], alpha, depth, stats)

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


def _device(splats: Splats) -> torch.device:
    return splats.means.device if splats.means.is_cuda else torch.device("cuda")


def _missing() -> str | None:
    """Return which part of a CUDA installation is absent."""
    if not torch.cuda.is_available():
        return "No CUDA device"
    if importlib.util.find_spec("gsplat") is None:
        return _NOT_INSTALLED
    if importlib.util.find_spec("gsplat.csrc") is not None:
        return None  # a build came with it
    from torch.utils import cpp_extension

    if shutil.which("nvcc") is None and cpp_extension.CUDA_HOME is None:
        return _NO_NVCC
    if shutil.which("c++") is None and shutil.which("g++") is None and shutil.which("cl") is None:
        return _NO_COMPILER
    if not cpp_extension.is_ninja_available():
        return _NO_NINJA
    return None


def _harmless(splats: Splats, device: torch.device) -> list[torch.Tensor]:
    """Return the five inputs as float32, with Gaussians that hold impossible numbers made invisible."""
    means, quats, scales, opacities, colors = (
        getattr(splats, name).to(device, torch.float32)
        for name in ("means", "quats", "scales", "opacities", "colors")
    )
    with torch.no_grad():
        good = (quats.square().sum(-1) > 0) & (opacities > ALPHA_CUT)
        for value in (means, quats, scales, opacities[:, None], colors):
            good &= torch.isfinite(value).all(-1)
    column = good[:, None]
    identity = torch.tensor([1.0, 0, 0, 0], device=device)
    return [
        torch.where(column, means, torch.zeros_like(means)),
        torch.where(column, quats, identity),
        torch.where(column, scales, torch.ones_like(scales)),
        torch.where(good, opacities.clamp(max=1.0), torch.zeros_like(opacities)),
        torch.where(column, colors, torch.zeros_like(colors)),
    ]


def _nothing(
    values: list[torch.Tensor], num_cameras: int, width: int, height: int, channels: Channels
) -> Layers:
    """Return empty pictures that still belong to the graph."""
    zero = sum(value.sum() for value in values)
    picture = values[0].new_zeros(num_cameras, height, width, 4) + zero
    stats = RenderStats(
        values[0].new_zeros(num_cameras, 0, 2),
        values[0].new_zeros(num_cameras, 0, dtype=torch.int32),
    )
    depth = picture[..., 3:] if channels == "rgb+depth" else None
    return Layers(picture[..., :3], picture[..., 3:], depth, stats)
