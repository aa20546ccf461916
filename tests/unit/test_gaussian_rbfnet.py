"""Gaussian RBFNet: its layer by the equation, its start, its matched networks, and its three signals."""

import numpy as np
import pytest
import torch

from core.base.config import resolve
from core.base.errors import ConfigError
from core.nn.macs import multiply_adds
from core.nn.radial import LOG_WIDTH_LIMIT, RadialLayer
from core.nn.seeded import seeded
from core.radiance.volume import camera_rays, march, rays_in_box, stratified
from core.studies.fields.gaussian_rbfnet.network import SawtoothGrids
from core.studies.fields.gaussian_rbfnet.study import GaussianRbfConfig, GaussianRbfStudy
from core.study import Renderable, Setup


def study(variant="rbf", preset="quick", device="cpu", **settings):
    config = resolve(GaussianRbfConfig, preset, settings)
    made = GaussianRbfStudy(config, Setup(variant, device=device))
    if device == "cpu":
        made.prepare()
    return made


def layer(inputs=5, units=7, outputs=3):
    with seeded(0):
        made = RadialLayer(inputs, units, outputs)
        with torch.no_grad():
            made.centers.normal_()
            made.log_widths.normal_()
    return made


def features(count, inputs=5, scale=1.0):
    return scale * torch.randn(count, inputs, generator=torch.Generator().manual_seed(1))


def test_two_products_give_the_distance_to_every_centre():
    made, f = layer(), features(40)
    gap = f[:, None].double() - made.centers.double()
    u = (made.log_widths.double().exp() * gap**2).sum(dim=-1)
    torch.testing.assert_close(
        made.activations(f).double(), torch.exp(-u / 2), rtol=1e-4, atol=1e-6
    )
    y = torch.exp(-u / 2) @ made.readout.weight.double().T + made.readout.bias.double()
    torch.testing.assert_close(made(f).double(), y, rtol=1e-4, atol=1e-5)


def test_rounding_lets_no_unit_answer_with_more_than_one():
    made = layer()
    with torch.no_grad():
        made.centers.copy_(features(7, scale=1000.0))
    found = made.activations(made.centers.detach()).detach()
    assert float(found.max()) <= 1.0
    assert made.activations(made.centers.detach().half()).dtype == torch.float32


def test_widths_stay_within_their_limits():
    made = layer()
    with torch.no_grad():
        made.log_widths[0], made.log_widths[1] = 100.0, -100.0
    widths = made.widths().detach()
    assert float(widths.max()) == pytest.approx(np.exp(LOG_WIDTH_LIMIT), rel=1e-5)
    assert float(widths.min()) == pytest.approx(np.exp(-LOG_WIDTH_LIMIT), rel=1e-5)
    assert torch.isfinite(made(features(10))).all()


def test_behind_a_hash_grid_every_unit_first_says_one():
    made = study("released_start", encoder="hash")
    phi = made.module.decoder.activations(made.module.features(made.looked_at)).detach()
    assert float(phi.min()) > 0.999
    assert made.evaluate()["dead_share"] == 1


def test_the_released_start_has_units_alike_and_the_spread_one_has_not():
    alike, spread = (study(variant, start_scale=1.0) for variant in ("released_start", "rbf"))

    def apart(made):
        phi = made.module.decoder.activations(made.module.features(made.looked_at))
        return float((phi.std(dim=1).mean() / phi.mean()).detach())

    assert apart(alike) < 0.02
    assert apart(spread) > 10 * apart(alike)
    assert spread.evaluate()["dead_share"] == 0


def test_the_network_of_equal_products_multiplies_as_often():
    counts = {}
    for variant in ("rbf", "mlp_equal_products"):
        module = study(variant, preset="full", size=16).module
        one = module.features(torch.rand(1, 2))
        counts[variant] = sum(multiply_adds(module.decoder, one).values())
    assert counts["rbf"] == 2 * 16 * 32 + 32 * 3
    assert counts["mlp_equal_products"] == pytest.approx(counts["rbf"], rel=0.05)


def test_the_network_of_one_layer_has_as_many_numbers():
    numbers = {
        variant: sum(one.numel() for one in study(variant, preset="full", size=16).module.decoder.parameters())
        for variant in ("rbf", "mlp_one_layer")
    }  # fmt: skip
    assert numbers["mlp_one_layer"] == pytest.approx(numbers["rbf"], rel=0.02)


