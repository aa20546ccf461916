"""What every renderer promises, held against the reference."""

from __future__ import annotations

import pytest
import torch
from render_scenes import EDGE_CASES, NAMES, Scene, one, random_scene

from core.base.errors import RenderError
from core.radiance.splats import Splats
from core.render.backend import TRANSMITTANCE_STOP
from core.render.cpu import CpuRenderer
from core.render.reference import ReferenceRenderer

RENDERERS = {"cpu": CpuRenderer, "reference": ReferenceRenderer}


@pytest.fixture(params=RENDERERS, name="renderer")
def _renderer(request):
    return RENDERERS[request.param]()


def loss_of(layers, seed=7):
    """A loss that reaches every output with a different weight at every pixel."""
    random = torch.Generator().manual_seed(seed)
    return sum(
        (picture * (torch.rand(picture.shape, generator=random) - 0.4).to(picture)).sum()
        for picture in (layers.rgb, layers.alpha, layers.depth)
    )


def gradients_of(renderer, scene: Scene, antialiased, dtype=torch.float32, device="cpu"):
    leaves = scene.leaves(dtype, device)
    layers = scene.draw(renderer, leaves, antialiased)
    loss_of(layers).backward()
    return layers, [leaf.grad.double().cpu() for leaf in leaves]


def assert_close(actual, expected, share, name):
    """Compare up to a share of the largest number: float32 sums of many terms keep about six digits."""
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    bound = share * (float(expected.abs().max()) if expected.numel() else 0.0) + 1e-6
    worst = float((actual - expected).abs().max()) if expected.numel() else 0.0
    assert worst <= bound, f"{name}: off by {worst:.3g}, allowed {bound:.3g}"


@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
@pytest.mark.parametrize("case", EDGE_CASES)
def test_pictures_and_gradients_agree_with_the_double_precision_reference(case, antialiased):
    scene = EDGE_CASES[case]()
    expected, expected_gradients = gradients_of(
        ReferenceRenderer(), scene, antialiased, torch.float64
    )
    actual, gradients = gradients_of(CpuRenderer(), scene, antialiased)
    for name in ("rgb", "alpha", "depth"):
        assert_close(getattr(actual, name), getattr(expected, name), 2e-5, name)
    assert_close(actual.stats.means2d, expected.stats.means2d, 1e-5, "means2d")
    # one pixel apart where a reach lies so near a whole pixel that only one precision rounds it up
    assert bool(((actual.stats.radii - expected.stats.radii).abs() <= 1).all())
    assert torch.equal(actual.stats.radii > 0, expected.stats.radii > 0)
    for name, gradient, truth in zip(NAMES, gradients, expected_gradients, strict=True):
        assert_close(gradient, truth, 2e-4, f"gradient of {name}")
    if expected.stats.absgrad is not None:
        assert_close(actual.stats.absgrad, expected.stats.absgrad, 2e-4, "absgrad")


def test_every_output_alone_sends_its_gradient(renderer):
    scene = random_scene(30)
    for name in ("rgb", "alpha", "depth"):
        truth, leaves = scene.leaves(torch.float64), scene.leaves()
        getattr(scene.draw(ReferenceRenderer(), truth), name).square().sum().backward()
        getattr(scene.draw(renderer, leaves), name).square().sum().backward()
        for label, leaf, exact in zip(NAMES, leaves, truth, strict=True):
            given = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            wanted = torch.zeros_like(exact) if exact.grad is None else exact.grad
            assert_close(given, wanted, 2e-4, f"{label} from {name}")


def test_a_gaussian_behind_the_camera_is_not_drawn(renderer):
    layers = EDGE_CASES["behind the camera"]().draw(renderer, one((0.0, 0.0, -2.0)).values)
    assert layers.alpha.abs().max() == 0
    assert layers.stats.radii.max() == 0


def test_the_middle_of_a_gaussian_shows_its_opacity_color_and_depth(renderer):
    scene = one((0.0, 0.0, 3.0), 0.4, 0.75, color=(0.2, 0.4, 0.6), width=17, height=17)
    layers = scene.draw(renderer, scene.values)
    torch.testing.assert_close(layers.alpha[0, 8, 8, 0], torch.tensor(0.75), rtol=1e-5, atol=0)
    wanted = 0.75 * torch.tensor([0.2, 0.4, 0.6])
    torch.testing.assert_close(layers.rgb[0, 8, 8], wanted, rtol=1e-5, atol=0)
    torch.testing.assert_close(layers.depth[0, 8, 8, 0], torch.tensor(3.0), rtol=1e-5, atol=0)


