"""The attention of a study in training: looked at, chosen, changed, saved, and without a trace left behind."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from app import actions
from app.session import Session
from core.base import discover
from core.base.config import resolve
from core.engine.looking import Wish, look
from core.nn.attention import Changes
from core.study import Setup

LIMIT = 4000


def ticked(session, holds):
    for _ in range(LIMIT):
        session.tick()
        if holds():
            return
    raise AssertionError("it did not come to pass")


@pytest.fixture
def session(tmp_path):
    session = Session(inline=True, home=tmp_path)
    ticked(session, lambda: session.store.get("engine.state") == "ready")
    yield session
    session.close()


@pytest.fixture
def watched(session):
    """A finished quick training of Hopfield pooling that somebody looks at."""
    store = session.store
    session.post(actions.OpenStudy("hopfield"))
    ticked(session, lambda: store.get("study.name") == "hopfield")
    session.post(actions.ChoosePreset("quick"))
    session.post(actions.ChooseVariant("pooling"))
    ticked(session, lambda: store.get("train.state") == "done")
    session.post(actions.WatchAttention(True))
    ticked(session, lambda: store.get("attention.layers"))
    return session


def chosen(session, key, value):
    before = session.store.get("attention.words")
    session.post(actions.ChooseAttention(key, value))
    session.tick()
    return before, session.store.get("attention.words")


def test_a_sample_its_map_and_its_words_are_shown(watched):
    store = watched.store
    assert store.get("attention.layers") == ("pooling",)
    for name in ("map", "board"):
        assert store.get(f"attention.{name}_picture").ndim == 3
    assert "sum 1.00" in store.get("attention.words")
    assert len(store.get("attention.statistics")) == len(store.get("attention.heads"))


def test_choices_change_the_map_and_say_so(watched):
    before, after = chosen(watched, "method", "values")
    assert before != after
    assert "|A v W|" in after
    _, after = chosen(watched, "keep", 0.5)
    assert "hold 50%" in after
    _, after = chosen(watched, "head", 0)
    assert "head 1" in after


def test_a_click_on_the_board_chooses_a_head(watched):
    watched.post(actions.PointAt("board", 0.01, 0.01))
    watched.tick()
    assert watched.store.get("attention.head") == 0


def test_a_muted_layer_changes_the_output(watched):
    store = watched.store
    watched.post(actions.ChooseAttention("muted", True))
    watched._training.trainer.looker._looked_s = -1e9
    ticked(watched, lambda: [row for row in store.get("attention.outputs") if row[1] != row[2]])


@pytest.mark.parametrize("suffix", [".png", ".npz", ".html"])
def test_what_is_shown_is_saved(watched, tmp_path, suffix):
    path = tmp_path / f"attention{suffix}"
    watched.post(actions.SaveAttention(str(path)))
    watched.tick()
    if suffix == ".png":
        with Image.open(path) as image:
            assert np.asarray(image).std() > 1
    elif suffix == ".npz":
        with np.load(path, allow_pickle=False) as values:
            assert values["weights_0"].sum(axis=-1) == pytest.approx(1.0, abs=1e-5)
            assert json.loads(str(values["about"]))["study"] == "hopfield"
    else:
        assert "data:image/png;base64," in path.read_text()


def test_an_unknown_kind_of_file_is_refused_with_a_sentence(watched, tmp_path):
    watched.post(actions.SaveAttention(str(tmp_path / "attention.gif")))
    ticked(watched, lambda: ".png, .npz, .html" in str(watched.store.get("notices")))


def test_looking_changes_no_bit_of_the_training():
    kind = discover.load("hopfield")
    plain, seen = (kind(resolve(kind.Config, "quick"), Setup("pooling", seed=4)) for _ in range(2))
    for study in (plain, seen):
        study.prepare()
    wishes = (
        Wish(),
        Wish(sample=3, target=0),
        Wish(is_shuffled=True),
        Wish(changes=Changes(muted=(0,))),
    )
    for at in range(6):
        torch.rand(1)  # the world goes on
        before = torch.get_rng_state()
        look(seen, wishes[at % len(wishes)])
        assert torch.equal(torch.get_rng_state(), before)
        assert plain.step() == seen.step()
    for one, other in zip(
        plain.task.module.parameters(), seen.task.module.parameters(), strict=True
    ):
        assert torch.equal(one, other)
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.equal(one.grad, other.grad)


def test_nobody_looks_any_more_once_it_is_switched_off(watched):
    watched.post(actions.WatchAttention(False))
    watched.tick()
    looker = watched._training.trainer.looker
    watched.tick()
    looker.refresh(None, 0)  # would fail if anybody still looked
    assert looker.looks.peek() is None
