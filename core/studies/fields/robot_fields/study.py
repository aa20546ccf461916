"""The study: one object, the field of a variant, and what robots ask of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.base.verdicts import AllOf, Better, Trend, Within
from core.nn.module_adam import ModuleAdam
from core.nn.seeded import seeded
from core.radiance.field import Snapshot
from core.radiance.ray_scene import RayScene
from core.radiance.sphere_trace import SurfaceAsk
from core.radiance.volume import camera_rays
from core.studies.fields.robot_fields import planning, pose, shown
from core.studies.fields.robot_fields.config import RobotConfig
from core.studies.fields.robot_fields.fields import (
    GRID_EVERY,
    DistanceField,
    OccupancyField,
    PictureDistance,
    PointField,
    RadianceField,
)
from core.studies.fields.robot_fields.gaussians import FACTORS, GaussianField
from core.studies.fields.robot_fields.meshes import LevelAsk, compared, mesh_of
from core.studies.fields.robot_fields.networks import Sizes
from core.studies.fields.robot_fields.shapes import BOX, UP, ring, shape_of, true_surface, views_of
from core.study import Budget, Case, Claim, Metrics, Probe, Setup, Study

TEST_VIEWS = 6
MESHED = 128  # pixels along a side of what a scene's mesh is made from
TRUTH = 10_000  # points of the true surface
SEEN_SLOPES = 4000  # places where slopes are measured
PEOPLES_SEED = 7  # of test poses and pairs beside the study's own
DROP = 0.1  # of the learning rate at the end


def _poses() -> tuple[tuple[Case, ...], tuple[Any, ...]]:
    """Return the cases of the claim about poses and what must hold."""
    cases, rules = [], []
    for name, variant in (("NeRF", "nerf"), ("Gaussians", "gaussians")):
        for degrees in (15, 45, 90):
            asked = {"task": "pose", "degrees": degrees}
            cases.append(Case(f"{name}, {degrees} degrees", variant, measures=asked))
        rules.append(Within(f"{name}, 15 degrees", "success", low=0.8))
        rules.append(Better(f"{name}, 15 degrees", "nearest photograph", "success"))
        names = tuple(f"{name}, {degrees} degrees" for degrees in (15, 45, 90))
        rules.append(Trend(names, "success", is_falling=True))
    asked = {"task": "pose", "degrees": 15, "method": "nearest"}
    cases.append(Case("nearest photograph", "nerf", measures=asked))
    return tuple(cases), tuple(rules)


POSE_CASES, POSE_RULES = _poses()


class RobotFields(Study):
    """Fit one of the survey's fields to the object and ask it."""

    Config = RobotConfig
    variants = ("sdf", "occupancy", "sdf_images", "nerf", "gaussians", "sdf_no_eikonal")
    claims = (
        Claim(
            "pose",
            says="Inverting a field finds a pose from 15 degrees and a tenth of the scene away, and beats "
            "aligning with the nearest photograph; the further the start, the less often.",
            cases=POSE_CASES,
            rule=AllOf(POSE_RULES),
            metrics=("success", "degrees", "share"),
            source="section on pose estimation; iNeRF, section 4",
            if_lost="Searches of 150 steps of 96 pixels, where the methods surveyed take 300 of 512 and more, "
            "in fields of 800 steps: from 15 degrees they end within a degree on average, but seldom within a "
            "hundredth of the scene as well.",
        ),
        Claim(
            "geometry",
            says="With equal time a distance learned from points lies closest to the surface, one learned "
            "from pictures next, a density last.",
            cases=(
                Case("distance from points", "sdf"),
                Case("distance from pictures", "sdf_images"),
                Case("NeRF", "nerf"),
                Case("Gaussians", "gaussians"),
                Case("occupancy", "occupancy"),
            ),
            rule=Trend(("distance from points", "distance from pictures", "NeRF"), "chamfer"),
            metrics=("chamfer", "f_score", "watertight"),
            budget=Budget(30, "seconds"),
            source="qualitative ranking of the survey's four frameworks",
            if_lost="In half a minute of one core the distance learned from pictures is still wrapped in a soft "
            "shell: how sharp it is has to be learned as well, while a density may be cut anywhere.",
        ),
        Claim(
            "planning",
            says="Paths optimised in the field keep their clearance from the true object.",
            cases=(
                Case("optimised in the distance", "sdf", measures={"task": "plan"}),
                Case("optimised in the density", "nerf", measures={"task": "plan"}),
                Case("shortest on voxels", "sdf", measures={"task": "plan", "method": "voxels"}),
            ),
            rule=Within("optimised in the distance", "kept", low=0.95),
            metrics=("kept", "clearance", "bend"),
            source="section on navigation; NeRF-Navigation",
        ),
        Claim(
            "eikonal",
            says="The eikonal term brings slopes to length one and leaves fewer loose parts.",
            cases=(Case("with", "sdf"), Case("without", "sdf_no_eikonal")),
            rule=AllOf(
                (
                    Better("with", "without", "slope_error", is_lower_better=True),
                    Better("with", "without", "parts", is_lower_better=True),
                )
            ),
            metrics=("slope_error", "parts", "chamfer"),
            source="Gropp et al. 2020, section 3",
            if_lost="Samples with known distances fill the box, so that even without the term no loose part "
            "appears that it could remove; Gropp et al. learn from points of the surface alone.",
        ),
    )
    config: RobotConfig

    def __init__(self, config: RobotConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        with seeded(setup.seed, setup.device):
            self.field = self._field()
        if isinstance(self.field, GaussianField):
            named = dict(self.field.named_parameters())
            self.optimizers = [ModuleAdam([named[name]], 1.0) for name in FACTORS]
            self.factors = tuple(FACTORS.values())
        else:
            self.optimizers, self.factors = [ModuleAdam(self.field.parameters(), 1.0)], (1.0,)
        self.rng = torch.Generator().manual_seed(setup.seed)
        self.steps_done = 0

    def _field(self) -> Any:
        config, variant = self.config, self.setup.variant
        if variant == "gaussians":
            return GaussianField(config.gaussians)
        is_distance = variant.startswith("sdf")
        sizes = Sizes(config.encoder, config.waves, config.width, config.layers, is_distance)
        if variant == "occupancy":
            return OccupancyField(sizes)
        if variant == "nerf":
            return RadianceField(sizes, config.samples)
        if variant == "sdf_images":
            return PictureDistance(sizes, config.samples)
        return DistanceField(sizes, has_eikonal=variant == "sdf")

    def prepare(self) -> None:
        """Make the object, photograph it, and sample its surface."""
        config, seed = self.config, self.setup.seed
        self.shape = shape_of(config.mesh)
        if not self.shape.has_inside and isinstance(self.field, OccupancyField):
            raise ConfigError(
                f"{config.mesh}: the mesh is open and has no inside, so that there is no occupancy. "
                "Choose the variant sdf, which learns a distance without sign from it."
            )
        self.truth = true_surface(self.shape, TRUTH, PEOPLES_SEED)
        self.surface = torch.from_numpy(true_surface(self.shape, TRUTH, seed)).float()
        self.learned = views_of(self.shape, ring(config.views, config.size))
        self.test = views_of(self.shape, ring(TEST_VIEWS, config.size, turn=0.7))
        self.rays = [camera_rays(camera) for camera in self.learned.cameras]
        if isinstance(self.field, GaussianField):
            rows = np.random.default_rng(seed).choice(
                TRUTH, config.gaussians, config.gaussians > TRUTH
            )
            self.field.begin_at(self.surface.numpy()[rows], self.shape, seed)

    @property
    def total_steps(self) -> int:
        """Batches to learn from."""
        return self.config.steps

    def step(self) -> Metrics:
        """Learn from a batch of points, rays, or one whole picture."""
        loss = self._loss()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        rate = self.config.rate * DROP ** min(1.0, self.steps_done / self.config.steps)
        for optimizer, factor in zip(self.optimizers, self.factors, strict=True):
            optimizer.rate = rate * factor
            optimizer.step()
        self.steps_done += 1
        return {"loss": float(loss.detach())}

    def _loss(self) -> torch.Tensor:
        field, config = self.field, self.config
        if isinstance(field, PointField):
            points, distances = field.sampled(self.shape, self.surface, config.points, self.rng)
            return field.loss(points, distances)
        if isinstance(field, GaussianField):
            return field.loss(self.learned, self.rng)
        if self.steps_done % GRID_EVERY == 0:
            field.refresh(self.rng)
        which = torch.randint(len(self.rays), (), generator=self.rng)
        rows = torch.randint(config.size**2, (config.rays,), generator=self.rng)
        origins, along = self.rays[int(which)]
        colors = self.learned.pixels[which].reshape(-1, 3)[rows]
        return field.loss(self.learned, (origins[rows], along[rows], colors), self.rng)

    # ---- measures ------------------------------------------------------------------------

    def evaluate(self) -> Metrics:
        """Compare the mesh with the true surface, the slopes with length one, pictures with new views."""
        self._settle()
        found = compared(*mesh_of(self.field, self.config.cells, self.learned), self.truth)
        if isinstance(self.field, DistanceField):
            found["slope_error"] = self.slope_error()
        if isinstance(self.field, (RadianceField, GaussianField)):
            errors = [
                (shown.picture(self.field, camera) - pixels).square().mean()
                for camera, pixels in zip(self.test.cameras, self.test.pixels, strict=True)
            ]
            found["psnr"] = float(-10 * torch.stack(errors).mean().log10())
        return found

    def _settle(self) -> None:
        """Find the threshold of a density, as far as it has been learned."""
        if isinstance(self.field, RadianceField):
            self.field.find_threshold()

    @torch.no_grad()
    def slope_error(self) -> float:
        """Return the mean | |grad s| - 1 | over the box."""
        rng = torch.Generator().manual_seed(PEOPLES_SEED)
        points = 2 * torch.rand(SEEN_SLOPES, 3, generator=rng) - 1
        slopes = self.field.network.slopes(points)
        return float((slopes.norm(dim=-1) - 1).abs().mean())

    def measure(self, options: Mapping[str, Any]) -> Metrics:
        """Measure poses or paths, by the field or by a baseline; without options, the surface."""
        task = options.get("task", "surface")
        method = str(options.get("method", "field"))
        if task == "pose":
            return self.poses(float(options.get("degrees", 15)), method)
        if task == "plan":
            return self.paths(method)
        if task != "surface":
            raise ConfigError(f"No field is asked '{task}'. Choose surface, pose or plan.")
        return self.evaluate()

    def poses(self, degrees: float, method: str = "field") -> Metrics:
        """Look for the poses of test views from perturbed ones."""
        config, field, seed = self.config, self.field, self.setup.seed
        trials = pose.trials_of(self.test, config.trials, degrees, 0.1, seed + PEOPLES_SEED)
        steps, pixels = config.pose_steps, config.pose_pixels
        if method == "nearest":
            found = pose.align_with_nearest(self.learned, trials, steps, pixels, seed)
        elif isinstance(field, GaussianField):
            found = pose.invert_gaussians(field, trials, steps)
        elif isinstance(field, RadianceField):
            found = pose.invert(field, trials, steps, pixels, seed)
        else:
            raise ConfigError(f"{self.setup.variant} has no colours to find a pose by: take nerf.")
        off, share = pose.errors(found, trials)
        success = pose.succeeded(found, trials).float().mean()
        return {
            "success": float(success),
            "degrees": float(off.median()),
            "share": float(share.median()),
        }

    def paths(self, method: str = "field") -> Metrics:
        """Plan between random places and measure against the true object."""
        self._settle()
        pairs = planning.pairs_of(self.shape, self.config.trials, self.setup.seed + PEOPLES_SEED)
        paths = planning.voxel_paths(self.field, pairs)
        if method != "voxels":
            paths = planning.refined(self.field, paths)
        room = planning.kept_clearance(self.shape, paths)
        bend = (paths[:, 2:] - 2 * paths[:, 1:-1] + paths[:, :-2]).square().sum(dim=(1, 2))
        return {
            "kept": float((room >= planning.MARGIN).float().mean()),
            "clearance": float(room.min()),
            "bend": float(bend.mean()),
        }

    # ---- what there is to see ------------------------------------------------------------

    def probes(self) -> tuple[Probe, ...]:
        """Return a new view, slices of the field, and what a ray meets."""
        return shown.probes(self.field, self.shape, self.test)

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Answer a click {y, x} on the view, or show a {task}: pose, plan, grasp, drop, clearance."""
        self._settle()
        task = query.get("task")
        if task is None:
            row, column = (int(query[key]) % self.config.size for key in ("y", "x"))
            return shown.ray(self.field, self.test.cameras[0], row, column)
        return shown.scenario(self, str(task), query)

    def snapshot(self) -> Snapshot:
        """Return a frozen copy of the field as a scene."""
        side = max(MESHED, self.config.size)  # a mesh is made from pictures of this size
        cameras = tuple(camera.resized(side, side) for camera in self.learned.cameras)
        if isinstance(self.field, GaussianField):
            return self.field.scene(self.steps_done, cameras)
        field = copy.deepcopy(self.field).requires_grad_(False)
        if isinstance(field, RadianceField) and not isinstance(field, PictureDistance):
            ask: Any = field.ask
        elif isinstance(field, OccupancyField):
            ask = LevelAsk(field.level, field.network.finest)
        else:
            ask = SurfaceAsk(field.distance, BOX)
        weights = dict(field.named_parameters())
        summary = {"cameras": [camera.to_json() for camera in cameras]}
        return RayScene(ask, self.steps_done, BOX, UP, weights=weights, summary=summary)

    # ---- the contract --------------------------------------------------------------------

    def configure(self, config: RobotConfig) -> None:
        """Apply live edits."""
        self.config = config

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs; the object follows from the settings."""
        grid = self.field.grid.values if isinstance(self.field, RadianceField) else torch.zeros(0)
        return {
            "field": dict(self.field.state_dict()),
            "grid": grid,
            "optimizers": {str(at): one.state() for at, one in enumerate(self.optimizers)},
            "rng": self.rng.get_state(),
            "steps_done": self.steps_done,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.field.load_state_dict(state["field"])
        if isinstance(self.field, RadianceField):
            self.field.grid.values = state["grid"].clone()
        for at, optimizer in enumerate(self.optimizers):
            optimizer.load(state["optimizers"][str(at)])
        self.rng.set_state(state["rng"].cpu())
        self.steps_done = int(state["steps_done"])
