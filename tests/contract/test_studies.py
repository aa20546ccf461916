"""What every study promises, run on each one that is found."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from core.base import discover
from core.base.config import edited, knobs, resolve
from core.base.errors import ConfigError
from core.engine.claims import open_study
from core.engine.packing import pack, unpack
from core.studies.photographs import PhotoStudy
from core.study import Setup

SMALL = {  # of the studies that learn Gaussians from photographs
    "steps": 12,
    "seed_gaussians": 150,
    "density.cap": 200,
    "density.every": 3,
    "density.start": 0.0,
    "density.stop": 1.0,
    "density.gradient": 1e-6,
}
NAMES = list(discover.studies())
GAUSSIANS = [name for name in NAMES if issubclass(discover.load(name), PhotoStudy)]
OTHERS = [name for name in NAMES if name not in GAUSSIANS]
CASES = [(name, variant) for name in NAMES for variant in discover.load(name).variants]
STEPS = 3


def config_of(name, **settings):
    study_class = discover.load(name)
    small = SMALL if name in GAUSSIANS else {}
    return resolve(study_class.Config, "quick", {**small, **settings})


def build(name, variant, capture, **settings):
    study_class = discover.load(name)
    variant = variant or study_class.variants[0]
    setup = Setup(variant=variant, seed=3, capture=capture if study_class.needs_capture else None)
    study = study_class(config_of(name, **settings), setup)
    try:
        study.prepare()
    except ConfigError as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise
    return study


def same(first, second) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return np.array_equal(first, second)


def timeless(metrics):
    """Leave out what a clock has measured."""
    return {name: value for name, value in metrics.items() if not name.endswith(("_s", "_ms"))}


def through_a_file(state):
    """Return a state as a checkpoint gives it back."""
    pieces = []
    pack(state, {}, lambda piece: pieces.append(bytes(piece)))
    return unpack(b"".join(pieces))[0]


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_a_study_steps_with_finite_numbers_and_measures_itself(name, variant, tiny_capture):
    study = build(name, variant, tiny_capture)
    assert study.total_steps >= 0
    for _ in range(STEPS):
        metrics = study.step()
        assert all(math.isfinite(value) for value in metrics.values())
    measured = study.evaluate()
    assert measured
    assert all(math.isfinite(value) for value in measured.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_quick_preset_trains_to_its_end_and_leaves_other_measures_than_it_began_with(name):
    study = open_study(name, resolve(discover.load(name).Config, "quick"))
    study.prepare()
    before = timeless(study.evaluate())
    for _ in range(study.total_steps):
        assert all(map(math.isfinite, study.step().values()))
    after = timeless(study.evaluate())
    assert all(map(math.isfinite, after.values()))
    assert after != before


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_the_same_seed_gives_the_same_numbers(name, variant, tiny_capture):
    first, second = (build(name, variant, tiny_capture) for _ in range(2))
    for _ in range(STEPS if name in OTHERS else 7):
        assert timeless(first.step()) == timeless(second.step())
    assert same(first.state(), second.state())


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_a_study_resumes_exactly_from_what_a_checkpoint_holds(name, variant, tiny_capture):
    uninterrupted = build(name, variant, tiny_capture)
    for _ in range(STEPS):
        uninterrupted.step()
    kept = through_a_file(uninterrupted.state())
    resumed = build(name, variant, tiny_capture)
    resumed.step()  # so that load has something to undo
    resumed.load(kept)
    for _ in range(STEPS):
        assert timeless(uninterrupted.step()) == timeless(resumed.step())
    assert same(uninterrupted.state(), resumed.state())
    assert timeless(uninterrupted.evaluate()) == timeless(resumed.evaluate())


@pytest.mark.parametrize("name", NAMES)
def test_watching_a_study_leaves_its_numbers_alone(name, tiny_capture):
    plain, watched = (build(name, "", tiny_capture) for _ in range(2))
    for _ in range(4):
        watched.evaluate()
        watched.probes()
        if hasattr(watched, "snapshot"):
            watched.snapshot()
        assert timeless(plain.step()) == timeless(watched.step())


@pytest.mark.parametrize(("name", "variant"), [case for case in CASES if case[0] in OTHERS])
def test_probes_are_copies_that_nobody_can_write(name, variant, tiny_capture):
    study = build(name, variant, tiny_capture)
    study.step()
    found = study.probes()
    assert found, "probes() shows nothing"
    assert len({probe.name for probe in found}) == len(found)
    kept = [probe.values.copy() for probe in found]
    study.step()
    for probe, values in zip(found, kept, strict=True):
        assert len(probe.axes) == probe.values.ndim
        assert not probe.values.flags.writeable
        np.testing.assert_array_equal(probe.values, values)


@pytest.mark.parametrize(("name", "variant"), [case for case in CASES if case[0] in OTHERS])
def test_the_papers_sizes_are_built_without_taking_memory(name, variant):
    study_class = discover.load(name)
    config = resolve(study_class.Config, "paper")
    study = study_class(config, Setup(variant=variant, device="meta"))
    modules = [value for value in vars(study).values() if isinstance(value, torch.nn.Module)]
    assert all(one.is_meta for module in modules for one in module.parameters())
    assert study.num_parameters >= 0


@pytest.mark.parametrize("name", NAMES)
def test_live_settings_are_taken_and_others_refused_while_training(name, tiny_capture):
    study = build(name, "", tiny_capture)
    for knob in knobs(study.config):
        if not knob.is_live:
            with pytest.raises(ConfigError, match="restart"):
                edited(study.config, {knob.key: knob.value}, live_only=True)
        elif knob.high is not None and knob.kind == "float":
            study.configure(edited(study.config, {knob.key: knob.high}, live_only=True))
            with pytest.raises(ConfigError):
                edited(study.config, {knob.key: 2 * abs(knob.high) + 1}, live_only=True)
    assert study.step() is not None


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_resolves_and_every_setting_is_explained(name):
    study_class = discover.load(name)
    assert {"quick", "full", "paper"} <= set(study_class.Config.presets)
    for preset in study_class.Config.presets:
        for knob in knobs(resolve(study_class.Config, preset)):
            assert knob.help, f"{preset}: {knob.key} has no description"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_out_of_the_source_is_what_the_class_says(name):
    facts = discover.facts(discover.entry_of(name))
    study_class = discover.load(name)
    assert facts.variants == study_class.variants
    assert set(facts.claims) == {claim.name for claim in study_class.claims}
    assert len(facts.title) > 10
    assert facts.paper


@pytest.mark.parametrize("name", NAMES)
def test_the_cases_of_a_claim_can_be_built_and_are_told_apart(name):
    study_class = discover.load(name)
    for claim in study_class.claims:
        assert len({case.name for case in claim.cases}) == len(claim.cases)
        assert claim.rule.says()
        for case in claim.cases:
            owner, _, variant = case.variant.rpartition(":")
            other = discover.load(owner or name)
            assert variant in ("", *other.variants)
            for preset in ("quick", "full"):
                resolve(other.Config, preset, case.settings)


def test_a_variant_that_is_not_there_is_refused_by_name():
    with pytest.raises(ConfigError, match="hyrf has no variant 'other'"):
        open_study("hyrf", None, variant="other")


@pytest.mark.parametrize("name", NAMES)
def test_a_study_file_can_be_read_in_one_sitting(name):
    for path in discover.sources(discover.entry_of(name)):
        assert len(path.read_text().splitlines()) <= 350


# torch's compiler comes with an LLVM of its own, which crashes a process whose window has drawn
# through another (software OpenGL): nothing of it may be loaded where training runs on a CPU
NO_COMPILER = """
import sys
from assets import DEMO
from core.base import discover
from core.base.config import resolve
from core.base.errors import ConfigError
from core.capture.opening import open_capture
from core.studies.photographs import PhotoStudy
from core.study import Setup

capture = open_capture(DEMO, seeds="random").limited(32)
for name in sys.argv[1:]:
    study_class = discover.load(name)
    is_gaussian = issubclass(study_class, PhotoStudy)
    small = {"seed_gaussians": 100, "steps": 4} if is_gaussian else {}
    config = resolve(study_class.Config, "quick", small)
    for variant in study_class.variants[:1] if is_gaussian else study_class.variants:
        study = study_class(config, Setup(variant=variant, capture=capture))
        try:
            study.prepare()
        except ConfigError:
            continue
        study.step()
        study.step()
        study.evaluate()
        study.state()
    if "triton" in sys.modules or "torch._dynamo" in sys.modules:
        sys.exit(f"{name} loads a compiler")
"""


def test_training_on_a_cpu_loads_no_compiler_beside_a_window():
    child = subprocess.run(
        [sys.executable, "-c", NO_COMPILER, *NAMES], capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr
