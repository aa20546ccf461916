"""From a snapshot to a picture in two halves: layers, which cost a render, and the picture made of them.

Drawing.layers      [1, h, w, ...]     Gaussians over black, alpha, depth
Drawing.background  [1, h, w, 3]       or None where the model has none
picture             [h, w, 3] uint8    any channel, any blend, from the same drawing
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from core.capture.camera import Camera
from core.radiance.field import Snapshot, TracedScene
from core.render.backend import Layers, Renderer
from core.render.colormap import viridis
from core.render.composite import composite, to_uint8
from core.render.evaluate import matrices
from core.render.panorama import Panorama
from core.render.traced import traced, traced_coarsely
from core.render.view import BOTH, Channel, View

COARSE = 4  # the background of a moving picture is asked at every fourth pixel
BAND = 128  # rows of a sharp background between two questions whether it is still wanted
DEPTH_RANGE = (2.0, 98.0)  # percent of the depths that the colours span
SOLID = 0.5  # alpha from which a pixel's depth counts for that range
SAMPLES = 50_000  # depths looked at to find the range


@dataclass(frozen=True, eq=False)
class Drawing:
    """The layers of one view at one moment; `camera` is the one asked for, the layers may be smaller."""

    snapshot: Snapshot
    camera: Camera
    layers: Layers
    background: torch.Tensor | None  # black where a panorama was not needed
    panorama: Panorama | None
    is_full: bool
    num_visible: int
    decode_ms: float
    total_ms: float

    @property
    def pixels(self) -> int:
        """Pixels of the layers."""
        return self.layers.alpha.shape[1] * self.layers.alpha.shape[2]

    def serves(self, view: View) -> bool:
        """Whether a picture of this view can be made without another render."""
        has_channel = view.channel is not Channel.DEPTH or self.layers.depth is not None
        return has_channel and same_camera(self.camera, view.camera)


@dataclass(frozen=True, eq=False)
class Plan:
    """What to draw: a view at a size in pixels, coarse behind while moving, given up when `cancelled`."""

    view: View
    width: int
    height: int
    is_full: bool
    cancelled: Callable[[], bool] | None = field(default=None)
    panorama: Panorama | None = field(default=None)  # of the snapshot, for moving pictures


def same_camera(one: Camera, other: Camera) -> bool:
    """Whether two cameras give the same picture."""
    return one is other or (
        (one.width, one.height) == (other.width, other.height)
        and (one.fx, one.fy, one.cx, one.cy) == (other.fx, other.fy, other.cx, other.cy)
        and np.array_equal(one.camera_to_world, other.camera_to_world)
    )


@torch.no_grad()
def draw(renderer: Renderer, snapshot: Snapshot, plan: Plan) -> Drawing | None:
    """Render the layers of a view; None when given up half way."""
    if isinstance(snapshot, TracedScene):
        return _draw_traced(snapshot, plan)
    began = time.perf_counter()
    camera = plan.view.camera.resized(plan.width, plan.height)
    with _stream(snapshot.device):
        splats = snapshot.splats(camera)
        decode_ms = (time.perf_counter() - began) * 1000
        viewmats, Ks = matrices(camera, snapshot.device)
        layers = renderer.rasterize(
            splats,
            viewmats,
            Ks,
            plan.width,
            plan.height,
            "rgb+depth" if plan.view.channel is Channel.DEPTH else "rgb",
            antialiased=snapshot.is_antialiased,
            cancelled=plan.cancelled,
        )
        if layers is None:
            return None
        panorama = None if plan.is_full else plan.panorama
        if plan.is_full:
            background = _fine(snapshot, camera, plan.cancelled)
            if plan.cancelled is not None and plan.cancelled():
                return None
        elif panorama is not None:
            background = panorama.picture(camera, layers.alpha[0, :, :, 0])[None]
        else:
            background = _coarse(snapshot, camera)
        num_visible = int((layers.stats.radii[0] > 0).sum())
    return Drawing(
        snapshot,
        plan.view.camera,
        layers,
        background,
        panorama,
        plan.is_full,
        num_visible,
        decode_ms,
        (time.perf_counter() - began) * 1000,
    )


@torch.no_grad()
def _draw_traced(snapshot: Any, plan: Plan) -> Drawing | None:
    """Follow the rays of a view; None when given up half way."""
    began = time.perf_counter()
    camera = plan.view.camera.resized(plan.width, plan.height)
    with _stream(snapshot.device):
        if plan.is_full:
            found = traced(snapshot, camera, plan.cancelled)
            if found is None:
                return None
            layers = found[0]
        else:
            layers = traced_coarsely(snapshot, camera)
    total_ms = (time.perf_counter() - began) * 1000
    return Drawing(snapshot, plan.view.camera, layers, None, None, plan.is_full, 0, 0.0, total_ms)


@torch.no_grad()
def picture(drawing: Drawing, view: View) -> tuple[np.ndarray, dict[str, Any]]:
    """Return a fresh read-only picture [h, w, 3] uint8 and its legend."""
    layers, legend = drawing.layers, {}
    with _stream(drawing.snapshot.device):
        if view.channel is Channel.DEPTH and layers.depth is not None:
            low, high = depth_range(layers.depth[0, :, :, 0], layers.alpha[0, :, :, 0])
            colors = viridis(layers.depth[0, :, :, 0], low, high) * layers.alpha[0]
            legend = {"low": low, "high": high, "unit": "scene units"}
        elif view.channel is Channel.ALPHA:
            colors = layers.alpha[0].expand(-1, -1, 3)
            legend = {"low": 0.0, "high": 1.0, "unit": "opacity"}
        else:
            background = drawing.background
            if drawing.panorama is not None and view.blend > BOTH:  # seen through the Gaussians too
                height, width = layers.alpha.shape[1:3]
                background = drawing.panorama.picture(drawing.camera.resized(width, height))[None]
            colors = composite(layers, background, view.blend)[0]
        image = np.array(to_uint8(colors), dtype=np.uint8, order="C")
    image.setflags(write=False)
    return image, legend


def depth_range(depths: torch.Tensor, alphas: torch.Tensor) -> tuple[float, float]:
    """Return the depths (low, high) that the colours span, leaving out what is nearly transparent."""
    solid = depths[alphas > SOLID]
    if solid.numel() == 0:
        solid = depths[alphas > 0]
    if solid.numel() == 0:
        return 0.0, 1.0
    sample = solid[:: max(1, solid.numel() // SAMPLES)].float().cpu().numpy()
    low, high = (float(value) for value in np.percentile(sample, DEPTH_RANGE))
    return low, max(high, low + 1e-6)


def _coarse(snapshot: Snapshot, camera: Camera) -> torch.Tensor | None:
    """Return the background [1, H, W, 3] from fewer pixels."""
    width, height = max(1, camera.width // COARSE), max(1, camera.height // COARSE)
    colors = snapshot.background(camera.resized(width, height))  # [h, w, 3]
    if colors is None:
        return None
    planes = colors.permute(2, 0, 1)[None]  # [1, 3, h, w]
    size = (camera.height, camera.width)
    grown = F.interpolate(planes, size, mode="bilinear", align_corners=False)
    return grown.permute(0, 2, 3, 1)  # [1, H, W, 3]


def _fine(
    snapshot: Snapshot, camera: Camera, cancelled: Callable[[], bool] | None
) -> torch.Tensor | None:
    """Return the background [1, H, W, 3] at every pixel, in bands of rows; None when there is none or given up."""
    bands = []
    for top in range(0, camera.height, BAND):
        rows = min(BAND, camera.height - top)
        band = snapshot.background(replace(camera, cy=camera.cy - top, height=rows))  # [rows, W, 3]
        if band is None or (cancelled is not None and cancelled()):
            return None
        bands.append(band)
    return torch.cat(bands)[None]


@contextlib.contextmanager
def _stream(device: torch.device) -> Iterator[None]:
    """Draw on a CUDA stream of high priority, so that training kernels do not hold up a picture.

    Nothing has to be waited for: a snapshot is complete before it is published.
    """
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device, priority=-1)
    with torch.cuda.stream(stream):
        yield
    stream.synchronize()
