"""The demo capture: a small ray-traced scene with exact cameras, near detail and a far sky.

A round stone platform carries balls, a crate, a brick pillar and a tiled block; hills, lake, clouds
and stars lie at infinity. Coordinates are the scene's own: z up, the platform's top at 0. A camera
of an opened capture comes back to them through `capture.to_original.apply_camera(camera)`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from core.capture import scenery
from core.capture.camera import Camera, from_opengl, look_at
from core.capture.point_cloud import write_points_ply
from core.capture.solids import Box, Platform, Solid, Sphere, first_hit

WIDTH, HEIGHT = 320, 240
FOCAL = 250.0  # pixels: 65 degrees across
VIEWS = 48
RINGS = ((4.1, 1.5, 0.55), (4.4, 0.75, 0.62), (3.7, 2.5, 0.35))  # radius, height, height looked at
SUPERSAMPLING = 2
JPEG_QUALITY = 92
NUM_POINTS = 3000
UP = np.array([0.0, 0.0, 1.0])

SOLIDS: tuple[Solid, ...] = (
    Platform(2.3, 0.34, scenery.paving, scenery.bricks),
    Sphere(np.array([0.05, 0.1, 0.62]), 0.62, scenery.marble, 0.55),
    Sphere(np.array([-0.35, -1.25, 0.36]), 0.36, scenery.stripes, 0.35),
    Sphere(np.array([1.35, 0.35, 0.27]), 0.27, scenery.dots, 0.3),
    Sphere(np.array([0.62, -0.82, 0.2]), 0.2, scenery.gold, 0.9),
    Sphere(np.array([-0.95, 1.35, 0.24]), 0.24, scenery.gold, 0.9),
    Box(np.array([-1.25, 0.2, 0.4]), np.array([0.4, 0.4, 0.4]), 0.5, scenery.planks),
    Sphere(np.array([-1.2, 0.25, 1.02]), 0.22, scenery.dots, 0.3),
    Box(np.array([0.55, 1.3, 0.7]), np.array([0.26, 0.26, 0.7]), -0.35, scenery.bricks),
    Sphere(np.array([0.55, 1.3, 1.62]), 0.22, scenery.marble, 0.6),
    Box(np.array([1.2, -0.95, 0.24]), np.array([0.3, 0.45, 0.24]), 0.9, scenery.tiles, 0.5),
)


def cameras() -> tuple[Camera, ...]:
    """Return the demo's cameras, in the order of its pictures."""
    found = []
    for index in range(VIEWS):
        radius, height, target = RINGS[index % len(RINGS)]
        angle = 2 * np.pi * index / VIEWS
        center = np.array([radius * np.cos(angle), radius * np.sin(angle), height])
        pose = look_at(center, np.array([0.0, 0.0, target]), UP)
        found.append(Camera(pose, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT))
    return tuple(found)


def render(camera: Camera) -> np.ndarray:
    """Return the picture [H, W, 3] uint8 that a camera in the demo's coordinates takes."""
    fine = camera.resized(camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING)
    directions = fine.directions().reshape(-1, 3)
    colors = np.clip(_trace(fine.center, directions), 0.0, 1.0)
    shape = (camera.height, SUPERSAMPLING, camera.width, SUPERSAMPLING, 3)
    return np.rint(colors.reshape(shape).mean(axis=(1, 3)) * 255).astype(np.uint8)


def sky_mask(camera: Camera) -> np.ndarray:
    """Return [H, W] bool: the ray through the pixel's centre meets nothing near."""
    directions = camera.directions().reshape(-1, 3)
    origins = np.broadcast_to(camera.center, directions.shape)
    return (first_hit(SOLIDS, origins, directions)[1] < 0).reshape(camera.height, camera.width)


