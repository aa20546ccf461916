"""Peak memory of training many Gaussians, phase by phase: prepare, step, growth, snapshot, checkpoint, resume.

    python -m tests.bench.memory [--study hyrf splats_3dgs] [--gaussians 1000000] [--size 960x540] [--json FILE]

Seed points of the demo are filled up to the asked number; every phase starts with the peak set back
(Linux only). Each study runs in a process of its own. The whole process counts: interpreter,
libraries and compiled kernels, about 0.5 GiB, are part of every figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

PRESETS = {"hyrf": "full", "splats_3dgs": "full"}
EVERY_BAND = {"splats_3dgs": {"degree_every": 0.0}}
LIMIT_GIB = 6.0


def peak_gib() -> float:
    """Return the largest resident set since `start_again`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def start_again() -> None:
    """Let the peak count from the memory held now."""
    Path("/proc/self/clear_refs").write_text("5")


def settings(study: str, count: int) -> dict[str, Any]:
    """Return settings under which the second of three steps adds Gaussians."""
    density = {"cap": int(1.05 * count), "every": 2, "start": 0.0, "stop": 1.0, "gradient": 1e-9}
    pixels = {"quarter_until": 0.0, "half_until": 0.0}
    return {"steps": 3, "seed_gaussians": count, "density": density, **pixels} | EVERY_BAND.get(
        study, {}
    )


def measure(study: str, count: int, width: int, height: int) -> list[dict[str, Any]]:
    """Train three steps and do all a run does; return one row per phase."""
    from core.engine.cores import quiet_libraries

    quiet_libraries()
    from assets import DEMO
    from core.base import discover
    from core.base.config import resolve
    from core.capture.opening import open_capture
    from core.engine.checkpoints import CheckpointStore
    from core.study import Setup

    capture = open_capture(DEMO)
    photos = tuple(
        replace(photo, camera=photo.camera.resized(width, height)) for photo in capture.photos
    )
    capture = replace(capture, photos=photos)
    study_class = discover.load(study)
    config = resolve(study_class.Config, PRESETS[study], settings(study, count))
    rows: list[dict[str, Any]] = []

    def phase(name: str, work: Any) -> Any:
        start_again()
        began = time.monotonic()
        result = work()
        rows.append(
            {
                "study": study,
                "phase": name,
                "peak_gib": round(peak_gib(), 2),
                "seconds": round(time.monotonic() - began, 1),
            }
        )
        print(
            f"{study:<12} {name:<20} {peak_gib():6.2f} GiB {rows[-1]['seconds']:8.1f} s", flush=True
        )
        return result

    made: Any = study_class(config, Setup(variant="", capture=capture))
    phase("prepare", made.prepare)
    for step in range(3):
        metrics = phase(f"step {step + 1}", made.step)
    rows[-1]["num_gaussians"] = int(metrics["gaussians"])
    kept = [phase("snapshot", made.snapshot)]
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(Path(folder))
        phase("checkpoint", lambda: store.save(3, made.state()))
        phase("step with both kept", made.step)
        kept.clear()
        phase("resume", lambda: made.load(store.latest()[1]))
    return rows


def main() -> None:
    """Measure every study in a process of its own and print the highest peaks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", nargs="+", choices=tuple(PRESETS), default=tuple(PRESETS))
    parser.add_argument("--gaussians", type=int, default=1_000_000)
    parser.add_argument("--size", default="960x540", metavar="WxH")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    width, height = (int(part) for part in arguments.size.split("x"))
    if arguments.within:
        rows = measure(arguments.study[0], arguments.gaussians, width, height)
        arguments.json.write_text(json.dumps(rows))
        return
    every: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for study in arguments.study:
            path = Path(folder) / f"{study}.json"
            words = ["--study", study, "--gaussians", str(arguments.gaussians), "--size"]
            words += [arguments.size, "--json", str(path), "--within"]
            subprocess.run([sys.executable, "-m", "tests.bench.memory", *words], check=True)
            every += json.loads(path.read_text())
            peak = max(row["peak_gib"] for row in every if row["study"] == study)
            verdict = "within" if peak <= LIMIT_GIB else "above"
            print(f"{study}: peak {peak:.2f} GiB, {verdict} {LIMIT_GIB:g} GiB")
    if arguments.json:
        arguments.json.write_text(json.dumps(every, indent=2))


if __name__ == "__main__":
    main()
