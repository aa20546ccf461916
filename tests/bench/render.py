"""Time the stages of the CPU renderer: `python -m tests.bench.render --gaussians 50000 --size 270x480`.

Prints medians of wall and processor time in milliseconds. The scene is random: screen sigma 0.5 to 3.5
pixels, opacity 0.05 to 0.65, spread evenly over the picture.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
import torch

from core.radiance.splats import Splats
from core.render import cpu_kernels, cpu_project, cpu_tiles
from core.render.cpu import CpuRenderer


def random_scene(num: int, width: int, height: int, seed: int = 0) -> tuple[Splats, np.ndarray]:
    """Return splats spread over a picture and the intrinsics [3, 3] of the camera at the origin."""
    random = np.random.default_rng(seed)
    focal = float(max(width, height))
    z = random.uniform(2, 6, num)
    pixels = random.uniform(0, 1, (num, 2)) * (width, height)
    means = np.column_stack([(pixels - (width / 2, height / 2)) * z[:, None] / focal, z])
    scales = random.uniform(0.5, 3.5, (num, 3)) * z[:, None] / focal
    values = (
        means,
        random.normal(size=(num, 4)),
        scales,
        random.uniform(0.05, 0.65, num),
        random.random((num, 3)),
    )
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Splats(*(torch.tensor(value, dtype=torch.float32) for value in values)), K


def main() -> None:
    """Read the arguments, time every stage and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gaussians", type=int, default=50_000)
    parser.add_argument("--size", default="270x480", help="width x height in pixels")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=numba.get_num_threads())
    arguments = parser.parse_args()
    width, height = (int(word) for word in arguments.size.split("x"))
    numba.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    splats, K = random_scene(arguments.gaussians, width, height)
    stages, pairs = _stages(splats, K, width, height)
    tiles = math.ceil(width / 16) * math.ceil(height / 16)
    print(
        f"{arguments.gaussians} Gaussians, {width}x{height}, {tiles} tiles, {pairs} pairs, {arguments.threads} threads"
    )
    print(f"{'stage':24}{'wall ms':>10}{'cpu ms':>10}")
    for name, stage in stages.items():
        wall, processor = _time(stage, arguments.repeats)
        print(f"{name:24}{wall:10.2f}{processor:10.2f}")


def _time(stage: Callable[[], object], repeats: int) -> tuple[float, float]:
    stage()
    walls, processors = [], []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        stage()
        walls.append(1e3 * (time.perf_counter() - wall))
        processors.append(1e3 * (time.process_time() - processor))
    return statistics.median(walls), statistics.median(processors)


def _stages(
    splats: Splats, K: np.ndarray, width: int, height: int
) -> tuple[dict[str, Callable[[], object]], int]:
    """Return every stage as a function without arguments, and the number of pairs."""
    num, workers = len(splats), numba.get_num_threads()
    arrays = [
        getattr(splats, name).numpy()
        for name in ("means", "quats", "scales", "opacities", "colors")
    ]
    camera = cpu_project.camera_numbers(np.eye(4), K, width, height)
    features = cpu_project.empty_features(num)
    depths, radii, means2d = (
        np.empty(num, np.float32),
        np.empty(num, np.int32),
        np.empty((num, 2), np.float32),
    )
    rgb, alpha, depth = (np.empty((height, width, *tail), np.float32) for tail in ((3,), (), ()))
    projected = (features, depths, radii, means2d)
    cpu_project.project(*arrays, camera, width, height, False, *projected)
    tiles = cpu_tiles.bin_gaussians(features, depths, width, height)
    pictures = (rgb, alpha, depth)
    gradients = [np.ones_like(picture) for picture in pictures]
    pair_gradients = np.empty((len(tiles.rows), cpu_project.NUM_GRADIENTS), np.float32)
    into = [np.zeros_like(array) for array in arrays]
    absgrad = np.zeros((num, 2), np.float32)
    lists = (tiles.first, tiles.order, tiles.tiles_x, width, height, workers)
    leaves = [torch.from_numpy(array).clone().requires_grad_() for array in arrays]
    viewmats, Ks = torch.eye(4)[None], torch.tensor(K)[None]
    renderer = CpuRenderer()

    def both_ways() -> None:
        layers = renderer.rasterize(Splats(*leaves), viewmats, Ks, width, height)
        layers.rgb.backward(torch.ones_like(layers.rgb))

    return {
        "project": lambda: cpu_project.project(*arrays, camera, width, height, False, *projected),
        "sort by depth": lambda: cpu_tiles._depth_order(depths.view(np.uint32)),
        "sort and list per tile": lambda: cpu_tiles.bin_gaussians(features, depths, width, height),
        "blend": lambda: cpu_kernels.blend(features, tiles.rows, *lists, *pictures),
        "blend backward": lambda: cpu_kernels.blend_backward(
            features, tiles.rows, tiles.slots, *lists, *pictures, *gradients, pair_gradients
        ),
        "project backward": lambda: cpu_project.project_backward(
            *arrays[:4], camera, False, tiles.slot_first, pair_gradients, *into, absgrad
        ),
        "frame (no gradient)": lambda: renderer.rasterize(splats, viewmats, Ks, width, height),
        "frame and backward": both_ways,
    }, len(tiles.rows)


if __name__ == "__main__":
    main()
