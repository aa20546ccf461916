"""HyRF: hybrid radiance fields, explicit Gaussians with a neural half (Wang et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from core.base.config import live
from core.capture.camera import Camera
from core.nn.adam import RowAdam
from core.radiance.field_kinds import class_of
from core.radiance.fields import Box, Space, space_of
from core.radiance.hybrid import Decoder, HybridConfig, HybridScene
from core.radiance.init import ball_sizes, color_logits, logit, neighbour_distance
from core.radiance.merge import (
    merged_opacities,
    merged_quats,
    merged_scales,
    solved_opacity_logits,
    solved_scale_logits,
)
from core.radiance.model import Leaves, Placement, Shared, Surroundings
from core.radiance.schedule import decayed
from core.radiance.splats import Splats
from core.studies import photo_claims
from core.studies.photo_config import PhotoConfig
from core.studies.photographs import PhotoStudy
from core.studies.starting import Start
from core.study import Claim, Setup


class Config(PhotoConfig):
    """Settings of HyRF; the defaults are the paper's."""

    hybrid: HybridConfig = HybridConfig()
    box: Box = Field(
        Box.SPHERE,
        title="Contraction box",
        description="What is not contracted: sphere as the code, extremes or points as the paper.",
    )
    colors_rate: float = live(
        2.5e-3, ge=0, le=0.5, title="Colour rate", description="Learning rate of explicit colours."
    )
    opacities_rate: float = live(
        2.5e-2,
        ge=0,
        le=0.5,
        title="Opacity rate",
        description="Learning rate of explicit opacities.",
    )
    scales_rate: float = live(
        5e-3, ge=0, le=0.5, title="Scale rate", description="Learning rate of explicit scales."
    )
    fields_rate: float = live(
        3e-3,
        ge=0,
        le=0.5,
        title="Field rate",
        description="Learning rate of the fields at the start.",
    )
    fields_rate_end: float = live(
        3e-4,
        ge=0,
        le=0.5,
        title="Field rate at the end",
        description="Learning rate of the fields at the end.",
    )
    background_start: float = Field(
        500 / 30_000,
        ge=0,
        le=1,
        title="Background joins after",
        description="Share of training after which the background takes part.",
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "steps": 600,
            "seed_gaussians": 3000,
            "initial_opacity": 0.3,
            "half_until": 0.3,
            "average_from": 0.9,
            "means_rate": 1.28e-3,
            "means_rate_end": 1.28e-5,
            "colors_rate": 2e-2,
            "opacities_rate": 5e-2,
            "scales_rate": 2e-2,
            "fields_rate": 1e-2,
            "fields_rate_end": 1e-3,
            "density": {"cap": 6000, "every": 50, "start": 0.25, "stop": 0.6, "reset_every": 0.0},
            "hybrid": {
                "fields": {
                    "levels": 8,
                    "log2_table": 13,
                    "base_resolution": 16,
                    "max_resolution": 256,
                    "hidden": 32,
                },
                "background_stride": 4,
            },
        },
        "full": {
            "steps": 4500,
            "seed_gaussians": 15_000,
            "initial_opacity": 0.3,
            "quarter_until": 0.08,
            "half_until": 0.3,
            "average_from": 0.9,
            "means_rate": 6.4e-4,
            "means_rate_end": 6.4e-6,
            "colors_rate": 1e-2,
            "opacities_rate": 5e-2,
            "scales_rate": 2e-2,
            "fields_rate": 1e-2,
            "fields_rate_end": 1e-3,
            "density": {"cap": 30_000, "start": 0.05, "stop": 0.6, "reset_every": 0.0},
            "hybrid": {
                "fields": {
                    "levels": 8,
                    "log2_table": 15,
                    "base_resolution": 16,
                    "max_resolution": 512,
                    "hidden": 32,
                },
                "background_stride": 4,
            },
        },
        "paper": {},
        "urban": {
            "box": "points",
            "hybrid": {"fields": {"log2_table": 21}},
        },
    }


