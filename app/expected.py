"""What a training will take on this machine, roughly: memory, time and room on the disk. No torch.

Time is counted in runs of a small numpy kernel that is timed when asked, so that a fast machine
gets a short answer. How many runs a step costs was measured beside that kernel on one core:

    runs = STEP + MEGAPIXEL * megapixels + THOUSAND * thousands of Gaussians

It is right within a factor of about two; a training shows its true pace after a few steps.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.machine import total_memory
from app.panels.words import count, data_size, duration

if TYPE_CHECKING:
    from core.base.config import Config
    from core.capture.capture import Capture

KERNEL_FLOATS = 1 << 18
KERNEL_REPEATS = 9


@dataclass(frozen=True)
class Costs:
    """Kernel runs of a step, and bytes of a Gaussian in memory and in a checkpoint."""

    step: float
    megapixel: float
    thousand: float
    gaussian_bytes: float
    kept_bytes: float


HYBRID = Costs(31.0, 640.0, 4.7, 1700.0, 100.0)
SPLATS = Costs(14.0, 480.0, 1.9, 2800.0, 720.0)
PROGRAM_BYTES = 0.6e9  # interpreter, libraries, compiled kernels and their buffers
TABLE_BYTES = 16.0  # of a number of the fields: itself, its gradient and two moments
GENERATIONS = 3  # checkpoints that a run keeps, and one more while it is written
OVERLAP = 0.8  # of an added core is of use


@dataclass(frozen=True)
class Expected:
    """A rough estimate; `seconds` is None where nothing was calibrated for the device."""

    study: str
    preset: str
    device: str
    steps: int
    width: int
    height: int
    gaussians: int
    memory_bytes: int
    machine_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "is_rough": True}

    def sentences(self) -> tuple[str, str]:
        """Say it in two sentences."""
        seconds = self.seconds
        pace = (
            "an unknown time (not calibrated for a GPU)" if seconds is None else duration(seconds)
        )
        what = (
            f"{self.steps} steps at {self.width}x{self.height} with up to "
            f"{count(self.gaussians)} Gaussians: roughly {pace} ({self.device})."
        )
        room = (
            f"Roughly {data_size(self.memory_bytes)} of {data_size(self.machine_bytes)} memory and "
            f"{data_size(self.disk_bytes)} on the disk ({data_size(self.disk_free_bytes)} free)."
        )
        return what, room


def expected(
    capture: Capture,
    config: Config,
    *,
    study: str,
    preset: str,
    device: str,
    cores: int,
    folder: Path,
) -> Expected:
    """Estimate a training of a capture, already at the size it is trained at, into a run in `folder`."""
    values = config.model_dump()
    photos = capture.photos
    megapixels = (
        sum(photo.camera.width * photo.camera.height for photo in photos) / len(photos) / 1e6
    )
    most = int(values["density"]["cap"])
    usual = (most + min(most, int(values["seed_gaussians"]) or len(capture.points))) / 2
    costs = HYBRID if "hybrid" in values else SPLATS
    fields = _field_numbers(values) if "hybrid" in values else 0
    seconds = None
    if device == "cpu":
        runs = costs.step + costs.megapixel * megapixels * _share_of_pixels(values)
        runs += costs.thousand * usual / 1000
        speed = 1 + OVERLAP * (cores - 1)
        seconds = values["steps"] * values["batch"] * runs * kernel_s() / speed
    memory = PROGRAM_BYTES + costs.gaussian_bytes * most + TABLE_BYTES * fields
    memory += 3e6 * megapixels * len(photos)
    kept = costs.kept_bytes * most + 0.75 * TABLE_BYTES * fields
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return Expected(
        study=study,
        preset=preset,
        device=device,
        steps=values["steps"],
        width=photos[0].camera.width,
        height=photos[0].camera.height,
        gaussians=most,
        memory_bytes=round(memory),
        machine_bytes=total_memory(),
        disk_bytes=round((GENERATIONS + 1) * kept),
        disk_free_bytes=shutil.disk_usage(existing).free,
        seconds=seconds,
    )


def kernel_s() -> float:
    """Return the fastest of a few runs of the kernel, in seconds."""
    values = np.linspace(0.1, 2.0, KERNEL_FLOATS, dtype=np.float32)
    times = []
    for _ in range(KERNEL_REPEATS):
        began = time.perf_counter()
        np.exp(-values * values)
        np.sqrt(values) * values
        times.append(time.perf_counter() - began)
    return min(times)


def _share_of_pixels(values: dict[str, Any]) -> float:
    """Return the mean share of the pixels over a training that begins at a quarter and half of the size."""
    quarter = float(values["quarter_until"])
    half = max(quarter, float(values["half_until"]))
    return quarter / 16 + (half - quarter) / 4 + (1 - half)


def _field_numbers(values: dict[str, Any]) -> int:
    """Return how many numbers the tables of the two fields hold at most; geometry has half a table."""
    fields = values["hybrid"]["fields"]
    entries = int(fields["levels"]) << int(fields["log2_table"])
    features = int(fields["features"])
    return entries * features * 3 // 2
