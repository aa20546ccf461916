"""The store remembers what changed, for several readers, and ignores what did not."""

import numpy as np

from app.store import Store


def test_an_equal_value_changes_nothing():
    store = Store()
    store.set("step", 3)
    version = store.version
    store.set("step", 3)
    store.set("rows", (("a", 1),))
    store.set("rows", (("a", 1),))
    assert store.changed_since(version) == {"rows"}


def test_each_reader_keeps_its_own_place():
    store = Store()
    store.set("a", 1)
    first = store.version
    store.set("b", 2)
    assert store.changed_since(first) == {"b"}
    assert store.changed_since(0) == {"a", "b"}
    assert store.changed_since(store.version) == frozenset()


def test_true_and_one_are_different_values():
    store = Store()
    store.set("switch", 1)
    version = store.version
    store.set("switch", True)
    assert store.changed_since(version) == {"switch"}


def test_arrays_count_as_changed_unless_they_are_the_same_object():
    store = Store()
    image = np.zeros((2, 2))
    store.set("image", image)
    version = store.version
    store.set("image", image)
    assert store.changed_since(version) == frozenset()
    store.set("image", np.zeros((2, 2)))
    assert store.changed_since(version) == {"image"}


def test_a_key_that_was_never_set_gives_the_default():
    assert Store().get("nothing", 7) == 7


def test_a_value_that_is_none_can_be_told_from_a_missing_one():
    store = Store()
    store.set("value", None)
    assert store.changed_since(0) == {"value"}


def test_double_underscores_stand_for_dots():
    store = Store()
    store.update(train__step=5, page="scene")
    assert store.get("train.step") == 5
    assert store.get("page") == "scene"
