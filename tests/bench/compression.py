"""Bytes against quality: .hyrf at four rates, and 3D Gaussian splatting as PLY, compressed PLY, SPZ and SOG.

    python -m tests.bench compression CAPTURE [--steps 1500] [--max-size 480] [--keep FILE] [--json FILE]

Everything is trained on the same photographs and seed points for the same number of steps: HyRF once
per rate, the last fifth of the steps with rounding, and the baseline (SH degree 3) once per number of
Gaussians. PSNR and SSIM are means over the held-out photographs, of the file opened again.

The best of the others is the front over all their files: no other of theirs is smaller and closer.
Between its points the logarithm of the bytes is interpolated over the PSNR. BD-rate is the mean
difference of these logarithms over the PSNR that both reach (Bjontegaard, piecewise linear), as a
share of the others' bytes: -50 % is half of them. With --keep finished cases are not run again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.capture.capture import Capture
from core.engine.cores import use_cores
from core.formats import open_scene
from core.nn.ssim import psnr, ssim
from core.radiance.field import Snapshot
from core.render.evaluate import draw
from tests.bench.hyrf import Case, opened, train
from tests.bench.measure import print_table

COLUMNS = ("case", "format", "gaussians", "bytes", "psnr", "ssim")
OTHERS = {".ply": "ply", ".compressed.ply": "ply_packed", ".spz": "spz", ".sog": "sog"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Rate:
    """One way to train HyRF for a file."""

    label: str
    cap: int
    log2_table: int
    quality: str

    def case(self) -> Case:
        """Return what is trained."""
        settings = {
            "density.cap": self.cap,
            "hybrid.fields.log2_table": self.log2_table,
            "rounding.start": 0.8,
            "rounding.quality": self.quality,
        }
        return Case(self.label, "hyrf", "hybrid", settings)


RATES = (
    Rate("hyrf 10k", 10_000, 12, "small"),
    Rate("hyrf 20k", 20_000, 13, "small"),
    Rate("hyrf 30k", 30_000, 13, "balanced"),
    Rate("hyrf 50k", 50_000, 13, "balanced"),
)


def files_of(study: Any, label: str, capture: Capture, suffixes: Mapping[str, str]) -> list[Row]:
    """Write a trained scene in some formats; return what each file weighs and shows once opened again."""
    scene, rows = study.snapshot(), []
    for suffix, module in suffixes.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"scene{suffix}"
            importlib.import_module(f"core.formats.{module}").write(scene.parts(), path)
            seconds, again = _timed_opening(path)
            row = {"case": label, "format": suffix, "gaussians": again.num_gaussians}
            row |= {"bytes": path.stat().st_size, "opening_s": seconds}
        rows.append({**row, **shown(again, study.renderer, capture)})
    return rows


def _timed_opening(path: Path) -> tuple[float, Snapshot]:
    open_scene(path)  # compiles
    began = time.process_time()
    scene = open_scene(path)
    return time.process_time() - began, scene


def shown(scene: Snapshot, renderer: Any, capture: Capture) -> dict[str, float]:
    """Return mean PSNR and SSIM on the held-out photographs, whatever coordinates the file is in."""
    found = []
    for photo in capture.test:
        original = capture.to_original.apply_camera(photo.camera)
        picture = draw(scene, renderer, scene.to_original.inverse().apply_camera(original))
        picture = (picture * 255).round() / 255
        target = torch.from_numpy(photo.image()).float() / 255
        found.append((float(psnr(picture, target)), float(ssim(picture, target))))
    means = np.mean(found, axis=0)
    return {"psnr": float(means[0]), "ssim": float(means[1])}


def measured(capture: Capture, options: argparse.Namespace) -> list[Row]:
    """Train and measure every case, keeping what is done."""
    cases = [(rate.case(), {".hyrf": "hyrf"}) for rate in options.rates]
    for count in options.counts:
        settings = {"density.cap": count}
        cases.append((Case(f"3dgs {count / 1000:g}k", "splats_3dgs", "sh3", settings), OTHERS))
    kept = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else {}
    rows = []
    for case, formats in cases:
        key = f"{capture.name}|{case}|{options.steps}|{options.max_size}|{options.preset}"
        if key not in kept:
            study = train(case, capture, options, options.seed)
            kept[key] = files_of(study, case.label, capture, formats)
            if options.keep:
                options.keep.write_text(json.dumps(kept, indent=1))
        rows += kept[key]
        for row in kept[key]:
            print(_line(row), flush=True)
    return rows


def front(rows: Sequence[Row]) -> np.ndarray:
    """Return (PSNR, log of bytes) [K, 2] of files that no other beats in both, ascending."""
    best: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: (row["bytes"], -row["psnr"])):
        if not best or row["psnr"] > best[-1][0]:
            best.append((row["psnr"], float(np.log(row["bytes"]))))
    return np.array(best)


def bd_rate(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Return the mean difference of bytes at equal PSNR as a share of theirs; None where nothing overlaps."""
    low, high = max(ours[0, 0], theirs[0, 0]), min(ours[-1, 0], theirs[-1, 0])
    if high <= low:
        return None
    at = np.linspace(low, high, 1000)
    less = np.interp(at, *ours.T) - np.interp(at, *theirs.T)
    return float(np.exp(less.mean()) - 1)


def compared(rows: Sequence[Row]) -> list[Row]:
    """Return, for each .hyrf file, the bytes that the others need for as much PSNR."""
    ours = [row for row in rows if row["format"] == ".hyrf"]
    groups = {"best": [row for row in rows if row["format"] != ".hyrf"]}
    groups |= {suffix: [row for row in rows if row["format"] == suffix] for suffix in OTHERS}
    found = []
    for name, theirs in groups.items():
        edge = front(theirs)
        found.append({"others": name, "bd_rate": bd_rate(front(ours), edge)})
        for row in ours:
            is_reached = edge[0, 0] <= row["psnr"] <= edge[-1, 0]
            needed = float(np.exp(np.interp(row["psnr"], *edge.T))) if is_reached else None
            found[-1][row["case"]] = needed / row["bytes"] if needed else None
    return found


def _line(row: Row) -> str:
    return (
        f"{row['case']:<10} {row['format']:<15} {row['gaussians']:>7,} Gaussians {row['bytes']:>10,} bytes "
        f"{row['psnr']:6.2f} dB {row['ssim']:.4f} opened in {1e3 * row['opening_s']:.0f} ms"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("capture")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--max-size", type=int, default=480)
    parser.add_argument("--preset", default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--counts", type=int, nargs="+", default=[5000, 10_000, 20_000, 30_000])
    parser.add_argument("--keep", type=Path, help="finished cases are kept there, not run again")
    parser.set_defaults(rates=RATES, set=[])


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train, write, measure and compare."""
    use_cores(options.threads)
    capture = opened(options.capture, options)
    camera = capture.photos[0].camera
    print(
        f"{capture.name}: {len(capture.train)} photographs, {len(capture.test)} held out, "
        f"{camera.width}x{camera.height}; preset {options.preset}, {options.steps} steps"
    )
    rows = measured(capture, options)
    found = compared(rows)
    print("\nbytes the others need at the PSNR of each .hyrf file, in multiples of its own")
    print_table([list(row.values()) for row in found], list(found[0]))
    return {"rows": rows, "compared": found}
