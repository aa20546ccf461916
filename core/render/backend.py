"""The renderer contract, and the choice between the four that follow it.

gsplat     CUDA kernels, where a device and their compiler are present
triton     kernels that need a CUDA device but not its compiler
cpu        compiled numba kernels
reference  plain torch: slow, obvious, any precision; the twin the others are tested against

The two for CUDA are trusted only after a small frame agreed with the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch

from core.base.errors import RenderError
from core.base.events import Event, Notice
from core.radiance.splats import Splats

Channels = Literal["rgb", "rgb+depth"]


NEAR = 0.01  # scene units; nearer Gaussians are not drawn
BLUR = 0.3  # pixels^2 added to the screen covariance (Kerbl et al. 2023)
ALPHA_CUT = 1 / 255  # contributions below are dropped
ALPHA_MAX = 0.999  # per Gaussian and pixel (gsplat's bound; 3DGS itself uses 0.99)
TRANSMITTANCE_STOP = 1e-4  # a pixel is finished below

_SPOKEN = {
    "gsplat": "GPU with gsplat",
    "triton": "GPU with Triton",
    "cpu": "CPU",
    "reference": "CPU with the slow reference",
}
# whoever asks for a device gets the first of these that works; a name asks for just that one
ORDERS = {"auto": ("gsplat", "triton", "cpu"), "cuda": ("gsplat", "triton")}


@dataclass(eq=False)
class RenderStats:
    """What density control and the inspectors need, C cameras and N Gaussians.

    means2d  [C, N, 2] pixels
    radii    [C, N]    pixels, 0 where the Gaussian was not drawn
    absgrad  [C, N, 2] sum over pixels of |dL/d means2d|, filled by the backward pass; None before
    """

    means2d: torch.Tensor
    radii: torch.Tensor
    absgrad: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class Layers:
    """Pictures kept apart until they are composited, C cameras.

    rgb    [C, H, W, 3] Gaussians over black
    alpha  [C, H, W, 1] accumulated opacity
    depth  [C, H, W, 1] expected depth in scene units (0 where alpha is 0); None unless asked for
    """

    rgb: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor | None
    stats: RenderStats = field(repr=False)


class Renderer(Protocol):
    """Draws splats; differentiable in means, quats, scales, opacities and colors."""

    name: str

    def probe(self) -> str | None:
        """Return why this backend cannot be used here, or None."""
        ...

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
        ...

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
        ...


def choose(prefer: str = "auto", report: Callable[[Event], None] = lambda _event: None) -> Renderer:
    """Return the first renderer of ORDERS that works here, or the one named, and say which one and why."""
    reasons: list[str] = []
    for name in ORDERS.get(prefer, (prefer,)):
        renderer = _make(name)
        reason = renderer.probe()
        if reason is None:
            because = "; ".join(reasons)
            text = (
                f"{because}: drawing on the {_SPOKEN[name]}."
                if because
                else f"Drawing on the {_SPOKEN[name]}."
            )
            report(Notice(text, level="info", key="renderer"))
            return renderer
        if reason not in reasons:  # without a device both for CUDA say so
            reasons.append(reason)
    raise RenderError(
        f"{'; '.join(reasons)}: {prefer} cannot draw here. Choose auto or cpu instead."
    )


def renderers() -> tuple[Renderer, ...]:
    """Return one of every backend, usable here or not."""
    return tuple(_make(name) for name in _SPOKEN)


def _make(name: str) -> Renderer:
    """Import and make one backend; the imports are heavy and some need hardware, so they wait until here."""
    if name == "gsplat":
        from core.render.cuda import CudaRenderer

        return CudaRenderer()
    if name == "triton":
        from core.render.triton_renderer import TritonRenderer

        return TritonRenderer()
    if name == "cpu":
        from core.render.cpu import CpuRenderer

        return CpuRenderer()
    if name == "reference":
        from core.render.reference import ReferenceRenderer

        return ReferenceRenderer()
    known = ", ".join(("auto", "cuda", *_SPOKEN))
    raise RenderError(f"There is no renderer '{name}'. Choose one of {known}.")
