"""How a float32 renderer is held against the double precision reference, picture and gradients."""

from __future__ import annotations

import torch
from render_scenes import NAMES, Scene

from core.render.backend import Layers, Renderer
from core.render.reference import ReferenceRenderer

PICTURES = ("rgb", "alpha", "depth")


def drawn(
    renderer: Renderer, scene: Scene, antialiased=False, dtype=torch.float32, device="cpu"
) -> tuple[Layers, list[torch.Tensor]]:
    """Draw and go back from a loss that reaches every output with another weight at every pixel."""
    leaves = scene.leaves(dtype, device)
    layers = scene.draw(renderer, leaves, antialiased)
    random = torch.Generator().manual_seed(7)
    pictures = (layers.rgb, layers.alpha, layers.depth)
    shares = [torch.rand(picture.shape, generator=random) - 0.4 for picture in pictures]
    losses = [
        (picture * share.to(picture)).sum() for picture, share in zip(pictures, shares, strict=True)
    ]
    sum(losses).backward()
    return layers, [leaf.grad for leaf in leaves]


def assert_close(actual, expected, share, name, kept=1.0):
    """Compare up to a share of the largest number: float32 sums of many terms keep about six digits.

    `kept` below 1 leaves the worst numbers out: a pixel at the cut may fall on either side of it.
    """
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    if not expected.numel():
        assert actual.shape == expected.shape, name
        return
    bound = share * float(expected.abs().max()) + 1e-6
    worst = float((actual - expected).abs().flatten().quantile(kept))
    assert worst <= bound, f"{name}: off by {worst:.3g}, allowed {bound:.3g}"


def assert_agrees(
    renderer: Renderer,
    scene: Scene,
    antialiased=False,
    device="cpu",
    share=2e-5,
    slack=2e-4,
    kept=1.0,
):
    """Hold pictures (up to `share`), gradients (up to `slack`) and statistics against the reference."""
    expected, truth = drawn(ReferenceRenderer(), scene, antialiased, torch.float64)
    actual, gradients = drawn(renderer, scene, antialiased, device=device)
    for name in PICTURES:
        assert_close(getattr(actual, name), getattr(expected, name), share, name, kept)
    for name, gradient, exact in zip(NAMES, gradients, truth, strict=True):
        assert_close(gradient, exact, slack, f"gradient of {name}", kept)
    if expected.stats.absgrad is not None:
        assert_close(actual.stats.absgrad, expected.stats.absgrad, slack, "absgrad", kept)
    assert_close(actual.stats.means2d, expected.stats.means2d, share, "means2d")
    radii, wanted = actual.stats.radii.cpu(), expected.stats.radii
    # one pixel apart where a reach lies so near a whole pixel that only one precision rounds it up
    assert bool(((radii - wanted).abs() <= 1).all())
    assert torch.equal(radii > 0, wanted > 0)
