"""The choice of a renderer, and what `doctor` says about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from app import doctor
from core.base.errors import RenderError
from core.render import backend, cuda
from core.render.backend import choose, renderers

ROOT = Path(__file__).parents[2]
NO_DEVICE = "No CUDA device"
NO_NVCC = "No CUDA compiler (nvcc), which gsplat needs once"
without_cuda = pytest.mark.skipif(
    torch.cuda.is_available(), reason="this machine has a CUDA device"
)


class Stub:
    def __init__(self, name, problem):
        self.name, self.problem = name, problem

    def probe(self):
        return self.problem


@pytest.fixture(name="machine")
def _machine(monkeypatch):
    """Return a function that makes this a machine on which the named renderers have problems."""

    def become(**problems):
        monkeypatch.setattr(backend, "_make", lambda name: Stub(name, problems.get(name)))

    return become


def chosen(prefer):
    notices = []
    return choose(prefer, notices.append).name, [notice.text for notice in notices]


@without_cuda
def test_without_a_cuda_device_the_choice_is_the_cpu_and_the_notice_says_why():
    assert chosen("auto") == ("cpu", ["No CUDA device: drawing on the CPU."])


@without_cuda
@pytest.mark.parametrize("prefer", ["cuda", "gsplat", "triton"])
def test_asking_for_cuda_without_a_device_is_an_error_that_says_what_to_do(prefer):
    with pytest.raises(RenderError, match=rf"No CUDA device: {prefer}.*Choose auto or cpu"):
        choose(prefer, print)


@without_cuda
def test_without_a_cuda_device_neither_gsplat_nor_triton_is_imported():
    script = (
        "import sys; from core.render.backend import choose, renderers; choose('auto');"
        "[renderer.probe() for renderer in renderers()]; print({'gsplat', 'triton'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("prefer", ["auto", "cuda"])
def test_a_cuda_device_with_a_compiler_draws_with_gsplat(machine, prefer):
    machine()
    assert chosen(prefer) == ("gsplat", ["Drawing on the GPU with gsplat."])


@pytest.mark.parametrize("prefer", ["auto", "cuda"])
def test_a_cuda_device_without_a_compiler_draws_with_triton_and_the_notice_says_why(
    machine, prefer
):
    machine(gsplat=NO_NVCC)
    assert chosen(prefer) == ("triton", [f"{NO_NVCC}: drawing on the GPU with Triton."])


def test_where_neither_gsplat_nor_triton_works_auto_is_the_cpu_with_both_reasons(machine):
    machine(gsplat=NO_NVCC, triton="Triton is not installed")
    name, texts = chosen("auto")
    assert name == "cpu"
    assert texts == [f"{NO_NVCC}; Triton is not installed: drawing on the CPU."]


def test_asking_for_cuda_never_falls_back_to_the_cpu(machine):
    machine(gsplat=NO_NVCC, triton="Triton is not installed")
    with pytest.raises(RenderError, match=r"nvcc.*; Triton is not installed: cuda cannot draw"):
        choose("cuda", print)


@pytest.mark.parametrize("name", ["gsplat", "triton", "cpu", "reference"])
def test_a_renderer_asked_for_by_name_is_the_one_given(machine, name):
    machine()
    assert chosen(name)[0] == name


def test_a_renderer_asked_for_by_name_that_cannot_draw_is_not_replaced(machine):
    machine(gsplat=NO_NVCC)
    with pytest.raises(RenderError, match="gsplat cannot draw here"):
        choose("gsplat", print)


def test_an_unknown_renderer_is_refused_with_those_there_are():
    with pytest.raises(RenderError, match=r"no renderer 'vulkan'.*auto, cuda, gsplat, triton, cpu"):
        choose("vulkan", print)


def test_every_backend_is_listed():
    assert [renderer.name for renderer in renderers()] == ["gsplat", "triton", "cpu", "reference"]


def doctor_says():
    return {finding.name: finding for finding in doctor._renderers()}


def test_doctor_names_what_draws_why_and_what_to_install_for_gsplat(machine):
    machine(gsplat=NO_NVCC)
    said = doctor_says()
    assert not said["renderer gsplat"].is_usable
    assert said["renderer triton"].is_usable
    drawn_by = said["pictures are drawn by"]
    assert drawn_by.is_usable
    assert drawn_by.detail == f"triton; {NO_NVCC}; for gsplat, {cuda.REMEDIES[NO_NVCC]}"


def test_doctor_gives_one_reason_and_no_advice_where_there_is_no_device(machine):
    machine(gsplat=NO_DEVICE, triton=NO_DEVICE)
    assert doctor_says()["pictures are drawn by"].detail == "cpu; No CUDA device"


def test_doctor_has_nothing_to_add_where_gsplat_draws(machine):
    machine()
    assert doctor_says()["pictures are drawn by"].detail == "gsplat"


@pytest.mark.parametrize(
    ("absent", "reason"),
    [("gsplat", "gsplat is not installed"), ("nvcc", NO_NVCC), ("c++", "No C++ compiler")],
)
def test_every_missing_part_of_gsplat_has_its_remedy(monkeypatch, absent, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    installed = {"gsplat"} - {absent}
    monkeypatch.setattr(
        cuda.importlib.util, "find_spec", lambda name: name if name in installed else None
    )
    tools = {"nvcc", "c++", "g++", "cl"} - ({"c++", "g++", "cl"} if absent == "c++" else {absent})
    monkeypatch.setattr(cuda.shutil, "which", lambda tool: tool if tool in tools else None)
    monkeypatch.setattr("torch.utils.cpp_extension.CUDA_HOME", None)
    found = cuda._missing()
    assert found.startswith(reason)
    assert found in cuda.REMEDIES
