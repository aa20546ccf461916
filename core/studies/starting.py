"""An existing scene as the start of training: any file that opens, brought into the capture's units.

A file of Gaussians says nothing about its coordinates; it is taken to be in the capture's own, as
every export of this program is. A scene with fields is baked first. What a model cannot take over
is measured: the picture before the first step against the picture of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.base.errors import CaptureError
from core.base.events import Event, Notice
from core.capture.capture import Capture
from core.capture.placement import views_of
from core.formats import compare, open_scene
from core.formats.bake import bake_sh
from core.formats.plain import PlainSplats, exported
from core.radiance.field import Snapshot
from core.radiance.sh import BASE
from core.render.backend import Renderer
from core.render.view import GAUSSIANS


@dataclass(frozen=True, eq=False)
class Start:
    """A file's scene, and its Gaussians in the scene units of the capture."""

    name: str
    scene: Snapshot
    splats: PlainSplats
    num_seen: int  # Gaussians whose centre a photograph to learn from shows

    @property
    def colors(self) -> np.ndarray:
        """[N, 3] from all sides, 0..1."""
        return np.clip(0.5 + BASE * self.splats.sh_coeffs[:, 0], 0, 1)


def opened(file: str, capture: Capture) -> Start:
    """Open the file that training starts from; refuse one that the photographs do not show."""
    path = Path(file).expanduser()
    if not path.exists():
        raise CaptureError(
            f"{path}: training starts from this file, and it is not there. Put it back, or leave the start "
            "out; a run that began with it needs it again when it is resumed."
        )
    scene = open_scene(path)
    parts = scene.parts()
    if parts.kind != "splats":
        to_scene = scene.to_original.inverse()
        cameras = [
            to_scene.apply_camera(capture.to_original.apply_camera(photo.camera))
            for photo in capture.train
        ]
        parts = bake_sh(scene, cameras)
    splats = exported(parts, path).moved(capture.to_original.inverse())
    seen = views_of(splats.means, [photo.camera for photo in capture.train]) > 0
    if not seen.any():
        raise CaptureError(
            f"{path.name}: none of its {len(splats):,} Gaussians is seen from the {len(capture.train)} cameras "
            f"of {capture.name}. It belongs to another capture, or to other coordinates than those of its files."
        )
    return Start(path.name, scene, splats, int(seen.sum()))


def tell(
    start: Start,
    begun: Snapshot,
    capture: Capture,
    renderer: Renderer,
    report: Callable[[Event], None],
) -> None:
    """Say how many Gaussians the photographs show, and how far the first picture is from the file's."""
    cameras = [photo.camera for photo in capture.train]
    decibels = compare.psnr_of(begun, start.scene, cameras, renderer, GAUSSIANS)
    alike = "no difference" if np.isinf(decibels) else f"{decibels:.1f} dB"
    count = len(start.splats)
    text = (
        f"Training starts from {start.name}: {count:,} Gaussians, {start.num_seen:,} of them in the "
        f"photographs; the first picture against the file's: {alike}."
    )
    report(Notice(text, "info" if start.num_seen > count // 20 else "warning", key="start"))
