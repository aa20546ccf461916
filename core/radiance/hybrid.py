"""HyRF's scene: eight explicit numbers per Gaussian, two fields, a background sphere.

    means           [N, 3]  scene units
    color_logits    [N, 3]
    scale_logits    [N]     isotropic
    opacity_logits  [N]

`Decoder` is what training and drawing share; `HybridScene` is a frozen copy for drawing and files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pydantic import Field

from core.base.config import Config, validated
from core.capture.camera import Camera
from core.radiance.backdrop import enlarged, seen_through
from core.radiance.decode import decoded, is_compiled
from core.radiance.field import Sphere
from core.radiance.field_kinds import class_of
from core.radiance.fields import Coloring, FieldsConfig, HybridFields, Space
from core.radiance.merge import ScaleMerge, merged_opacities, merged_quats, merged_scales
from core.radiance.model import Surroundings
from core.radiance.parts import Coding, Part, SceneParts
from core.radiance.seen import Shapes
from core.radiance.splats import Splats, unit_directions

EXPLICIT = ("means", "color_logits", "scale_logits", "opacity_logits")
SEE_THROUGH = 0.01  # the background is not asked for where less light than this passes


class HybridConfig(Config):
    """What a hybrid scene is made of."""

    fields: FieldsConfig = FieldsConfig()
    scale_merge: ScaleMerge = Field(
        ScaleMerge.SUM,
        title="Scale merge",
        description="Merge scales as the paper (sum) or its code (product) does.",
    )
    has_fields: bool = Field(
        True, title="Neural part", description="Use the neural half at all (off: ablation)."
    )
    has_explicit_color: bool = Field(
        True, title="Explicit colour", description="Keep a colour per Gaussian (off: ablation)."
    )
    has_background: bool = Field(
        True, title="Background", description="Paint what lies behind from the radiance field."
    )
    is_background_bounded: bool = Field(
        True,
        title="Bounded background",
        description="Put background colours through a sigmoid; the official code does not.",
    )
    background_stride: int = Field(
        1,
        ge=1,
        le=16,
        title="Background stride",
        description="Ask the background at every n-th pixel and interpolate.",
    )


@dataclass(frozen=True, eq=False)
class Decoder:
    """Explicit logits and fields to activated Gaussians and background, for one configuration and space."""

    config: HybridConfig
    fields: HybridFields
    space: Space

    @property
    def has_background(self) -> bool:
        """Whether there is anything behind the Gaussians."""
        return self.config.has_background and self.config.has_fields

    def offsets(self, means: torch.Tensor) -> torch.Tensor:
        """Return geometry offsets [V, 8]; zero without fields."""
        if not self.config.has_fields:
            return means.new_zeros(len(means), 8)
        return self.fields.geometry(self.space.contract(means))

    def splats(self, explicit: dict[str, torch.Tensor], center: np.ndarray) -> Splats:
        """Activate Gaussians seen from a camera at `center` [3]; differentiable."""
        config, means = self.config, explicit["means"]
        if not (config.has_fields and is_compiled(self.fields, means)):
            return self.composed(explicit, center)
        own = explicit["color_logits"] if config.has_explicit_color else torch.zeros_like(means)
        logits = means.detach(), own, explicit["scale_logits"], explicit["opacity_logits"]
        is_product = config.scale_merge is ScaleMerge.PRODUCT
        return Splats(means, *decoded(self.fields, self.space, center, is_product, logits))

    def composed(self, explicit: dict[str, torch.Tensor], center: np.ndarray) -> Splats:
        """Activate Gaussians as `splats` does, piece by piece, on any device."""
        means = explicit["means"]
        directions = unit_directions(means.detach(), center)
        if self.config.has_fields:
            offsets, colors = self.fields.both(self.space.contract(means), directions)
        else:
            offsets, colors = means.new_zeros(len(means), 8), means.new_zeros(len(means), 3)
        if self.config.has_explicit_color:
            colors = colors + explicit["color_logits"]
        return Splats(
            means=means,
            quats=merged_quats(offsets),
            scales=merged_scales(explicit["scale_logits"], offsets, self.config.scale_merge),
            opacities=merged_opacities(explicit["opacity_logits"], offsets),
            colors=torch.sigmoid(colors),
        )

    def background(self, camera: Camera) -> torch.Tensor | None:
        """Return the sphere's colour [H, W, 3], None where there is nothing behind the Gaussians."""
        coarse = self.backdrop(camera)
        return None if coarse is None else enlarged(coarse, camera.height, camera.width)

    def backdrop(self, camera: Camera, alpha: torch.Tensor | None = None) -> torch.Tensor | None:
        """Return the sphere's colour [h, w, 3] at every n-th pixel; where `alpha` [H, W, 1] is opaque it is black."""
        if not self.has_background:
            return None
        stride = self.config.background_stride
        coarse = camera.resized(-(-camera.width // stride), -(-camera.height // stride))
        weight = next(self.fields.parameters())
        rays = torch.as_tensor(
            coarse.directions().reshape(-1, 3), dtype=weight.dtype, device=weight.device
        )
        if alpha is None:
            colors = self.sphere_colors(camera.center, rays)
        else:
            seen = seen_through(alpha, coarse.height, coarse.width, SEE_THROUGH)
            colors = rays.new_zeros(len(rays), 3)
            colors = colors.index_put((seen,), self.sphere_colors(camera.center, rays[seen]))
        return colors.reshape(coarse.height, coarse.width, 3)

    def sphere_colors(self, center: np.ndarray, rays: torch.Tensor) -> torch.Tensor:
        """Return the colours [R, 3] that unit rays [R, 3] from one point inside the sphere end at."""
        points = self.space.sphere_points(center, rays)
        colors = self.fields.radiance(self.space.contract(points), rays)
        return torch.sigmoid(colors) if self.config.is_background_bounded else colors


class HybridScene:
    """A frozen hybrid scene; geometry is decoded once, colour once per view."""

    kind = "hyrf"

    def __init__(
        self,
        explicit: dict[str, torch.Tensor],
        decoder: Decoder,
        surroundings: Surroundings,
        step: int,
    ) -> None:
        self.explicit, self.decoder, self.surroundings = explicit, decoder, surroundings
        self.step = step
        self.num_gaussians = len(explicit["means"])
        self.device = explicit["means"].device
        self.bounds, self.up = surroundings.bounds, surroundings.up
        self.to_original = surroundings.to_original
        self.is_antialiased = surroundings.is_antialiased
        self._shapes: Shapes | None = None
        self._colors: Coloring | None = None

    @torch.no_grad()
    def shapes(self) -> Shapes:
        """Return every Gaussian without its colour, decoded once."""
        if self._shapes is None:
            explicit, config = self.explicit, self.decoder.config
            offsets = self.decoder.offsets(explicit["means"])
            self._shapes = Shapes(
                means=explicit["means"],
                quats=merged_quats(offsets),
                scales=merged_scales(explicit["scale_logits"], offsets, config.scale_merge),
                opacities=merged_opacities(explicit["opacity_logits"], offsets),
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

    def explicit_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the explicit half of the colours of Gaussians `ids` [M] before the sigmoid, [M, 3]."""
        logits = self.explicit["color_logits"][ids]
        return logits if self.decoder.config.has_explicit_color else torch.zeros_like(logits)

    @torch.no_grad()
    def background(self, camera: Camera) -> torch.Tensor | None:
        """Return the colour behind the Gaussians [H, W, 3]."""
        return self.decoder.background(camera)

    def sphere(self) -> Sphere | None:
        """Return the sphere that carries the background, asked ray by ray whatever the stride."""
        if not self.decoder.has_background:
            return None
        space = self.decoder.space
        return Sphere(space.center, space.radius, self.decoder.sphere_colors)

    def _colored(self, splats: Splats, center: np.ndarray) -> Splats:
        config, logits = self.decoder.config, self.explicit["color_logits"]
        if not config.has_fields:
            own = (
                logits[splats.ids] if config.has_explicit_color else torch.zeros_like(splats.means)
            )
            return replace(splats, colors=torch.sigmoid(own))
        if self._colors is None:
            u = self.decoder.space.contract(self.explicit["means"])
            own_logits = logits if config.has_explicit_color else None
            self._colors = self.decoder.fields.coloring(u, own_logits)
        return replace(splats, colors=self._colors.colors(splats, center))

    def parts(self) -> SceneParts:
        """Take the scene apart for a file."""
        decoder, parts = self.decoder, {}
        for name in EXPLICIT:
            if name == "color_logits" and not decoder.config.has_explicit_color:
                continue
            coding = Coding.POSITION16 if name == "means" else Coding.UNIFORM8
            values = self.explicit[name].reshape(self.num_gaussians, -1).cpu().numpy()
            parts[name] = Part(values, "explicit", coding, per_gaussian=True)
        if decoder.config.has_fields:
            parts |= decoder.fields.parts()
        space = decoder.space
        settings = {
            "config": decoder.config.model_dump(mode="json"),
            "space": {
                "low": space.low.tolist(),
                "high": space.high.tolist(),
                "center": space.center.tolist(),
                "radius": space.radius,
            },
        }
        around = self.surroundings
        return SceneParts(
            self.kind,
            parts,
            settings,
            self.step,
            around.bounds,
            around.up,
            around.to_original,
            around.summary,
        )

    @staticmethod
    def from_parts(scene: SceneParts, device: str = "cpu") -> HybridScene:
        """Put a scene together again."""
        config = validated(HybridConfig, scene.settings["config"])
        arrays = {
            name: torch.from_numpy(np.array(part.values)).float().to(device)
            for name, part in scene.parts.items()
        }
        fields = _fields_of(config, arrays).to(device)
        count = len(arrays["means"])
        explicit = {
            "means": arrays["means"],
            "color_logits": arrays.get("color_logits", arrays["means"].new_zeros(count, 3)),
            "scale_logits": arrays["scale_logits"].reshape(count),
            "opacity_logits": arrays["opacity_logits"].reshape(count),
        }
        box: dict[str, Any] = scene.settings["space"]
        space = Space(
            np.asarray(box["low"]),
            np.asarray(box["high"]),
            np.asarray(box["center"]),
            float(box["radius"]),
        )
        around = Surroundings(scene.bounds, scene.up, scene.to_original, scene.summary)
        return HybridScene(explicit, Decoder(config, fields, space), around, scene.step)


def _fields_of(config: HybridConfig, arrays: dict[str, torch.Tensor]) -> HybridFields:
    """Return the fields a file holds, or untrained ones for a scene without."""
    if not config.has_fields:
        return HybridFields(config.fields).requires_grad_(False)
    return class_of(config.fields).from_arrays(config.fields, arrays)
