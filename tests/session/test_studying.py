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


def entered(session, name, variant=""):
    """Open a study of a few steps and show its scene."""
    session.post(actions.ResizeView("a", 80, 60))
    session.post(actions.OpenStudy(name))
    ticked(session, lambda: session.store.get("train.knobs"))
    session.post(actions.ChoosePreset("quick"))
    session.post(actions.ChooseVariant(variant))
    ticked(session, lambda: session.store.get("study.has_scene"))
    session.post(actions.LookAround())
    ticked(session, lambda: session.store.get("page") == "scene")
    ticked(session, lambda: session.frame("a") is not None)
    return session.store


def test_the_field_of_a_study_is_looked_at_while_it_trains(session):
    store = entered(session, "robot_fields", "nerf")
    first = session.frame("a")
    assert first.image.ndim == 3
    ticked(session, lambda: session.frame("a").step > first.step)
    # the first pictures are an even fog; how soon something stands in it depends on the machine
    ticked(session, lambda: session.frame("a").image.std() > 5)
    assert store.get("train.state") in ("running", "done")
    session.post(actions.LookAround(False))
    ticked(session, lambda: store.get("page") == "study")
    assert session.frame("a") is None
    ticked(session, lambda: store.get("train.state") == "done")
    assert store.get("probes.rows")


def test_the_mesh_of_a_study_is_exported_from_the_viewport(session, tmp_path):
    store = entered(session, "robot_fields", "sdf")
    ticked(session, lambda: store.get("train.state") == "done")
    assert store.get("export.format") == ".mesh.ply"  # all that a network alone can be written as
    path = tmp_path / "field.mesh.ply"
    session.post(actions.ExportScene(str(path)))
    ticked(session, path.exists)
    ticked(session, lambda: any("field.mesh.ply" in str(row) for row in store.get("notices")))
    assert not [row for row in store.get("notices") if row[1] == "error"]


def test_training_another_variant_leaves_the_viewport(session):
    store = entered(session, "robot_fields", "sdf")
    session.post(actions.ChooseVariant("occupancy"))
    ticked(session, lambda: store.get("page") == "study")
    ticked(session, lambda: store.get("train.state") == "done")
    session.post(actions.CloseScene())
    ticked(session, lambda: store.get("page") == "start")


def test_a_scene_that_nobody_looks_at_does_not_hold_up_the_pictures(session):
    session.post(actions.OpenStudy("robot_fields"))
    store, shown = session.store, set()
    for _ in range(400):
        session.tick()
        shown.add(store.get("probes.step"))
        if len(shown - {None}) >= 3:
            return
    raise AssertionError(shown)


def test_a_study_without_a_scene_offers_no_viewport(session):
    store = opened(session)
    assert not store.get("study.has_scene")
    session.post(actions.LookAround())
    ticked(session, lambda: any("no scene" in str(row) for row in store.get("notices")))
