"""The reference against finite differences, and its projection against gsplat's own formulas."""

from __future__ import annotations

import pytest
import torch
from render_scenes import NAMES, random_scene

from core.radiance.splats import Splats
from core.render.backend import BLUR, NEAR
from core.render.reference import ReferenceRenderer, project, rotations

SMOOTH = ReferenceRenderer(smooth_cut=0.5 / 255)
STEP = 1e-6  # in double precision the error of central differences is about 1e-9 here


@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name, antialiased):
    # opacities that never saturate a pixel: the stop at 1e-4 is a jump
    scene = random_scene(5, 19, 13, seed=11, size=0.3, opacity=(0.2, 0.8))
    random = torch.Generator().manual_seed(3)
    share = torch.rand(3, 13, 19, 1, generator=random, dtype=torch.float64)

    def loss(values):
        layers = scene.draw(SMOOTH, values, antialiased)
        # depth is a quotient, so it is weighted by alpha to keep it smooth where little is drawn
        depth = layers.depth * layers.alpha
        return (share[0] * layers.rgb + share[1] * layers.alpha + share[2] * depth).sum()

    leaves = scene.leaves(torch.float64)
    loss(leaves).backward()
    leaf = leaves[NAMES.index(name)]
    differences = torch.zeros_like(leaf)
    with torch.no_grad():
        for place in range(leaf.numel()):
            numbers = leaf.view(-1)
            kept = float(numbers[place])
            numbers[place] = kept + STEP
            above = loss(leaves)
            numbers[place] = kept - STEP
            differences.view(-1)[place] = (above - loss(leaves)) / (2 * STEP)
            numbers[place] = kept
    torch.testing.assert_close(leaf.grad, differences, rtol=1e-5, atol=1e-6)


def test_rotations_are_orthonormal_and_ignore_the_length_of_the_quaternion():
    quats = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrices = rotations(quats)
    torch.testing.assert_close(
        matrices @ matrices.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    )
    torch.testing.assert_close(rotations(7 * quats), matrices)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(3))
def test_projection_agrees_with_the_formulas_of_gsplat(seed):
    formulas = pytest.importorskip("gsplat.cuda._torch_impl")
    scene = random_scene(200, 53, 37, seed=seed, size=0.3, opacity=(0.5, 1.0))
    values = [value.double() for value in scene.values]
    viewmat, K = scene.viewmats[0].double(), scene.Ks[0].double()
    covars, _ = formulas._quat_scale_to_covar_preci(
        torch.nn.functional.normalize(values[1], dim=-1), values[2], True, False, False
    )
    _, means2d, depths, conics, compensations = formulas._fully_fused_projection(
        values[0],
        covars,
        viewmat[None],
        K[None],
        53,
        37,
        eps2d=BLUR,
        near_plane=NEAR,
        calc_compensations=True,
    )
    ours = project(Splats(*values), viewmat, K, 53, 37, antialiased=True)
    rows = ours.rows
    assert len(rows) > 50
    torch.testing.assert_close(ours.means2d, means2d[0, rows])
    torch.testing.assert_close(ours.depths, depths[0, rows])
    # the other side forms the determinant as a difference of products, which loses digits
    torch.testing.assert_close(ours.conics, conics[0, rows], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        ours.opacities, values[3][rows] * compensations[0, rows], rtol=1e-5, atol=1e-9
    )


def test_bands_of_rows_give_the_same_picture_as_one_piece(monkeypatch):
    scene = random_scene(30)
    whole = scene.draw(ReferenceRenderer(), scene.values)
    monkeypatch.setattr("core.render.reference._BLOCK", 30 * 53 * 2)
    torch.testing.assert_close(scene.draw(ReferenceRenderer(), scene.values).rgb, whole.rgb)
