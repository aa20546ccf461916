"""The fourth field: Gaussians, drawn by the program's own renderer, asked by the ones near a point.

means [N, 3], log_scales [N, 3], quats [N, 4], opacity_logits [N], color_logits [N, 3]

inside p(x) = 1 - prod(1 - a_i G_i(x)) over the Gaussians nearest to x. A pose is moved on the
Gaussians instead of the camera, which is the same picture: the renderer needs no gradient of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from core.capture.camera import Camera, Similarity
from core.nn.ssim import ssim
from core.radiance.init import color_logits, neighbour_distance
from core.radiance.model import Surroundings
from core.radiance.sh import BASE
from core.radiance.sh_splats import SplatScene
from core.radiance.splats import Splats
from core.render.backend import Renderer, choose
from core.render.evaluate import matrices
from core.studies.fields.robot_fields.shapes import BOX, UP, Shape, Views

NEAREST = 16  # Gaussians that a point is asked of
OPACITY = 0.6  # at the beginning
SSIM_SHARE = 0.2  # of the loss (Kerbl et al. 2023, eq. 7)
NOISE = 0.02  # of the points that Gaussians begin at: scene units
FACTORS = {
    "means": 0.3,
    "log_scales": 2.0,
    "quats": 0.6,
    "opacity_logits": 8.0,
    "color_logits": 4.0,
}


class GaussianField(nn.Module):
    """Gaussians over white that are fitted to pictures."""

    is_metric = False

    def __init__(self, count: int) -> None:
        super().__init__()
        for name, tail in (
            ("means", (3,)),
            ("log_scales", (3,)),
            ("quats", (4,)),
            ("color_logits", (3,)),
        ):
            setattr(self, name, nn.Parameter(torch.zeros(count, *tail)))
        self.opacity_logits = nn.Parameter(torch.zeros(count))
        self._renderer: Renderer | None = None

    @torch.no_grad()
    def begin_at(self, points: np.ndarray, shape: Shape, seed: int) -> None:
        """Start near surface points, as large as the gaps between them: what matched photographs give."""
        rng = np.random.default_rng(seed)
        places = (points + NOISE * rng.normal(size=points.shape)).astype(np.float32)
        gaps = neighbour_distance(places)
        colors = shape.colors(torch.from_numpy(points)).numpy()
        self.means.copy_(torch.from_numpy(places))
        self.log_scales.copy_(torch.from_numpy(np.log(gaps))[:, None].expand(-1, 3))
        self.quats.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(len(points), 4))
        self.opacity_logits.fill_(float(np.log(OPACITY / (1 - OPACITY))))
        self.color_logits.copy_(torch.from_numpy(color_logits(colors)))

    @property
    def renderer(self) -> Renderer:
        """The program's renderer, made when it is first needed."""
        if self._renderer is None:
            self._renderer = choose("cpu" if self.means.device.type == "cpu" else "auto")
        return self._renderer

    def splats(
        self, motion: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
    ) -> Splats:
        """Return activated Gaussians, moved by a rotation [3, 3] with its quaternion [4] and a shift [3]."""
        means, quats = self.means, nn.functional.normalize(self.quats, dim=-1)
        if motion is not None:
            rotation, quaternion, shift = motion
            means, quats = means @ rotation.T + shift, product(quaternion, quats)
        return Splats(
            means, quats, self.log_scales.exp(), torch.sigmoid(self.opacity_logits), torch.sigmoid(self.color_logits)
        )  # fmt: skip

    def picture(self, camera: Camera, splats: Splats | None = None) -> torch.Tensor:
        """Return the picture [H, W, 3] over white."""
        viewmats, Ks = matrices(camera, self.means.device)
        own = self.splats() if splats is None else splats
        layers = self.renderer.rasterize(own, viewmats, Ks, camera.width, camera.height)
        assert layers is not None  # nobody can cancel this one
        return (layers.rgb + (1 - layers.alpha))[0]

    def loss(self, views: Views, rng: torch.Generator) -> torch.Tensor:
        """Return the error of one random picture (Kerbl et al. 2023, eq. 7)."""
        row = int(torch.randint(len(views.cameras), (1,), generator=rng))
        drawn, target = self.picture(views.cameras[row]), views.pixels[row]
        apart = (drawn - target).abs().mean()
        return (1 - SSIM_SHARE) * apart + SSIM_SHARE * (1 - ssim(drawn, target))

    @torch.no_grad()
    def near(self, points: torch.Tensor) -> torch.Tensor:
        """Return the rows [P, K] of the Gaussians whose centres are nearest."""
        from scipy.spatial import cKDTree

        tree = cKDTree(self.means.detach().cpu().numpy())
        count = min(NEAREST, len(self.means))
        _, rows = tree.query(points.detach().cpu().numpy(), k=count, workers=1)
        return torch.as_tensor(rows.reshape(len(points), count), device=points.device)

    def inside(self, points: torch.Tensor) -> torch.Tensor:
        """Return the probability [P] that something is there."""
        rows = self.near(points)
        own = self.splats()
        turn = rotations(own.quats)[rows]  # [P, K, 3, 3]
        local = ((points[:, None] - own.means[rows])[..., None, :] @ turn)[..., 0, :]
        reach = (local / own.scales[rows]).square().sum(dim=-1)
        return 1 - (1 - own.opacities[rows] * torch.exp(-0.5 * reach)).prod(dim=-1)

    def level(self, points: torch.Tensor) -> torch.Tensor:
        """Return by how much the probability is above one half."""
        return self.inside(points) - 0.5

    def scene(self, step: int, cameras: tuple[Camera, ...]) -> SplatScene:
        """Return a frozen copy as a scene that files hold."""
        explicit = {
            "means": self.means.detach().clone(),
            "log_scales": self.log_scales.detach().clone(),
            "quats": self.quats.detach().clone(),
            "opacity_logits": self.opacity_logits.detach().clone(),
            "sh_coeffs": ((torch.sigmoid(self.color_logits.detach()) - 0.5) / BASE)[:, None],
        }
        summary: dict[str, Any] = {"cameras": [camera.to_json() for camera in cameras]}
        around = Surroundings(BOX, UP, Similarity.identity(), summary)
        return SplatScene(explicit, around, step)


def rotations(quats: torch.Tensor) -> torch.Tensor:
    """Return rotation matrices [N, 3, 3] of unit quaternions (w, x, y, z)."""
    w, x, y, z = quats.unbind(-1)
    rows = (
        torch.stack((1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)), -1),
        torch.stack((2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)), -1),
        torch.stack((2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)), -1),
    )
    return torch.stack(rows, dim=-2)


def product(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the quaternion product of one [4] with many [N, 4]: the rotation `second`, then `first`."""
    w, vector = first[0], first[1:]
    others = second[:, 1:]
    real = w * second[:, :1] - (others * vector).sum(dim=-1, keepdim=True)
    cross = torch.linalg.cross(vector.expand_as(others), others)
    return torch.cat((real, w * others + second[:, :1] * vector + cross), dim=-1)
