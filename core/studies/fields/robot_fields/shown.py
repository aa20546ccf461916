"""Pictures of a field: a new view, slices, what a ray meets, and one scenario of each robot's task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from core.base.errors import ConfigError
from core.capture.camera import Camera
from core.radiance.sphere_trace import SurfaceAsk
from core.radiance.volume import camera_rays, rays_in_box
from core.render.evaluate import matrices
from core.studies.fields.robot_fields import contact, planning, pose
from core.studies.fields.robot_fields.fields import DistanceField, RadianceField
from core.studies.fields.robot_fields.gaussians import GaussianField
from core.studies.fields.robot_fields.meshes import LevelAsk, distance_of, metres
from core.studies.fields.robot_fields.shapes import BOX, Shape, Views
from core.study import Probe

SIDE = 48  # pixels of a slice
LOSSES = 15  # yaws and shifts of the map of losses
YAW, SHIFT = 30.0, 0.4  # its reach: degrees, scene units
GRASPS = 200  # surface points a grasp is tried at
FALL_S = 0.6
FROM = (-0.45, -0.3, 0.2)  # where the cube falls from: onto the plate, where a fall is no chaos
CELLS = 48
ALONG = "distance, scene units"
BANDS = 10.0  # radians of colour to a scene unit
EVERY = 10  # steps of a fall between those that are drawn
BOX_NOTE = "The whole box: z from 1 at the top to -1, x from -1 to 1"


@torch.no_grad()
def picture(field: Any, camera: Camera) -> torch.Tensor:
    """Return the picture [H, W, 3] over white that a field gives of itself."""
    if isinstance(field, GaussianField):
        return field.picture(camera).clamp(0, 1)
    rays = camera_rays(camera)
    if isinstance(field, RadianceField):
        found = field.ask(*rays)
        return found.over(1.0).clamp(0, 1).reshape(camera.height, camera.width, 3)
    hit = (
        SurfaceAsk(field.distance, BOX)(*rays)
        if isinstance(field, DistanceField)
        else LevelAsk(field.level, field.network.finest)(*rays)
    )
    return (hit.rgb + (1 - hit.alpha)[:, None]).reshape(camera.height, camera.width, 3)


@torch.no_grad()
def probes(field: Any, shape: Shape, test: Views) -> tuple[Probe, ...]:
    """Return the new view beside the object's own, and slices through the middle of the field."""
    camera = test.cameras[0]
    views = torch.stack((picture(field, camera), test.pixels[0])).numpy()
    names = ("field", "object")
    axes = ("picture", "y", "x", "channel")
    found = [Probe("New view", "image", views, axes, {"picture": names})]
    points = _slice()
    side = (SIDE, SIDE)
    inside = field.inside(points).reshape(side).numpy()
    found.append(
        Probe("Inside, slice at y = 0", "heat", inside, ("z", "x"), note=f"{BOX_NOTE}. Probability")
    )
    if field.is_metric:
        bands = (field.distance(points) * BANDS).reshape(side).sin().numpy()
        name, wave = "Lines of equal distance", 2 * np.pi / BANDS
        note = f"{BOX_NOTE}. Sine of the distance: red outside and blue inside the surface, again every {wave:.2f}"
        found.append(Probe(name, "heat", bands, ("z", "x"), is_signed=True, note=note))
        error = field.network.slopes(points).norm(dim=-1).reshape(side) - 1
        found.append(
            Probe(
                "Length of the slope less 1",
                "heat",
                error.numpy(),
                ("z", "x"),
                is_signed=True,
                note="White where the field grows as a distance does",
            )
        )
    truth = (shape.distance(points) < 0).float().reshape(side).numpy()
    found.append(Probe("The object, slice at y = 0", "heat", truth, ("z", "x"), note=BOX_NOTE))
    return tuple(found)


def _slice() -> torch.Tensor:
    line = torch.linspace(-1, 1, SIDE)
    z, x = torch.meshgrid(-line, line, indexing="ij")
    return torch.stack((x, torch.zeros_like(x), z), dim=-1).reshape(-1, 3)


@torch.no_grad()
def ray(field: Any, camera: Camera, row: int, column: int) -> tuple[Probe, ...]:
    """Return what the ray through a pixel meets: weights of samples, or the Gaussians behind it."""
    if isinstance(field, GaussianField):
        viewmats, Ks = matrices(camera, field.means.device)
        ids, weights, depths = field.renderer.contributors(
            field.splats(), viewmats[0], Ks[0], (column, row)
        )
        rows = np.stack([one.cpu().numpy().astype(np.float64) for one in (ids, weights, depths)], 1)
        names = ("Gaussian", "weight", "depth")
        return (Probe("Gaussians of a pixel", "table", rows, ("row", "column"), {"column": names}),)
    origins, along = camera_rays(camera, np.array([row * camera.width + column]))
    if isinstance(field, RadianceField):
        found = field.follow(rays_in_box(origins, along, BOX))
        left = 1 - found.weights.cumsum(dim=-1)
        rows = torch.cat((found.weights, left)).numpy()
        series = ("weight", "what is left of the ray")
        note = f"pixel ({column}, {row}): expected at {float(found.depth):.3f}"
        ticks = {"series": series, ALONG: tuple(found.distances[0].tolist())}
        return (Probe("Along a ray", "curve", rows, ("series", ALONG), ticks, note=note),)
    rays = rays_in_box(origins, along, BOX)
    places = torch.linspace(0, 1, SIDE) * (rays.far - rays.near) + rays.near
    values = field.inside(rays.at(places[None]).reshape(-1, 3))[None].numpy()
    ticks = {"series": ("inside",), ALONG: tuple(places.tolist())}
    return (Probe("Along a ray", "curve", values, ("series", ALONG), ticks),)