class HyrfModel:
    """Eight explicit numbers per Gaussian and two fields, with the optimizers of the fields."""

    def __init__(
        self, config: Config, explicit: Leaves, decoder: Decoder, around: Surroundings
    ) -> None:
        self.config, self.explicit, self.decoder, self.around = config, explicit, decoder, around
        self.is_background_on = config.background_start <= 0
        # torch.optim would import torch's compiler, whose LLVM and that of a window's OpenGL driver clash
        weights = {str(index): p for index, p in enumerate(decoder.fields.network_parameters())}
        self.networks = RowAdam(weights, dict.fromkeys(weights, config.fields_rate))
        self.shares = dict(zip(weights, decoder.fields.rate_shares(), strict=True))
        self.grids = decoder.fields.grids()
        tables = {name: grid.table for name, grid in self.grids.items()}
        self.tables = RowAdam(tables, dict.fromkeys(tables, config.fields_rate))

    def decode(self, leaves: Leaves, camera: Camera) -> Splats:
        """Activate gathered rows for a camera."""
        return self.decoder.splats(leaves, camera.center)

    def background(self, camera: Camera, alpha: torch.Tensor) -> torch.Tensor | None:
        """Return the sphere's colour, once its time has come."""
        return self.decoder.backdrop(camera, alpha) if self.is_background_on else None

    @torch.no_grad()
    def activated(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return scales, quats and opacities of some Gaussians."""
        offsets = self.decoder.offsets(self.explicit["means"][rows])
        merge = self.decoder.config.scale_merge
        return (
            merged_scales(self.explicit["scale_logits"][rows], offsets, merge),
            merged_quats(offsets),
            merged_opacities(self.explicit["opacity_logits"][rows], offsets),
        )

    @torch.no_grad()
    def place(self, placement: Placement) -> Leaves:
        """Solve the explicit logits at the new positions, where the fields say something else than at the old."""
        offsets = self.decoder.offsets(placement.means)
        merge = self.decoder.config.scale_merge
        return {
            "means": placement.means,
            "color_logits": self.explicit["color_logits"][placement.rows],
            "scale_logits": solved_scale_logits(placement.scales, offsets, merge),
            "opacity_logits": solved_opacity_logits(placement.opacities, offsets),
        }

    def limit_opacity(self, highest: float) -> None:
        """Clamp the explicit logits; the neural part is left alone, as in the official code."""
        self.explicit["opacity_logits"].clamp_(max=float(logit(np.float64(highest))))

    def rates(self, progress: float) -> dict[str, float]:
        """Return the learning rates: positions decay exponentially, the rest is constant."""
        config = self.config
        return {
            "means": decayed(config.means_rate, config.means_rate_end, progress),
            "color_logits": config.colors_rate,
            "scale_logits": config.scales_rate,
            "opacity_logits": config.opacities_rate,
        }

    def shared(self) -> Shared:
        """Return the fields' networks and grids."""
        if not self.decoder.config.has_fields:
            return Shared()
        return Shared(self.decoder.fields.network_parameters(), tuple(self.grids.values()))

    def optimise_shared(self, progress: float) -> None:
        """Step tables and networks."""
        if not self.decoder.config.has_fields:
            return
        rate = decayed(self.config.fields_rate, self.config.fields_rate_end, progress)
        weights = self.networks.params
        self.networks.rates = {name: share * rate for name, share in self.shares.items()}
        self.networks.step(
            {n: weight.grad for n, weight in weights.items() if weight.grad is not None}
        )
        for weight in weights.values():
            weight.grad = None
        self.tables.rates = dict.fromkeys(self.grids, rate)
        self.tables.step_marked(
            {name: grid.gradient() for name, grid in self.grids.items()},
            {name: grid.touched() for name, grid in self.grids.items()},
        )
        self.is_background_on = progress >= self.config.background_start

    def scene(self, step: int) -> HybridScene:
        """Return a detached copy."""
        weights = self.decoder.fields.state_dict()
        copies = {name: values.detach().clone() for name, values in weights.items()}
        fields = self.decoder.fields.from_weights(self.decoder.config.fields, copies)
        decoder = replace(self.decoder, fields=fields)
        explicit = {name: values.detach().clone() for name, values in self.explicit.items()}
        return HybridScene(explicit, decoder, self.around, step)

    def state(self) -> dict[str, Any]:
        """Return parameters and the fields' optimizer state."""
        return {
            "explicit": dict(self.explicit),
            "fields": dict(self.decoder.fields.state_dict()),
            "networks": self.networks.state(),
            "tables": self.tables.state(),
            "is_background_on": self.is_background_on,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.explicit = {name: values.clone() for name, values in state["explicit"].items()}
        self.decoder.fields.load_state_dict(state["fields"])
        self.networks.load(state["networks"])
        self.tables.load(state["tables"])
        self.is_background_on = bool(state["is_background_on"])


class Hyrf(PhotoStudy):
    """The proposed system and its ablations (claims of the paper, tables 5 and 6)."""

    Config = Config
    variants = ("hybrid", "no_explicit_color", "no_fields", "shared_field", "no_background")
    claims = (
        Claim("size", **photo_claims.SIZE),
        Claim("on_equal_terms", **photo_claims.ON_EQUAL_TERMS),
        Claim("equal_bytes", **photo_claims.EQUAL_BYTES),
        Claim("both_parts", **photo_claims.BOTH_PARTS),
        Claim("two_fields", **photo_claims.TWO_FIELDS),
        Claim("background", **photo_claims.BACKGROUND),
    )
    config: Config

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__(config, setup)
        hybrid = config.hybrid
        changes: dict[str, dict[str, Any]] = {
            "no_explicit_color": {"has_explicit_color": False},
            "no_fields": {"has_fields": False},
            "no_background": {"has_background": False},
            "shared_field": {"fields": hybrid.fields.model_copy(update={"is_shared": True})},
        }
        self.hybrid = hybrid.model_copy(update=changes.get(setup.variant, {}))

    def build_model(self, points: np.ndarray, colors: np.ndarray) -> HyrfModel:
        """Start every Gaussian as a ball as large as the gap to its neighbours."""
        values = {
            "means": points,
            "color_logits": color_logits(colors),
            "scale_logits": logit(neighbour_distance(points).astype(np.float64)),
            "opacity_logits": np.full(len(points), logit(np.float64(self.config.initial_opacity))),
        }
        return self._model(values, points)

    @torch.no_grad()
    def build_from(self, start: Start) -> HyrfModel:
        """Take over places, opacities and colours from all sides; sizes become those of balls.

        Rotations, unequal axes and view-dependent colour belong to the fields and begin anew.
        """
        splats = start.splats
        count = len(splats)
        zeros = np.zeros(count)
        values = {
            "means": splats.means,
            "color_logits": color_logits(start.colors),
            "scale_logits": zeros,
            "opacity_logits": zeros,
        }
        model = self._model(values, splats.means.astype(np.float64))
        held = model.explicit
        sizes = torch.as_tensor(ball_sizes(splats.log_scales), device=self.device)
        alphas = torch.sigmoid(torch.as_tensor(splats.opacity_logits, device=self.device))
        rows = torch.arange(count, device=self.device)
        placed = model.place(Placement(rows, held["means"], sizes[:, None].expand(-1, 3), alphas))
        model.explicit = {name: values.contiguous() for name, values in placed.items()}
        return model

    def _model(self, values: Mapping[str, np.ndarray], points: np.ndarray) -> HyrfModel:
        config, device = self.config, self.device
        cameras = [photo.camera for photo in self.capture.train]
        space: Space = space_of(cameras, config.box, points)
        generator = torch.Generator().manual_seed(self.setup.seed)
        fields = class_of(self.hybrid.fields)(self.hybrid.fields, generator).to(device)
        explicit = {
            name: torch.as_tensor(value, dtype=torch.float32, device=device).contiguous()
            for name, value in values.items()
        }
        fields.begin(space.contract(explicit["means"]), generator)
        return HyrfModel(config, explicit, Decoder(self.hybrid, fields, space), self.surroundings())

    def configure(self, config: Config) -> None:
        """Apply live edits."""
        super().configure(config)
        self.model.config = config


STUDY = Hyrf
