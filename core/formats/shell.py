"""A neural background as a far shell of Gaussians, for programs that show nothing but Gaussians.

Flat discs stand on the background's own sphere, so that it moves with the camera as it did, or just
outside all other Gaussians where some lie farther. They are spread evenly (golden spiral), each as
wide as closes the gaps between its neighbours:

    spacing = sqrt(4 pi / M) radius        standard deviation along the sphere = WIDTH * spacing

As many are taken as still bring something, measured in the views; none, where all of them make the
picture worse than no background does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from core.capture.camera import Camera
from core.formats import compare
from core.formats.plain import PlainSplats
from core.formats.spread import spread
from core.radiance.field import Snapshot, Sphere
from core.radiance.parts import SceneParts
from core.radiance.scenes import assemble
from core.radiance.sh import BASE
from core.radiance.sh_splats import sh_coeffs_of, splat_parts
from core.render.backend import Renderer
from core.render.view import BOTH

WIDTH = 0.6  # of the spacing: about 1 % of the light passes between three discs
THICKNESS = 0.02  # of the width along the sphere
LOGIT = 5.5  # opacity 0.996
OUTSIDE = 1.05  # times the distance of the farthest Gaussian
NUMBERS = (4096, 16_384, 65_536)
LEAST_GAIN = 0.5  # dB that four times as many must bring


def with_shell(
    scene: Snapshot, baked: SceneParts, cameras: Sequence[Camera], renderer: Renderer
) -> tuple[SceneParts, list[str]]:
    """Return the baked scene inside a shell, and what it brings."""
    sphere = scene.sphere()
    if sphere is None:
        return baked, []
    without = compare.psnr_of(scene, assemble(baked), cameras, renderer, BOTH)
    best, reached, count = baked, without, 0
    for number in NUMBERS:
        tried = _joined(baked, _shell(sphere, baked.parts["means"].values, number))
        decibels = compare.psnr_of(scene, assemble(tried), cameras, renderer, BOTH)
        if decibels < reached + (LEAST_GAIN if count else 0.0):
            break
        best, reached, count = tried, decibels, number
    if not count:
        told = f"No shell: {NUMBERS[0]:,} Gaussians as a background look worse than none."
        return baked, [told]
    told = (
        f"The background is a shell of {count:,} Gaussians: {reached:.1f} dB against the scene before "
        f"packing, {without:.1f} dB without any."
    )
    return best, [told]


@torch.no_grad()
def _shell(sphere: Sphere, means: np.ndarray, count: int) -> PlainSplats:
    """Return `count` discs around a scene."""
    from scipy.spatial.transform import Rotation

    directions = spread(count)
    farthest = float(np.linalg.norm(means - sphere.center, axis=1).max(initial=0.0))
    radius = max(sphere.radius, OUTSIDE * farthest)
    width = WIDTH * np.sqrt(4 * np.pi / count) * radius
    rays = torch.as_tensor(directions, dtype=torch.float32)
    colors = sphere.colors(np.asarray(sphere.center), rays).clamp(0, 1).cpu().numpy()
    # the thin third axis points along the ray
    across = np.cross(directions, np.eye(3)[np.abs(directions).argmin(axis=1)])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    axes = np.stack((across, np.cross(directions, across), directions), axis=2)
    quats = Rotation.from_matrix(axes).as_quat()[:, [3, 0, 1, 2]]
    sizes = np.log([width, width, THICKNESS * width])
    return PlainSplats(
        means=(sphere.center + radius * directions).astype(np.float32),
        log_scales=np.tile(sizes, (count, 1)).astype(np.float32),
        quats=quats.astype(np.float32),
        opacity_logits=np.full(count, LOGIT, np.float32),
        sh_coeffs=((colors[:, None] - 0.5) / BASE).astype(np.float32),
    )


def _joined(scene: SceneParts, shell: PlainSplats) -> SceneParts:
    """Return the scene with the shell's Gaussians after its own."""
    coeffs = sh_coeffs_of(scene)
    padded = np.zeros((len(shell), *coeffs.shape[1:]), np.float32)
    padded[:, 0] = shell.sh_coeffs[:, 0]
    added = {**shell.arrays(), "sh_coeffs": padded}
    own = {name: scene.parts[name].values for name in added if name != "sh_coeffs"}
    own["opacity_logits"] = own["opacity_logits"].reshape(-1)
    own["sh_coeffs"] = coeffs
    joined = {name: np.concatenate((own[name], added[name])) for name in added}
    return replace(scene, parts=splat_parts(**joined))
