"""HyRF against its ablations and 3D Gaussian splatting: quality and bytes, from files on disk.

    python -m tests.bench hyrf table CAPTURE [--seeds 0 1 2] [--steps 1500] [--max-size 480] [--keep FILE]
    python -m tests.bench hyrf choices CAPTURE       paper against official code, one seed
    python -m tests.bench hyrf background            with and without, on the demo, inside and outside its sky
    python -m tests.bench hyrf culling CAPTURE       field queries saved, largest change of a pixel

Every case has the same photographs, seed points, steps and cap. PSNR and SSIM are means over the
held-out photographs at the training resolution, printed; "packed" is measured on the re-opened file,
"object" only inside the outline of the seed points.
With --keep finished cases are kept and not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from assets import DEMO
from core.base import discover
from core.base.config import parse_settings, resolve
from core.capture.capture import Capture
from core.capture.opening import open_capture
from core.engine.cores import cores_available, use_cores
from core.formats import open_scene, save_scene, size_of
from core.formats import ply as ply_format
from core.render.backend import choose
from core.render.evaluate import draw, matrices, mean_of, measure
from core.study import Setup


@dataclass(frozen=True)
class Case:
    """One thing to train."""

    label: str
    study: str
    variant: str
    settings: dict[str, Any] = field(default_factory=dict)


TABLE = (
    Case("hyrf", "hyrf", "hybrid"),
    Case("3dgs, SH 3", "splats_3dgs", "sh3"),
    Case("3dgs, SH 0", "splats_3dgs", "sh0"),
    Case("hyrf, no explicit colour", "hyrf", "no_explicit_color"),
    Case("hyrf, no fields", "hyrf", "no_fields"),
    Case("hyrf, one shared field", "hyrf", "shared_field"),
)
CHOICES = (
    Case("as chosen", "hyrf", "hybrid"),
    Case("scales: product (code)", "hyrf", "hybrid", {"hybrid.scale_merge": "product"}),
    Case("box: camera extremes (paper)", "hyrf", "hybrid", {"box": "extremes"}),
    Case(
        "background: no sigmoid (code)", "hyrf", "hybrid", {"hybrid.is_background_bounded": False}
    ),
    Case("opacity reset every tenth", "hyrf", "hybrid", {"density.reset_every": 0.1}),
    Case("density: mcmc", "hyrf", "hybrid", {"density.method": "mcmc", "opacity_penalty": 0.01}),
)


def train(case: Case, capture: Capture, options: argparse.Namespace, seed: int) -> Any:
    """Train one case and return its study."""
    study_class = discover.load(case.study)
    settings = {**parse_settings(options.set), **case.settings, "steps": options.steps}
    config = resolve(study_class.Config, options.preset, settings)
    study = study_class(config, Setup(variant=case.variant, seed=seed, capture=capture))
    study.prepare()
    for _ in range(options.steps):
        study.step()
    return study


def result_of(study: Any, capture: Capture) -> dict[str, Any]:
    """Measure a trained study in memory, as a file, and as a PLY where it is one."""
    scene = study.snapshot()
    row = {
        **mean_of(measure(scene, study.renderer, capture.test)),
        "object_psnr": object_psnr(scene, study.renderer, capture),
        "train_psnr": mean_of(measure(scene, study.renderer, capture.train[::6]))["psnr"],
        "gaussians": scene.num_gaussians,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.hyrf"
        save_scene(scene, path)
        sizes = size_of(path)
        row["bytes"] = sizes.pop("total")
        row["components"] = sizes
        row["packed_psnr"] = mean_of(measure(open_scene(path), study.renderer, capture.test))[
            "psnr"
        ]
        if scene.kind == "splats":
            ply_format.write(scene.parts(), Path(folder) / "scene.ply")
            row["ply_bytes"] = (Path(folder) / "scene.ply").stat().st_size
    return row


def object_psnr(scene: Any, renderer: Any, capture: Capture) -> float:
    """Return the mean PSNR inside the outline of the seed points.

    Where an object was turned before a backdrop, only this part of the pictures belongs together.
    """
    values = []
    for photo in capture.test:
        pixels, _ = photo.camera.project(capture.points)
        pixels = pixels[np.isfinite(pixels).all(axis=1)].astype(np.float32)
        low, high = np.percentile(pixels, (1, 99), axis=0)
        inner = pixels[((pixels >= low) & (pixels <= high)).all(axis=1)]
        mask = np.zeros((photo.camera.height, photo.camera.width), np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(inner).astype(np.int32), 1)
        target = photo.image().astype(np.float32) / 255
        error = (draw(scene, renderer, photo.camera).cpu().numpy() - target) ** 2
        values.append(-10 * np.log10(error[mask > 0].mean()))
    return float(np.mean(values))


def compared(
    cases: Iterable[Case], capture: Capture, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Train and measure every case and seed, keeping what is done."""
    kept = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else {}
    rows = []
    for seed in options.seeds:
        for case in cases:
            key = f"{capture.name}|{case.label}|{seed}|{options.steps}|{options.max_size}|{options.set}"
            if key not in kept:
                began, cpu = time.monotonic(), time.process_time()
                row = result_of(train(case, capture, options, seed), capture)
                row |= {
                    "seconds": time.monotonic() - began,
                    "cpu_seconds": time.process_time() - cpu,
                }
                kept[key] = row
                if options.keep:
                    options.keep.write_text(json.dumps(kept, indent=1))
            rows.append({"label": case.label, "seed": seed, **kept[key]})
            print_row(rows[-1])
    return rows


