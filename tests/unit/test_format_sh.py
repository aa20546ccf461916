"""Spherical harmonics: the convention of 3DGS, gradients, rotation; and the scene of plain Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.capture.camera import Camera, Similarity, look_at
from core.radiance.model import Surroundings
from core.radiance.sh import degree_of, evaluate_sh, rotate_sh, sh_basis
from core.radiance.sh_splats import SplatScene


def unit(rows: int, seed: int = 0) -> np.ndarray:
    directions = np.random.default_rng(seed).normal(size=(rows, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def scene_of(count: int, num_bases: int = 4, seed: int = 0) -> SplatScene:
    rng = torch.Generator().manual_seed(seed)
    explicit = {
        "means": torch.randn(count, 3, generator=rng),
        "log_scales": torch.randn(count, 3, generator=rng) * 0.3 - 3,
        "quats": torch.randn(count, 4, generator=rng),
        "opacity_logits": torch.randn(count, generator=rng),
        "sh_coeffs": torch.randn(count, num_bases, 3, generator=rng) * 0.2,
    }
    around = Surroundings(
        np.array([[-1.0] * 3, [1.0] * 3]), np.array([0.0, -1.0, 0.0]), Similarity.identity(), {}
    )
    return SplatScene(explicit, around, step=3)


def test_the_bases_are_orthonormal_over_the_sphere():
    height, weights = np.polynomial.legendre.leggauss(8)
    turn = np.arange(16) * 2 * np.pi / 16
    ring = np.sqrt(1 - height**2)[:, None]
    parts = (ring * np.cos(turn), ring * np.sin(turn), np.broadcast_to(height[:, None], (8, 16)))
    basis = sh_basis(np.stack(parts, -1).reshape(-1, 3), 3)
    area = np.repeat(weights * 2 * np.pi / 16, 16)
    # this quadrature is exact for polynomials up to degree 15, the products have 6
    np.testing.assert_allclose(basis.T @ (basis * area[:, None]), np.eye(16), atol=1e-12)


def test_the_signs_are_those_of_3dgs():
    x, y, z = np.eye(3)
    assert sh_basis(y, 1)[1] < 0 < sh_basis(z, 1)[2]
    assert sh_basis(x, 1)[3] < 0
    diagonal = np.array([1.0, 1.0, 1.0]) / np.sqrt(3)
    # the constants of the official code at x = y = z
    np.testing.assert_allclose(
        sh_basis(diagonal, 2)[4:],
        [1.0925484 / 3, -1.0925484 / 3, 0.0, -1.0925484 / 3, 0.0],
        atol=1e-7,
    )
    third = np.sqrt(1 / 27)
    expected = [
        -0.5900436 * 2,
        2.8906114,
        -0.4570458 * 2,
        0.3731763 * -4,
        -0.4570458 * 2,
        0,
        0.5900436 * 2,
    ]
    np.testing.assert_allclose(sh_basis(diagonal, 3)[9:], np.array(expected) * third, atol=1e-6)


@pytest.mark.parametrize("num_bases", [1, 4, 9, 16])
def test_compiled_colours_and_gradients_equal_the_plain_ones(num_bases):
    rng = torch.Generator().manual_seed(1)
    coeffs = torch.randn(40, num_bases, 3, generator=rng, dtype=torch.float64)
    directions = torch.from_numpy(unit(40))
    upstream = torch.randn(40, 3, generator=rng, dtype=torch.float64)
    results = []
    for dtype in (torch.float64, torch.float32):  # only 32 bits are compiled
        inputs = [value.to(dtype).requires_grad_() for value in (coeffs, directions)]
        colors = evaluate_sh(*inputs)
        gradients = torch.autograd.grad(
            (colors * upstream.to(dtype)).sum(), inputs, allow_unused=True
        )
        found = [colors.detach(), *(torch.zeros(1) if g is None else g for g in gradients)]
        results.append([value.double().numpy() for value in found])
    for plain, compiled in zip(*results, strict=True):
        # sums of 16 products of order 1 in 32 bits
        np.testing.assert_allclose(compiled, plain, atol=1e-5)


def test_plain_gradients_equal_finite_differences():
    coeffs = torch.randn(3, 16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    directions = torch.from_numpy(unit(3))
    coeffs[:, 0] += 20.0  # far from the clamp, where there is no derivative
    assert torch.autograd.gradcheck(
        evaluate_sh, (coeffs.requires_grad_(), directions.requires_grad_())
    )


def test_a_colour_below_zero_is_black_and_learns_nothing():
    coeffs = torch.full((1, 1, 3), -10.0, requires_grad=True)
    colors = evaluate_sh(coeffs, torch.tensor([[0.0, 0.0, 1.0]]))
    colors.sum().backward()
    assert colors.tolist() == [[0.0, 0.0, 0.0]]
    assert (coeffs.grad == 0).all()


def test_a_turned_scene_has_the_same_colours_from_turned_directions():
    rng = np.random.default_rng(4)
    coeffs = rng.normal(size=(5, 16, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    directions = unit(5, 7)
    before = np.einsum("nk,nkc->nc", sh_basis(directions, 3), coeffs)
    turned = rotate_sh(coeffs, rotation)
    after = np.einsum("nk,nkc->nc", sh_basis(directions @ rotation.T, 3), turned)
    np.testing.assert_allclose(after, before, atol=1e-10)
    np.testing.assert_allclose(rotate_sh(turned, rotation.T), coeffs, atol=1e-10)


@pytest.mark.parametrize("num_bases", [0, 2, 25])
def test_a_number_of_bases_without_a_degree_is_refused(num_bases):
    with pytest.raises(ValueError, match="expected 1, 4, 9 or 16"):
        degree_of(num_bases)


def test_a_gaussian_behind_the_camera_is_left_out_and_one_that_reaches_in_is_kept():
    scene = scene_of(3)
    scene.explicit["means"][:] = torch.tensor([[0.0, 0.0, -9.0], [0.0, 0.0, 9.0], [30.0, 0.0, 9.0]])
    scene.explicit["log_scales"][:] = torch.tensor([[-3.0] * 3, [-3.0] * 3, [2.5] * 3])
    scene = SplatScene(scene.explicit, scene.surroundings)
    camera = Camera(np.eye(4), 50.0, 50.0, 32.0, 32.0, 64, 64)
    assert scene.splats(camera).ids.tolist() == [1, 2]
    assert scene.background(camera) is None


def test_all_splats_are_in_order_and_agree_with_those_of_a_camera():
    scene = scene_of(50)
    center = np.array([0.0, 0.0, -6.0])
    camera = Camera(look_at(center, np.zeros(3), scene.up), 60.0, 60.0, 32.0, 32.0, 64, 64)
    seen, every = scene.splats(camera), scene.all_splats(center)
    assert len(every) == scene.num_gaussians
    np.testing.assert_array_equal(seen.colors, every.colors[seen.ids])
    np.testing.assert_array_equal(seen.means, scene.explicit["means"][seen.ids])


def test_taking_apart_and_putting_together_keeps_the_gaussians():
    scene = scene_of(20, num_bases=9)
    back = SplatScene.from_parts(scene.parts())
    assert (back.step, back.sh_degree) == (3, 2)
    center = np.array([1.0, 2.0, 3.0])
    before, after = scene.all_splats(center), back.all_splats(center)
    for name in ("means", "scales", "opacities", "colors"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    cosine = torch.nn.functional.cosine_similarity(before.quats, after.quats).abs()
    np.testing.assert_allclose(cosine, 1.0, atol=1e-6)  # q and -q are one rotation


def test_an_empty_scene_draws_nothing():
    scene = scene_of(0)
    assert len(scene.splats(Camera(np.eye(4), 50.0, 50.0, 32.0, 32.0, 64, 64))) == 0
