"""NeRF: its encoding, its network, its two passes, and what it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.base.config import resolve
from core.base.errors import ConfigError
from core.capture.masks import MaskConfig
from core.radiance.field import TracedScene
from core.radiance.volume import camera_rays
from core.studies.radiance.nerf.data import pixels_of, space_of
from core.studies.radiance.nerf.network import NerfNetwork, Sizes, encoded
from core.studies.radiance.nerf.study import NerfConfig, NerfStudy, two_passes
from core.study import Setup

PAPERS_MEGABYTES = 5.0  # "only 5 MB for the network weights", section 6.4


def study_of(capture, variant="nerf", preset="quick", **settings):
    config = resolve(NerfConfig, preset, settings)
    study = NerfStudy(config, Setup(variant=variant, seed=1, capture=capture))
    study.prepare()
    return study


def test_places_are_encoded_as_in_equation_4():
    values = torch.tensor([[0.3, -0.7, 0.1]])
    found = encoded(values, 3)[0].numpy()
    for wave in range(3):
        angle = 2**wave * np.pi * values[0].numpy()
        np.testing.assert_allclose(found[6 * wave : 6 * wave + 3], np.sin(angle), atol=1e-6)
        np.testing.assert_allclose(found[6 * wave + 3 : 6 * wave + 6], np.cos(angle), atol=1e-6)


def test_the_papers_networks_weigh_what_the_paper_says():
    config = resolve(NerfConfig, "paper")
    study = NerfStudy(config, Setup(variant="nerf", device="meta"))
    # figure 7 with 60 and 24 encoded numbers: 593,924 parameters a network
    assert study.num_parameters == 2 * 593_924
    assert 4 * study.num_parameters / 1e6 == pytest.approx(PAPERS_MEGABYTES, rel=0.06)


def test_density_knows_no_direction_and_colour_does():
    torch.manual_seed(0)
    network = NerfNetwork(Sizes(16, 3, 5, 4, 2, True, False))
    places = torch.rand(6, 3)
    first, second = (torch.nn.functional.normalize(torch.randn(6, 3), dim=-1) for _ in range(2))
    one, other = network(places, first), network(places, second)
    assert torch.equal(one[0], other[0])
    assert not torch.allclose(one[1], other[1])


def test_colours_are_the_same_from_all_sides_where_directions_are_left_out():
    network = NerfNetwork(Sizes(16, 3, 5, 4, 2, False, False))
    places = torch.rand(6, 3)
    assert torch.equal(network(places, places)[1], network(places, -places)[1])


def test_rays_begin_before_everything_that_is_seen(tiny_capture):
    space = space_of(tiny_capture, "cpu")
    for photo in tiny_capture.train:
        pixels, depths = photo.camera.project(tiny_capture.points)
        inside = ((pixels > 0) & (pixels < [photo.camera.width, photo.camera.height])).all(axis=1)
        assert (depths[inside] > space.near).mean() > 0.99
        assert np.linalg.norm(photo.camera.center - space.center.numpy()) <= space.radius * 1.001


def test_every_pixel_is_learned_with_its_own_ray(tiny_capture):
    pixels = pixels_of(tiny_capture, "cpu")
    photo = tiny_capture.train[1]
    height, width = photo.camera.height, photo.camera.width
    assert len(pixels) == len(tiny_capture.train) * height * width
    row = height * width + 5 * width + 7
    np.testing.assert_allclose(pixels.colors[row] * 255, photo.image()[5, 7], atol=1e-3)
    np.testing.assert_allclose(pixels.directions[row], photo.camera.directions()[5, 7], atol=1e-6)


def test_masked_pixels_teach_nothing(tiny_capture):
    def masked(photo):
        weight = np.zeros((photo.camera.height, photo.camera.width), np.uint8)
        weight[:, :10] = 255
        return replace(photo, read_weight=lambda: weight, masks=MaskConfig(is_used=True))

    capture = replace(tiny_capture, photos=tuple(masked(photo) for photo in tiny_capture.photos))
    height = tiny_capture.photos[0].camera.height
    assert len(pixels_of(capture, "cpu")) == len(capture.train) * height * 10


def test_the_fine_pass_has_the_coarse_samples_and_more_where_density_is(tiny_capture):
    study = study_of(tiny_capture)
    for _ in range(20):
        study.step()
    rays = study.space.rays(study.pixels.origins[:32], study.pixels.directions[:32])
    coarse, fine = two_passes(*study._fields(), rays, study.counts)
    assert fine.distances.shape[1] == sum(study.counts)
    assert (fine.distances.diff(dim=1) >= 0).all()
    for distance in coarse.distances[0]:
        assert (fine.distances[0] == distance).any()
    mean = (fine.distances[:, 1:] * fine.weights[:, 1:]).sum() / fine.weights[:, 1:].sum()
    assert mean.isfinite()


def test_variants_follow_rays_with_as_many_samples_each(tiny_capture):
    for variant in NerfStudy.variants:
        study = study_of(tiny_capture, variant)
        rays = study.space.rays(study.pixels.origins[:4], study.pixels.directions[:4])
        last = two_passes(*study._fields(), rays, study.counts)[-1]
        assert last.distances.shape[1] == sum(study.counts)


def test_it_learns_the_capture(tiny_capture):
    study = study_of(tiny_capture)
    before = study.evaluate()["psnr"]
    for _ in range(50):
        study.step()
    assert study.evaluate()["psnr"] > before + 1  # it gains 2 dB; a dead network none


def test_its_scene_is_a_copy_that_draws_what_it_measures(tiny_capture):
    study = study_of(tiny_capture)
    study.step()
    scene, camera = study.snapshot(), tiny_capture.test[0].camera
    assert isinstance(scene, TracedScene)
    shown = study._picture(camera)[..., :3].reshape(-1, 3)
    rays = camera_rays(camera)
    torch.testing.assert_close(scene.trace(*rays).rgb, shown)
    study.step()
    torch.testing.assert_close(scene.trace(*rays).rgb, shown)
    assert scene.parts().summary["cameras"]
    assert sum(part.values.size for part in scene.parts().parts.values()) == study.num_parameters


def test_a_click_shows_the_ray_through_that_pixel(tiny_capture):
    study = study_of(tiny_capture)
    (probe,) = study.inspect({"y": 3, "x": 4})
    assert probe.values.shape == (2, sum(study.counts))
    assert float(probe.values[0].sum()) == pytest.approx(1.0, abs=1e-4)  # the end is open
    assert "(4, 3)" in probe.note


def test_without_photographs_it_says_what_it_needs():
    study = NerfStudy(resolve(NerfConfig, "quick"), Setup(variant="nerf"))
    with pytest.raises(ConfigError, match="open a capture"):
        study.prepare()
