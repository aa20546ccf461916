"""Neural fields in robotics: the four kinds of field, their queries, and what robots ask of them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from core.base.config import resolve
from core.base.errors import ConfigError
from core.capture.camera import Camera
from core.radiance.field import TracedScene
from core.radiance.volume import camera_rays, rays_in_box
from core.studies.fields.robot_fields import contact, meshes, planning, pose
from core.studies.fields.robot_fields.config import RobotConfig
from core.studies.fields.robot_fields.fields import DistanceField, PictureDistance, RadianceField
from core.studies.fields.robot_fields.gaussians import GaussianField, product, rotations
from core.studies.fields.robot_fields.networks import FieldNetwork, Sizes
from core.studies.fields.robot_fields.shapes import (
    BOX,
    MeshShape,
    Solids,
    grid_points,
    ring,
    true_surface,
    views_of,
)
from core.studies.fields.robot_fields.study import RobotFields
from core.study import Setup

BALL = 0.6


def study_of(variant, steps=0, preset="quick", **settings):
    study = RobotFields(resolve(RobotConfig, preset, settings), Setup(variant=variant, seed=1))
    study.prepare()
    for _ in range(steps):
        study.step()
    return study


class Exact:
    """The object itself in place of a field."""

    is_metric = True

    def __init__(self, shape=None):
        self.distance = (shape or Solids()).distance

    def level(self, points):
        return -self.distance(points)

    def inside(self, points):
        return torch.sigmoid(-self.distance(points) / 0.01)


def ball_distance(points):
    return points.norm(dim=-1) - BALL


@pytest.fixture(autouse=True)
def _same_points_every_time():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# ---- the object --------------------------------------------------------------------------


def test_distances_outside_the_solids_are_exact():
    shape = Solids()
    points = 2 * torch.rand(300, 3) - 1
    outside = points[shape.distance(points) > 0.02]
    surface = torch.from_numpy(true_surface(shape, 40_000, 0))
    nearest = torch.cdist(outside, surface).amin(dim=1)
    # the nearest of 40,000 random samples is too far by the gaps between them, 0.03 at most
    assert ((nearest - shape.distance(outside)).abs() < 0.03).all()


def test_pictures_agree_with_their_depths():
    views = views_of(Solids(), ring(2, 32))
    origins, along = camera_rays(views.cameras[1])
    solid = views.alpha[1].reshape(-1) > 0
    points = (origins + views.depth[1].reshape(-1, 1) * along)[solid]
    assert solid.float().mean() > 0.1
    assert Solids().distance(points).abs().max() < 0.01
    assert (views.pixels[1].reshape(-1, 3)[~solid].mean() > 0.9).item()


def write_ball(path, is_open=False):
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=3, radius=2.0)
    if is_open:
        mesh.update_faces(mesh.triangles_center[:, 2] > 0)
    mesh.export(path)
    return str(path)


def test_a_mesh_file_is_an_object_too(tmp_path):
    shape = MeshShape(write_ball(tmp_path / "ball.ply"))
    assert shape.has_inside
    points = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.0, 0.0]])
    torch.testing.assert_close(shape.distance(points), torch.tensor([-0.7, 0.2]), atol=0.02, rtol=0)


def test_an_open_mesh_has_distances_without_sign_and_no_occupancy(tmp_path):
    path = write_ball(tmp_path / "half.ply", is_open=True)
    assert (MeshShape(path).distance(2 * torch.rand(500, 3) - 1) >= 0).all()
    with pytest.raises(ConfigError, match="open and has no inside"):
        study_of("occupancy", mesh=path)


def test_a_file_that_is_no_mesh_is_named(tmp_path):
    path = tmp_path / "words.ply"
    path.write_text("no mesh")
    with pytest.raises(ConfigError, match=r"words\.ply"):
        MeshShape(str(path))


# ---- networks ----------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["waves", "hash"])
def test_a_distance_field_begins_as_a_ball(encoder):
    torch.manual_seed(0)
    network = FieldNetwork(Sizes(encoder, 5, 64, 3, True))
    assert float(network(torch.zeros(1, 3)).detach()) < -0.1
    corners = 2 * (torch.rand(8, 3) > 0.5).float() - 1
    assert (network(corners) > 0.1).all()


def test_slopes_do_not_jump_at_the_cells_of_a_hash_grid():
    torch.manual_seed(0)
    network = FieldNetwork(Sizes("hash", 5, 32, 2, False))
    with torch.no_grad():
        network.grid.table.uniform_(-0.5, 0.5)
    points = torch.stack(
        (torch.linspace(0.1, 0.4, 4000), torch.full((4000,), 0.2), torch.full((4000,), 0.3)), -1
    )

    def jump(slopes):
        return float(slopes[:, 0].diff().abs().max())

    leaf = points.clone().requires_grad_()
    exact = torch.autograd.grad(network(leaf).sum(), leaf)[0]
    assert jump(network.slopes(points).detach()) < 0.3 * jump(exact)


def test_slopes_are_those_of_the_network():
    torch.manual_seed(0)
    network = FieldNetwork(Sizes("waves", 3, 32, 2, True))
    points = (torch.rand(20, 3) - 0.5).requires_grad_()
    exact = torch.autograd.grad(network(points).sum(), points)[0]
    # differences over a quarter of the shortest wave round off its curve
    assert (network.slopes(points) - exact).abs().max() < 0.1


def test_waves_that_are_shut_out_change_nothing():
    network = FieldNetwork(Sizes("waves", 4, 16, 2, False))
    points = torch.rand(5, 3)
    network.window = 2.0
    encoded = network.encoded(points)[:, 3:].reshape(5, 4, 6)
    assert (encoded[:, 2:] == 0).all()
    assert (encoded[:, :2] != 0).any()


def test_the_density_of_a_distance_is_half_of_its_height_on_the_surface():
    field = PictureDistance(Sizes("waves", 3, 16, 2, True), 16)
    b = float(field.log_b.detach().exp())
    density = field.density(torch.tensor([-10.0, 0.0, 10.0]))
    torch.testing.assert_close(density, torch.tensor([1 / b, 0.5 / b, 0.0]), atol=1e-5, rtol=1e-5)


# ---- every field answers -----------------------------------------------------------------


@pytest.mark.parametrize("variant", RobotFields.variants)
def test_every_field_answers_every_query_with_gradients(variant):
    study = study_of(variant, steps=2)
    points = (0.8 * torch.rand(50, 3) - 0.4).requires_grad_()
    for query in (study.field.inside, study.field.level, meshes.distance_of(study.field, 16)):
        values = query(points)
        assert values.shape == (50,)
        (slope,) = torch.autograd.grad(values.sum(), points, allow_unused=False)
        assert slope.isfinite().all()
    inside = study.field.inside(points)
    assert ((inside >= 0) & (inside <= 1)).all()
    assert study.probes()
    assert study.inspect({"y": 12, "x": 12})


@pytest.mark.parametrize("variant", ["sdf", "nerf", "gaussians", "occupancy"])
def test_a_field_becomes_a_scene_that_is_drawn(variant):
    study = study_of(variant, steps=1)
    scene = study.snapshot()
    assert isinstance(scene, TracedScene) == (variant != "gaussians")
    assert scene.parts().summary["cameras"]
    if isinstance(scene, TracedScene):
        found = scene.trace(*camera_rays(study.test.cameras[0]))
        assert found.rgb.isfinite().all()


def test_the_papers_networks_are_as_large_as_those_it_names():
    sizes = {}
    for variant in ("sdf", "nerf"):
        config = resolve(RobotConfig, "paper")
        sizes[variant] = RobotFields(config, Setup(variant=variant, device="meta")).num_parameters
    # 8 x 512 with 63 encoded numbers, a value, and two layers to a colour
    hidden = 63 * 512 + 512 + 7 * (512 * 512 + 512)
    assert sizes["sdf"] == hidden + 513 + 512 * 512 + 512 + 3 * 513
    assert sizes["nerf"] == sizes["sdf"]


def test_the_surface_of_a_known_ball_is_found_and_measured():
    ball = Exact()
    ball.distance = ball_distance
    ball.level = lambda points: -ball_distance(points)
    vertices, faces = meshes.mesh_of(ball, 32)
    truth = torch.nn.functional.normalize(torch.randn(5000, 3), dim=-1).numpy() * BALL
    found = meshes.compared(vertices, faces, truth)
    assert found["watertight"] == 1
    assert found["parts"] == 1
    assert found["chamfer"] < 0.03  # two sets of samples on one surface are 0.02 apart
    assert found["f_score"] > 0.4


def test_distances_off_a_grid_are_right_to_a_cell_and_called_approximate():
    ball = Exact()
    ball.inside = lambda points: (ball_distance(points) < 0).float()
    approximate = meshes.GridDistance(ball, 48)
    points = 1.8 * torch.rand(400, 3) - 0.9
    off = (approximate(points) - ball_distance(points)).abs()
    assert off.max() < 1.5 * 2 / 48 * 3**0.5
    assert not approximate.is_metric


def test_the_threshold_of_a_density_lies_between_its_two_heaps():
    field = RadianceField(Sizes("waves", 3, 16, 2, False), 16)
    field.network.forward = lambda points: torch.where(ball_distance(points) < 0, 4.0, -6.0)
    low, high = field.density(torch.tensor([-6.0, 4.0])).tolist()
    assert low < field.find_threshold() < high


def test_a_radiance_field_begins_as_haze_that_rays_pass():
    field = study_of("nerf").field
    rays = rays_in_box(*camera_rays(ring(1, 24)[0]), BOX)
    left = 1 - field.follow(rays).alpha.detach()[(rays.far - rays.near) > 1]
    assert float(left.min()) > 0.1, "behind a wall at the box's side nothing would learn"


class BallNetwork(torch.nn.Module):
    """Numbers that mean a dense ball in empty space, once `is_learned`; haze everywhere before."""

    def __init__(self):
        super().__init__()
        self.is_learned = False

    def forward(self, points):
        far = points.norm(dim=-1) > 0.5
        return torch.where(far & torch.tensor(self.is_learned), -20.0, 2.0)

    def with_colors(self, points):
        return self(points), (0.5 + 0.4 * points).clamp(0, 1)


def test_empty_space_is_skipped_soon_and_pictures_stay_the_same():
    field = RadianceField(Sizes("waves", 2, 8, 1, False), 32)
    field.network, rng = BallNetwork(), torch.Generator().manual_seed(0)
    field.refresh(rng)
    assert field.grid.share == 1
    field.network.is_learned = True
    for _ in range(14):  # 25 softplus(-2) fades below 0.05 in nine
        field.refresh(rng)
    assert field.grid.share < 0.12  # a ball of half the box's radius fills 6.5 %
    camera = ring(1, 24)[0]
    rays = rays_in_box(*camera_rays(camera), BOX)
    seen, every = (field.follow(rays, skips=skips) for skips in (True, False))
    is_hit = every.alpha > 0.5  # elsewhere the depth is that of a density of 1e-9, or of none
    for name, rows in (("rgb", slice(None)), ("alpha", slice(None)), ("depth", is_hit)):
        one, other = (getattr(found, name)[rows] for found in (seen, every))
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert 0.05 < float(every.alpha.mean()) < 0.5


def test_gaussians_too_faint_for_a_surface_give_no_mesh():
    study = study_of("gaussians")
    with torch.no_grad():
        study.field.opacity_logits.fill_(-6.0)
    vertices, faces = meshes.mesh_of(study.field, 32, study.learned)
    assert len(vertices) == len(faces) == 0


def test_an_answer_in_metres_needs_a_scale_and_a_field_that_knows_lengths():
    study = study_of("sdf")
    with pytest.raises(ConfigError, match="metres_per_unit"):
        study.inspect({"task": "clearance", "x": 0.9})
    known = study_of("sdf", metres_per_unit=0.5)
    (probe,) = known.inspect({"task": "clearance", "x": 0.9})
    assert str(probe.values).endswith(" m")
    with pytest.raises(ConfigError, match="no safety check"):
        study_of("nerf", metres_per_unit=0.5).inspect({"task": "clearance"})


# ---- poses -------------------------------------------------------------------------------


def test_the_exponential_of_a_twist_is_the_motion_it_names():
    turn = torch.tensor(
        [[0.0, 0.0, np.pi / 2, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]], dtype=torch.float32
    )
    found = pose.exponential(turn)
    torch.testing.assert_close(found[0, :3, 0], torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1, :3, 3], torch.tensor([1.0, 2.0, 3.0]))
    xi = torch.randn(4, 6)
    cross = torch.zeros(4, 4, 4)
    for at, (row, column, sign) in enumerate(((2, 1, 1), (0, 2, 1), (1, 0, 1))):
        cross[:, row, column], cross[:, column, row] = sign * xi[:, at], -sign * xi[:, at]
    cross[:, :3, 3] = xi[:, 3:]
    torch.testing.assert_close(pose.exponential(xi), torch.matrix_exp(cross), atol=1e-5, rtol=1e-5)


def test_the_motion_is_one_of_the_world_and_its_slope_is_right():
    xi = torch.zeros(1, 6, requires_grad=True)
    start = torch.eye(4)
    start[:3, 3] = torch.tensor([1.0, 0.0, 0.0])
    moved = (pose.exponential(xi) @ start)[0, :3, 3]
    (slope,) = torch.autograd.grad(moved[1], xi)
    # turning the world about z carries a camera at x = 1 along y
    torch.testing.assert_close(slope[0], torch.tensor([0.0, 0, 1.0, 0, 1.0, 0]))


def test_moving_gaussians_is_moving_the_camera_the_other_way():
    study = study_of("gaussians", preset="quick", size=32)
    field, camera = study.field, study.test.cameras[0]
    with torch.no_grad():
        field.quats.add_(
            0.3 * torch.randn(field.quats.shape, generator=torch.Generator().manual_seed(0))
        )
        field.log_scales[:, 0] += 0.7
        xi = torch.tensor([[0.1, -0.2, 0.15, 0.1, 0.05, -0.1]])
        motion = pose.exponential(xi)[0]
        back = motion[:3, :3].T
        splats = field.splats((back, pose._conjugate(xi[0, :3]), -back @ motion[:3, 3]))
        drawn = field.picture(camera, splats)
        moved = camera.moved(motion.double().numpy() @ camera.camera_to_world)
        assert (drawn - field.picture(moved)).abs().mean() < 1e-4
        assert (drawn - field.picture(camera)).abs().mean() > 1e-2


def test_a_product_of_quaternions_turns_twice():
    first, second = torch.nn.functional.normalize(torch.randn(2, 1, 4), dim=-1)
    both = rotations(product(first[0], second))
    torch.testing.assert_close(both, rotations(first) @ rotations(second), atol=1e-5, rtol=1e-5)


def test_pixels_far_from_the_object_are_not_asked_for_a_pose():
    views = views_of(Solids(), ring(2, 32))
    trials = pose.trials_of(views, 2, 10, 0.1, 0)
    assert 0.1 < float(trials.interest.float().mean()) < 0.9
    assert (trials.interest | (views.alpha == 0)).all()


class Painted:
    """The object's own colours, smoothed a little: a radiance field that learned perfectly."""

    def __init__(self):
        self.network = FieldNetwork(Sizes("waves", 2, 8, 2, False))

    def follow(self, rays):
        from core.radiance.volume import march, stratified

        def field(points, _directions):
            density = 60 * torch.sigmoid(-Solids().distance(points) / 0.03)
            smooth = 0.5 + 0.5 * torch.sin(3 * points)
            return density, smooth

        return march(field, rays, stratified(rays, 64))