def test_a_sawtooth_starts_over_as_often_as_it_is_told():
    with seeded(0):
        grids = SawtoothGrids(2, (6,), (3,), (4.0,))
    places = 0.2 * torch.rand(30, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(grids(places), grids(places + 0.25), rtol=0, atol=1e-5)
    assert not torch.allclose(grids(places), grids(places + 0.1), atol=1e-2)


def test_a_grids_cell_answers_where_the_picture_has_it():
    with seeded(0):
        grids = SawtoothGrids(2, (5,), (1,), (1.0,))
    with torch.no_grad():
        grids.grids[0].zero_()
        grids.grids[0][0, 0, 3, 0] = 1.0  # low, at the left
    grids.requires_grad_(False)
    assert float(grids(torch.tensor([[0.75, 0.0]]))) == pytest.approx(1, abs=1e-5)
    assert float(grids(torch.tensor([[0.0, 0.75]]))) == 0


def test_a_muted_unit_takes_its_part_of_the_signal_away():
    made = study()
    places = made.signal.places[:50]
    whole, phi = made.predict(places), made.module.decoder.activations(made.module.features(places))
    made.configure(made.config.model_copy(update={"muted": 2}))
    part = phi[:, 2:3] * made.module.decoder.readout.weight[:, 2]
    torch.testing.assert_close(whole - made.predict(places), part, rtol=0, atol=1e-5)
    made.configure(made.config.model_copy(update={"muted": -1}))
    torch.testing.assert_close(made.predict(places), whole)


def test_a_scene_starts_as_a_fog_that_light_passes():
    made = study(signal="views")
    camera = made.signal.views.cameras[0]
    rays = rays_in_box(*camera_rays(camera), made.signal.views.bounds)
    seen = march(made.signal.field(made.predict), rays, stratified(rays, 32))
    assert 0.02 < float(seen.alpha.detach().mean()) < 0.98


def test_the_truth_measures_as_perfect():
    made = study(signal="shape")
    signal = made.signal

    def truth(places, _rows):
        return signal.truth if len(places) == len(signal.truth) else places

    assert signal.evaluate(truth) == {"near_error": 0.0, "iou": 1.0}
    picture = study().signal
    assert picture.evaluate(lambda _places, rows: picture.values[rows])["psnr"] == 100


def test_fields_of_shapes_and_scenes_can_be_orbited_and_pictures_cannot():
    from core.render.traced import traced

    assert not isinstance(study(), Renderable)
    for signal in ("shape", "views"):
        made = study(signal=signal)
        assert isinstance(made, Renderable)
        kept = made.snapshot()
        camera = study(signal="views").signal.views.cameras[0]
        before = traced(kept, camera)[0].rgb
        made.step()
        assert torch.equal(traced(kept, camera)[0].rgb, before)
        assert torch.isfinite(before).all()


def test_steps_to_a_quality_are_noted_once_and_survive_resuming():
    made = study(encoder="hash", coarsest=4, finest=32, rate=3e-2)
    for _ in range(made.total_steps):
        made.step()
    reached = made.evaluate()
    assert reached["steps_to_20"] <= reached["steps_to_22"]
    again = study(encoder="hash", coarsest=4, finest=32, rate=3e-2)
    again.load(made.state())
    resumed = again.evaluate()
    assert all(resumed[name] == value for name, value in reached.items() if not name.endswith("_s"))
    assert not any(name.endswith("_s") for name in resumed)


def test_the_papers_grids_of_a_surface_are_larger_than_its_page_says():
    made = study(preset="paper", device="meta", signal="shape")
    sides, channels = (32, 51, 70, 89, 108, 128), (4, 4, 4, 2, 2, 2)
    grids = sum(side**3 * own for side, own in zip(sides, channels, strict=True))
    decoder = 2 * 64 * 18 + 64 + 1
    assert made.num_parameters == grids + decoder
    assert made.num_parameters > 2 * 3_500_000  # the page's "about 3.5M" is another configuration


def test_a_mesh_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.ply"):
        study(signal="shape", mesh="/nowhere.ply")
