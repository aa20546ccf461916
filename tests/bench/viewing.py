"""What a moving picture costs, stage by stage: `python -m tests.bench.viewing --gaussians 100000 --size 480x270`.

Prints medians of wall and processor time in milliseconds for a hybrid scene and for a scene of
plain Gaussians with spherical harmonics (--kind hyrf|splats). The scenes are synthetic: a ball on a
round floor inside a wide shell, covered with Gaussians as closely as their number asks for; a
camera orbits the ball. `--scene FILE` takes a saved scene instead.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from core.capture.camera import Camera, Similarity, look_at
from core.engine.cores import use_cores
from core.engine.pictures import Plan, draw, picture
from core.radiance.fields import FieldsConfig, HybridFields, space_of
from core.radiance.hybrid import Decoder, HybridConfig, HybridScene
from core.radiance.model import Surroundings
from core.radiance.sh_splats import SplatScene
from core.render.cpu import CpuRenderer
from core.render.panorama import Panorama
from core.render.view import View

UP = np.array([0.0, -1.0, 0.0])
VIEWS = 24


def camera_at(turn: float, width: int, height: int, distance: float = 1.6) -> Camera:
    """Return a camera on a circle around the ball, a little above it, with a field of view of 60 degrees."""
    center = distance * np.array([math.sin(turn), -0.3, -math.cos(turn)])
    focal = width / (2 * math.tan(math.radians(30)))
    pose = look_at(center, np.zeros(3), UP)
    return Camera(pose, focal, focal, width / 2, height / 2, width, height)


def surfaces(num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return points [N, 3] on a ball, a floor and a shell, and the distance to their neighbours [N]."""
    random = np.random.default_rng(seed)
    on_ball, on_floor = round(0.35 * num), round(0.4 * num)
    on_shell = num - on_ball - on_floor
    directions = random.normal(size=(num, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    ball = 0.5 * directions[:on_ball]
    radius, angle = 2 * np.sqrt(random.random(on_floor)), random.uniform(0, 2 * np.pi, on_floor)
    floor = np.column_stack(
        [radius * np.cos(angle), np.full(on_floor, 0.5), radius * np.sin(angle)]
    )
    shell = 5 * directions[num - on_shell :]
    areas = np.array([np.pi, 4 * np.pi, 100 * np.pi])
    counts = np.array([on_ball, on_floor, on_shell])
    spacing = np.repeat(np.sqrt(areas / counts), counts)
    points = np.concatenate([ball, floor, shell]) + random.normal(size=(num, 3)) * 0.01
    return points.astype(np.float32), spacing.astype(np.float32)


def surroundings() -> Surroundings:
    """Return what the synthetic scenes remember."""
    bounds = np.array([[-2.0, -2, -2], [2, 2, 2]])
    return Surroundings(bounds, UP, Similarity.identity(), {"capture": "synthetic"})


def hybrid_scene(num: int, log2_table: int = 17) -> HybridScene:
    """Return a hybrid scene of the surfaces with random fields."""
    generator = torch.Generator().manual_seed(0)
    points, spacing = surfaces(num)
    config = HybridConfig(fields=FieldsConfig(log2_table=log2_table))
    fields = HybridFields(config.fields, generator)
    for grid in fields.grids().values():
        grid.table.data.normal_(0, 0.1, generator=generator)
    sizes = torch.from_numpy(spacing) * torch.empty(num).log_normal_(-0.7, 0.5, generator=generator)
    explicit = {
        "means": torch.from_numpy(points),
        "color_logits": torch.randn(num, 3, generator=generator),
        "scale_logits": torch.logit(sizes.clamp(1e-5, 0.9)),
        "opacity_logits": 2 * torch.randn(num, generator=generator),
    }
    space = space_of([camera_at(turn, 64, 48) for turn in np.linspace(0, 6, 12)])
    decoder = Decoder(config, fields.requires_grad_(False), space)
    return HybridScene(explicit, decoder, surroundings(), 0)


def splat_scene(num: int) -> SplatScene:
    """Return plain Gaussians of the surfaces with harmonics of degree 3."""
    generator = torch.Generator().manual_seed(0)
    points, spacing = surfaces(num)
    sizes = torch.from_numpy(spacing) * torch.empty(num).log_normal_(-0.7, 0.5, generator=generator)
    shape = torch.empty(num, 3).log_normal_(0.0, 0.4, generator=generator)
    explicit = {
        "means": torch.from_numpy(points),
        "log_scales": (sizes[:, None] * shape).log(),
        "quats": torch.randn(num, 4, generator=generator),
        "opacity_logits": 2 * torch.randn(num, generator=generator),
        "sh_coeffs": 0.3 * torch.randn(num, 16, 3, generator=generator),
    }
    return SplatScene(explicit, surroundings())


class Clock:
    """Adds up wall and processor time per stage."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[float, float]]] = {}

    def around(self, name: str, act: Callable) -> Callable:
        """Return `act` with its time taken."""

        def timed(*args, **options):
            wall, processor = time.perf_counter(), time.process_time()
            result = act(*args, **options)
            spent = time.perf_counter() - wall, time.process_time() - processor
            self.rows.setdefault(name, []).append(spent)
            return result

        return timed

    def medians(self) -> dict[str, tuple[float, float]]:
        """Return wall and processor milliseconds of every stage."""
        return {
            name: tuple(1000 * statistics.median(column) for column in zip(*times, strict=True))
            for name, times in self.rows.items()
        }


def measure(scene, size: tuple[int, int], repeats: int) -> tuple[dict, object]:
    """Draw moving pictures on an orbit and return the stages' times."""
    renderer, clock = CpuRenderer(), Clock()
    sphere = scene.sphere()
    panorama = None if sphere is None else Panorama(sphere)
    cameras = [camera_at(2 * math.pi * index / VIEWS, *size) for index in range(VIEWS)]

    def moving(camera: Camera):
        plan = Plan(View(camera, is_moving=True), *size, is_full=False, panorama=panorama)
        return draw(renderer, scene, plan)

    first = clock.around("first picture of the snapshot", moving)(cameras[0])
    picture(first, View(cameras[0], is_moving=True))
    scene.splats = clock.around("cull, gather, colour", scene.splats)
    if panorama is not None:
        panorama.picture = clock.around("background", panorama.picture)
    renderer.rasterize = clock.around("rasterize", renderer.rasterize)
    whole = clock.around("layers", moving)
    compose = clock.around("composite, bytes", picture)
    drawings = []
    for index in range(repeats):
        camera = cameras[(5 * index) % VIEWS]
        drawings = [whole(camera)]
        compose(drawings[0], View(camera, is_moving=True))
    return clock.medians(), drawings[0]


def main() -> None:
    """Read the arguments, time the stages and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gaussians", type=int, default=100_000)
    parser.add_argument("--size", default="480x270", help="width x height in pixels")
    parser.add_argument("--kind", choices=("hyrf", "splats"), default="hyrf")
    parser.add_argument("--scene", type=Path, help="a saved scene instead of a synthetic one")
    parser.add_argument("--repeats", type=int, default=VIEWS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    use_cores(arguments.threads)
    size = tuple(map(int, arguments.size.split("x")))
    if arguments.scene is not None:
        from core.formats import open_scene

        scene = open_scene(arguments.scene)
    else:
        make = hybrid_scene if arguments.kind == "hyrf" else splat_scene
        scene = make(arguments.gaussians)
    rows, last = measure(scene, size, arguments.repeats)
    print(
        f"{scene.num_gaussians} Gaussians ({arguments.kind}), {last.num_visible} drawn last, {arguments.size}, "
        f"{arguments.threads} threads, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'stage':32}{'wall ms':>10}{'cpu ms':>10}")
    for name, (wall, processor) in rows.items():
        print(f"{name:32}{wall:10.1f}{processor:10.1f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
