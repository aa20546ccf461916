"""What studies that learn Gaussians from photographs share: one training step, from picture to parameter.

    pick a photograph -> cull -> gather -> decode -> rasterize -> composite -> compare -> backward
    -> density statistics -> optimizers -> density control

A study supplies a `GaussianModel`; this class never learns which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from core.base.errors import CaptureError
from core.formats.rounding import Rounding
from core.nn.adam import RowAdam
from core.nn.masked import counted, parts_of, share_of
from core.nn.ranks import joined
from core.nn.ssim import l1_ssim_loss
from core.radiance.averaging import ParameterMean
from core.radiance.backdrop import laid_over
from core.radiance.densify import (
    DensityControl,
    DensityMethod,
    screen_strength,
)
from core.radiance.densify_errors import covered_errors
from core.radiance.field import Snapshot
from core.radiance.init import grown_points
from core.radiance.lessons import Lesson, add_shared, together
from core.radiance.model import GaussianModel, Surroundings
from core.radiance.photo_supply import PhotoSupply
from core.radiance.splats import Splats
from core.radiance.visible import visible_rows
from core.render.backend import Layers, choose
from core.render.evaluate import matrices, mean_of, measure
from core.studies.photo_config import PhotoConfig
from core.studies.photo_measures import measured
from core.studies.starting import Start, opened, tell
from core.study import Metrics, Setup, Study

AVERAGE_EVERY = 4  # steps: neighbours are too alike to be worth the time
CHECK_EVERY = 100  # steps between two looks whether all ranks hold the same model


class PhotoStudy(Study):
    """Fit a `GaussianModel` to the training photographs of `setup.capture`."""

    needs_capture = True
    config: PhotoConfig
    model: GaussianModel

    def __init__(self, config: PhotoConfig, setup: Setup) -> None:
        if setup.capture is None:
            raise CaptureError("This model learns from photographs: open a capture folder first.")
        self.config, self.setup = config, setup
        self.capture = setup.capture.masked(config.masks)
        self.device = torch.device(setup.device)
        self.ranks = joined()
        self.steps_done = 0

    @property
    def total_steps(self) -> int:
        """Steps after which training is finished."""
        return self.config.steps

    @property
    def progress(self) -> float:
        """Share of training done."""
        return min(1.0, self.steps_done / self.config.steps)

    def build_model(self, points: np.ndarray, colors: np.ndarray) -> GaussianModel:
        """Return the Gaussians to start from, at points [P, 3] with colours [P, 3] 0..1."""
        raise TypeError(f"{type(self).__name__} does not say how its Gaussians start")

    def build_from(self, start: Start) -> GaussianModel:
        """Return the Gaussians of a scene file, as far as the model holds them."""
        return self.build_model(start.splats.means.astype(np.float64), start.colors)

    def prepare(self) -> None:
        """Place the first Gaussians, choose the renderer and line up the photographs."""
        setup, config = self.setup, self.config
        if not self.capture.train:
            raise CaptureError(f"{self.capture.name}: no photograph is left to learn from.")
        prefer = "cuda" if self.device.type == "cuda" else "cpu"
        self.renderer = choose(prefer, setup.report)
        count = self._begin()
        self.photos = PhotoSupply(
            self.capture.train, setup.device, setup.seed, self.ranks.rank, self.ranks.world
        )
        self.optimizer = RowAdam(self.model.explicit, dict(self.model.rates(0.0)))
        generator = torch.Generator(self.device).manual_seed(setup.seed + 1)
        self.density = DensityControl(config.density, count, self.extent, generator)
        self.average, self.rounding = ParameterMean(), Rounding()
        self._measure_sizes()

    def _begin(self) -> int:
        """Build the model from a scene file or from the seed points; return its number of Gaussians."""
        if self.config.start:
            start = opened(self.config.start, self.capture)
            self.model = self.build_from(start)
            tell(start, self.model.scene(0), self.capture, self.renderer, self.setup.report)
            return len(start.splats)
        rng = np.random.default_rng(self.setup.seed)
        points, colors = self.capture.points.astype(np.float64), self.capture.point_colors / 255.0
        count = min(self.config.seed_gaussians or len(points), self.config.density.cap)
        self.model = self.build_model(*grown_points(points, colors, count, rng))
        return count

    @property
    def extent(self) -> float:
        """Radius of the training cameras, 1.1 times (Kerbl et al. 2023), in scene units."""
        centers = np.stack([photo.camera.center for photo in self.capture.train])
        return 1.1 * max(float(np.linalg.norm(centers - centers.mean(0), axis=1).max()), 1e-3)

    @property
    def picture_scale(self) -> float:
        """Share of the resolution used at this moment (coarse to fine)."""
        if self.progress < self.config.quarter_until:
            return 0.25
        return 0.5 if self.progress < self.config.half_until else 1.0

    def step(self) -> Metrics:
        """Learn from `batch` photographs on every rank."""
        if self.steps_done % CHECK_EVERY == 0:
            self._check_ranks()
        share = 1 / (self.config.batch * self.ranks.world)
        held = self._parameters()
        self.rounding.follow(self.config.rounding, self.progress, held)
        with self.rounding.shown_in(held):
            lessons = [self._look(share) for _ in range(self.config.batch)]
        lesson = together(lessons, len(self.model.explicit["means"]), self.ranks)
        add_shared(self.model.shared(), self.ranks)
        self._learn(lesson)
        self.steps_done += 1
        self._control_density()
        self._average()
        return lesson.metrics(len(self.model.explicit["means"]))

    def _look(self, share: float) -> Lesson:
        """Compare the next photograph, which counts `share` of the step, with what is drawn."""
        camera, sample = self.photos.next(self.picture_scale)
        target, weight = parts_of(sample)
        rows = visible_rows(self.model.explicit["means"], camera, self.sizes)  # [V]
        leaves = {
            name: values[rows].requires_grad_(True) for name, values in self.model.explicit.items()
        }
        splats = self.model.decode(leaves, camera)
        layers = self._rasterize(splats, camera)
        # one camera: squeezing copies nothing on the way back, as an index would
        rgb, alpha = layers.rgb.squeeze(0), layers.alpha.squeeze(0)
        picture = laid_over(rgb, alpha, self.model.background(camera, alpha))
        picture, target = counted(picture, target, weight)
        counts = share_of(weight)
        fidelity = counts * l1_ssim_loss(picture, target, self.config.ssim_weight)
        loss = (fidelity + self._penalty(splats)) * share
        loss.backward()
        error = counts * torch.nn.functional.mse_loss(picture.detach(), target)
        psnr = -10 * torch.log10(error.clamp(min=1e-10)) * share
        gradients = {
            name: leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
            for name, leaf in leaves.items()
        }
        strengths, views = self._strengths(layers, picture.detach(), target, share)
        shapes = (splats.scales.detach(), splats.quats.detach(), splats.opacities.detach())
        sizes, numbers = shapes[0].amax(dim=1), torch.stack((loss.detach(), psnr))
        return Lesson(rows, gradients, sizes, strengths, views, numbers, shapes)

    def _strengths(
        self, layers: Layers, picture: torch.Tensor, target: torch.Tensor, share: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what density control learns from one view, as if it were the only one."""
        stats, config = layers.stats, self.config.density
        radii, absgrad = stats.radii[0], stats.absgrad
        if config.method is DensityMethod.ERRORS:
            errors = (picture - target).abs().mean(dim=-1)  # [H, W]
            covered = covered_errors(errors, stats.means2d[0], radii, config.error)
            return covered, (radii > 0).to(covered.dtype)
        if absgrad is None:
            return (torch.zeros(len(radii), device=self.device),) * 2
        height, width = target.shape[:2]
        strengths, views = screen_strength(radii, absgrad[0], width, height)
        return strengths / share, views

    @torch.no_grad()
    def _check_ranks(self) -> None:
        """Stop where the ranks no longer hold the same model."""
        if self.ranks.is_alone:
            return
        held = {"sizes": self.sizes, "gradients": self.density.gradients}
        self.ranks.check_same(self._parameters() | held, f"after step {self.steps_done}")

    def _parameters(self) -> dict[str, torch.Tensor]:
        """Return everything that learns, by name."""
        shared = self.model.shared()
        held = dict(self.model.explicit)
        held |= {f"weights {index}": weight for index, weight in enumerate(shared.weights)}
        return held | {f"table {index}": grid.table for index, grid in enumerate(shared.grids)}

    def _average(self) -> None:
        """Take the parameters into their mean, towards the end of training."""
        if self.progress > self.config.average_from and self.steps_done % AVERAGE_EVERY == 0:
            self.average.add(self._parameters())

    def _rasterize(self, splats: Splats, camera: Any) -> Layers:
        viewmats, Ks = matrices(camera, self.device)
        layers = self.renderer.rasterize(
            splats,
            viewmats,
            Ks,
            camera.width,
            camera.height,
            antialiased=self.config.is_antialiased,
        )
        assert layers is not None  # nobody can cancel a training step
        return layers

    def _penalty(self, splats: Splats) -> torch.Tensor | float:
        config = self.config
        penalty: torch.Tensor | float = 0.0
        if config.opacity_penalty and len(splats):
            penalty = penalty + config.opacity_penalty * splats.opacities.mean()
        if config.scale_penalty and len(splats):
            penalty = penalty + config.scale_penalty * splats.scales.mean()
        return penalty

    @torch.no_grad()
    def _learn(self, lesson: Lesson) -> None:
        rows, moves = lesson.rows, self.density.config.method is DensityMethod.MCMC
        self.density.add(rows, lesson.strengths, lesson.views)
        self.sizes[rows] = lesson.sizes
        shapes = lesson.shapes
        if moves and shapes is None:  # as they are before this step, whoever has seen them
            shapes = self.model.activated(rows)
        self.optimizer.rates = dict(self.model.rates(self.progress))
        self.optimizer.step(lesson.gradients, rows)
        self.model.optimise_shared(self.progress)
        if moves and shapes is not None:
            rate = self.optimizer.rates["means"]
            self.model.explicit["means"][rows] += self.density.position_noise(*shapes, rate)

    @torch.no_grad()
    def _control_density(self) -> None:
        done, total = self.steps_done, self.config.steps
        if self.density.is_due(done, total):
            self.density.refine(self.model, self.optimizer)
            self.average.forget()
            self._measure_sizes()
            self._check_ranks()  # the next step takes for granted that all have as many Gaussians
        if self.density.is_reset_due(done, total):
            self.density.reset_opacity(self.model, self.optimizer)

    @torch.no_grad()
    def _measure_sizes(self) -> None:
        every = torch.arange(len(self.model.explicit["means"]), device=self.device)
        scales, _, _ = self.model.activated(every)
        self.sizes = scales.amax(dim=1)  # [N] largest standard deviation, as last seen

    def snapshot(self) -> Snapshot:
        """Return a detached copy for drawing: of the mean, once there is one, rounded once that has begun."""
        held = self._parameters()
        with self.average.shown_in(held), self.rounding.shown_in(held):
            return self.model.scene(self.steps_done)

    def evaluate_pictures(self) -> dict[str, dict[str, float]]:
        """Return {name: {psnr, ssim}} of the held-out photographs."""
        test, ranks = self.capture.test, self.ranks
        own = measure(self.snapshot(), self.renderer, test[ranks.rank :: ranks.world])
        found = {name: row for part in ranks.gathered(own) for name, row in part.items()}
        return {photo.name: found[photo.name] for photo in test if photo.name in found}

    def evaluate(self) -> Metrics:
        """Return the means over the held-out photographs."""
        return mean_of(self.evaluate_pictures())

    def measure(self, options: Mapping[str, Any]) -> Metrics:
        """Measure files and the demo's sky as well (photo_measures.py)."""
        return measured(self, options)

    @property
    def num_parameters(self) -> int:
        """Numbers that learn: those of the Gaussians at this moment, of networks and of tables."""
        held = self._parameters() if hasattr(self, "model") else {}
        return sum(int(values.numel()) for values in held.values())

    def surroundings(self) -> Surroundings:
        """Return what the scene remembers of the capture."""
        capture = self.capture
        first = capture.photos[0].camera
        summary = {
            "capture": capture.name,
            "photographs": len(capture.photos),
            "held_out": len(capture.test),
            "picture_size": [first.width, first.height],
            "seeds": capture.seeds,
            "cameras": [
                {**photo.camera.to_json(), "name": photo.name} for photo in capture.photos[:64]
            ],
            "is_antialiased": self.config.is_antialiased,
        }
        return Surroundings(capture.bounds, capture.up, capture.to_original, summary)

    def configure(self, config: Any) -> None:
        """Apply live edits."""
        self.config = config
        self.density.config = config.density

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs."""
        return {
            "steps_done": self.steps_done,
            "model": self.model.state(),
            "optimizer": self.optimizer.state(),
            "density": self.density.state(),
            "photos": self.photos.state(),
            "average": self.average.state(),
            "rounding": self.rounding.state(),
            "sizes": self.sizes,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.steps_done = int(state["steps_done"])
        self.model.load(state["model"])
        self.optimizer = RowAdam(self.model.explicit, dict(self.model.rates(self.progress)))
        self.optimizer.load(state["optimizer"])
        self.density.load(state["density"])
        self.photos.load(state["photos"])
        self.average.load(state["average"])
        self.rounding.load(state.get("rounding", {}))  # none in older checkpoints
        self.sizes = state["sizes"].clone()
