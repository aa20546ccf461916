"""Signals that fields learn: a photograph, the signed distance of a mesh, views of a scene.

A signal gives what one step learns from (`loss`), measures (`evaluate`) and shows itself (`probes`).

    predict(places [N, rank], rows [N] or None) -> values [N, channels]
    places   0..1; of a picture (y, x) at pixel centres, of a mesh and a scene (x, y, z) in their box
    rows     which of the signal's own `places` these are, where they are some of them

Distances are in sides of the box. Views are in core/studies/ray_signal.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pydantic import Field

from core.base.config import Config
from core.base.errors import ConfigError
from core.nn.bundled import photograph
from core.study import Metrics, Probe, Setup

PICTURES = {
    "astronaut": "astronaut.png",
    "coffee": "coffee.png",
    "chelsea": "chelsea.png",
    "rocket": "rocket.jpg",
    "text": "text.png",
}
MARGIN = 0.1  # of the box, around a mesh
NOISE = (0.003, 0.03)  # of the box: how far from the surface points are drawn
NEAR_SHARE = 0.875  # of the points; the others are anywhere
MOST_RELATIVE = 0.01  # what is added to a distance before an error is divided by it
CHUNK = 1 << 15
Predict = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]


class SignalConfig(Config):
    """Which signal, and how much of it a step sees."""

    signal: Literal["picture", "shape", "views"] = Field(
        "picture", title="Signal", description="A photograph, a mesh's distance, views of a scene."
    )
    picture: Literal["astronaut", "coffee", "chelsea", "rocket", "text"] = Field(
        "astronaut", title="Photograph", description="Which photograph is learned."
    )
    size: int = Field(256, ge=8, le=4096, title="Size", description="Pixels of a picture's side.")
    mesh: str = Field("", title="Mesh", description="A closed mesh's file; none: a carved ball.")
    mesh_cells: int = Field(64, ge=8, le=256, description="Cells that the carved ball is cut from.")
    points: int = Field(100_000, ge=64, title="Points", description="With a known distance.")
    capture: str = Field("", title="Capture", description="Photographs of a scene; none: a demo.")
    view_size: int = Field(64, ge=8, le=1024, description="Pixels of a view's longer side.")
    samples: int = Field(8192, ge=1, title="Samples", description="Samples or rays of a step.")
    ray_samples: int = Field(64, ge=4, le=1024, description="Places asked along a ray.")


class Signal(Protocol):
    """What a field learns."""

    rank: int
    channels: int
    places: torch.Tensor  # [N, rank] where it is known or may be asked
    weights: np.ndarray  # [N] where detail is: kernels belong there

    def prepare(self, setup: Setup) -> None:
        """Build the data."""
        ...

    def loss(self, predict: Predict, rng: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of one step and its numbers."""
        ...

    def evaluate(self, predict: Predict) -> Metrics:
        """Measure the whole signal."""
        ...

    def probes(self, predict: Predict) -> tuple[Probe, ...]:
        """Return pictures of what is learned."""
        ...


def psnr(error: float | torch.Tensor) -> float:
    """Return decibels of a mean squared error of values of 0..1."""
    return float(-10 * np.log10(max(float(error), 1e-10)))


def lattice(rank: int, side: int) -> torch.Tensor:
    """Return the middles of all cells of the unit box, [side^rank, rank], the last axis fastest."""
    line = (torch.arange(side, dtype=torch.float32) + 0.5) / side
    return torch.stack(torch.meshgrid(*[line] * rank, indexing="ij"), dim=-1).reshape(-1, rank)


@torch.no_grad()
def everywhere(predict: Predict, places: torch.Tensor, *, are_rows: bool = False) -> torch.Tensor:
    """Return the values [N, channels] at many places, part by part."""
    rows = torch.arange(len(places), device=places.device)
    parts = zip(places.split(CHUNK), rows.split(CHUNK), strict=True)
    return torch.cat([predict(part, own if are_rows else None) for part, own in parts])