def print_head(capture: Capture, options: argparse.Namespace) -> None:
    """Say what is compared on what."""
    camera = capture.photos[0].camera
    print(
        f"{capture.name}: {len(capture.train)} photographs, {len(capture.test)} held out, "
        f"{camera.width}x{camera.height}, {capture.seeds}; preset {options.preset}, {options.steps} steps, "
        f"{torch.get_num_threads()} threads"
    )
    print(
        f"{'case':<30} {'seed':>4} {'PSNR':>6} {'SSIM':>6} {'packed':>6} {'object':>6} {'train':>6} "
        f"{'Gaussians':>9} {'bytes':>9} {'PLY':>9} {'s':>5} {'cpu s':>6}"
    )


def print_row(row: dict[str, Any]) -> None:
    """Print one result."""
    decibels = (row["packed_psnr"], row.get("object_psnr", float("nan")), row["train_psnr"])
    print(
        f"{row['label']:<30} {row['seed']:>4} {row['psnr']:>6.2f} {row['ssim']:>6.4f} "
        + " ".join(f"{value:>6.2f}" for value in decibels)
        + f" {row['gaussians']:>9,} {row['bytes']:>9,} {row.get('ply_bytes', 0):>9,} "
        f"{row['seconds']:>5.0f} {row['cpu_seconds']:>6.0f}",
        flush=True,
    )


def print_means(rows: list[dict[str, Any]]) -> None:
    """Print mean and spread over seeds."""
    print("\nmean over seeds (spread: largest minus smallest)")
    for label in dict.fromkeys(row["label"] for row in rows):
        mine = [row for row in rows if row["label"] == label]
        psnr = [row["psnr"] for row in mine]
        means = {
            key: float(np.mean([row[key] for row in mine]))
            for key in ("ssim", "packed_psnr", "bytes")
        }
        ply = np.mean([row.get("ply_bytes", 0) for row in mine])
        print(
            f"{label:<30} PSNR {np.mean(psnr):.2f} ({max(psnr) - min(psnr):.2f})  SSIM {means['ssim']:.4f}  "
            f"packed {means['packed_psnr']:.2f} dB, {means['bytes'] / 1e6:.3f} MB  PLY {ply / 1e6:.3f} MB"
        )


def background(options: argparse.Namespace) -> None:
    """Compare training with and without background inside and outside the demo's true sky."""
    from core.capture.synthetic import sky_mask

    capture = opened(str(DEMO), options)
    print(
        f"demo, {options.steps} steps; PSNR inside the true sky and outside, mean over held-out photographs"
    )
    for seed in options.seeds:
        inside: dict[str, list[float]] = {}
        for variant in ("hybrid", "no_background"):
            study = train(Case(variant, "hyrf", variant), capture, options, seed)
            scene = study.snapshot()
            errors = np.zeros((0, 2))
            for photo in capture.test:
                target = torch.from_numpy(photo.image()).float() / 255
                error = ((draw(scene, study.renderer, photo.camera) - target) ** 2).mean(-1).numpy()
                original = capture.to_original.apply_camera(photo.camera)
                sky = sky_mask(original)
                errors = np.vstack((errors, (error[sky].mean(), error[~sky].mean())))
            inside[variant] = (-10 * np.log10(errors)).mean(0).tolist()
        gain = np.subtract(inside["hybrid"], inside["no_background"])
        print(
            f"seed {seed}: with {inside['hybrid'][0]:.2f} sky {inside['hybrid'][1]:.2f} rest, "
            f"without {inside['no_background'][0]:.2f} sky {inside['no_background'][1]:.2f} rest, "
            f"gain {gain[0]:+.2f} sky {gain[1]:+.2f} rest",
            flush=True,
        )


def culling(options: argparse.Namespace) -> None:
    """Compare drawing with and without pre-culling."""
    capture = opened(options.capture, options)
    scene = train(TABLE[0], capture, options, options.seeds[0]).snapshot()
    renderer, saved, worst = choose("cpu"), [], 0.0
    for photo in capture.photos:
        camera = photo.camera
        culled, every = scene.splats(camera), scene.all_splats(camera.center)
        given = matrices(camera, scene.device)
        with torch.no_grad():
            one, two = (
                renderer.rasterize(s, *given, camera.width, camera.height) for s in (culled, every)
            )
        worst = max(
            worst,
            float((one.rgb - two.rgb).abs().max()),
            float((one.alpha - two.alpha).abs().max()),
        )
        saved.append(1 - len(culled) / len(every))
    print(
        f"{capture.name}: pre-culling saves {np.mean(saved):.1%} of the field queries (mean over {len(saved)} "
        f"cameras, largest {np.max(saved):.1%}); largest change of a pixel {worst:.2e}"
    )


def opened(path: str, options: argparse.Namespace) -> Capture:
    """Open a capture at the size asked for."""
    return open_capture(path).limited(options.max_size)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("what", choices=("table", "choices", "background", "culling"))
    parser.add_argument("capture", nargs="?", default=str(DEMO))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--max-size", type=int, default=480)
    parser.add_argument("--preset", default="full")
    parser.add_argument("--threads", type=int, default=cores_available())
    parser.add_argument("--keep", type=Path, help="finished cases are kept there, not run again")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--only", nargs="+", help="labels of the cases to run")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run one of the comparisons; return the rows of those that train cases."""
    use_cores(options.threads)
    if options.what in ("background", "culling"):
        {"background": background, "culling": culling}[options.what](options)
        return {"rows": []}
    capture = opened(options.capture, options)
    cases = TABLE if options.what == "table" else CHOICES
    cases = tuple(case for case in cases if not options.only or case.label in options.only)
    print_head(capture, options)
    rows = compared(cases, capture, options)
    print_means(rows)
    return {"rows": rows}
