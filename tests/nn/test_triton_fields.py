"""Hash grid and networks through Triton: interpreted on the CPU, compiled on a CUDA device."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.nn import triton_probe
from core.nn.hashgrid import HashGrid, HashGridConfig
from core.nn.mlp import Mlp

SWEEP = Path(__file__).with_name("triton_sweep.py")
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


def sweep(**environment):
    """Run the comparisons in a process of their own; Triton reads the environment when imported."""
    base = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-W", "error:::core", str(SWEEP)],
        env=base | {"OMP_NUM_THREADS": "1"} | environment,
        cwd=SWEEP.parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


@needs_triton
def test_interpreted_kernels_agree_with_plain_torch():
    sweep(TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_compiled_kernels_agree_with_plain_torch():
    sweep()


def test_on_the_cpu_the_kernels_are_not_even_imported():
    grid = HashGrid(HashGridConfig(levels=2, log2_table=6))
    network = Mlp((4, 8, 3))
    network(grid(torch.rand(5, 3))).sum().backward()
    assert "core.nn.triton_hashgrid" not in sys.modules
    assert "core.nn.triton_mlp" not in sys.modules


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_device_the_probe_says_so():
    assert triton_probe.probe() == "No CUDA device"
    assert triton_probe.probe("cpu") == "No CUDA device"


@pytest.fixture(name="pretended")
def _pretended(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(triton_probe, "_reasons", {})


@pytest.mark.usefixtures("pretended")
def test_without_triton_the_probe_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert triton_probe.probe() == "Triton is not installed"


@pytest.mark.usefixtures("pretended")
def test_each_device_and_precision_is_tried_once(monkeypatch):
    tried = []
    monkeypatch.setattr(triton_probe, "_missing", lambda: None)
    monkeypatch.setattr(triton_probe, "trial", lambda *given: tried.append(given))
    for name in ("cuda", "cuda:0", "cuda:1"):
        assert triton_probe.probe(name) is None
        assert triton_probe.probe(name, is_half=True) is None
    first, second = torch.device("cuda", 0), torch.device("cuda", 1)
    assert tried == [(first, False), (first, True), (second, False), (second, True)]
