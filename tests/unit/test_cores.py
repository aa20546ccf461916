"""Who gets how many cores."""

from __future__ import annotations

import os
import threading

import numba
import pytest
import torch

from core.engine import cores


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_affinity_bounds_the_cores():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cores.cores_available({}) == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores.cores_available({}) <= len(allowed)


def test_the_usual_variable_bounds_the_cores_and_nonsense_is_ignored():
    most = cores.cores_available({})
    assert cores.cores_available({"OMP_NUM_THREADS": "1"}) == 1
    for value in ("0", "-3", "many", "", "9999"):
        assert cores.cores_available({"OMP_NUM_THREADS": value}) == most


@pytest.mark.parametrize(
    ("content", "expected"), [("150000 100000", 2), ("20000 100000", 1), ("max 100000", None)]
)
def test_a_container_s_quota_bounds_the_cores(tmp_path, monkeypatch, content, expected):
    (tmp_path / "cpu.max").write_text(content + "\n")
    monkeypatch.setattr(cores, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(cores, "_affinity", lambda: 64)
    assert cores.cores_available({}) == (expected or 64)


@pytest.mark.parametrize("total", range(1, 65))
def test_both_get_at_least_one_core_and_together_no_more_than_there_are(total):
    shares = cores.core_shares(total)
    assert shares.trainer >= shares.render >= 1
    assert shares.trainer + shares.render == max(total, 2)
    assert cores.core_shares(total, has_viewer=False).trainer == total


def test_the_number_belongs_to_the_thread_that_sets_it():
    most = min(2, numba.config.NUMBA_NUM_THREADS)
    cores.use_cores(1)
    seen = []

    def other():
        cores.use_cores(most)
        seen.append((torch.get_num_threads(), numba.get_num_threads()))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [(most, most)]
    assert (torch.get_num_threads(), numba.get_num_threads()) == (1, 1)


def test_more_cores_than_there_are_do_not_fail():
    cores.use_cores(10_000)
    cores.use_cores(1)


def test_numpy_s_own_pool_is_kept_small_unless_the_user_chose():
    environment = {"OPENBLAS_NUM_THREADS": "7"}
    cores.quiet_libraries(environment)
    assert environment["OPENBLAS_NUM_THREADS"] == "7"
    assert environment["MKL_NUM_THREADS"] == "1"


def test_kernels_are_made_ready_with_progress_that_ends():
    from core.engine.kernels import MODULES, TASK, warm_up

    seen = []
    warm_up(seen.append)
    assert {event.task for event in seen} == {TASK}
    fractions = [event.fraction for event in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len([event for event in seen if event.detail]) >= len(MODULES)
