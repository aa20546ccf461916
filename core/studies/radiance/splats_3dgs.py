"""3D Gaussian splatting: the explicit baseline with spherical-harmonic colour (Kerbl et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from core.base.config import live
from core.capture.camera import Camera
from core.radiance.init import logit, neighbour_distance
from core.radiance.merge import logits_of
from core.radiance.model import Leaves, Placement, Shared, Surroundings
from core.radiance.schedule import decayed
from core.radiance.sh_seen import seen_colors
from core.radiance.sh_splats import SplatScene
from core.radiance.splats import Splats
from core.studies import photo_claims
from core.studies.photo_config import PhotoConfig
from core.studies.photographs import PhotoStudy
from core.studies.starting import Start
from core.study import Claim

SH_BAND_0 = 0.28209479177387814  # the constant spherical harmonic


class Config(PhotoConfig):
    """Settings of the baseline; the defaults are the paper's."""

    sh_degree: int = Field(
        3,
        ge=0,
        le=3,
        title="SH degree",
        description="Highest band of the colour's spherical harmonics.",
    )
    degree_every: float = Field(
        1000 / 30_000,
        ge=0,
        le=1,
        title="Next SH band every",
        description="Share of training after which the next band joins.",
    )
    colors_rate: float = live(
        2.5e-3,
        ge=0,
        le=0.5,
        title="Colour rate",
        description="Learning rate of the constant colour band.",
    )
    bands_rate: float = live(
        1.25e-4,
        ge=0,
        le=0.5,
        title="Higher band rate",
        description="Learning rate of the higher colour bands.",
    )
    opacities_rate: float = live(
        5e-2, ge=0, le=0.5, title="Opacity rate", description="Learning rate of opacities."
    )
    scales_rate: float = live(
        5e-3, ge=0, le=0.5, title="Scale rate", description="Learning rate of log scales."
    )
    quats_rate: float = live(
        1e-3, ge=0, le=0.5, title="Rotation rate", description="Learning rate of rotations."
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
            "colors_rate": 1e-2,
            "bands_rate": 5e-4,
            "scales_rate": 2e-2,
            "quats_rate": 4e-3,
            "density": {"cap": 6000, "every": 50, "start": 0.25, "stop": 0.6, "reset_every": 0.0},
        },
        "full": {
            "steps": 6000,
            "seed_gaussians": 15_000,
            "initial_opacity": 0.3,
            "quarter_until": 0.08,
            "half_until": 0.3,
            "average_from": 0.9,
            "means_rate": 6.4e-4,
            "means_rate_end": 6.4e-6,
            "colors_rate": 1e-2,
            "bands_rate": 5e-4,
            "scales_rate": 2e-2,
            "quats_rate": 4e-3,
            "density": {"cap": 30_000, "start": 0.05, "stop": 0.6, "reset_every": 0.0},
        },
        "paper": {},
    }


