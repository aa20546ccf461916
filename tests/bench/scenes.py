"""What is drawn and trained when speed is measured: random scenes, captures, files.

Random scenes cover a picture evenly, and any number of Gaussians covers it equally often, as trained
scenes do: their size on screen is 0.5 to 3.5 pixels at 50,000 Gaussians and 270x480 pixels, and goes
with the square root of pixels per Gaussian. Opacities are 0.05 to 0.65; all Gaussians are in view.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.base import discover
from core.base.config import resolve
from core.base.errors import HybridError
from core.capture.camera import Camera, Similarity
from core.capture.capture import Capture, Photo
from core.radiance.init import neighbour_distance
from core.radiance.merge import logits_of
from core.radiance.model import Placement, Surroundings
from core.radiance.sh_splats import SplatScene
from core.radiance.splats import Splats
from core.study import Setup

VARIANTS = {"hyrf": "hybrid", "splats_3dgs": "sh3"}
GAUSSIANS = (1_000, 10_000, 50_000, 100_000, 500_000, 1_000_000)
SIZES = ("270x480", "540x960", "1080x1920")
NUM_CAMERAS = 4
NAMES = ("means", "quats", "scales", "opacities", "colors")
_REFERENCE = 270 * 480 / 50_000  # pixels per Gaussian at which sizes on screen are 0.5 to 3.5
_LONG = 1_000_000  # steps: training must not come near its end while it is measured
_SH_CONSTANT = 0.28209479177387814
# nothing but the step itself: full pictures, all parts on, the number of Gaussians held
_STEADY: dict[str, Any] = {
    "steps": _LONG,
    "quarter_until": 0.0,
    "half_until": 0.0,
    "density.method": "off",
}
_STEADY_OF: dict[str, dict[str, Any]] = {
    "hyrf": {"background_start": 0.0},
    "splats_3dgs": {"degree_every": 0.0},
}


def parsed_size(text: str) -> tuple[int, int]:
    """Read width x height in pixels."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def random_scene(num: int, width: int, height: int, seed: int = 0) -> tuple[Splats, np.ndarray]:
    """Return splats spread over a picture and the intrinsics [3, 3] of the camera at the origin."""
    random = np.random.default_rng(seed)
    focal = float(max(width, height))
    z = random.uniform(2, 6, num)
    pixels = random.uniform(0, 1, (num, 2)) * (width, height)
    means = np.column_stack([(pixels - (width / 2, height / 2)) * z[:, None] / focal, z])
    size = np.sqrt(width * height / num / _REFERENCE)  # 1 at 50,000 and 270x480
    scales = size * random.uniform(0.5, 3.5, (num, 3)) * z[:, None] / focal
    values = (
        means,
        random.normal(size=(num, 4)),
        scales,
        random.uniform(0.05, 0.65, num),
        random.random((num, 3)),
    )
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Splats(*(torch.tensor(value, dtype=torch.float32) for value in values)), K


def random_capture(num: int, width: int, height: int) -> Capture:
    """Return four soft random photographs taken around the origin, with `num` seed points before them."""
    splats, K = random_scene(num, width, height)
    photos = []
    for index in range(NUM_CAMERAS):
        pose = np.eye(4)
        # some twelve pixels between the views
        pose[:2, 3] = 0.1 * np.array([np.cos(np.pi * index / 2), np.sin(np.pi * index / 2)])
        camera = Camera(pose, K[0, 0], K[1, 1], K[0, 2], K[1, 2], width, height)
        picture = _soft_picture(width, height, index)
        photos.append(Photo(f"{index}.png", Path(f"{index}.png"), camera, picture.copy))
    points = splats.means.numpy()
    return Capture(
        name="random",
        folder=Path("random"),
        photos=tuple(photos),
        points=points,
        point_colors=(255 * splats.colors.numpy()).astype(np.uint8),
        bounds=np.stack((points.min(0), points.max(0))).astype(np.float64),
        up=np.array([0.0, -1.0, 0.0]),
        to_original=Similarity.identity(),
    )


def _soft_picture(width: int, height: int, seed: int) -> np.ndarray:
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


@dataclass(frozen=True)
class Task:
    """One study at one size. Without a capture the scene is random."""

    study: str
    num_gaussians: int
    width: int
    height: int
    device: str = "cpu"
    preset: str = "full"
    settings: tuple[tuple[str, Any], ...] = ()
    capture: Capture | None = None


STILL_RATE = 1e-12