def scenario(study: Any, task: str, query: Mapping[str, Any]) -> tuple[Probe, ...]:
    """Return the pictures of one task on the study's field."""
    if task == "clearance":
        return _clearance(study, query)
    known = {"pose": _pose, "plan": _plan, "grasp": _grasp, "drop": _drop}
    if task not in known:
        raise ConfigError(
            f"There is no scenario '{task}'. Choose one of: clearance, {', '.join(known)}."
        )
    return known[task](study)


@torch.no_grad()
def _clearance(study: Any, query: Mapping[str, Any]) -> tuple[Probe, ...]:
    """Say how many metres a body at {x, y, z} is from the object; refuse without lengths or a scale."""
    place = torch.tensor([[[float(query.get(axis, 0.0)) for axis in "xyz"]]])
    room = float(planning.certified(study.field, place))
    told = metres(room, study.config.metres_per_unit)
    return (Probe("Clearance", "text", np.array(f"{told:.3f} m"), ()),)


@torch.no_grad()
def _pose(study: Any) -> tuple[Probe, ...]:
    """Show the error of a picture over yaw and shift, which is 0 at the true pose, and an overlay."""
    camera, target = study.test.cameras[0], study.test.pixels[0]
    losses = np.empty((LOSSES, LOSSES), np.float32)
    yaws = np.deg2rad(np.linspace(-YAW, YAW, LOSSES))
    shifts = np.linspace(-SHIFT, SHIFT, LOSSES)
    small = camera.resized(camera.width // 2, camera.height // 2)
    wanted = torch.nn.functional.avg_pool2d(target.permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)
    for row, yaw in enumerate(yaws):
        for column, shift in enumerate(shifts):
            xi = torch.tensor([[0.0, 0.0, yaw, shift, 0.0, 0.0]], dtype=torch.float32)
            moved = small.moved(pose.exponential(xi)[0].double().numpy() @ camera.camera_to_world)
            losses[row, column] = float((picture(study.field, moved) - wanted).square().mean())
    overlay = (0.5 * picture(study.field, camera) + 0.5 * target).numpy()
    note = (
        f"Yaw from {-YAW:g} to {YAW:g} degrees, shift from {-SHIFT:g} to {SHIFT:g}: "
        "the true pose is in the middle"
    )
    return (
        Probe("Error over yaw and shift along x", "heat", losses, ("yaw", "shift"), note=note),
        Probe("Field over picture", "image", overlay, ("y", "x", "channel")),
    )


def _plan(study: Any) -> tuple[Probe, ...]:
    """Show how close a path comes, before and after it is refined, and what its cost is made of."""
    pairs = planning.pairs_of(study.shape, 1, study.setup.seed)
    first = planning.voxel_paths(study.field, pairs)
    second = planning.refined(study.field, first)
    with torch.no_grad():
        rows = [planning.clearances(study.shape.distance, path)[0] for path in (first, second)]
    names = ("shortest on voxels", "refined", "to be kept")
    bends = [
        float((path[:, 2:] - 2 * path[:, 1:-1] + path[:, :-2]).square().sum())
        for path in (first, second)
    ]
    least = [float(row.min()) for row in rows]
    note = f"bend {bends[0]:.4f} before, {bends[1]:.4f} after; least {least[0]:.3f}, {least[1]:.3f}"
    rows.append(torch.full_like(rows[0], planning.MARGIN))
    axis = "share of the path"
    ticks = {"series": names, axis: tuple(torch.linspace(0, 1, len(rows[0])).tolist())}
    values = torch.stack(rows).numpy()
    return (Probe("Clearance along a path", "curve", values, ("series", axis), ticks, note=note),)


def _grasp(study: Any) -> tuple[Probe, ...]:
    """Show the best grasps: both ends, the angle and whether friction holds."""
    distance = distance_of(study.field, CELLS)
    found = contact.grasps_of(distance, study.surface[:GRASPS])
    count = min(10, len(found.angles))
    degrees = torch.rad2deg(found.angles[:count, None])
    rows = torch.cat((found.ends[:count].reshape(count, 6), degrees), dim=1).numpy()
    names = ("x1", "y1", "z1", "x2", "y2", "z2", "degrees")
    note = f"{int(found.holds.sum())} of {len(found.angles)} hold by friction"
    axes = ("row", "column")
    return (Probe("Best grasps", "table", rows, axes, {"column": names}, note=note),)


def _drop(study: Any) -> tuple[Probe, ...]:
    """Show a cube falling on the field and on the true object."""
    start = torch.tensor(FROM)
    distances = (distance_of(study.field, CELLS), study.shape.distance)
    trails = [contact.drop(distance, start, FALL_S) for distance in distances]
    rows = torch.stack([trail[::EVERY, 2] for trail in trails]).numpy()
    apart = float((trails[0][-1] - trails[1][-1]).norm())
    note = f"after {FALL_S:g} s they lie {apart:.3f} apart"
    names = ("on the field", "on the object")
    seconds = torch.arange(rows.shape[1]) * EVERY * contact.TIME_STEP
    ticks = {"series": names, "seconds": tuple(seconds.tolist())}
    axes = ("series", "seconds")
    return (Probe("Height of a falling cube", "curve", rows, axes, ticks, note=note),)
