"""A scene of plain Gaussians whose colour depends on direction through spherical harmonics.

means           [N, 3]     scene units
log_scales      [N, 3]     natural logarithm of scene units
quats           [N, 4]     (w, x, y, z), any length above zero
opacity_logits  [N]
sh_coeffs       [N, K, 3]  K = 1, 4, 9 or 16 (core/radiance/sh.py)
equirect        [H, 2H, 3] uint8, an all-round picture of what lies behind (core/radiance/equirect.py), or none
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from core.base.shapes import expect
from core.capture.camera import Camera
from core.radiance.equirect import Equirect, equirect_part
from core.radiance.model import Surroundings
from core.radiance.parts import Coding, Part, SceneParts
from core.radiance.seen import Shapes, harmonic_colors
from core.radiance.sh import degree_of
from core.radiance.splats import Splats

NAMES = ("means", "log_scales", "quats", "opacity_logits", "sh_coeffs")
UNIT_TOLERANCE = 0.02  # what 8 bits do to the length of a rotation


class SplatScene:
    """Plain Gaussians, frozen for drawing and saving; `explicit` holds the five tensors by name."""

    kind = "splats"

    def __init__(
        self,
        explicit: dict[str, torch.Tensor],
        surroundings: Surroundings,
        step: int = 0,
        equirect: np.ndarray | None = None,
    ) -> None:
        count = len(explicit["means"])
        for name, tail in (("means", (3,)), ("log_scales", (3,)), ("quats", (4,))):
            expect(explicit[name], count, *tail, name=name)
        expect(explicit["opacity_logits"], count, name="opacity_logits")
        expect(explicit["sh_coeffs"], count, None, 3, name="sh_coeffs")
        self.sh_degree = degree_of(explicit["sh_coeffs"].shape[1])
        self.explicit, self.surroundings, self.step = explicit, surroundings, step
        self.num_gaussians, self.device = count, explicit["means"].device
        self.bounds, self.up = surroundings.bounds, surroundings.up
        self.to_original = surroundings.to_original
        self.is_antialiased = surroundings.is_antialiased
        self.equirect = None if equirect is None else Equirect(equirect, self.device)
        self._shapes: Shapes | None = None

    @torch.no_grad()
    def shapes(self) -> Shapes:
        """Return every Gaussian without its colour, activated once."""
        if self._shapes is None:
            explicit = self.explicit
            self._shapes = Shapes(
                means=explicit["means"],
                quats=explicit["quats"],
                scales=explicit["log_scales"].exp(),
                opacities=torch.sigmoid(explicit["opacity_logits"]),
            )
        return self._shapes

    @torch.no_grad()
    def splats(self, camera: Camera) -> Splats:
        """Return the Gaussians that can touch the picture, with the colours seen from the camera."""
        return self._colored(self.shapes().seen(camera), camera.center)

    @torch.no_grad()
    def all_splats(self, center: np.ndarray) -> Splats:
        """Return every Gaussian with the colours seen from a camera at `center` [3]."""
        rows = torch.arange(self.num_gaussians, device=self.device)
        return self._colored(self.shapes().rows(rows), center)

    def background(self, camera: Camera) -> torch.Tensor | None:
        """Return the all-round picture in the camera's directions, None where there is no such picture."""
        if self.equirect is None:
            return None
        rays = camera.directions() @ self.to_original.rotation.T  # the picture's own axes
        return self.equirect.colors(torch.as_tensor(rays, dtype=torch.float32, device=self.device))

    def sphere(self) -> None:
        """Return None: a picture infinitely far away is on no sphere."""
        return None

    def _colored(self, splats: Splats, center: np.ndarray) -> Splats:
        return replace(splats, colors=harmonic_colors(self.explicit["sh_coeffs"], splats, center))

    def parts(self) -> SceneParts:
        """Take the scene apart for a file; rotations are stored with a positive first number."""
        arrays = {name: self.explicit[name].detach().cpu().float().numpy() for name in NAMES}
        around, parts = self.surroundings, splat_parts(**arrays)
        if self.equirect is not None:
            parts["equirect"] = equirect_part(self.equirect.picture)
        return SceneParts(
            kind=self.kind,
            parts=parts,
            settings={"sh_degree": self.sh_degree},
            step=self.step,
            bounds=around.bounds,
            up=around.up,
            to_original=around.to_original,
            summary=around.summary,
        )

    @staticmethod
    def from_parts(scene: SceneParts, device: str = "cpu") -> SplatScene:
        """Put a scene together again."""
        arrays = {name: scene.parts[name].values for name in NAMES[:4]}
        arrays["opacity_logits"] = arrays["opacity_logits"].reshape(-1)
        arrays["sh_coeffs"] = sh_coeffs_of(scene)
        explicit = {
            name: torch.from_numpy(np.array(values, dtype=np.float32)).to(device)
            for name, values in arrays.items()
        }
        around = Surroundings(scene.bounds, scene.up, scene.to_original, scene.summary)
        behind = scene.parts.get("equirect")
        return SplatScene(explicit, around, scene.step, None if behind is None else behind.values)


def splat_parts(
    means: np.ndarray,
    log_scales: np.ndarray,
    quats: np.ndarray,
    opacity_logits: np.ndarray,
    sh_coeffs: np.ndarray,
) -> dict[str, Part]:
    """Name and code the arrays of plain Gaussians; the constant basis is kept apart from the others."""
    lengths = np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-12)
    if np.abs(lengths - 1).max(initial=0.0) < UNIT_TOLERANCE:
        lengths = np.ones_like(lengths)  # read from a file: saving again must not change it
    unit = quats / np.where(quats[:, :1] < 0, -lengths, lengths)
    parts = {
        "means": Part(means, "explicit", Coding.POSITION16, per_gaussian=True),
        "log_scales": Part(log_scales, "explicit", Coding.UNIFORM8, per_gaussian=True),
        "quats": Part(unit.astype(np.float32), "explicit", Coding.UNIFORM8, per_gaussian=True),
        "opacity_logits": Part(opacity_logits, "explicit", Coding.UNIFORM8, per_gaussian=True),
        "sh_base": Part(sh_coeffs[:, 0], "explicit", Coding.UNIFORM8, per_gaussian=True),
    }
    if sh_coeffs.shape[1] > 1:
        rest = np.ascontiguousarray(sh_coeffs[:, 1:])
        parts["sh_rest"] = Part(rest, "harmonics", Coding.UNIFORM8, per_gaussian=True)
    return parts


def sh_coeffs_of(scene: SceneParts) -> np.ndarray:
    """Return the coefficients [N, K, 3] of a scene of plain Gaussians."""
    base = scene.parts["sh_base"].values[:, None]
    rest = scene.parts.get("sh_rest")
    return base if rest is None else np.concatenate((base, rest.values), axis=1)
