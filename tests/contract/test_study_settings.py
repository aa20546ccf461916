"""What the settings of training promise for every study of photographs."""

import math

import pytest
import torch

from tests.contract.test_photo_studies import PHOTO_NAMES as NAMES
from tests.contract.test_studies import build, same, through_a_file


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_in_the_end_is_the_mean_of_the_last_steps(name, tiny_capture):
    study = build(name, "", tiny_capture, **{"density.method": "off", "average_from": 0.25})
    places = []
    for step in range(1, 13):
        study.step()
        if step in (4, 8, 12):  # every fourth step, after a quarter of twelve
            places.append(study.model.explicit["means"].clone())
    shown = study.snapshot().explicit["means"]
    torch.testing.assert_close(shown, torch.stack(places).mean(dim=0))
    assert torch.equal(study.model.explicit["means"], places[-1])
    assert not torch.equal(shown, places[-1])


@pytest.mark.parametrize("name", NAMES)
def test_an_interruption_while_averaging_loses_nothing(name, tiny_capture):
    settings = {"density.stop": 0.3, "average_from": 0.4}
    uninterrupted = build(name, "", tiny_capture, **settings)
    for _ in range(9):
        uninterrupted.step()
    resumed = build(name, "", tiny_capture, **settings)
    resumed.load(through_a_file(uninterrupted.state()))
    for _ in range(3):
        assert uninterrupted.step() == resumed.step()
    assert uninterrupted.average.count == resumed.average.count > 0
    assert same(uninterrupted.average.state(), resumed.average.state())


@pytest.mark.parametrize("name", NAMES)
def test_growth_by_errors_changes_the_gaussians_and_respects_the_cap(name, tiny_capture):
    settings = {"density.method": "errors", "density.bad_pixels": 1.0, "density.worst": 1.0}
    study = build(name, "", tiny_capture, **settings)
    for _ in range(12):
        metrics = study.step()
        assert math.isfinite(metrics["loss"])
        assert metrics["gaussians"] <= 200
    assert metrics["gaussians"] > 150