def test_a_pose_is_found_by_inverting_a_field():
    field, cameras = Painted(), ring(3, 24)
    views = views_of(Solids(), cameras)
    from dataclasses import replace

    from core.radiance.volume import rays_in_box
    from core.studies.fields.robot_fields.shapes import BOX

    pictures = [
        field.follow(rays_in_box(*camera_rays(camera), BOX)).over(1.0).reshape(24, 24, 3)
        for camera in cameras
    ]
    trials = pose.trials_of(replace(views, pixels=torch.stack(pictures)), 3, 8, 0.05, 0)
    before = pose.errors(trials.start, trials)[0]
    found = pose.invert(field, trials, steps=120, pixels=64, seed=0)
    degrees, share = pose.errors(found, trials)
    assert (degrees < 0.3 * before.max()).all()
    assert share.max() < 0.03
    assert pose.succeeded(trials.true, trials).all()


def test_measured_points_are_laid_on_the_surface():
    surface = torch.from_numpy(true_surface(Solids(), 800, 0))
    motion = pose.exponential(torch.tensor([[0.05, -0.08, 0.1, 0.05, 0.03, -0.04]]))[0]
    points = surface @ motion[:3, :3].T + motion[:3, 3]
    found = pose.register(Solids().distance, points, 150)
    back = points @ found[:3, :3].T + found[:3, 3]
    assert (back - surface).norm(dim=-1).mean() < 0.2 * (points - surface).norm(dim=-1).mean()


