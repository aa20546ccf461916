"""What the studies of photographs promise beside the rest."""

import math

import pytest

from tests.contract.test_studies import GAUSSIANS as PHOTO_NAMES
from tests.contract.test_studies import build


@pytest.mark.parametrize("method", ["paper", "mcmc"])
@pytest.mark.parametrize("name", PHOTO_NAMES)
def test_growth_changes_the_gaussians_and_respects_the_cap(name, method, tiny_capture):
    study = build(name, "", tiny_capture, **{"density.method": method, "density.growth": 0.2})
    for _ in range(12):
        metrics = study.step()
        assert math.isfinite(metrics["loss"])
        assert metrics["gaussians"] <= 200
    assert metrics["gaussians"] != 150
