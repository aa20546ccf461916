"""Which Gaussians of a frozen scene a camera sees, with what is known of them.

    means       [N, 3]  scene units
    quats       [N, 4]  rotations (w, x, y, z)
    scales      [N, 3]  scene units, standard deviations
    opacities   [N]     0..1
    ->
    Splats of the V that can touch the picture, in order, still without colours

What is left out would not have changed a pixel: a renderer drops alpha below 1/255, and the bound on
a Gaussian's reach in the picture holds for the linearised projection with its clamped slopes and
its blur of 0.3 square pixels. Compiled loops on the CPU, plain torch elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from core.capture.camera import Camera
from core.nn.encoding import sh_bands3
from core.nn.mlp import Mlp
from core.nn.mlp_kernels import padded
from core.radiance import seen_kernels as kernels
from core.radiance.sh import evaluate_sh
from core.radiance.splats import Splats, unit_directions

NEAREST = 0.01  # scene units; renderers draw nothing nearer
FAINTEST = 1 / 255  # renderers drop smaller contributions
BLURRED = 2.0  # pixels: what a blur of 0.3 square pixels adds at most to a reach, 3.33 sqrt(0.3), rounded up
OVERLOOK = 0.3  # of half the picture: beyond, projections take the slope at that border
ROUNDING = 1.001


@dataclass(frozen=True, eq=False)
class Shapes:
    """Activated Gaussians without their colours, ready to be looked at from anywhere."""

    means: torch.Tensor
    quats: torch.Tensor
    scales: torch.Tensor
    opacities: torch.Tensor
    reach: torch.Tensor = field(init=False)  # [N] scene units, negative for what is never drawn

    def __post_init__(self) -> None:
        cut = torch.sqrt(2 * torch.log(self.opacities.clamp(min=FAINTEST) / FAINTEST))  # in sigmas
        reach = cut * self.scales.amax(dim=1) * ROUNDING
        object.__setattr__(self, "reach", reach.masked_fill(self.opacities <= FAINTEST, -1.0))

    def seen(self, camera: Camera) -> Splats:
        """Return the Gaussians that can touch the picture; their colours are still empty."""
        numbers = camera_numbers(camera)
        if not _is_compiled(self.means, self.quats, self.scales, self.opacities):
            return self.rows(self._visible(torch.as_tensor(numbers).to(self.means)))
        num = len(self.means)
        found, counts = np.empty(num, np.int64), np.empty(-(-num // kernels.CHUNK), np.int64)
        arrays = [values.numpy() for values in (self.means, self.quats, self.scales)]
        kernels.cull(arrays[0], self.reach.numpy(), numbers, found, counts)
        places = np.concatenate(([0], counts.cumsum()))
        visible = int(places[-1])
        ids = torch.empty(visible, dtype=torch.int64)
        taken = tuple(torch.empty(visible, *tail) for tail in ((3,), (4,), (3,), ()))
        kernels.gather(
            found, places, *arrays, self.opacities.numpy(), ids.numpy(),
            tuple(values.numpy() for values in taken),
        )  # fmt: skip
        return Splats(*taken, colors=torch.empty(visible, 3), ids=ids)

    def rows(self, ids: torch.Tensor) -> Splats:
        """Return these rows [V]; their colours are still empty."""
        return Splats(
            self.means[ids],
            self.quats[ids],
            self.scales[ids],
            self.opacities[ids],
            self.means.new_empty(len(ids), 3),
            ids,
        )

    def _visible(self, c: torch.Tensor) -> torch.Tensor:
        """Return the rows [V]; the same comparisons as the kernel's."""
        x, y, z = (self.means @ c[:9].view(3, 3).T + c[9:12]).unbind(1)
        across, down = c[12] * self.reach, c[13] * self.reach
        is_seen = (z > c[18]) & (self.reach >= 0)
        is_seen &= (x + across + c[14] * z > 0) & (x - across - c[15] * z < 0)
        is_seen &= (y + down + c[16] * z > 0) & (y - down - c[17] * z < 0)
        return is_seen.nonzero().flatten()


@dataclass(frozen=True, eq=False)
class ColorNetwork:
    """What a hybrid scene's colours are made of: `partial` [N, H] of the first layer, then the rest."""

    network: Mlp
    partial: torch.Tensor
    logits: torch.Tensor | None  # [N, 3] explicit colours, None without
    packed: tuple[np.ndarray, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        rest = self.network.weights[0][self.network.widths[0] - kernels.NUM_BASES :]
        object.__setattr__(self, "packed", _pack([rest, *list(self.network.weights)[1:]]))

    def colors(self, splats: Splats, center: np.ndarray) -> torch.Tensor:
        """Return the colours [V, 3] of Gaussians `splats.ids` seen from `center` [3]."""
        ids, logits = splats.ids, self.logits
        assert ids is not None
        if _is_compiled(self.partial, splats.means):
            given = np.empty((0, 3), np.float32) if logits is None else logits.numpy()
            origin = np.asarray(center, np.float32)
            kernels.network_colors(
                ids.numpy(), splats.means.numpy(), origin, given, self.partial.numpy(),
                *self.packed, splats.colors.numpy(),
            )  # fmt: skip
            return splats.colors.sigmoid_()
        bands = sh_bands3(unit_directions(splats.means, center))
        colors = self.network.finish(self.partial[ids], bands)
        return torch.sigmoid(colors if logits is None else colors + logits[ids])


def harmonic_colors(sh_coeffs: torch.Tensor, splats: Splats, center: np.ndarray) -> torch.Tensor:
    """Return the colours [V, 3] of Gaussians `splats.ids` with coefficients [N, K, 3], seen from `center` [3]."""
    assert splats.ids is not None
    if not _is_compiled(sh_coeffs, splats.means):
        return evaluate_sh(sh_coeffs[splats.ids], unit_directions(splats.means, center))
    kernels.harmonic_colors(
        splats.ids.numpy(), splats.means.numpy(), np.asarray(center, np.float32),
        sh_coeffs.numpy(), splats.colors.numpy(),
    )  # fmt: skip
    return splats.colors


def camera_numbers(camera: Camera) -> np.ndarray:
    """Pack a camera [20] float32: rotation (9), translation (3), stretch (2), slopes of the borders (4), near."""
    view = camera.world_to_camera
    stretches, borders = [], []
    for focal, center, size in (
        (camera.fx, camera.cx, camera.width),
        (camera.fy, camera.cy, camera.height),
    ):
        beyond = OVERLOOK * size / 2
        steepest = max(center + beyond, size - center + beyond) / focal
        stretches.append(np.hypot(1.0, steepest))  # of a reach, where the view is most aslant
        borders += [(center + BLURRED) / focal, (size - center + BLURRED) / focal]
    packed = [*view[:3, :3].ravel(), *view[:3, 3], *stretches, *borders, NEAREST, 0.0]
    return np.array(packed, np.float32)


def _pack(weights: Sequence[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Return all weights in one zero-padded array [layers, P, P], and the widths [layers + 1]."""
    widths = np.array([weights[0].shape[0], *(weight.shape[1] for weight in weights)])
    side = padded(max(int(widths.max()), kernels.NUM_BASES + 3))
    packed = np.zeros((len(weights), side, side), np.float32)
    for layer, weight in enumerate(weights):
        packed[layer, : weight.shape[0], : weight.shape[1]] = weight.detach().cpu().numpy()
    return packed, widths


def _is_compiled(*tensors: torch.Tensor) -> bool:
    return all(
        tensor.device.type == "cpu" and tensor.dtype == torch.float32 and tensor.is_contiguous()
        for tensor in tensors
    )