# ---- paths, grasps, contact ----------------------------------------------------------------


def test_pairs_are_free_and_their_straight_line_is_not():
    shape = Solids()
    pairs = planning.pairs_of(shape, 6, 0)
    assert (planning.clearances(shape.distance, pairs) > planning.MARGIN).all()
    share = torch.linspace(0, 1, 200)[:, None]
    lines = pairs[:, None, 0] * (1 - share) + pairs[:, None, 1] * share
    assert (planning.clearances(shape.distance, lines).amin(dim=1) < 0).all()


def test_a_path_refined_in_the_true_distance_keeps_its_margin_and_its_ends():
    shape, field = Solids(), Exact()
    pairs = planning.pairs_of(shape, 8, 1)
    first = planning.voxel_paths(field, pairs)
    second = planning.refined(field, first)
    torch.testing.assert_close(second[:, [0, -1]], pairs)
    assert (planning.kept_clearance(shape, second) >= planning.MARGIN).float().mean() >= 0.9
    assert (
        planning.certified(field, second) >= planning.kept_clearance(shape, second) - 1e-6
    ).all()


def test_the_best_grasps_of_a_ball_go_through_its_middle():
    points = torch.nn.functional.normalize(torch.randn(40, 3), dim=-1) * 0.2
    found = contact.grasps_of(lambda places: places.norm(dim=-1) - 0.2, points)
    assert len(found.angles) == 40
    assert found.holds.all()
    torch.testing.assert_close(found.ends[:, 0], -found.ends[:, 1], atol=5e-3, rtol=0)


