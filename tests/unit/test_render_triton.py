"""The Triton renderer on a machine without a device: its kernels interpreted here, and compiled for one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from packaging.version import Version
from render_scenes import random_scene

from core.base.errors import RenderError
from core.render.triton_renderer import TritonRenderer, _missing

pytest.importorskip("triton", reason="the kernels are checked where the package triton is present")

ROOT = Path(__file__).parents[2]
INTERPRETED = Path(__file__).with_name("triton_interpreted.py")
POINTER, INTS, LONGS, NUMBER = "*fp32", "*i32", "*i64", "i32"


def test_the_promises_hold_in_the_interpreter():
    old_triton = Version(version("triton")) < Version("3.7")
    if old_triton and Version(version("numpy")) >= Version("2.4"):
        pytest.skip(
            "the interpreter of Triton before 3.7 cannot count loops with numpy from 2.4 on"
        )
    # the interpreter must be chosen before Triton is imported: a process of its own
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(INTERPRETED)],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def kernels():
    """Return every kernel with the types of its arguments, its constants and its warps."""
    from core.render import (
        triton_blend,
        triton_project,
        triton_project_backward,
        triton_tiles,
    )

    project = [POINTER] * 7 + [NUMBER] * 3 + [POINTER] * 2 + [INTS, POINTER]
    back = [POINTER] * 6 + [NUMBER] * 4 + [INTS] + [POINTER] * 7
    return {
        "project": (triton_project.project, project, {"ANTIALIASED": True, "BLOCK": 128}, 4),
        "project backward": (
            triton_project_backward.project_backward, back, {"ANTIALIASED": True, "BLOCK": 128}, 4,
        ),
        "count": (
            triton_tiles.count, [POINTER, INTS, *[NUMBER] * 3, INTS], {"BLOCK": 128}, 4,
        ),
        "fill": (
            triton_tiles.fill, [POINTER, INTS, LONGS, *[NUMBER] * 7, INTS], {"BLOCK": 128}, 4,
        ),
        "blend": (triton_blend.blend, [POINTER, *[INTS] * 2, *[NUMBER] * 4, *[POINTER] * 3], {}, 2),
        "blend backward": (
            triton_blend.blend_backward,
            [POINTER, INTS, LONGS, INTS, *[NUMBER] * 4, *[POINTER] * 7], {}, 1,
        ),
        "add pairs": (
            triton_blend.add_pairs, [LONGS, INTS, POINTER, POINTER], {"BLOCK": 16}, 1,
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["project", "project backward", "count", "fill", "blend", "blend backward", "add pairs"],
)
def test_every_kernel_compiles_for_a_gpu_that_is_not_here(name):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if not list(Path(triton.__file__).parent.glob("backends/nvidia/bin/ptxas*")):
        pytest.skip("this build of triton brings no assembler for CUDA")
    kernel, types, constants, num_warps = kernels()[name]
    signature = dict(zip(kernel.arg_names, types, strict=False))
    signature |= dict.fromkeys(constants, "constexpr")
    assert list(signature) == list(kernel.arg_names)
    compiled = triton.compile(
        ASTSource(kernel, signature, constexprs=constants),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": num_warps, "enable_fp_fusion": True},
    )
    assert len(compiled.asm["cubin"]) > 1000


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_device_it_says_so_and_draws_nothing():
    scene = random_scene(3, 16, 16)
    assert TritonRenderer().probe() == "No CUDA device"
    with pytest.raises(RenderError, match="No CUDA device: choose the CPU renderer"):
        scene.draw(TritonRenderer(), scene.values)


@pytest.mark.parametrize(
    ("capability", "found", "reason"),
    [((8, 9), None, "Triton is not installed"), ((6, 1), "triton", "older"), ((8, 9), "triton", None)],
)  # fmt: skip
def test_what_a_cuda_machine_lacks_is_named(monkeypatch, capability, found, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr("core.render.triton_renderer.importlib.util.find_spec", lambda name: found)
    missing = _missing()
    assert missing is None if reason is None else reason in missing