class SplatModel:
    """Fifty-nine explicit numbers per Gaussian at degree 3 and nothing shared."""

    def __init__(
        self, config: Config, explicit: Leaves, around: Surroundings, least_degree: int = 0
    ) -> None:
        self.config, self.explicit, self.around = config, explicit, around
        self.least_degree = least_degree  # bands that take part from the first step
        self.degree = config.sh_degree if config.degree_every <= 0 else least_degree

    def decode(self, leaves: Leaves, camera: Camera) -> Splats:
        """Activate gathered rows for a camera."""
        coefficients = leaves["sh_dc"], leaves["sh_rest"]
        return Splats(
            means=leaves["means"],
            quats=leaves["quats"],
            scales=torch.exp(leaves["log_scales"]),
            opacities=torch.sigmoid(leaves["opacity_logits"]),
            colors=seen_colors(leaves["means"], camera.center, coefficients, self.degree),
        )

    def background(self, camera: Camera, alpha: torch.Tensor) -> None:
        """Return None: the baseline has nothing behind its Gaussians."""

    def activated(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return scales, quats and opacities of some Gaussians."""
        explicit = self.explicit
        return (
            torch.exp(explicit["log_scales"][rows]),
            explicit["quats"][rows],
            torch.sigmoid(explicit["opacity_logits"][rows]),
        )

    def place(self, placement: Placement) -> Leaves:
        """Return rows with the asked means, scales and opacities; rotation and colour as their sources."""
        copied = {
            name: self.explicit[name][placement.rows] for name in ("quats", "sh_dc", "sh_rest")
        }
        return copied | {
            "means": placement.means,
            "log_scales": torch.log(placement.scales.clamp(min=1e-8)),
            "opacity_logits": logits_of(placement.opacities),
        }

    def limit_opacity(self, highest: float) -> None:
        """Clamp the opacity logits."""
        self.explicit["opacity_logits"].clamp_(max=float(logit(np.float64(highest))))

    def rates(self, progress: float) -> dict[str, float]:
        """Return the learning rates."""
        config = self.config
        return {
            "means": decayed(config.means_rate, config.means_rate_end, progress),
            "quats": config.quats_rate,
            "log_scales": config.scales_rate,
            "opacity_logits": config.opacities_rate,
            "sh_dc": config.colors_rate,
            "sh_rest": config.bands_rate,
        }

    def shared(self) -> Shared:
        """Return nothing: every number belongs to one Gaussian."""
        return Shared()

    def optimise_shared(self, progress: float) -> None:
        """Let the next colour band join when its time has come."""
        config = self.config
        if config.degree_every > 0:
            due = max(self.least_degree, int(progress / config.degree_every))
            self.degree = min(config.sh_degree, due)

    def scene(self, step: int) -> SplatScene:
        """Return a detached copy."""
        copies = {name: values.detach().clone() for name, values in self.explicit.items()}
        copies["sh_coeffs"] = torch.cat((copies.pop("sh_dc"), copies.pop("sh_rest")), dim=1)
        return SplatScene(copies, self.around, step)

    def state(self) -> dict[str, Any]:
        """Return the parameters."""
        return {"explicit": dict(self.explicit), "degree": self.degree}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.explicit = {name: values.clone() for name, values in state["explicit"].items()}
        self.degree = int(state["degree"])


class Splats3dgs(PhotoStudy):
    """The model HyRF is compared with, on the same contracts, renderer and trainer."""

    Config = Config
    variants = ("sh3", "sh0")
    claims = (
        Claim("view_dependence", **photo_claims.VIEW_DEPENDENCE),
        Claim("growth", **photo_claims.GROWTH),
    )
    config: Config

    def build_model(self, points: np.ndarray, colors: np.ndarray) -> SplatModel:
        """Start every Gaussian as a ball as large as the gap to its neighbours."""
        count, degree = len(points), self._degree
        values = {
            "means": points,
            "quats": np.tile((1.0, 0.0, 0.0, 0.0), (count, 1)),
            "log_scales": np.tile(np.log(neighbour_distance(points))[:, None], (1, 3)),
            "opacity_logits": np.full(count, logit(np.float64(self.config.initial_opacity))),
            "sh_dc": ((colors - 0.5) / SH_BAND_0)[:, None, :],
            "sh_rest": np.zeros((count, (degree + 1) ** 2 - 1, 3)),
        }
        return self._model(values)

    def build_from(self, start: Start) -> SplatModel:
        """Take over every number; bands above the model's degree are cut off, missing ones are zero."""
        splats, degree = start.splats, self._degree
        coeffs = np.zeros((len(splats), (degree + 1) ** 2, 3))
        shared = min(coeffs.shape[1], splats.sh_coeffs.shape[1])
        coeffs[:, :shared] = splats.sh_coeffs[:, :shared]
        values = {
            "means": splats.means,
            "quats": splats.quats,
            "log_scales": splats.log_scales,
            "opacity_logits": splats.opacity_logits,
            "sh_dc": coeffs[:, :1],
            "sh_rest": coeffs[:, 1:],
        }
        return self._model(values, min(degree, splats.sh_degree))

    @property
    def _degree(self) -> int:
        return 0 if self.setup.variant == "sh0" else self.config.sh_degree

    def _model(self, values: Mapping[str, np.ndarray], least_degree: int = 0) -> SplatModel:
        explicit = {
            name: torch.as_tensor(value, dtype=torch.float32, device=self.device).contiguous()
            for name, value in values.items()
        }
        config = self.config.model_copy(update={"sh_degree": self._degree})
        return SplatModel(config, explicit, self.surroundings(), least_degree)

    def configure(self, config: Any) -> None:
        """Apply live edits."""
        super().configure(config)
        degree = self.model.config.sh_degree
        self.model.config = config.model_copy(update={"sh_degree": degree})


STUDY = Splats3dgs
