"""How claims are run: what is shared, where photographs come from, what files are measured."""

import json
import math
from dataclasses import replace

import pytest

from core.base.config import resolve
from core.base.errors import ConfigError
from core.base.verdicts import Better
from core.engine import claims
from core.engine.claims import ClaimPlan, run_claim
from core.studies.photo_measures import measured
from core.studies.radiance import hyrf, splats_3dgs
from core.study import Budget, Case, Claim, Setup

SMALL = {"steps": 12, "seed_gaussians": 150, "density.cap": 200, "density.every": 3}


def claim(name, *cases):
    rule = Better(cases[0].name, cases[-1].name, "psnr")
    return Claim(name, says="", cases=cases, rule=rule, metrics=("psnr",), budget=Budget(2))


@pytest.fixture
def trainings(monkeypatch, tmp_path):
    """Return the variants that were opened, in order."""
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path))
    opened, usual = [], claims.open_study

    def watched(name, config, **arguments):
        opened.append((name, arguments["variant"], arguments["seed"]))
        return usual(name, config, **arguments)

    monkeypatch.setattr(claims, "open_study", watched)
    return opened


def test_equal_cases_of_several_claims_are_trained_once(trainings):
    settings = {"signal": "waves"}
    cam, plain = Case("CAM", "cam", settings), Case("plain", "plain", settings)
    renamed = replace(cam, name="the same")
    wider = Case("wider", "wider", settings)
    plan = ClaimPlan("quick", seeds=2)
    first = run_claim("cam", claim("one", cam, plain), plan)
    second = run_claim("cam", claim("two", renamed, wider), plan)
    variants = [variant for _, variant, _ in trainings]
    assert sorted(variants) == ["cam", "cam", "plain", "plain", "wider", "wider"]
    assert first["cases"][0]["psnr"]["mean"] == second["cases"][0]["psnr"]["mean"]
    assert second["cases"][0]["case"] == "the same"


def test_another_budget_is_another_training(trainings):
    cam, plain = (Case(kind, kind, {"signal": "waves"}) for kind in ("cam", "plain"))
    plan = ClaimPlan("quick", seeds=1)
    run_claim("cam", claim("one", cam, plain), plan)
    run_claim("cam", replace(claim("two", cam, plain), budget=Budget(3)), plan)
    assert len(trainings) == 4


def test_claims_on_photographs_of_ones_own_are_kept_beside_those_of_the_demo(
    trainings, tmp_path, tiny_capture, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        claims, "demo_capture", lambda folder="": asked.append(folder) or tiny_capture
    )
    cases = (Case("sh3", "sh3", SMALL), Case("sh0", "sh0", SMALL))
    run_claim("splats_3dgs", claim("one", *cases), ClaimPlan("quick", 1, capture="some/fox"))
    assert asked == ["some/fox", "some/fox"]
    kept = tmp_path / "claims" / "fox" / "splats_3dgs.one.quick.json"
    assert json.loads(kept.read_text())["capture"] == "fox"
    found = claims.kept_results(tmp_path / "claims")
    assert [made["capture"] for made in found] == ["fox"]


def trained(module, capture, **settings):
    study = module.STUDY(
        resolve(module.Config, "quick", SMALL | settings),
        Setup(variant=module.STUDY.variants[0], capture=capture),
    )
    study.prepare()
    for _ in range(3):
        study.step()
    return study


def test_files_are_written_and_read_again_before_they_are_measured(tiny_capture):
    study = trained(splats_3dgs, tiny_capture)
    plain, packed = (measured(study, {"file": suffix}) for suffix in (".ply", ".hyrf"))
    count = len(study.model.explicit["means"])
    assert plain["mb"] * 1e6 > 62 * 4 * count  # 62 float32 numbers a Gaussian and a header
    assert packed["mb"] < plain["mb"]
    assert plain["log2_bytes"] == pytest.approx(math.log2(plain["mb"] * 1e6))
    assert plain["file_psnr"] == pytest.approx(plain["psnr"], abs=0.01)
    assert plain["gaussians"] == count


def test_the_sky_is_measured_apart_on_the_demo_and_nowhere_else(tiny_capture):
    study = trained(hyrf, tiny_capture)
    found = study.measure({"sky": True})
    assert found["sky_less_rest"] == pytest.approx(found["psnr_sky"] - found["psnr_rest"])
    study.capture = replace(study.capture, name="fox")
    elsewhere = study.measure({"sky": True})
    assert "psnr_sky" not in elsewhere
    assert elsewhere["psnr_rest"] == elsewhere["psnr"]
    with pytest.raises(ConfigError, match=r"not file=\.obj"):
        study.measure({"file": ".obj"})


def test_models_of_photographs_count_what_learns(tiny_capture):
    study = trained(splats_3dgs, tiny_capture)
    count = len(study.model.explicit["means"])
    assert study.num_parameters == 59 * count  # 3 + 3 + 4 + 1 + 48
    study = trained(hyrf, tiny_capture)
    explicit = 8 * len(study.model.explicit["means"])
    tables = sum(grid.table.numel() for grid in study.model.grids.values())
    networks = sum(one.numel() for one in study.model.decoder.fields.network_parameters())
    assert study.num_parameters == explicit + tables + networks
