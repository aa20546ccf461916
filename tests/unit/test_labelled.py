"""Pictures with labels: balanced, apart, moved by whole pixels."""

import numpy as np
import pytest
import torch

from core.base.errors import ConfigError
from core.nn.labelled import LEFT, PHOTOGRAPHS, WHOLE, labelled, shifted


@pytest.mark.parametrize("seed", [0, 1])
def test_digits_to_learn_from_are_balanced_and_those_to_measure_on_do_not_depend_on_how_many(seed):
    few, held = labelled("digits", 100, 500, seed=seed)
    many, again = labelled("digits", 1000, 500, seed=seed)
    assert torch.bincount(few.labels).tolist() == [10] * 10
    assert torch.bincount(many.labels).min() >= 98  # a class may have too few to be exactly even
    assert torch.equal(held.pictures, again.pictures)
    assert few.pictures.shape == (100, 1, 8, 8)
    seen = {one.numpy().tobytes() for one in many.pictures}
    assert all(one.numpy().tobytes() in seen for one in few.pictures)
    assert (
        sum(one.numpy().tobytes() in seen for one in held.pictures) <= 1
    )  # two scans may be alike


def test_parts_of_photographs_share_no_pixel(monkeypatch):
    columns = np.broadcast_to(np.arange(WHOLE) / WHOLE, (WHOLE, WHOLE))
    ramp = np.repeat(columns[..., None], 3, axis=-1).astype(np.float32)
    monkeypatch.setattr("core.nn.labelled.photograph", lambda _name, _size: ramp)
    learned, held = labelled("photographs", 120, 60, side=32, channels=3)
    assert learned.pictures.shape == (120, 3, 32, 32)
    assert float(learned.pictures.max()) * WHOLE < LEFT <= float(held.pictures.min()) * WHOLE
    assert torch.bincount(learned.labels).tolist() == [10] * len(PHOTOGRAPHS)


def test_every_photograph_is_there_in_grey():
    learned, held = labelled("photographs", 24, 12, side=16)
    assert learned.pictures.shape == (24, 1, 16, 16)
    assert 0 <= float(held.pictures.min()) < float(held.pictures.max()) <= 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="1797 digits"):
        labelled("digits", 1500, 500)
    with pytest.raises(ConfigError, match="at most"):
        labelled("photographs", 24, 12, side=200)


def test_a_shift_moves_whole_pixels_and_fills_with_black():
    picture = torch.rand(1, 2, 5, 6) + 0.1
    wide = torch.nn.functional.pad(picture, (1,) * 4)
    found = set()
    for seed in range(60):
        moved = shifted(picture, 1, torch.Generator().manual_seed(seed))
        matches = [
            (y, x)
            for y in range(3)
            for x in range(3)
            if torch.equal(moved, wide[:, :, y : y + 5, x : x + 6])
        ]
        assert len(matches) == 1
        found.update(matches)
    assert len(found) == 9
