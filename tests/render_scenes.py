"""Small scenes for the renderers: random ones and the edge cases every backend must survive.

A scene is leaves (means, quats, scales, opacities, colors) and a camera looking along +z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from core.radiance.splats import Splats
from core.render.backend import Layers, Renderer

NAMES = ("means", "quats", "scales", "opacities", "colors")


@dataclass(frozen=True, eq=False)
class Scene:
    values: tuple[torch.Tensor, ...]
    viewmats: torch.Tensor
    Ks: torch.Tensor
    width: int
    height: int

    def leaves(self, dtype=torch.float32, device="cpu") -> list[torch.Tensor]:
        return [value.to(device, dtype).clone().requires_grad_() for value in self.values]

    def draw(self, renderer: Renderer, values, antialiased=False, cancelled=None) -> Layers:
        return renderer.rasterize(
            Splats(*values), self.viewmats, self.Ks, self.width, self.height,
            "rgb+depth", antialiased, cancelled,
        )  # fmt: skip


def intrinsics(fx: float, fy: float, cx: float, cy: float) -> torch.Tensor:
    return torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def turned(x: float, y: float, z: float, shift=(0.0, 0.0, 0.0)) -> torch.Tensor:
    skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    viewmat = torch.eye(4)
    viewmat[:3, :3] = torch.linalg.matrix_exp(skew)
    viewmat[:3, 3] = torch.tensor(shift)
    return viewmat


def random_scene(
    num=60, width=53, height=37, seed=0, size=0.12, opacity=(0.0, 1.0), cameras=1
) -> Scene:
    random = torch.Generator().manual_seed(seed)
    low, high = opacity
    means = torch.randn(num, 3, generator=random) * torch.tensor([1.0, 0.8, 1.0])
    values = (
        means + torch.tensor([0.0, 0.0, 4.0]),
        torch.randn(num, 4, generator=random),
        size * torch.exp(0.5 * torch.randn(num, 3, generator=random)),
        low + (high - low) * torch.rand(num, generator=random),
        torch.rand(num, 3, generator=random),
    )
    views = [turned(0.02 * i, 0.1 * i, 0.05, (0.1, -0.1, 0.2)) for i in range(cameras)]
    K = intrinsics(0.95 * width, 0.9 * width, 0.47 * width, 0.53 * height)
    return Scene(values, torch.stack(views), K.repeat(cameras, 1, 1), width, height)


def one(
    mean, scale=0.1, opacity=0.8, quat=(1.0, 0.0, 0.0, 0.0), color=(0.9, 0.5, 0.2), **camera
) -> Scene:
    """A single Gaussian before a camera at the origin."""
    scales = torch.full((1, 3), scale) if isinstance(scale, float) else torch.tensor([scale])
    values = (
        torch.tensor([mean], dtype=torch.float32), torch.tensor([quat]), scales,
        torch.tensor([opacity]), torch.tensor([color]),
    )  # fmt: skip
    width, height = camera.get("width", 33), camera.get("height", 20)
    K = camera.get("K", intrinsics(30.0, 30.0, width / 2, height / 2))
    return Scene(values, torch.eye(4)[None], K[None], width, height)


def _stack(*scenes: Scene) -> Scene:
    values = tuple(
        torch.cat(parts) for parts in zip(*(scene.values for scene in scenes), strict=True)
    )
    first = scenes[0]
    return Scene(values, first.viewmats, first.Ks, first.width, first.height)


def _wall(num: int) -> Scene:
    """Opaque layers that end every pixel's light long before the last."""
    return _stack(*(one((0.02 * i, 0.0, 2.0 + 0.1 * i), 2.0, 0.95) for i in range(num)))


EDGE_CASES: dict[str, Callable[[], Scene]] = {
    "random": random_scene,
    "another random": lambda: random_scene(seed=5, size=0.4),
    "behind the camera": lambda: one((0.0, 0.0, -2.0)),
    "nearer than the near plane": lambda: one((0.0, 0.0, 0.005), 0.001),
    "just beyond the near plane": lambda: one((0.001, 0.0, 0.02), 0.001),
    "off screen": lambda: one((50.0, 0.0, 2.0)),
    "straddling the border": lambda: one((1.15, 0.5, 2.0), 0.3),
    "beside the camera, long": lambda: one((3.0, 0.1, 0.6), (1.5, 0.05, 0.9), quat=(0.8, 0.1, 0.4, 0.2)),
    "huge": lambda: one((0.3, 0.2, 3.0), 40.0),
    "tiny": lambda: one((0.1, 0.1, 3.0), 1e-5),
    "flat": lambda: one((0.1, 0.1, 3.0), (0.5, 1e-6, 0.3), quat=(0.7, 0.3, 0.5, 0.1)),
    "needle": lambda: one((0.1, 0.1, 3.0), (2.0, 1e-4, 1e-4), quat=(0.7, 0.3, 0.5, 0.1)),
    "opaque": lambda: one((0.1, 0.1, 3.0), 0.3, 1.0),
    "opaque and wide, before another": lambda: _stack(
        one((0.1, 0.1, 3.0), 3.0, 1.0), one((0.3, 0.1, 4.0), 0.5, 0.9)
    ),
    "nearly invisible": lambda: one((0.1, 0.1, 3.0), 0.3, 0.00393),
    "quaternion of length 7": lambda: one((0.1, 0.1, 3.0), (0.5, 0.1, 0.2), quat=(4.9, 2.0, 3.5, 3.0)),
    "saturated": lambda: _wall(70),
    "one pixel": lambda: one((0.0, 0.0, 2.0), width=1, height=1),
    "one tile and a pixel": lambda: random_scene(width=17, height=33, seed=2),
    "whole tiles": lambda: random_scene(width=48, height=32, seed=3),
    "principal point outside": lambda: one((-1.5, 0.1, 3.0), 0.4, K=intrinsics(30.0, 25.0, 40.0, -4.0)),
    "no Gaussians": lambda: Scene(
        tuple(value[:0] for value in random_scene(1).values), torch.eye(4)[None],
        intrinsics(20.0, 20.0, 8.0, 8.0)[None], 16, 16,
    ),
    "two cameras": lambda: random_scene(cameras=2, seed=4),
}  # fmt: skip
