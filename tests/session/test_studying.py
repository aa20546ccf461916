"""Studies in the application without a window: the gallery, opening, probes, edits, resuming."""

import numpy as np
import pytest

from app import actions, thumbnails
from app.session import Session


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("HYRF_CACHE", str(tmp_path / "cache"))
    made = Session(inline=True, device="cpu", home=tmp_path)
    yield made
    made.close()


def ticked(session, until, limit=600):
    for _ in range(limit):
        session.tick()
        if until():
            return
    raise AssertionError(session.store.get("notices"))


def opened(session, name="hopfield"):
    session.post(actions.OpenStudy(name))
    ticked(session, lambda: session.store.get("train.state") == "done")
    ticked(session, lambda: session.store.get("probes.rows"))
    return session.store


def test_the_gallery_lists_families_with_pictures_before_anything_ran(session):
    ticked(session, lambda: session.store.get("gallery.families"))
    rows = {family: rows for family, rows in session.store.get("gallery.families")}
    name, title, paper, claims = rows["memory"][0]
    assert (name, title[:8]) == ("hopfield", "Hopfield")
    assert "2008.02217" in paper
    assert claims
    assert session.store.get("gallery.hopfield").shape == (96, 144, 3)
    assert session.store.get("gallery.hopfield").std() > 0


def test_a_study_trains_and_shows_itself_like_a_scene_does(session):
    store = opened(session)
    assert store.get("page") == "study"
    assert ("picture", "Recall") in [row[:2] for row in store.get("probes.rows")]
    assert store.get("probe.Recall").dtype == np.uint8
    assert store.get("measures.curves")
    assert ("Recalled", "", "0.970") in store.get("measures.rows")


def test_what_a_study_showed_becomes_its_thumbnail(session):
    before = thumbnails.thumbnail("hopfield")
    opened(session)
    assert not np.array_equal(thumbnails.thumbnail("hopfield"), before)
    assert thumbnails.thumbnail("hopfield").std() > 10


def test_another_variant_trains_from_the_beginning(session):
    store = opened(session)
    session.post(actions.ChooseVariant("classical"))
    ticked(session, lambda: any(row[1] == "States" for row in store.get("probes.rows")))
    assert store.get("study.variant") == "classical"
    session.post(actions.ChooseVariant("nothing"))
    session.tick()
    assert "has no variant" in store.get("notices")[0][2]


def test_live_edits_are_checked_and_reach_a_paused_study(session):
    session.post(actions.OpenStudy("hopfield"))
    store = session.store
    ticked(
        session, lambda: store.get("train.step", 0) >= 1 or store.get("train.state") == "running"
    )
    session.post(actions.PauseTraining())
    ticked(session, lambda: store.get("train.state") == "paused")
    session.post(actions.SetKnob("memory.beta", 8.0))
    ticked(session, lambda: store.get("knob.memory.beta") == 8.0)
    session.post(actions.SetKnob("memory.beta", -1.0))
    session.tick()
    assert store.get("knob.memory.beta") == 8.0
    assert "memory.beta" in store.get("notices")[0][2]


def test_a_run_of_a_study_goes_on_where_it_stood(session, tmp_path):
    store = opened(session)
    (folder,) = (tmp_path / "runs").iterdir()
    recalled = dict((row[0], row[2]) for row in store.get("measures.rows"))["Recalled"]
    session.post(actions.CloseScene())
    ticked(session, lambda: store.get("page") == "start")
    session.post(actions.OpenPath(str(folder)))
    ticked(session, lambda: store.get("train.state") == "done")
    assert store.get("page") == "study"
    assert store.get("study.variant") == "retrieval"
    assert dict((row[0], row[2]) for row in store.get("measures.rows"))["Recalled"] == recalled


def test_a_scene_opened_afterwards_trains_a_scene_model(session):
    store = opened(session)
    session.post(actions.CloseScene())
    ticked(session, lambda: store.get("page") == "start")
    assert store.get("train.study") == "hyrf"
    assert not store.get("study.name")