class PictureSignal:
    """A photograph, all of its pixels learned (as published) by mean squared or absolute error."""

    rank, channels = 2, 3

    def __init__(self, config: SignalConfig, *, is_absolute: bool = False) -> None:
        self.config, self.is_absolute = config, is_absolute

    def prepare(self, setup: Setup) -> None:
        """Read the pixels and how steep they are."""
        size = self.config.size
        self.picture = photograph(PICTURES[self.config.picture], size)  # [H, W, 3]
        self.places = lattice(2, size).to(setup.device)
        self.values = torch.from_numpy(self.picture).reshape(-1, 3).to(setup.device)
        down, across = np.gradient(self.picture, axis=(0, 1))
        self.weights = np.sqrt((down**2 + across**2).sum(axis=-1)).ravel()

    def loss(self, predict: Predict, rng: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Compare pixels drawn at random."""
        rows = torch.randint(len(self.places), (self.config.samples,), generator=rng)
        rows = rows.to(self.places.device)
        gap = predict(self.places[rows], rows) - self.values[rows]
        squared = gap.square().mean()
        loss = gap.abs().mean() if self.is_absolute else squared
        return loss, {"loss": float(loss.detach()), "psnr": psnr(squared.detach())}

    def evaluate(self, predict: Predict) -> Metrics:
        """Measure the whole picture."""
        found = everywhere(predict, self.places, are_rows=True)
        return {"psnr": psnr((found - self.values).square().mean())}

    def shaped(self, values: torch.Tensor) -> np.ndarray:
        """Return values [H W, ...] as an array [H, W, ...] of its own."""
        size = self.config.size
        return values.reshape(size, size, *values.shape[1:]).cpu().numpy().copy()

    def probes(self, predict: Predict) -> tuple[Probe, ...]:
        """Return the picture as it is learned, and its error."""
        learned = self.shaped(everywhere(predict, self.places, are_rows=True))
        names = ("learned", "photograph")
        pictures = np.stack((learned, self.picture)).clip(0, 1)
        gap = np.abs(learned - self.picture).mean(axis=-1)
        return (
            Probe(
                "Picture", "image", pictures, ("picture", "y", "x", "channel"), {"picture": names}
            ),
            Probe("Error", "heat", gap, ("y", "x")),
        )


class ShapeSignal:
    """The signed distance of a mesh, learned by its relative absolute error."""

    rank, channels = 3, 1

    def __init__(self, config: SignalConfig) -> None:
        self.config = config

    def prepare(self, setup: Setup) -> None:
        """Measure exact distances at points near the surface and anywhere."""
        self.vertices, self.faces = mesh_of(self.config)
        name = hashlib.sha256(self.vertices.tobytes() + self.faces.tobytes()).hexdigest()[:16]
        key = f"distances {name} {self.config.points} {setup.seed}"
        kept = setup.artifact(key, lambda: self._measured(setup.seed))
        device = setup.device
        self.places, self.values = kept["places"].to(device), kept["values"].to(device)
        self.held, self.truth = kept["held"].to(device), kept["truth"].to(device)
        self.weights = 1 / (self.values[:, 0].abs().cpu().numpy() + 1e-9)

    def _measured(self, seed: int) -> dict[str, torch.Tensor]:
        from core.studies.mesh_distance import MeshDistance

        rng, count = np.random.default_rng(seed), self.config.points
        distance = MeshDistance(self.vertices, self.faces, self.config.mesh or "the carved ball")
        near = surface_points(self.vertices, self.faces, round(count * NEAR_SHARE), rng)
        scale = rng.choice(NOISE, size=(len(near), 1))
        near = near + scale * rng.normal(size=near.shape)
        places = np.concatenate((near, rng.random((count - len(near), 3)))).clip(0, 1)
        held = np.concatenate(
            (
                surface_points(self.vertices, self.faces, count // 10, rng)
                + NOISE[0] * rng.normal(size=(count // 10, 3)),
                rng.random((count // 10, 3)),
            )
        ).clip(0, 1)
        found = {"places": places, "values": distance(places)[:, None]}
        found |= {"held": held, "truth": distance(held)[:, None]}
        return {key: torch.tensor(one, dtype=torch.float32) for key, one in found.items()}

    def loss(self, predict: Predict, rng: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Compare points drawn at random; an error counts relative to the distance."""
        rows = torch.randint(len(self.places), (self.config.samples,), generator=rng)
        rows = rows.to(self.places.device)
        truth = self.values[rows]
        gap = (predict(self.places[rows], rows) - truth).abs()
        loss = (gap / (truth.abs() + MOST_RELATIVE)).mean()
        return loss, {"loss": float(loss.detach()), "error": float(gap.detach().mean())}

    def evaluate(self, predict: Predict) -> Metrics:
        """Measure points of no step: the error near the surface, and whether inside is inside anywhere."""
        found, half = everywhere(predict, self.held), len(self.held) // 2
        near = (found[:half] - self.truth[:half]).abs().mean()
        inside, truly = found[half:] < 0, self.truth[half:] < 0
        union = int((inside | truly).sum())
        return {
            "near_error": float(near),
            "iou": int((inside & truly).sum()) / union if union else 1.0,
        }

    def probes(self, predict: Predict) -> tuple[Probe, ...]:
        """Return a slice through the middle, and the surface seen along z."""
        side = 96
        places = lattice(2, side)
        middle = torch.cat((places.flip(0), torch.full((len(places), 1), 0.5)), dim=1)
        device = self.places.device
        cut = everywhere(predict, middle.to(device)).reshape(side, side).cpu().numpy().copy()
        return (
            Probe("Surface", "image", self._seen(predict, side), ("y", "x")),
            Probe(
                "Slice at z = 0.5", "heat", cut, ("y", "x"), is_signed=True,
                note="The surface is where red and blue meet",
            ),
        )  # fmt: skip

    def _seen(self, predict: Predict, side: int) -> np.ndarray:
        """Return the surface [H, W] as light from the eye shows it."""
        from core.radiance.sphere_trace import SurfaceAsk

        flat = (lattice(2, side) * 1.2 - 0.1).to(self.places.device)
        origins = torch.stack((flat[:, 1], 1 - flat[:, 0], torch.full_like(flat[:, 0], 2.0)), -1)
        down = torch.tensor([0.0, 0.0, -1.0], device=origins.device).expand_as(origins)
        ask = SurfaceAsk(lambda points: predict(points, None)[:, 0], UNIT_BOX)
        return ask(origins, down).rgb[:, 0].reshape(side, side).cpu().numpy().copy()


UNIT_BOX = np.array([[0.0] * 3, [1.0] * 3])


def mesh_of(config: SignalConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the vertices [V, 3] in the unit box, and the faces [F, 3], of a file or of the carved ball."""
    if not config.mesh:
        return carved_ball(config.mesh_cells)
    path = Path(config.mesh).expanduser()
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such mesh. Give a file such as bunny.obj.")
    import trimesh

    try:
        mesh: Any = trimesh.load(path, force="mesh")
    except Exception as error:  # its readers raise whatever they meet
        raise ConfigError(
            f"{path}: not a mesh that can be read ({error}). Use OBJ or PLY."
        ) from None
    vertices = np.asarray(getattr(mesh, "vertices", ()), np.float64).reshape(-1, 3)
    if not len(vertices) or not np.isfinite(vertices).all():
        raise ConfigError(f"{path}: {len(vertices)} finite vertices. Use another mesh.")
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    size = float((high - low).max()) or 1.0
    return (vertices - (low + high) / 2) / size * (1 - 2 * MARGIN) + 0.5, np.asarray(mesh.faces)


def carved_ball(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a ball with ripples, three bores and a lattice inside, in the unit box."""
    from skimage.measure import marching_cubes

    x, y, z = lattice(3, cells).numpy().astype(np.float64).reshape(cells, cells, cells, 3).T - 0.5
    x, y, z = x.T, y.T, z.T
    radius = np.sqrt(x**2 + y**2 + z**2)
    ball = radius - 0.37 - 0.012 * np.sin(30 * x) * np.sin(30 * y) * np.sin(30 * z)
    bores = np.min([np.hypot(x, y), np.hypot(y, z), np.hypot(z, x)], axis=0) - 0.13
    turns = 2 * np.pi * 4
    gyroid = sum(np.sin(turns * a) * np.cos(turns * b) for a, b in ((x, y), (y, z), (z, x)))
    walls = (np.abs(gyroid) - 0.9) / turns
    value = np.maximum(np.maximum(ball, -bores), np.minimum(walls, 0.3 - radius))
    vertices, faces, _, _ = marching_cubes(value, 0.0, spacing=(1 / cells,) * 3)
    return vertices.astype(np.float64) + 0.5 / cells, faces.astype(np.int64)


def surface_points(
    vertices: np.ndarray, faces: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return points [count, 3] spread evenly over the triangles."""
    corners = vertices[faces]
    sides = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    chosen = rng.choice(len(faces), count, p=area / area.sum())
    share = rng.random((count, 2))
    share = np.where(share.sum(axis=1, keepdims=True) > 1, 1 - share, share)
    found: np.ndarray = corners[chosen, 0] + np.einsum("pk,pki->pi", share, sides[chosen])
    return found
