"""Fields of other studies in the place of HyRF's hash grids."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from core.base.config import knobs
from core.base.errors import ConfigError, FormatError
from core.formats import open_scene, save_scene
from core.nn.modulation import PlaneModulation
from core.nn.radial import RadialFeatures
from core.radiance.field_kinds import class_of, hash_numbers
from core.radiance.fields import FieldsConfig, HybridFields
from core.radiance.scenes import assemble
from core.studies.radiance.hyrf import STUDY
from tests.contract.test_studies import build, same, through_a_file

KINDS = ("neurbf", "cam", "gaussian_rbfnet")
SMALL = {"levels": 4, "log2_table": 11, "base_resolution": 4, "max_resolution": 64, "hidden": 16}
KEY = "hybrid.fields.kind"


def fields_of(kind: str, count: int = 400, **settings):
    """Return fields that have begun at some places, and the places."""
    config = FieldsConfig(kind=kind, **{**SMALL, **settings})
    generator = torch.Generator().manual_seed(1)
    fields = class_of(config)(config, generator)
    u = 0.5 + 0.1 * torch.randn(count, 3, generator=generator).clamp(-2, 2)
    fields.begin(u, generator)
    return fields, u


def directions_of(count: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=rng), dim=1)


def numbers_of(fields: HybridFields) -> int:
    """Count what learns, and where kernels stand."""
    fixed = [one.num_geometry for one in fields.modules() if isinstance(one, RadialFeatures)]
    return sum(one.numel() for one in fields.parameters()) + sum(fixed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("log2_table", [11, 13])
def test_every_kind_has_about_as_many_numbers_as_the_hash_grids(kind, log2_table):
    fields, _ = fields_of(kind, log2_table=log2_table)
    hashed, _ = fields_of("hash", log2_table=log2_table)
    assert numbers_of(hashed) == hash_numbers(hashed.config)
    # a plane has whole cells along a side, a layer of units is not exactly as large as a network
    assert numbers_of(fields) == pytest.approx(numbers_of(hashed), rel=0.06)


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_start_the_fields_change_next_to_nothing(kind):
    fields, u = fields_of(kind)
    geometry, radiance = fields.both(u, directions_of(len(u)))
    assert geometry.shape == (len(u), 8)
    assert radiance.shape == (len(u), 3)
    assert geometry.abs().max() < 0.02
    assert radiance.abs().max() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_for_apart_is_what_is_asked_for_together(kind):
    fields, u = fields_of(kind)
    for one in fields.parameters():
        one.data.add_(0.1 * torch.randn(one.shape, generator=torch.Generator().manual_seed(3)))
    directions = directions_of(len(u))
    geometry, radiance = fields.both(u, directions)
    torch.testing.assert_close(fields.geometry(u), geometry)
    torch.testing.assert_close(fields.radiance(u, directions), radiance)
    assert (radiance - fields.radiance(u, -directions)).abs().max() > 1e-3  # views differ


@pytest.mark.parametrize("kind", KINDS)
def test_everything_learns_at_its_share_of_the_rate(kind):
    fields, u = fields_of(kind)
    shares = fields.rate_shares()
    assert len(shares) == len(fields.network_parameters())
    target = torch.sin(40 * u)
    for _ in range(3):  # what stands behind a last map of zeros learns from the second step on
        geometry, radiance = fields.both(u, directions_of(len(u)))
        loss = (radiance - target).square().mean() + (geometry[:, :3] - target).square().mean()
        loss.backward()
        learned = [*fields.network_parameters(), *(g.table for g in fields.grids().values())]
        with torch.no_grad():
            for one in learned:
                one -= 0.5 * one.grad
        last = [one.grad.abs().max() for one in learned]
        fields.zero_grad()
    assert all(largest > 0 for largest in last)


def test_planes_of_a_network_learn_ten_times_as_fast_as_its_weights():
    fields, _ = fields_of("cam")
    names = [name for name, _ in fields.named_parameters()]
    shares = dict(zip(names, fields.rate_shares(), strict=True))
    assert shares["geometry_network.planes.gamma"] == 1
    assert shares["geometry_network.hidden.0.weight"] == 0.1


def test_untouched_planes_change_nothing_and_a_place_reads_the_product_of_three():
    planes, u = PlaneModulation(2, 5), torch.rand(6, 3)
    gamma, beta = planes(u)
    # the four weights of an interpolation sum to one but for rounding
    torch.testing.assert_close(gamma, torch.ones(6, 2), rtol=1e-6, atol=0)
    assert torch.equal(beta, torch.zeros(6, 2))
    with torch.no_grad():
        for plane, factor in enumerate((2.0, 3.0, 5.0)):
            planes.gamma[plane] = factor
            planes.beta[plane, 1] = factor
        planes.gamma[0, 0, :, -1] = 7.0  # xy, where x is one
    gamma, beta = planes(torch.tensor([[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]]))
    torch.testing.assert_close(gamma, torch.tensor([[30.0, 30.0], [105.0, 30.0]]))
    torch.testing.assert_close(beta, torch.tensor([[0.0, 10.0], [0.0, 10.0]]))


@pytest.mark.parametrize("count", [3, 40, 4000])
def test_kernels_stand_where_the_first_gaussians_are(count):
    fields, u = fields_of("neurbf", count)
    centers = fields.radial.centers
    assert torch.isfinite(fields.radial.shapes).all()
    margin = 1e-6  # rounding
    assert (centers >= u.amin(dim=0) - margin).all()
    assert (centers <= u.amax(dim=0) + margin).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_shared_grid_is_refused_with_what_to_do(kind):
    with pytest.raises(ConfigError, match=r"kind '.*'. Set hybrid.fields.kind=hash"):
        fields_of(kind, is_shared=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_goes_on_exactly_where_it_stopped(kind, tiny_capture):
    uninterrupted = build("hyrf", "", tiny_capture, **{KEY: kind})
    for _ in range(5):
        uninterrupted.step()
    resumed = build("hyrf", "", tiny_capture, **{KEY: kind})
    resumed.load(through_a_file(uninterrupted.state()))
    for _ in range(4):
        assert uninterrupted.step() == resumed.step()
    assert same(uninterrupted.state(), resumed.state())


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_is_drawn_as_it_was_trained_and_survives_its_file(kind, tiny_capture, tmp_path):
    study = build("hyrf", "", tiny_capture, **{KEY: kind, "hybrid.fields.log2_table": 10})
    for _ in range(12):
        study.step()
    scene, camera = study.snapshot(), tiny_capture.test[0].camera
    drawn = scene.splats(camera)
    rows = {name: values[drawn.ids] for name, values in scene.explicit.items()}
    fresh = scene.decoder.composed(rows, camera.center)
    for name in ("quats", "scales", "opacities", "colors"):
        torch.testing.assert_close(getattr(drawn, name), getattr(fresh, name), atol=1e-5, rtol=1e-4)
    path = tmp_path / "scene.hyrf"
    save_scene(scene, path)
    again = open_scene(path)
    assert type(again.decoder.fields) is type(scene.decoder.fields)
    before, after = (one.background(camera) for one in (scene, again))
    # steps of the file: a few hundredths of what an array holds
    assert (before - after).abs().mean() < 0.02


def test_a_file_whose_fields_do_not_fit_is_an_error_of_one_sentence(tiny_capture):
    parts = build("hyrf", "", tiny_capture, **{KEY: "cam"}).snapshot().parts()
    parts.settings["config"]["fields"]["kind"] = "neurbf"
    with pytest.raises(FormatError, match="do not fit together"):
        assemble(parts)


def test_the_setting_is_a_choice_that_explains_itself():
    knob = next(one for one in knobs(STUDY.Config()) if one.key == KEY)
    assert knob.kind == "choice"
    assert knob.choices == ("hash", *KINDS)
    assert knob.label == "Kind of fields"
    assert "NeuRBF" in knob.help


def test_no_kind_loads_a_compiler():
    code = (
        "import sys, torch\n"
        "from core.radiance.field_kinds import class_of\n"
        "from core.radiance.fields import FieldsConfig\n"
        f"for kind in {KINDS}:\n"
        "    config = FieldsConfig(kind=kind, levels=2, log2_table=8, base_resolution=2, max_resolution=8)\n"
        "    fields = class_of(config)(config, torch.Generator().manual_seed(0))\n"
        "    fields.from_weights(config, fields.state_dict())\n"
        "sys.exit(any(name.startswith('torch._dynamo') for name in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_places_are_the_same_whatever_else_has_drawn_random_numbers():
    first, _ = fields_of("neurbf")
    torch.rand(5), np.random.default_rng().random(3)
    second, _ = fields_of("neurbf")
    assert same(dict(first.state_dict()), dict(second.state_dict()))
