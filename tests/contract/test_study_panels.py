"""What every study shows can be drawn by both front ends, and makes a thumbnail that is not blank."""

import numpy as np
import pytest

from app.panels import study as panels
from app.panels import widgets as kinds
from app.probes import SHOWN, publish
from app.store import Store
from app.thumbnails import cut
from app.web.draw import KINDS
from core.base import discover
from tests.contract.test_studies import CASES, OTHERS, build

SHOWING = [case for case in CASES if case[0] in OTHERS]


def shown(name, variant, capture):
    study = build(name, variant, capture)
    study.step()
    store = Store()
    return store, publish(store, 1, study.probes())


def children(store):
    return panels.pictures(store).children


@pytest.mark.parametrize(("name", "variant"), SHOWING)
def test_every_probe_becomes_something_that_both_front_ends_draw(name, variant, tiny_capture):
    store, _ = shown(name, variant, tiny_capture)
    assert store.get("probes.rows"), "probes() shows nothing"
    for widget in children(store):
        assert type(widget) in KINDS
        if widget.key:
            assert store.get(widget.key) is not None
        if isinstance(widget, kinds.Picture):
            picture = store.get(widget.key)
            assert picture.dtype == np.uint8
            assert picture.shape[2] == 3
            assert max(picture.shape) <= 1200
        if isinstance(widget, kinds.Table):
            assert {len(row) for row in store.get(widget.key)} == {len(widget.columns)}


@pytest.mark.parametrize("name", OTHERS)
def test_the_first_picture_of_a_study_is_a_thumbnail_that_is_not_blank(name, tiny_capture):
    _, picture = shown(name, discover.load(name).variants[0], tiny_capture)
    assert picture is not None, "no probe is drawn as a picture: image, heat, attention or bars"
    assert cut(picture).std() > 5  # of 255


@pytest.mark.parametrize("kind", SHOWN)
def test_a_kind_of_probe_is_drawn_whatever_its_numbers_are(kind):
    from core.study import Probe

    shapes = {"image": 3, "attention": 3, "curve": 2, "heat": 2, "table": 2, "bars": 1, "text": 0}
    rank = shapes[kind]
    axes = ("a", "b", "c")[:rank]
    for fill in (0.0, 1.0, np.nan, -1e6):
        values = np.full((3, 4, 5)[:rank], fill) if rank else np.array("words")
        store = Store()
        publish(store, 0, (Probe("One", kind, values, axes),))
        assert store.get("probe.One") is not None


def test_a_heat_map_around_zero_is_white_where_it_is_zero():
    from core.study import Probe

    store = Store()
    values = np.array([[-2.0, 0.0, 1.0]])
    publish(store, 0, (Probe("One", "heat", values, ("y", "x"), is_signed=True),))
    picture = store.get("probe.One")
    wide = picture.shape[1] // 3
    cold, middle, warm = (picture[0, at * wide + 1] for at in range(3))
    assert middle.min() > 240
    assert cold[2] > cold[0]
    assert warm[0] > warm[2]
    assert "-2.00" in store.get("probes.rows")[0][3]
