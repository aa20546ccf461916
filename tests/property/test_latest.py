"""The newest-wins slot under many threads: nothing old after something new, and the last value always arrives."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from core.base.latest import Latest

OPERATIONS = st.lists(st.one_of(st.integers(), st.sampled_from(["take", "clear"])), max_size=30)


@given(OPERATIONS)
def test_a_slot_behaves_like_one_remembered_value(operations):
    slot: Latest[int] = Latest()
    value, fresh = None, False
    for operation in operations:
        if operation == "take":
            assert slot.take() == (value if fresh else None)
            fresh = False
        elif operation == "clear":
            slot.clear()
            value, fresh = None, False
        else:
            slot.put(operation)
            value, fresh = operation, True
        assert slot.peek() == value
        assert slot.is_fresh == fresh


def test_readers_see_each_writer_only_move_forward_and_take_nothing_twice():
    slot: Latest[tuple[int, int]] = Latest()
    writers, readers, count = 4, 3, 2000
    taken: list[list[tuple[int, int]]] = [[] for _ in range(readers)]
    is_done = threading.Event()

    def write(writer: int) -> None:
        for number in range(count):
            slot.put((writer, number))

    def read(reader: int) -> None:
        while not is_done.is_set() or slot.is_fresh:
            value = slot.take(timeout_s=0.01)
            if value is not None:
                taken[reader].append(value)

    readers_running = [threading.Thread(target=read, args=(i,)) for i in range(readers)]
    writers_running = [threading.Thread(target=write, args=(i,)) for i in range(writers)]
    for thread in (*readers_running, *writers_running):
        thread.start()
    for thread in writers_running:
        thread.join(30)
    last = slot.peek()
    is_done.set()
    for thread in readers_running:
        thread.join(30)
        assert not thread.is_alive()

    everything = [value for values in taken for value in values]
    assert len(everything) == len(set(everything)), "a value was taken twice"
    assert last in everything, "the last value got lost"
    for values in taken:
        for writer in range(writers):
            numbers = [number for who, number in values if who == writer]
            assert numbers == sorted(numbers), "a reader went back in time"


def test_a_waiting_reader_wakes_at_once_and_an_empty_slot_keeps_it_no_longer_than_asked():
    slot: Latest[str] = Latest()
    began = time.monotonic()
    assert slot.take(timeout_s=0.05) is None
    assert 0.04 < time.monotonic() - began < 5
    timer = threading.Timer(0.05, slot.put, ["value"])
    began = time.monotonic()
    timer.start()
    assert slot.take(timeout_s=30) == "value"
    assert time.monotonic() - began < 10
