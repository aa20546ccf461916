"""What every study promises, run on each one that is found."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from core.base import discover
from core.base.config import resolve
from core.study import Setup

SMALL = {
    "steps": 12,
    "seed_gaussians": 150,
    "density.cap": 200,
    "density.every": 3,
    "density.start": 0.0,
    "density.stop": 1.0,
    "density.gradient": 1e-6,
}
CASES = [(name, variant) for name in discover.studies() for variant in discover.load(name).variants]


def build(name, variant, capture, **settings):
    study_class = discover.load(name)
    config = resolve(study_class.Config, "quick", {**SMALL, **settings})
    study = study_class(config, Setup(variant=variant, seed=3, capture=capture))
    study.prepare()
    return study


def same(first, second) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    return np.array_equal(first, second)


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_a_study_steps_with_finite_numbers_and_measures_itself(name, variant, tiny_capture):
    study = build(name, variant, tiny_capture)
    for _ in range(4):
        metrics = study.step()
        assert all(math.isfinite(value) for value in metrics.values())
    measured = study.evaluate()
    assert measured
    assert all(math.isfinite(value) for value in measured.values())


# torch's compiler comes with an LLVM of its own, which crashes a process whose window has drawn
# through another (software OpenGL): nothing of it may be loaded where training runs on a CPU
NO_COMPILER = """
import sys
from assets import DEMO
from core.base import discover
from core.base.config import resolve
from core.capture.opening import open_capture
from core.study import Setup

capture = open_capture(DEMO, seeds="random").limited(32)
study_class = discover.load(sys.argv[1])
config = resolve(study_class.Config, "quick", {"seed_gaussians": 100, "steps": 4})
study = study_class(config, Setup(variant=study_class.variants[0], capture=capture))
study.prepare()
for _ in range(2):
    study.step()
study.evaluate()
sys.exit("triton" in sys.modules or "torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("name", discover.studies())
def test_training_on_a_cpu_loads_no_compiler_beside_a_window(name):
    child = subprocess.run(
        [sys.executable, "-c", NO_COMPILER, name], capture_output=True, text=True, timeout=180
    )
    assert child.returncode == 0, child.stderr


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_the_same_seed_gives_the_same_numbers(name, variant, tiny_capture):
    first, second = (build(name, variant, tiny_capture) for _ in range(2))
    for _ in range(7):
        assert first.step() == second.step()
    assert same(first.state(), second.state())


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_state_and_load_lose_nothing(name, variant, tiny_capture):
    uninterrupted = build(name, variant, tiny_capture)
    for _ in range(5):
        uninterrupted.step()
    kept = copied(uninterrupted.state())
    resumed = build(name, variant, tiny_capture)
    resumed.step()  # so that load has something to undo
    resumed.load(kept)
    for _ in range(5):
        assert uninterrupted.step() == resumed.step()
    assert same(uninterrupted.state(), resumed.state())


@pytest.mark.parametrize("method", ["paper", "mcmc"])
@pytest.mark.parametrize("name", list(discover.studies()))
def test_growth_changes_the_gaussians_and_respects_the_cap(name, method, tiny_capture):
    study = build(name, "", tiny_capture, **{"density.method": method, "density.growth": 0.2})
    for _ in range(12):
        metrics = study.step()
        assert math.isfinite(metrics["loss"])
        assert metrics["gaussians"] <= 200
    assert metrics["gaussians"] != 150


@pytest.mark.parametrize("name", list(discover.studies()))
def test_evaluating_leaves_the_numbers_of_the_training_alone(name, tiny_capture):
    plain, watched = (build(name, "", tiny_capture) for _ in range(2))
    for _ in range(4):
        watched.evaluate()
        watched.snapshot()
        assert plain.step() == watched.step()


@pytest.mark.parametrize("name", list(discover.studies()))
def test_every_preset_resolves_and_every_setting_is_explained(name):
    study_class = discover.load(name)
    from core.base.config import knobs

    for preset in study_class.Config.presets:
        for knob in knobs(resolve(study_class.Config, preset)):
            assert knob.help, f"{preset}: {knob.key} has no description"


@pytest.mark.parametrize("name", list(discover.studies()))
def test_a_study_file_can_be_read_in_one_sitting(name):
    entry = discover.studies()[name]
    path = discover.STUDIES / entry.family / f"{name}.py"
    assert len(path.read_text().splitlines()) <= 350
    assert len(entry.title) > 10


def copied(value):
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, torch.Tensor):
        return value.clone()
    return list(value) if isinstance(value, list) else value
