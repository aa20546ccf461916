"""Time hash grids, networks, picture loss and optimizer: `python -m tests.bench.hashgrid --points 30000`.

Prints medians of wall and processor time in milliseconds, as a training step sees them: through
autograd, without the renderer. Points lie on a sphere with a little noise, as surfaces do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numba
import torch

from core.nn.adam import RowAdam
from core.nn.encoding import contract, sh_bands3
from core.nn.hashgrid import HashGrid, HashGridConfig
from core.nn.mlp import Mlp
from core.nn.ssim import TargetStatistics, l1_ssim_loss


def main() -> None:
    """Read the arguments, time every block and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=30_000)
    parser.add_argument("--levels", type=int, default=8)
    parser.add_argument("--log2-table", type=int, default=15)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--size", default="270x480", help="width x height in pixels")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=numba.get_num_threads())
    arguments = parser.parse_args()
    numba.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    width, height = (int(word) for word in arguments.size.split("x"))
    stages = _encodings(arguments.points)
    stages |= _fields(arguments)
    stages |= _picture(width, height)
    print(f"{arguments.points} points, {arguments.threads} threads, picture {width}x{height}")
    print(f"{'':44}{'wall ms':>10}{'cpu ms':>10}")
    for name, stage in stages.items():
        wall, processor = _time(stage, arguments.repeats)
        print(f"{name:44}{wall:10.2f}{processor:10.2f}")


def _points(count: int) -> torch.Tensor:
    directions = torch.nn.functional.normalize(torch.randn(count, 3), dim=1)
    return directions * (0.8 + 0.05 * torch.randn(count, 1))


def _encodings(count: int) -> dict[str, Callable[[], object]]:
    points = _points(count)
    directions = torch.nn.functional.normalize(points, dim=1)
    return {
        "contraction": lambda: contract(points, [-1.0] * 3, [1.0] * 3),
        "direction harmonics": lambda: sh_bands3(directions),
    }


def _fields(arguments: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return the stages of both fields: radiance with the full table, geometry with half of it."""
    points = _points(arguments.points)
    u = contract(points, [-1.0] * 3, [1.0] * 3)
    bands = sh_bands3(torch.nn.functional.normalize(points, dim=1))
    stages: dict[str, Callable[[], object]] = {}
    for log2_table, outputs, extra in (
        (arguments.log2_table, 3, bands),
        (arguments.log2_table - 1, 8, None),
    ):
        config = HashGridConfig(
            levels=arguments.levels,
            log2_table=log2_table,
            base_resolution=16,
            max_resolution=256,
        )
        grid = HashGrid(config)
        inputs = config.width + (0 if extra is None else extra.shape[1])
        network = Mlp((inputs, arguments.hidden, arguments.hidden, outputs))
        label = f"{arguments.levels} x 2^{log2_table}"
        stages |= _grid_stages(f"grid {label}", grid, u)
        stages |= _network_stages(f"network {network.widths}", network, config.width, extra, len(u))
    return stages


def _grid_stages(name: str, grid: HashGrid, u: torch.Tensor) -> dict[str, Callable[[], object]]:
    upstream = torch.randn(len(u), grid.config.width)
    optimizer = RowAdam({"table": grid.table}, {"table": 1e-3})

    def both() -> None:
        grid(u).backward(upstream)

    def step() -> None:
        grid.touched().copy_(touched)
        optimizer.step_marked({"table": grid.gradient()}, {"table": grid.touched()})

    both()
    touched = grid.touched().clone()
    share = touched.float().mean().item()
    return {
        f"{name} forward": lambda: grid(u),
        f"{name} forward and backward": both,
        f"{name} optimizer ({share:.0%} of rows)": step,
    }


def _network_stages(
    name: str, network: Mlp, num_features: int, extra: torch.Tensor | None, count: int
) -> dict[str, Callable[[], object]]:
    features = torch.randn(count, num_features, requires_grad=True)
    upstream = torch.randn(count, network.widths[-1])

    def both() -> None:
        features.grad = None
        network(features, extra).backward(upstream)

    return {
        f"{name} forward": lambda: network(features, extra),
        f"{name} forward and backward": both,
    }


def _picture(width: int, height: int) -> dict[str, Callable[[], object]]:
    rendered = torch.rand(height, width, 3, requires_grad=True)
    target = torch.rand(height, width, 3)
    kept = TargetStatistics(target)

    def both() -> None:
        rendered.grad = None
        l1_ssim_loss(rendered, target, statistics=kept).backward()

    return {"statistics of a photograph": lambda: TargetStatistics(target), "picture loss": both}


def _time(stage: Callable[[], object], repeats: int) -> tuple[float, float]:
    stage()
    walls, processors = [], []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        stage()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return statistics.median(walls) * 1000, statistics.median(processors) * 1000


if __name__ == "__main__":
    main()