def prepared(task: Task) -> Any:
    """Return a study ready to step, its number of Gaussians held at that of the task."""
    settings: dict[str, Any] = {
        **_STEADY,
        **_STEADY_OF.get(task.study, {}),
        "seed_gaussians": task.num_gaussians,
        "density.cap": task.num_gaussians,
        **dict(task.settings),
    }
    if task.capture is None:
        capture = random_capture(task.num_gaussians, task.width, task.height)
        if task.study == "hyrf":
            settings.setdefault("box", "points")  # the cameras stand too close for a box
    else:
        capture = task.capture.limited(max(task.width, task.height))
    study_class = discover.load(task.study)
    if task.capture is None:  # steps do all their work, but the scene stays as it was drawn up
        rates = [name for name in study_class.Config.model_fields if "_rate" in name]
        settings = {**dict.fromkeys(rates, STILL_RATE), **settings}
    config = resolve(study_class.Config, task.preset, settings)
    study = study_class(
        config, Setup(variant=VARIANTS[task.study], device=task.device, capture=capture)
    )
    study.prepare()
    if task.capture is None:
        _place(study, task)
    return study


@torch.no_grad()
def _place(study: Any, task: Task) -> None:
    """Give the study's Gaussians the sizes and opacities of the random scene."""
    splats, _ = random_scene(task.num_gaussians, task.width, task.height)
    splats = Splats(*(getattr(splats, name).to(study.device) for name in NAMES))
    rows = torch.arange(len(splats), device=study.device)
    values = study.model.place(Placement(rows, splats.means, splats.scales, splats.opacities))
    for name, tensor in values.items():
        study.model.explicit[name].copy_(tensor)
    if "quats" in study.model.explicit:
        study.model.explicit["quats"].copy_(splats.quats)
    study._measure_sizes()


def opened_scene(
    name: str, width: int, height: int, device: str = "cpu"
) -> tuple[Any, list[Camera]]:
    """Open a scene file, or gsplat's `garden` test points, and return it with cameras of this size."""
    path = Path(name)
    if name == "garden":
        path = Path(os.environ.get("HYRF_TEST_DATA", "")) / "splats" / "test_garden.npz"
    if not path.is_file():
        raise HybridError(f"{path}: there is no such scene; 'garden' needs HYRF_TEST_DATA.")
    if path.suffix == ".npz":
        return _points_as_scene(path, width, height, device)
    from core.formats import open_scene
    from core.formats.compare import cameras_of

    scene = open_scene(path, device)
    cameras = cameras_of(scene, scene.surroundings.summary)
    return scene, [camera.resized(*_within(camera, width, height)) for camera in cameras]


def _within(camera: Camera, width: int, height: int) -> tuple[int, int]:
    """Return the camera's shape with its longer side as long as that of the size asked for."""
    scale = max(width, height) / max(camera.width, camera.height)
    return max(1, round(camera.width * scale)), max(1, round(camera.height * scale))


def _points_as_scene(
    path: Path, width: int, height: int, device: str
) -> tuple[SplatScene, list[Camera]]:
    """Turn coloured points into balls as large as the gaps between them, opacity one half."""
    with np.load(path) as stored:
        data: Mapping[str, np.ndarray] = dict(stored)
    points, colors = data["means3d"].astype(np.float64), data["colors"].astype(np.float64) / 255
    num = len(points)
    values = {
        "means": points,
        "quats": np.tile((1.0, 0.0, 0.0, 0.0), (num, 1)),
        "log_scales": np.tile(np.log(neighbour_distance(points))[:, None], (1, 3)),
        "opacity_logits": logits_of(torch.full((num,), 0.5)).numpy(),
        "sh_coeffs": ((colors - 0.5) / _SH_CONSTANT)[:, None],
    }
    explicit = {
        key: torch.as_tensor(np.ascontiguousarray(value), dtype=torch.float32, device=device)
        for key, value in values.items()
    }
    bounds = np.stack((points.min(0), points.max(0)))
    around = Surroundings(bounds, np.array([0.0, -1.0, 0.0]), Similarity.identity(), {})
    size = int(data["width"]), int(data["height"])
    cameras = [
        Camera(np.linalg.inv(view), K[0, 0], K[1, 1], K[0, 2], K[1, 2], *size)
        for view, K in zip(
            data["viewmats"].astype(np.float64), data["Ks"].astype(np.float64), strict=True
        )
    ]
    scene = SplatScene(explicit, around)
    return scene, [camera.resized(*_within(camera, width, height)) for camera in cameras]
