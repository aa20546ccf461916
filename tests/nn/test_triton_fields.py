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
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 0))
    monkeypatch.setattr(triton_probe, "_reasons", {})


@pytest.mark.usefixtures("pretended")
def test_without_triton_the_probe_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert triton_probe.probe() == "Triton is not installed"


@pytest.mark.usefixtures("pretended")
def test_a_gpu_too_old_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 5))
    assert "older than the kernels need" in triton_probe.probe()


@pytest.mark.usefixtures("pretended")
def test_each_device_and_precision_is_tried_once(monkeypatch):
    tried = []
    monkeypatch.setattr(triton_probe, "_missing", lambda _device: None)
    monkeypatch.setattr(triton_probe, "trial", lambda *given: tried.append(given))
    for name in ("cuda", "cuda:0", "cuda:1"):
        assert triton_probe.probe(name) is None
        assert triton_probe.probe(name, is_half=True) is None
    first, second = torch.device("cuda", 0), torch.device("cuda", 1)
    assert tried == [(first, False), (first, True), (second, False), (second, True)]


def kernels():
    """Return every kernel with the types of its arguments and its constants."""
    from core.nn import triton_hashgrid, triton_mlp

    real, whole = "*fp32", "*i32"
    grid = {"FEATURES": 2, "PADDED": 2, "BLOCK": 256, "PRIME_Y": -3, "PRIME_Z": 5}
    settings = [real, whole, whole]
    widths = (41, 64, 64, 3)
    network = {
        "WIDTHS": widths, "SPLIT": 32, "INPUTS": 32, "EXTRAS": 16, "HIDDEN": 64, "OUTPUTS": 16,
        "BLOCK": 64, "IS_HALF": True,
    }  # fmt: skip
    weights = (real,) * 3
    forward = [real, "i32", "i32", real, real, weights, real, "i32"]
    kept = ["*fp16", "*fp16"]
    backward = [
        real,
        "i32",
        "i32",
        real,
        weights,
        real,
        "i32",
        "i32",
        real,
        *kept,
        real,
        "i32",
        "i32",
    ]
    outer = {"IN": 32, "OUT": 64, "ROWS": 32, "COLUMNS": 64, "BLOCK": 64, "SCALES": True}
    sides = [real, "i32", "i32", *kept[:1], "i32", "i32"]
    return {
        "encode": (triton_hashgrid._encode, [real, "*fp16", *settings, real, "i32", "i32"], grid),
        "scatter": (
            triton_hashgrid._scatter,
            [real, real, "i32", "i32", *settings, real, "*u8", "i32", "i32"], grid,
        ),
        "forward": (triton_mlp._forward, forward, network | {"HAS_BASE": True}),
        "backward": (triton_mlp._backward, backward, network | {"TO_INPUTS": True}),
        "outer": (
            triton_mlp._outer, [*sides, real, real, "i32", "i32", "i32"], outer | {"IS_HALF": True},
        ),
    }  # fmt: skip


@needs_triton
@pytest.mark.parametrize("name", ["encode", "scatter", "forward", "backward", "outer"])
def test_every_kernel_compiles_for_a_gpu_that_is_not_here(name):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if not list(Path(triton.__file__).parent.glob("backends/nvidia/bin/ptxas*")):
        pytest.skip("this build of Triton brings no assembler for CUDA")
    kernel, types, constants = kernels()[name]
    signature = dict(zip(kernel.arg_names, types, strict=False))
    signature |= dict.fromkeys(constants, "constexpr")
    assert set(signature) == set(kernel.arg_names)
    compiled = triton.compile(
        ASTSource(kernel, signature, constexprs=constants),
        target=GPUTarget("cuda", 80, 32),
        options={"num_warps": 4, "num_stages": 1, "enable_fp_fusion": True},
    )
    assert len(compiled.asm["cubin"]) > 1000
    assert compiled.metadata.shared <= 99 * 1024  # what a block of a consumer's GPU can have
