"""The background of moving pictures: close to the exact one from anywhere, and asked for seldom."""

import numpy as np
import pytest
import torch

from core.capture.camera import Camera, look_at
from core.radiance.field import Sphere
from core.radiance.fields import FieldsConfig, HybridFields, Space
from core.radiance.hybrid import Decoder, HybridConfig
from core.render.panorama import MOST_ASLANT, Panorama

RADIUS = 100.0
CENTER = np.array([0.5, -0.2, 0.1])
# cells of 16 milliradians on the sphere: twice a texel, so that what is missed is not mere sharpness
FIELDS = FieldsConfig(levels=4, log2_table=14, base_resolution=8, max_resolution=128, hidden=32)


def decoder() -> Decoder:
    generator = torch.Generator().manual_seed(0)
    fields = HybridFields(FIELDS, generator).requires_grad_(False)
    fields.radiance_grid.table.data.normal_(0, 2.0, generator=generator)
    space = Space(CENTER - 1, CENTER + 1, CENTER, RADIUS)
    return Decoder(HybridConfig(fields=FIELDS), fields, space)


def sphere_of(a_decoder: Decoder) -> Sphere:
    return Sphere(a_decoder.space.center, a_decoder.space.radius, a_decoder.sphere_colors)


def camera_at(center, target=(0.0, 0.0, 0.0), width: int = 96, height: int = 54) -> Camera:
    pose = look_at(np.array(center, float), np.array(target, float), np.array([0, -1.0, 0]))
    return Camera(pose, 83.0, 83.0, width / 2, height / 2, width, height)


def decibels(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(-10 * torch.log10((one - other).square().mean()))


@pytest.mark.parametrize("target", [*np.eye(3) * 9, *np.eye(3) * -9, (5, 5, 5), (-4, 4, -4)])
def test_the_panorama_shows_what_the_field_shows_in_every_direction(target):
    exact_decoder = decoder()
    camera = camera_at((1.0, 0.3, -0.8), target)
    found = Panorama(sphere_of(exact_decoder)).picture(camera)
    exact = exact_decoder.background(camera)
    assert exact.std() > 0.05  # there is something to miss
    # cells are two texels wide: interpolation between texels is what is left
    assert decibels(found, exact) > 37
    assert (found - exact).abs().max() < 0.2


def test_a_camera_that_moved_as_far_as_allowed_sees_almost_the_same_as_the_field():
    exact_decoder = decoder()
    panorama = Panorama(sphere_of(exact_decoder))
    panorama.picture(camera_at(CENTER, (9, 1, 2)))
    moved = camera_at(CENTER + 0.95 * MOST_ASLANT * RADIUS * np.array([0, 0.7, 0.7]), (9, 1, 2))
    found, exact = panorama.picture(moved), exact_decoder.background(moved)
    np.testing.assert_array_equal(panorama._center, CENTER)
    # without looking the rays' ends up, the shift alone would cost far more than that
    still = Panorama(sphere_of(exact_decoder)).picture(camera_at(CENTER, CENTER + moved.forward))
    made_there = Panorama(sphere_of(exact_decoder)).picture(moved)
    assert decibels(found, exact) > decibels(made_there, exact) - 1
    assert decibels(still, exact) < decibels(found, exact) - 6


def test_beyond_the_bound_it_is_made_anew_around_the_camera():
    panorama = Panorama(sphere_of(decoder()))
    panorama.picture(camera_at(CENTER, (9, 1, 2)))
    far = CENTER + 1.1 * MOST_ASLANT * RADIUS * np.array([0, 0, 1.0])
    panorama.picture(camera_at(far, (9, 1, 2)))
    np.testing.assert_array_equal(panorama._center, far)


def test_looking_at_the_same_place_again_asks_nothing():
    panorama = Panorama(sphere_of(decoder()))
    panorama.picture(camera_at((1, 0, 0), (9, 1, 2)))
    asked = panorama.num_asked
    assert asked > 0
    panorama.picture(camera_at((1, 0.01, 0), (9, 1, 2)))
    assert panorama.num_asked < 1.2 * asked


def test_nothing_is_asked_where_no_light_passes():
    panorama = Panorama(sphere_of(decoder()))
    camera = camera_at((1, 0, 0))
    alpha = torch.ones(camera.height, camera.width)
    assert panorama.picture(camera, alpha).abs().max() == 0
    assert panorama.num_asked == 0
    alpha[:, :20] = 0.0
    partly = panorama.picture(camera, alpha)
    torch.testing.assert_close(partly[:, :20], panorama.picture(camera)[:, :20])
    assert partly[:, 20:].abs().max() == 0


def test_a_camera_outside_the_sphere_gets_numbers():
    panorama = Panorama(sphere_of(decoder()))
    assert torch.isfinite(panorama.picture(camera_at((0, 0, -3 * RADIUS)))).all()
