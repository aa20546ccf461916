"""What claims ask of a trained model of photographs beside its quality in memory.

{"file": ".hyrf"}   the scene written and opened again: bytes on disk, quality of what was read
{"file": ".ply"}    the same as plain Gaussians, where the model is made of some
{"sky": true}       PSNR inside the demo's true sky and outside, where a background has its work
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.render.evaluate import draw, mean_of, measure

if TYPE_CHECKING:
    from core.capture.capture import Capture, Photo
    from core.radiance.field import Snapshot
    from core.studies.photographs import PhotoStudy

BYTES_PER_MB = 1e6
DEMO_NAME = "demo"


def measured(study: PhotoStudy, options: Mapping[str, Any]) -> dict[str, float]:
    """Return the held-out means and what the options ask for."""
    found = dict(study.evaluate())
    for option, value in options.items():
        if option == "file" and value in (".hyrf", ".ply"):
            found |= file_measures(study, value)
        elif option == "sky" and value is True:
            found |= sky_measures(study)
        else:
            raise ConfigError(
                f"Models of photographs are measured with file=.hyrf, file=.ply or sky=true, not {option}={value}."
            )
    return found


def file_measures(study: PhotoStudy, suffix: str) -> dict[str, float]:
    """Return size and quality of a file: `mb`, its logarithm `log2_bytes`, and `file_psnr`."""
    from core.formats import open_scene, ply, save_scene

    scene = study.snapshot()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"scene{suffix}"
        if suffix == ".ply":
            ply.write(scene.parts(), path)
        else:
            save_scene(scene, path)
        count = path.stat().st_size
        read = open_scene(path)
        pictures = mean_of(measure(read, study.renderer, _photos_for(read, study.capture)))
    return {
        "mb": count / BYTES_PER_MB,
        "log2_bytes": math.log2(count),
        "file_psnr": pictures.get("psnr", math.nan),
        "gaussians": float(scene.num_gaussians),
    }


def _photos_for(scene: Snapshot, capture: Capture) -> list[Photo]:
    """Return the held-out photographs with cameras in the units of a scene that was read."""
    to_scene = scene.to_original.inverse()
    return [
        replace(photo, camera=to_scene.apply_camera(capture.to_original.apply_camera(photo.camera)))
        for photo in capture.test
    ]


def sky_measures(study: PhotoStudy) -> dict[str, float]:
    """Return PSNR inside the true sky and outside, means over the held-out photographs.

    Where the sky of other captures is, nobody knows: whole pictures are the rest.
    """
    from core.capture.synthetic import sky_mask

    capture = study.capture
    if capture.name != DEMO_NAME:
        return {"psnr_rest": float(study.evaluate()["psnr"])}
    scene = study.snapshot()
    rows = []
    for photo in capture.test:
        is_sky = sky_mask(capture.to_original.apply_camera(photo.camera))
        target = torch.from_numpy(photo.image()).float() / 255
        picture = draw(scene, study.renderer, photo.camera).cpu()
        error = (picture - target).square().mean(dim=-1).numpy()  # [H, W]
        rows.append((error[is_sky].mean(), error[~is_sky].mean()))
    sky, rest = (-10 * np.log10(np.array(rows))).mean(axis=0)
    return {"psnr_sky": float(sky), "psnr_rest": float(rest), "sky_less_rest": float(sky - rest)}
