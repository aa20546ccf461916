"""Fields that are asked along rays: drawn by the same service as Gaussians, exported as a mesh."""

import numpy as np
import pytest
import torch

from core.base.errors import FormatError
from core.capture.camera import Camera, look_at
from core.engine.pictures import Plan, draw, picture
from core.formats import export_scene, is_saved, save_scene
from core.formats.table import ExportOptions
from core.radiance.field import TracedScene
from core.radiance.ray_scene import RayScene
from core.radiance.sphere_trace import SurfaceAsk, normals_of, sphere_trace
from core.radiance.volume import Rays, march, rays_in_box, stratified
from core.render.evaluate import draw as draw_alone
from core.render.reference import ReferenceRenderer
from core.render.traced import traced, traced_coarsely
from core.render.view import Channel, View

BOX = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
RADIUS = 0.6


def ball_distance(points):
    return points.norm(dim=-1) - RADIUS


def cloud(points, _directions):
    """A dense ball whose colour is its place."""
    density = 80 * torch.sigmoid(-ball_distance(points) * 100)
    return density, 0.5 + 0.5 * points


def ask_cloud(origins, directions):
    rays = rays_in_box(origins, directions, BOX)
    return march(cloud, rays, stratified(rays, 96))


def scene_of(ask):
    return RayScene(ask, step=7, bounds=BOX, up=np.array([0.0, 0.0, 1.0]))


def camera_at(angle=0.3, width=64, height=48):
    center = 2.5 * np.array([np.cos(angle), np.sin(angle), 0.4])
    pose = look_at(center, np.zeros(3), np.array([0.0, 0.0, 1.0]))
    return Camera(pose, 0.9 * width, 0.9 * width, width / 2, height / 2, width, height)


SCENES = {"radiance": scene_of(ask_cloud), "distance": scene_of(SurfaceAsk(ball_distance, BOX))}


@pytest.mark.parametrize("kind", SCENES)
def test_the_depth_of_a_picture_is_measured_along_the_cameras_axis(kind):
    camera = camera_at()
    layers, _ = traced(SCENES[kind], camera)
    alpha, depth = layers.alpha[0, ..., 0], layers.depth[0, ..., 0].numpy()
    solid = np.argwhere(alpha.numpy() > 0.99)
    assert len(solid) > 200
    points = []
    for y, x in solid:
        ray = np.array([(x + 0.5 - camera.cx) / camera.fx, (y + 0.5 - camera.cy) / camera.fy, 1.0])
        points.append(camera.camera_to_world[:3, :3] @ (ray * depth[y, x]) + camera.center)
    apart = np.abs(np.linalg.norm(points, axis=1) - RADIUS)
    assert (
        np.median(apart) < 0.02
    )  # light enters a cloud by about 1 / 80, and samples are 0.02 apart


@pytest.mark.parametrize("kind", SCENES)
@pytest.mark.parametrize("channel", list(Channel))
def test_every_channel_is_drawn_coarsely_while_moving_and_fully_at_rest(kind, channel):
    view = View(camera_at(), channel)
    moving = draw(ReferenceRenderer(), SCENES[kind], Plan(view, 48, 36, is_full=False))
    still = draw(ReferenceRenderer(), SCENES[kind], Plan(view, 64, 48, is_full=True))
    first, _ = picture(moving, view)
    second, _ = picture(still, view)
    assert first.shape == (36, 48, 3)
    assert second.shape == (48, 64, 3)
    assert second.std() > 10
    assert abs(float(first.mean()) - float(second.mean())) < 6  # the same thing, blurred
    assert moving.serves(view)


def test_a_moving_picture_follows_fewer_rays_than_it_has_pixels():
    asked = []

    def counting(origins, directions):
        asked.append(len(origins))
        return ask_cloud(origins, directions)

    camera = camera_at(width=640, height=480)
    layers = traced_coarsely(scene_of(counting), camera)
    assert layers.rgb.shape == (1, 480, 640, 3)
    assert sum(asked) < 640 * 480 / 4


def test_a_picture_nobody_wants_any_more_is_given_up_between_rays():
    answers = iter([False, False, True])
    view = View(camera_at(width=160, height=120))
    plan = Plan(view, 160, 120, is_full=True, cancelled=lambda: next(answers))
    assert draw(ReferenceRenderer(), SCENES["radiance"], plan) is None


def test_a_field_is_measured_like_any_scene():
    shown = draw_alone(SCENES["radiance"], ReferenceRenderer(), camera_at())
    assert shown.shape == (48, 64, 3)
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1


@pytest.mark.parametrize("kind", SCENES)
@pytest.mark.parametrize("suffix", [".mesh.ply", ".mesh.glb", ".ply", ".obj", ".glb"])
def test_the_surface_of_a_field_is_exported_by_the_same_formats(kind, suffix, tmp_path):
    import trimesh

    path = tmp_path / f"ball{suffix}"
    cameras = [camera_at(angle) for angle in np.linspace(0, 2 * np.pi, 10, endpoint=False)]
    said = export_scene(
        SCENES[kind], path, cameras, ReferenceRenderer(), ExportOptions(mesh_cells=48)
    )
    assert "triangles" in said
    mesh = trimesh.load_mesh(path)
    apart = np.abs(np.linalg.norm(mesh.vertices, axis=1) - RADIUS)
    assert np.median(apart) < 0.03  # cells are 1.2 / 48 = 0.025


def test_a_field_says_that_it_has_no_gaussians_to_write(tmp_path):
    scene = SCENES["radiance"]
    assert isinstance(scene, TracedScene)
    assert not is_saved(scene)
    for write in (save_scene, export_scene):
        with pytest.raises(FormatError, match=r"no Gaussians.*\.ply"):
            write(scene, tmp_path / "field.hyrf")
    with pytest.raises(FormatError, match="no Gaussians"):
        export_scene(scene, tmp_path / "field.points.ply")


def test_rays_that_overshoot_a_surface_come_back_to_it():
    rays = Rays(
        torch.tensor([[0.1, 0.0, -2.0]]),
        torch.tensor([[0.0, 0.0, 1.0]]),
        torch.zeros(1),
        torch.full((1,), 4.0),
    )
    too_long = lambda points: 1.8 * ball_distance(points)  # noqa: E731 - a field that exaggerates
    along, is_hit = sphere_trace(too_long, rays, 1e-4)
    assert is_hit.all()
    assert float(along) == pytest.approx(2 - np.sqrt(RADIUS**2 - 0.01), abs=2e-3)


def test_normals_of_a_ball_point_outwards():
    points = torch.nn.functional.normalize(torch.randn(20, 3), dim=-1) * RADIUS
    normals = normals_of(ball_distance, points, 1e-2)
    torch.testing.assert_close(normals, points / RADIUS, atol=1e-3, rtol=0)
