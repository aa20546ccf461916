"""Measure a scene against photographs: PSNR and SSIM at the photographs' own size, nothing fitted to them."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from core.capture.camera import Camera
from core.capture.capture import Photo
from core.nn.masked import compared, parts_of
from core.radiance.field import Snapshot, TracedScene
from core.render.backend import Renderer
from core.render.composite import composite
from core.render.traced import traced
from core.render.view import BOTH


@torch.no_grad()
def draw(
    scene: Snapshot,
    renderer: Renderer,
    camera: Camera,
    blend: float = BOTH,
) -> torch.Tensor:
    """Return the picture [H, W, 3] a camera sees, 0..1, not rounded."""
    if isinstance(scene, TracedScene):
        found = traced(scene, camera)
        assert found is not None
        return composite(found[0], None, blend)[0].clamp(0, 1)
    viewmats, Ks = matrices(camera, scene.device)
    layers = renderer.rasterize(
        scene.splats(camera),
        viewmats,
        Ks,
        camera.width,
        camera.height,
        antialiased=scene.is_antialiased,
    )
    assert layers is not None  # nobody can cancel this one
    background = scene.background(camera)
    if background is not None:
        background = background[None]
    return composite(layers, background, blend)[0].clamp(0, 1)


@torch.no_grad()
def measure(
    scene: Snapshot, renderer: Renderer, photos: Iterable[Photo]
) -> dict[str, dict[str, float]]:
    """Return {name: {psnr, ssim}} over the pixels that count; of a picture without any, nothing.

    Pictures are rounded to 8 bits first, as a file would hold them.
    """
    results = {}
    for photo in photos:
        target, weight = parts_of(torch.from_numpy(photo.sample()).to(scene.device).float() / 255)
        if weight is not None and not weight.any():
            continue
        picture = draw(scene, renderer, photo.camera)
        results[photo.name] = compared((picture * 255).round() / 255, target, weight)
    return results


def mean_of(pictures: dict[str, dict[str, float]]) -> dict[str, float]:
    """Average each metric over pictures."""
    if not pictures:
        return {}
    names = next(iter(pictures.values()))
    return {name: sum(row[name] for row in pictures.values()) / len(pictures) for name in names}


def matrices(camera: Camera, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `viewmats` [1, 4, 4] and `Ks` [1, 3, 3] of one camera."""
    viewmat = torch.as_tensor(camera.world_to_camera, dtype=torch.float32, device=device)
    K = torch.as_tensor(camera.K, dtype=torch.float32, device=device)
    return viewmat[None], K[None]