def test_a_grasp_across_a_corner_does_not_hold():
    def wedge(points):  # two planes that meet at sixty degrees
        normals = torch.tensor([[0.0, 0.866, 0.5], [0.0, -0.866, 0.5]])
        return (points @ normals.T).amax(dim=-1)

    points = torch.tensor([[0.0, 0.1, -0.1732]])
    found = contact.grasps_of(wedge, points)
    assert not found.holds.any()


def test_a_cube_falls_on_a_floor_and_rests_there():
    trail = contact.drop(lambda points: points[:, 2] + 0.3, torch.tensor([0.0, 0.0, 0.1]), 1.2)
    assert trail[10, 2] < 0.1
    assert float(trail[-1, 2]) == pytest.approx(-0.3 + contact.HALF, abs=0.02)
    assert float((trail[-1] - trail[-50]).norm()) < 5e-3


def test_every_scenario_of_a_robots_task_is_shown():
    study = study_of("nerf", steps=5)
    for task in ("pose", "plan", "grasp", "drop"):
        (first, *_) = study.inspect({"task": task})
        assert np.isfinite(first.values.astype(np.float64)).all()
    with pytest.raises(ConfigError, match="no scenario 'dance'"):
        study.inspect({"task": "dance"})


def test_learning_a_distance_brings_the_surface_closer():
    study = study_of("sdf")
    before = study.evaluate()["chamfer"]
    for _ in range(40):
        study.step()
    after = study.evaluate()
    assert after["chamfer"] < 0.6 * before
    assert DistanceField.is_metric
    assert not GaussianField.is_metric


@pytest.mark.slow
def test_a_scanned_mesh_is_learned():
    folder = os.environ.get("HYRF_TEST_DATA")
    found = sorted(Path(folder).glob("meshes/*.ply")) if folder else []
    if not found:
        pytest.skip("HYRF_TEST_DATA names no folder with meshes")
    study = study_of("sdf", steps=300, preset="full", mesh=str(found[0]))
    assert study.evaluate()["chamfer"] < 0.05
    assert isinstance(study.test.cameras[0], Camera)
    assert len(grid_points(4)) == 125
