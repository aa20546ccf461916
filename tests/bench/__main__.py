"""Benchmarks: `python -m tests.bench NAME [options]`; without a name, or with --help, what there is.

Each prints a table and, with --json FILE, writes its rows. `python -m tests.bench all --short` runs
the short form of all that have one: it fails on wrong results, never on slow ones.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from core.base.errors import ConfigError, HybridError
from core.engine.cores import quiet_libraries

BENCHES = {
    "render": "frames by Gaussians, pixels and threads, forward and backward, stage by stage",
    "step": "training steps by Gaussians, pixels and threads, stage by stage; memory; exponents",
    "hashgrid": "points a second through grids and networks, as a share of memory bandwidth",
    "floor": "the least work of a step against what this machine can do at most",
    "startup": "until --help, a window, a frame, a training step; cold and warm kernels",
    "live": "distinct pictures a second and lag in a window and a browser, while training",
    "looking": "how much slower a study trains while its attention is looked at",
    "viewing": "what a moving picture costs, stage by stage",
    "memory": "peak memory of training many Gaussians, phase by phase",
    "compression": "bytes against quality: .hyrf against other formats of the baseline's splats",
    "hyrf": "hyrf against its ablations and 3D Gaussian splatting: quality and bytes",
    "quality-time": "held-out PSNR after so many seconds of training, wall and processor",
}
SHORT = ("startup", "hashgrid", "render", "step", "floor", "quality-time")


def main(words: list[str]) -> int:
    """Run what was asked for and return the exit code."""
    quiet_libraries()
    listed = "\n".join(f"    {name:<14}{text}" for name, text in BENCHES.items())
    if not words or words[0] in ("-h", "--help"):
        print(f"{__doc__.strip()}\n\n{listed}")
        return 0
    if words[0] == "all":
        return _all(words[1:])
    if words[0] not in BENCHES:
        print(f"There is no benchmark '{words[0]}'. There are:\n{listed}", file=sys.stderr)
        return 2
    try:
        run(words[0], words[1:])
    except HybridError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(name: str, words: list[str]) -> dict[str, Any]:
    """Run one benchmark with options from the command line and return its results."""
    from tests.bench.measure import Machine, check_finite, check_rows, write_json

    bench = importlib.import_module(f"tests.bench.{name.replace('-', '_')}")
    if not hasattr(bench, "add_arguments"):  # reads the command line itself
        sys.argv = [f"tests.bench {name}", *words]
        bench.main()
        return {}
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.bench {name}",
        description=bench.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bench.add_arguments(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--short", action="store_true", help="little work, to check the results")
    options = parser.parse_args(words)
    if options.short:
        if not hasattr(bench, "shorten"):
            raise ConfigError(f"The benchmark {name} has no short form.")
        bench.shorten(options)
    machine = Machine()
    results: dict[str, Any] = bench.run(options)
    check_finite(results, name)
    check_rows(results["rows"], getattr(bench, "COLUMNS", ()), name)
    print(f"\n{machine.sentence()}")
    if options.json is not None:
        write_json(options.json, name, machine, results)
    return results


def _all(words: list[str]) -> int:
    if words != ["--short"]:
        print("Write `python -m tests.bench all --short`; the long forms are run by name.")
        return 2
    for name in SHORT:
        print(f"\n== {name}", flush=True)
        run(name, ["--short"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
