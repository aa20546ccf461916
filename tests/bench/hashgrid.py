"""Points a second through hash grids and networks, as a share of what the memory allows.

    python -m tests.bench hashgrid --points 50000 --levels 8 16 --log2-tables 13 15 18 --threads 1

As a training step sees them: through autograd, points on a sphere with a little noise. A point reads
8 corners of every level; going back they are read and written. `of reads` compares the corners with
the random reads this machine does at most in a table of that size (tests/bench/ceilings.py), `of
bandwidth` their bytes with the bandwidth measured for arrays of that size.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import torch

from core.nn.adam import RowAdam
from core.nn.encoding import contract, sh_bands3
from core.nn.hashgrid import HashGrid, HashGridConfig
from core.nn.mlp import Mlp
from core.nn.ssim import TargetStatistics, l1_ssim_loss
from tests.bench.ceilings import Ceilings, measured, nearest
from tests.bench.measure import (
    Patience,
    Timing,
    WrongResult,
    print_table,
    repeat,
    usable_threads,
    with_threads,
)

COLUMNS = ("what", "threads", "whole_ms", "whole_cpu_ms")
Action = Callable[[], object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--levels", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--log2-tables", type=int, nargs="+", default=[13, 15, 17, 19])
    parser.add_argument("--hidden", type=int, nargs="+", default=[32, 64], help="of networks")
    parser.add_argument("--size", default="270x480", help="of the picture for the loss, in pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--runs", type=int, default=15, help="of each ceiling; the best counts")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=10.0, help="at most, for each row")


def shorten(options: argparse.Namespace) -> None:
    """Reduce the work to a check of the results."""
    options.points, options.levels, options.log2_tables, options.hidden = 1000, [4], [10], [32]
    options.size, options.threads, options.runs, options.repeats = "48x64", [1], 1, 3


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time grids, networks, encodings and the picture loss; return the rows."""
    rows: list[dict[str, Any]] = []
    patience = Patience(options.repeats, options.seconds)
    for threads in usable_threads(options.threads):
        with_threads(threads)
        torch.manual_seed(0)
        limits = measured(threads, options.runs)
        grids = [
            row
            for levels, log2_table in itertools.product(options.levels, options.log2_tables)
            for row in grid_rows(levels, log2_table, options.points, limits, patience)
        ]
        others = [
            {"what": name, "threads": threads, **repeat(action, patience).row("whole")}
            for name, action in _other_stages(options).items()
        ]
        _print(grids, others, options, threads)
        rows += grids + others
    return {"rows": rows}


def grid_rows(
    levels: int, log2_table: int, points: int, limits: Ceilings, patience: Patience
) -> list[dict[str, Any]]:
    """Time one grid forward, backward and in the optimizer."""
    config = HashGridConfig(
        levels=levels, log2_table=log2_table, base_resolution=16, max_resolution=512
    )
    grid = HashGrid(config)
    u = contract(surface_points(points), [-1.0] * 3, [1.0] * 3)
    upstream = torch.randn(points, config.width)
    optimizer = RowAdam({"table": grid.table}, {"table": 1e-3})
    encoded = [grid(u)]

    def backward() -> None:
        encoded[0].backward(upstream, retain_graph=True)

    def step() -> None:
        grid.touched().copy_(touched)
        optimizer.step_marked({"table": grid.gradient()}, {"table": grid.touched()})

    backward()
    touched = grid.touched().clone()
    timings = {
        "forward": repeat(lambda: grid(u), patience),
        "backward": repeat(backward, patience),
        "optimizer": repeat(step, patience),
    }
    if not (torch.isfinite(grid.table).all() and torch.isfinite(grid(u)).all()):
        raise WrongResult(f"grid {levels} x 2^{log2_table}: numbers that are not finite.")
    share = float(touched.float().mean())
    facts = {"levels": levels, "log2_table": log2_table, "rows_touched": share}
    facts |= {"points": points, "threads": limits.threads}
    return [
        {**facts, "what": f"grid {name}", **timing.row("whole"), **_rates(timing, name, config, points, limits)}
        for name, timing in timings.items()
    ]  # fmt: skip


def _rates(
    timing: Timing, name: str, config: HashGridConfig, points: int, limits: Ceilings
) -> dict[str, float]:
    """Return points a second and the shares of the ceilings."""
    if name == "optimizer":
        return {}
    taken = (timing.cpu if limits.threads == 1 else timing.wall) / 1e3
    row = 4 * config.features
    table = float(config.used_rows().mean()) * row  # of a level: grids are read level by level
    corners = 8 * config.levels * points
    moved = corners * row * (2 if name == "backward" else 1) + 4 * points * (3 + config.width)
    return {
        "points_per_s": points / taken,
        "share_of_reads": corners / taken / nearest(limits.gathers, table),
        "share_of_bandwidth": moved / taken / nearest(limits.bandwidth, table),
    }


def surface_points(count: int) -> torch.Tensor:
    """Return points [V, 3] near a sphere."""
    directions = torch.nn.functional.normalize(torch.randn(count, 3), dim=1)
    return directions * (0.8 + 0.05 * torch.randn(count, 1))


def _other_stages(options: argparse.Namespace) -> dict[str, Action]:
    """Return what stands beside the grids in a step."""
    points = surface_points(options.points)
    bands = sh_bands3(torch.nn.functional.normalize(points, dim=1))
    width, height = (int(word) for word in options.size.split("x"))
    stages: dict[str, Action] = {
        "contraction": lambda: contract(points, [-1.0] * 3, [1.0] * 3),
        "direction harmonics": lambda: sh_bands3(points),
    }
    for hidden in options.hidden:
        for extra, outputs in ((None, 8), (bands, 3)):
            inputs = 16 + (0 if extra is None else extra.shape[1])
            network = Mlp((inputs, hidden, hidden, outputs))
            stages |= _network_stages(network, extra, len(points))
    return stages | _loss_stages(width, height)


def _network_stages(network: Mlp, extra: torch.Tensor | None, count: int) -> dict[str, Action]:
    features = torch.randn(count, 16, requires_grad=True)
    upstream = torch.randn(count, network.widths[-1])

    def both() -> None:
        features.grad = None
        network(features, extra).backward(upstream)

    name = "network " + "-".join(map(str, network.widths))
    return {
        f"{name} forward": lambda: network(features, extra),
        f"{name} forward and backward": both,
    }


def _loss_stages(width: int, height: int) -> dict[str, Action]:
    rendered = torch.rand(height, width, 3, requires_grad=True)
    target = torch.rand(height, width, 3)
    kept = TargetStatistics(target)

    def both() -> None:
        rendered.grad = None
        l1_ssim_loss(rendered, target, statistics=kept).backward()

    return {"statistics of a photograph": lambda: TargetStatistics(target), "picture loss": both}


def _print(
    grids: list[dict[str, Any]],
    others: list[dict[str, Any]],
    options: argparse.Namespace,
    threads: int,
) -> None:
    print(f"\n{options.points:,} points, {threads} threads, picture {options.size}")
    lines = []
    for row in grids + others:
        levels = f"{row['levels']} x 2^{row['log2_table']}" if "levels" in row else ""
        rate = row.get("points_per_s")
        shares = (row.get("share_of_reads"), row.get("share_of_bandwidth"), row.get("rows_touched"))
        times = (row["whole_ms"], row["whole_ms_spread"], row["whole_cpu_ms"])
        lines.append([row["what"], levels, *times, rate and rate / 1e6, *shares])
    head = ["stage", "grid", "wall ms", "spread", "cpu ms", "M points/s"]
    print_table(lines, [*head, "of reads", "of bandwidth", "rows touched"])
