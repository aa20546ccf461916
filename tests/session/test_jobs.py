"""Work beside the app loop: results arrive on the loop, failures and cancelling cost nothing else."""

import threading
import time

import pytest

from app.jobs import Jobs
from core.base.errors import FormatError
from core.base.events import Failed, Notice, Progress


def until(jobs, is_done, seconds=5.0):
    ends = time.monotonic() + seconds
    while not is_done() and time.monotonic() < ends:
        jobs.tick()
        time.sleep(0.002)
    assert is_done()


@pytest.mark.parametrize("is_inline", [True, False])
def test_a_result_is_delivered_on_the_thread_that_ticks(is_inline):
    results = []
    jobs = Jobs(lambda event: None, is_inline=is_inline)
    jobs.start("Add", lambda task: 1 + 1, lambda sum: results.append((sum, threading.get_ident())))
    until(jobs, lambda: results)
    assert results == [(2, threading.get_ident())]
    assert not jobs.is_running("Add")


@pytest.mark.parametrize("is_inline", [True, False])
def test_a_failure_is_one_event_with_its_sentence(is_inline):
    events, ended = [], []
    jobs = Jobs(events.append, is_inline=is_inline)

    def work(task):
        raise FormatError("scene.hyrf: 3 bytes are no scene.")

    jobs.start("Open", work, failed=lambda: ended.append(True))
    until(jobs, lambda: ended)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.message == "scene.hyrf: 3 bytes are no scene."
    assert "FormatError" in failed.traceback


def test_a_result_that_cannot_be_used_is_an_event_and_the_loop_goes_on():
    events = []
    jobs = Jobs(events.append, is_inline=True)
    jobs.start("Open", lambda task: 1, lambda one: one / 0)
    jobs.tick()
    assert [event.where for event in events if isinstance(event, Failed)] == ["Open"]
    assert not jobs.is_running("Open")


def test_progress_bars_end_with_their_job_even_when_it_fails():
    events = []
    jobs = Jobs(events.append, is_inline=True)

    def work(task):
        task.report(Progress("Reading pictures", 0.5))
        task.progress(None)
        raise ValueError("broken")

    jobs.start("Open", work)
    jobs.tick()
    bars = {event.task: event.fraction for event in events if isinstance(event, Progress)}
    assert bars == {"Open": 1.0, "Reading pictures": 1.0}


def test_a_cancelled_job_delivers_nothing_but_a_notice():
    events, results, ended = [], [], []
    started = threading.Event()
    jobs = Jobs(events.append, is_inline=False)

    def work(task):
        started.set()
        while not task.cancelled():
            time.sleep(0.002)
        raise FormatError("given up")

    jobs.start("Open", work, results.append, failed=lambda: ended.append(True))
    started.wait(5)
    jobs.cancel("Open")
    until(jobs, lambda: ended)
    assert results == []
    assert [type(event) for event in events] == [Notice]
    assert events[0].text == "Open: cancelled."


def test_cancelling_one_job_leaves_the_others_alone():
    results = []
    release = threading.Event()
    jobs = Jobs(lambda event: None, is_inline=False)
    jobs.start("Save", lambda task: release.wait(5) and "saved", results.append)
    jobs.cancel("Open")
    release.set()
    until(jobs, lambda: results)
    assert results == ["saved"]


def test_a_job_started_by_a_result_runs_in_the_same_tick_when_inline():
    results = []
    jobs = Jobs(lambda event: None, is_inline=True)
    jobs.start(
        "A", lambda task: 1, lambda one: jobs.start("B", lambda task: one + 1, results.append)
    )
    jobs.tick()
    assert results == [2]