def test_the_nearer_of_two_gaussians_covers_the_farther(renderer):
    near, far = (
        one((0.0, 0.0, 2.0), 0.5, 0.9, color=(1.0, 0.0, 0.0)),
        one((0.0, 0.0, 4.0), 0.5, 0.9, color=(0.0, 1.0, 0.0)),
    )
    values = [torch.cat(pair) for pair in zip(far.values, near.values, strict=True)]
    pixel = near.draw(renderer, values).rgb[0, 10, 16]
    assert pixel[0] > 5 * pixel[1] > 0


def test_gaussians_at_the_same_depth_are_drawn_in_their_order(renderer):
    values = one((0.0, 0.0, 2.0), 0.5, 0.9).values
    values = [torch.cat([value, value]) for value in values]
    values[4] = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    pixel = one((0.0, 0.0, 2.0)).draw(renderer, values).rgb[0, 10, 16]
    assert pixel[0] > pixel[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_gaussians_with_impossible_numbers_are_left_out(renderer, name, number):
    scene = random_scene(20)
    values = [value.clone() for value in scene.values]
    values[NAMES.index(name)][3] = number
    kept = [torch.cat([value[:3], value[4:]]) for value in scene.values]
    layers, wanted = scene.draw(renderer, values), scene.draw(renderer, kept)
    torch.testing.assert_close(layers.rgb, wanted.rgb, rtol=0, atol=1e-6)
    assert layers.stats.radii[0, 3] == 0


def test_a_rotation_of_length_zero_is_left_out(renderer):
    scene = random_scene(20)
    values = [value.clone().requires_grad_() for value in scene.values]
    with torch.no_grad():
        values[1][3] = 0
    layers = scene.draw(renderer, values)
    loss_of(layers).backward()
    assert layers.stats.radii[0, 3] == 0
    assert all(torch.isfinite(value.grad).all() for value in values)


def test_absolute_gradients_bound_the_gradients_of_the_centres(renderer):
    scene = random_scene(40)
    layers, _ = gradients_of(renderer, scene, False)
    absgrad = layers.stats.absgrad
    assert absgrad.shape == (1, 40, 2)
    assert (absgrad >= 0).all()
    assert (absgrad[layers.stats.radii > 0] > 0).any()
    assert absgrad[layers.stats.radii == 0].abs().sum() == 0


def test_a_cancelled_frame_is_given_up(renderer):
    scene = random_scene()
    assert scene.draw(renderer, scene.values, cancelled=lambda: True) is None


def test_a_frame_that_nobody_cancels_is_the_same_picture_without_gradients(renderer):
    scene = random_scene()
    plain = scene.draw(renderer, scene.values)
    patient = scene.draw(renderer, scene.leaves(), cancelled=lambda: False)
    assert torch.equal(plain.rgb, patient.rgb.detach())
    assert torch.equal(plain.depth, patient.depth.detach())
    assert not patient.rgb.requires_grad


def test_a_picture_without_pixels_is_refused(renderer):
    scene = random_scene(3)
    with pytest.raises(RenderError, match="0 x 5"):
        renderer.rasterize(Splats(*scene.values), scene.viewmats, scene.Ks, 0, 5)


@pytest.mark.parametrize("antialiased", [False, True])
def test_contributors_of_a_pixel_add_up_to_its_color_and_run_front_to_back(renderer, antialiased):
    # the principal point in the middle, where the inspector assumes it
    scene = random_scene(80)
    K = scene.Ks[0].clone()
    K[0, 2], K[1, 2] = scene.width / 2, scene.height / 2
    scene = Scene(scene.values, scene.viewmats, K[None], scene.width, scene.height)
    layers = scene.draw(renderer, scene.values, antialiased=antialiased)
    for x, y in ((26, 18), (10, 30), (0, 0)):
        rows, weights, depths = renderer.contributors(
            Splats(*scene.values), scene.viewmats[0], K, (x, y), antialiased=antialiased
        )
        color = (weights[:, None] * scene.values[4][rows]).sum(0)
        torch.testing.assert_close(color, layers.rgb[0, y, x], rtol=0, atol=1e-5)
        assert (depths.diff() >= 0).all()
        assert 1 - weights.sum() >= TRANSMITTANCE_STOP / 2


def test_contributors_of_an_empty_pixel_are_none(renderer):
    scene = one((0.0, 0.0, -2.0))
    rows, weights, depths = renderer.contributors(
        Splats(*scene.values), torch.eye(4), scene.Ks[0], (3, 3)
    )
    assert len(rows) == len(weights) == len(depths) == 0