def surface_points(count: int = NUM_POINTS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return visible surface points [P, 3] with colours [P, 3] uint8, spread by area."""
    rng = np.random.default_rng(seed)
    areas = np.array([solid.area for solid in SOLIDS])
    numbers = rng.multinomial(2 * count, areas / areas.sum())
    points = np.concatenate(
        [solid.sample(rng, number) for solid, number in zip(SOLIDS, numbers, strict=True)]
    )
    points = points[rng.permutation(len(points))]
    colors = np.zeros_like(points)
    seen = np.zeros(len(points), bool)
    for camera in cameras()[::4]:
        rays = points - camera.center
        lengths = np.linalg.norm(rays, axis=1)
        directions = rays / lengths[:, None]
        pixels, _ = camera.project(points)
        with np.errstate(invalid="ignore"):
            inside = ((pixels >= 0) & (pixels < [WIDTH, HEIGHT])).all(1)
        origins = np.broadcast_to(camera.center, directions.shape)
        is_new = inside & ~seen
        is_new[is_new] = (
            first_hit(SOLIDS, origins[is_new], directions[is_new])[0] > lengths[is_new] - 1e-3
        )
        colors[is_new] = _trace(camera.center, directions[is_new])
        seen |= is_new
    points, colors = points[seen][:count], colors[seen][:count]
    return points, np.rint(np.clip(colors, 0, 1) * 255).astype(np.uint8)


def write_demo(folder: Path) -> None:
    """Write the demo as transforms.json, JPEG pictures and seed points."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    frames = []
    for index, camera in enumerate(cameras()):
        name = f"images/{index:03}.jpg"
        Image.fromarray(render(camera)).save(folder / name, quality=JPEG_QUALITY, optimize=True)
        pose = from_opengl(camera.camera_to_world).round(9) + 0.0  # no -0.0 in the file
        frames.append({"file_path": name, "transform_matrix": pose.tolist()})
    write_points_ply(folder / "points.ply", *surface_points())
    values = {
        "camera_model": "PINHOLE",
        "w": WIDTH,
        "h": HEIGHT,
        "fl_x": FOCAL,
        "fl_y": FOCAL,
        "cx": WIDTH / 2,
        "cy": HEIGHT / 2,
        "ply_file_path": "points.ply",
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(values, indent=1) + "\n", "utf-8")


def _trace(origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return the colour [P, 3] that arrives along rays from one origin."""
    origins = np.broadcast_to(origin, directions.shape)
    distances, solid_ids = first_hit(SOLIDS, origins, directions)
    colors = np.empty_like(directions)
    is_sky = solid_ids < 0
    colors[is_sky] = scenery.backdrop(directions[is_sky])
    for index, solid in enumerate(SOLIDS):
        rays = solid_ids == index
        if rays.any():
            points = origins[rays] + distances[rays, None] * directions[rays]
            colors[rays] = _shade(solid, points, directions[rays])
    return colors


def _shade(solid: Solid, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Light surface points: sun with shadows, sky from above, contact shadows, a highlight that follows the eye."""
    normals = solid.normals(points)
    lifted = points + 1e-3 * normals
    sun = np.maximum(normals @ scenery.SUN, 0.0)
    toward = np.broadcast_to(scenery.SUN, points.shape)
    is_lit = first_hit(SOLIDS, lifted, toward)[1] < 0
    sun = (sun * is_lit)[:, None]
    open_sky = _openness(solid, points, normals)
    ambient = scenery.mix([0.30, 0.26, 0.25], [0.46, 0.54, 0.68], 0.5 + 0.5 * normals[:, 2])
    light = sun * scenery.SUN_COLOR * 0.95 + ambient * open_sky[:, None]
    mirrored = directions - 2 * (directions * normals).sum(1, keepdims=True) * normals
    facing = np.clip(-(directions * normals).sum(1), 0.0, 1.0)
    highlight = np.maximum(mirrored @ scenery.SUN, 0.0) ** 60 * is_lit
    sheen = (0.12 + 0.5 * (1 - facing) ** 4) * solid.gloss * open_sky
    sky = scenery.mix([0.80, 0.66, 0.55], [0.45, 0.62, 0.88], mirrored[:, 2] * 1.5 + 0.3)
    shine = highlight[:, None] * solid.gloss * scenery.SUN_COLOR * 0.9
    return solid.colors(points) * light + sky * sheen[:, None] + shine


def _openness(solid: Solid, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Return how much of the sky a point sees, other solids taken as balls."""
    open_sky = np.ones(len(points))
    for other in SOLIDS:
        if other is solid or isinstance(other, Platform):
            continue
        offset = other.center - points
        distance = np.linalg.norm(offset, axis=1)
        cosine = np.maximum((offset * normals).sum(1) / distance, 0.0)
        share = np.minimum(other.extent / distance, 1.0) ** 2
        open_sky *= 1 - 0.85 * cosine * share
    if not isinstance(solid, Platform):  # the platform darkens what faces down close to it
        height = np.clip(points[:, 2] / 0.5, 0.0, 1.0)
        open_sky *= 1 - 0.45 * (1 - height) * np.clip(0.6 - normals[:, 2], 0.0, 1.0)
    return open_sky
