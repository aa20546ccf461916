"""The proof a GPU backend gives before it is used: one small frame that agrees with the reference."""

from __future__ import annotations

import torch

from core.radiance.splats import Splats
from core.render.backend import Layers, Renderer
from core.render.reference import ReferenceRenderer

_TOLERANCE = 2e-3  # a backend may be built with fast math; a wrong build is wrong by far more
_GRADIENT_TOLERANCE = 1e-2
_SIZE = 48  # pixels
_NAMES = ("means", "quats", "scales", "opacities", "colors")


def disagreement(renderer: Renderer, maker: str, with_gradients: bool = False) -> str | None:
    """Draw 16 Gaussians here and with the reference; return what went wrong, naming the `maker`."""
    try:
        with torch.enable_grad():
            expected, truth = _draw(ReferenceRenderer(), with_gradients)
            drawn, gradients = _draw(renderer, with_gradients)
        for name in ("rgb", "alpha", "depth"):
            wanted = getattr(expected, name).detach()
            worst = _difference(getattr(drawn, name), wanted)
            if not worst <= _TOLERANCE * max(1.0, float(wanted.max())):
                return f"{maker} draws wrong pictures here ({name} is off by {worst:.2g})"
        for name, gradient, wanted in zip(_NAMES, gradients, truth, strict=True):
            worst = _difference(gradient, wanted)
            if not worst <= _GRADIENT_TOLERANCE * float(wanted.abs().max()):
                return f"{maker} makes wrong gradients here ({name}: off by {worst:.2g})"
    except (
        Exception
    ) as error:  # a build, a driver or a loader may fail in any way: another backend draws instead
        first_line = next(iter(str(error).splitlines()), "no message")
        return f"{maker} does not run here ({type(error).__name__}: {first_line})"
    return None


def _draw(renderer: Renderer, with_gradients: bool) -> tuple[Layers, list[torch.Tensor]]:
    """Return the picture and, if asked for, the gradients of the five inputs."""
    values, viewmats, Ks = _scene()
    for value in values:
        value.requires_grad_(with_gradients)
    layers = renderer.rasterize(Splats(*values), viewmats, Ks, _SIZE, _SIZE, "rgb+depth")
    assert layers is not None
    if with_gradients:
        loss = layers.rgb.square().sum() + layers.alpha.sum() + layers.depth.sum()
        loss.backward()
    return layers, [torch.zeros(1) if value.grad is None else value.grad for value in values]


def _difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference but for one number in a hundred.

    A pixel at the very edge of a Gaussian may fall on either side of the cut.
    """
    difference = (actual.detach().cpu() - expected).abs()
    return float(difference.flatten().quantile(0.99))


def _scene() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Return 16 Gaussians before one camera."""
    random = torch.Generator().manual_seed(0)
    means = torch.rand(16, 3, generator=random) * torch.tensor([2.0, 2.0, 2.0])
    values = [
        means + torch.tensor([-1.0, -1.0, 2.0]),
        torch.randn(16, 4, generator=random),
        0.05 + 0.15 * torch.rand(16, 3, generator=random),
        0.1 + 0.8 * torch.rand(16, generator=random),
        torch.rand(16, 3, generator=random),
    ]
    focal = float(_SIZE)
    K = torch.tensor([[focal, 0, focal / 2], [0, focal, focal / 2], [0, 0, 1]])
    return values, torch.eye(4)[None], K[None]
