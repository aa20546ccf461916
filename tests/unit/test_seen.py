"""What a camera sees of a frozen scene: nothing that matters is left out, and the colours are those of plain torch."""

import numpy as np
import pytest
import torch

from core.capture.camera import Camera, Similarity, look_at
from core.radiance import seen
from core.radiance.model import Surroundings
from core.radiance.seen import Shapes
from core.radiance.sh import evaluate_sh
from core.radiance.sh_splats import SplatScene
from core.radiance.splats import unit_directions
from core.render import backend
from core.render.cpu import CpuRenderer
from core.render.evaluate import matrices

CAMERA = Camera(np.eye(4), 100.0, 100.0, 50.0, 40.0, 100, 80)


def shapes_of(means, size=0.0, opacity=0.9) -> Shapes:
    means = torch.tensor(means)
    count = len(means)
    quats = torch.tensor([1.0, 0, 0, 0]).repeat(count, 1)
    return Shapes(means, quats, torch.full((count, 3), size), torch.full((count,), opacity))


def kept(means, **options) -> list[int]:
    return shapes_of(means, **options).seen(CAMERA).ids.tolist()


def random_scene(seed: int, count: int = 3000) -> SplatScene:
    """Gaussians all around the camera, from dust to far larger than the picture, long and thin, faint and solid."""
    random = torch.Generator().manual_seed(seed)
    explicit = {
        "means": torch.randn(count, 3, generator=random) * 2,
        "log_scales": torch.randn(count, 3, generator=random) * 1.5 - 3,
        "quats": torch.randn(count, 4, generator=random),
        "opacity_logits": torch.randn(count, generator=random) * 4 - 1,
        "sh_coeffs": torch.randn(count, 16, 3, generator=random) * 0.3,
    }
    box = np.array([[-2.0, -2, -2], [2, 2, 2]])
    return SplatScene(
        explicit, Surroundings(box, np.array([0, -1.0, 0]), Similarity.identity(), {})
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("antialiased", [False, True])
def test_leaving_out_what_cannot_be_seen_changes_no_pixel(seed, antialiased):
    scene, renderer = random_scene(seed), CpuRenderer()
    pose = look_at(np.array([0.3, 0.1 * seed, -1.0]), np.zeros(3), np.array([0, -1.0, 0]))
    camera = Camera(pose, 60.0, 50.0, 12.0 * seed, 30.0, 64, 48)  # also far off its middle
    culled, every = scene.splats(camera), scene.all_splats(camera.center)
    assert 0 < len(culled) < len(every)
    at = matrices(camera, torch.device("cpu"))
    drawn, full = (
        renderer.rasterize(each, *at, 64, 48, antialiased=antialiased) for each in (culled, every)
    )
    assert torch.equal(drawn.rgb, full.rgb)
    assert torch.equal(drawn.alpha, full.alpha)


@pytest.mark.parametrize("seed", range(3))
def test_hardly_anything_is_kept_that_is_not_drawn(seed):
    scene, renderer = random_scene(seed), CpuRenderer()
    scene.explicit["log_scales"] -= 2  # small: then their reach decides, not their shape
    pose = look_at(np.array([0, 0, -4.0]), np.zeros(3), np.array([0, -1.0, 0]))
    camera = Camera(pose, 60.0, 60.0, 32.0, 24.0, 64, 48)
    culled = scene.splats(camera)
    layers = renderer.rasterize(culled, *matrices(camera, torch.device("cpu")), 64, 48)
    assert int((layers.stats.radii > 0).sum()) > 0.85 * len(culled)


def test_what_lies_behind_or_beside_is_left_out():
    outside = [
        [0.0, 0.0, -1.0],
        [5.0, 0.0, 1.0],
        [-5.0, 0.0, 1.0],
        [0.0, 5.0, 1.0],
        [0.0, -5.0, 1.0],
    ]
    assert kept([*outside, [0.0, 0.0, 1.0]]) == [5]


def test_a_gaussian_straddling_the_border_is_kept_as_far_as_its_opacity_reaches():
    assert kept([[1.0, 0.0, 1.0]], size=0.01) == []
    assert kept([[1.0, 0.0, 1.0]], size=0.3) == [0]
    assert kept([[1.0, 0.0, 1.0]], size=0.3, opacity=0.0041) == []


def test_what_is_too_faint_to_be_drawn_is_left_out():
    assert kept([[0.0, 0.0, 1.0]], opacity=0.0039) == []


def test_numbers_that_are_not_finite_are_left_out():
    means = [[0.0, 0.0, 1.0], [float("nan"), 0.0, 1.0], [0.0, 0.0, float("inf")]]
    assert kept(means, size=0.01) == [0]
    assert kept([[0.0, 0.0, 1.0]], size=float("nan")) == []


def test_plain_torch_keeps_the_same_rows():
    scene = random_scene(7)
    shapes = scene.shapes()
    double = Shapes(
        *(getattr(shapes, name).double() for name in ("means", "quats", "scales", "opacities"))
    )
    assert torch.equal(double.seen(CAMERA).ids, shapes.seen(CAMERA).ids)


def test_an_empty_scene_and_an_empty_view_give_nothing():
    assert len(shapes_of(np.zeros((0, 3), np.float32)).seen(CAMERA)) == 0
    assert (
        len(
            random_scene(0).splats(
                CAMERA.moved(look_at(np.full(3, 1e4), np.full(3, 2e4), np.eye(3)[1]))
            )
        )
        == 0
    )


@pytest.mark.parametrize("num_bases", [1, 4, 9, 16])
def test_harmonics_are_those_of_the_differentiable_path(num_bases):
    scene = random_scene(1, count=5000)
    coeffs = scene.explicit["sh_coeffs"][:, :num_bases].contiguous()
    splats = scene.shapes().seen(CAMERA)
    wanted = evaluate_sh(coeffs[splats.ids], unit_directions(splats.means, CAMERA.center))
    found = seen.harmonic_colors(coeffs, splats, CAMERA.center)
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-5)


def test_the_bounds_are_those_of_the_renderers():
    assert (seen.NEAREST, seen.FAINTEST) == (backend.NEAR, backend.ALPHA_CUT)
    assert (2 * np.log(1 / backend.ALPHA_CUT)) ** 0.5 * backend.BLUR**0.5 < seen.BLURRED
