"""Training that sees the file's rounding, in every study of photographs."""

import pytest

from core.formats import hyrf
from tests.contract.test_photo_studies import PHOTO_NAMES as NAMES
from tests.contract.test_studies import build, same, through_a_file

ROUNDED = {"density.stop": 0.3, "rounding.start": 0.5, "rounding.quality": "small"}


@pytest.mark.parametrize("name", NAMES)
def test_an_interruption_while_rounding_loses_nothing(name, tiny_capture):
    uninterrupted = build(name, "", tiny_capture, **ROUNDED)
    for _ in range(9):
        uninterrupted.step()
    resumed = build(name, "", tiny_capture, **ROUNDED)
    resumed.load(through_a_file(uninterrupted.state()))
    for _ in range(3):
        assert uninterrupted.step() == resumed.step()
    assert uninterrupted.rounding.numbers
    assert same(uninterrupted.state(), resumed.state())


@pytest.mark.parametrize("name", NAMES)
def test_rounding_changes_what_is_learnt_only_once_it_starts(name, tiny_capture):
    plain, rounded = (build(name, "", tiny_capture, **settings) for settings in ({}, ROUNDED))
    plain.config = plain.config.model_copy(update={"density": rounded.config.density})
    plain.density.config = rounded.config.density
    for _ in range(6):
        assert plain.step() == rounded.step()
    assert plain.step() != rounded.step()


def test_what_was_learnt_rounded_is_written_at_any_finer_quality_alike(tiny_capture):
    study = build("hyrf", "", tiny_capture, **ROUNDED)
    for _ in range(12):
        study.step()
    parts = study.snapshot().parts()
    finest, best = (hyrf.encoded(parts, coarseness) for coarseness in (0.25, 0.5))
    assert finest == best
