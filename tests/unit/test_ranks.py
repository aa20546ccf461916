"""Two processes that train together end with what one ends with that learns from two pictures a step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from trained_by_ranks import CASES

from core.engine.kernels import warm_up

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("trained_by_ranks.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes have written that `torchrun` started, on a port it found."""
    warm_up(lambda _event: None)  # both load the kernels; compiled afresh, last bits may differ
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(SCRIPT), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170
    )
    assert (folder / "said-0").exists(), ended.stdout + ended.stderr
    return folder


@pytest.fixture(scope="module")
def results(folder):
    """What both ranks and one process alone ended with."""
    names = ("rank-0.pt", "rank-1.pt", "alone.pt")
    return [torch.load(folder / name, weights_only=False) for name in names]


def leaves(value, name=""):
    """Yield (name, array or value) of everything in a state."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{name}.{key}")
    elif isinstance(value, torch.Tensor):
        yield name, value.detach().numpy()
    else:
        yield name, value


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_both_ranks_hold_the_same_bits(results, case):
    first, second = (dict(leaves(result[case][0])) for result in results[:2])
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
    assert results[0][case][1:] == results[1][case][1:]  # numbers of the steps, measured pictures


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_two_ranks_learn_what_one_process_learns_from_two_pictures_a_step(results, case):
    (together, metrics, pictures), (alone, expected, measured) = results[0][case], results[2][case]
    gaussians = {step["gaussians"] for step in metrics}
    assert len(gaussians) > 1  # a round of density control lies between
    assert [step["gaussians"] for step in metrics] == [step["gaussians"] for step in expected]
    held = dict(leaves(alone))
    for name, value in leaves(together):
        _expect_close(name, value, held[name], has_tables=case[0] == "hyrf")
    for step, other in zip(metrics, expected, strict=True):
        assert step["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert step["psnr"] == pytest.approx(other["psnr"], rel=1e-5)
    assert list(pictures) == list(measured)
    for name, row in pictures.items():
        assert row["psnr"] == pytest.approx(measured[name]["psnr"], abs=1e-3)


def _expect_close(name, value, expected, *, has_tables):
    """Two numbers have one sum, so all is equal to the bit but for tables of hash grids.

    One process adds the second picture's many small shares one by one to the first picture's sum;
    two ranks add two sums. Adam turns a gradient that cancels to nothing but rounding into a whole
    step, so a few entries may differ by steps; what they lead to must not.
    """
    if not has_tables or not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        np.testing.assert_array_equal(value, expected, err_msg=name)
        return
    apart = np.abs(value - expected)
    scale = max(np.abs(expected).max(initial=0.0), 1e-12)
    assert np.quantile(apart, 0.99) < 1e-4 * scale, name
    assert apart.mean() < 1e-4 * scale, name


def test_a_rank_that_dies_ends_the_others_with_a_sentence(folder):
    said = (folder / "said-0").read_text()
    assert said.startswith("Rank 0 of 2 ends: another rank has ended")
    assert "--resume" in said
    assert not (folder / "said-1").exists()
