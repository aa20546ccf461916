"""Say what is usable on this machine and, where something is not, why."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One line: what, whether it works, and what that means."""

    name: str
    is_usable: bool
    detail: str


def report(*, as_json: bool = False) -> int:
    """Print every finding; the exit code is 0 whatever was found."""
    checks: dict[str, Callable[[], Finding | list[Finding]]] = {
        "this machine": _machine,
        "training on the GPU": _torch,
        "renderers": _renderers,
        "compiled kernels": _kernels,
        "desktop window": _window,
        "packages": _packages,
    }
    findings = [found for name, check in checks.items() for found in _checked(name, check)]
    if as_json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2))
        return 0
    for finding in findings:
        print(f"{'yes' if finding.is_usable else 'no ':3}  {finding.name:<22} {finding.detail}")
    return 0


def _checked(name: str, check: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    """Carry out one check; where it fails that is the finding: a broken package is what was asked about."""
    try:
        found = check()
    except Exception as error:
        return [Finding(name, False, f"{type(error).__name__}: {error}")]
    return found if isinstance(found, list) else [found]


def _machine() -> Finding:
    from core.engine.cores import cores_available

    free_gb = shutil.disk_usage(os.path.expanduser("~")).free / 1e9
    detail = f"Python {platform.python_version()}, {cores_available()} cores, {free_gb:.0f} GB of disk free"
    return Finding("this machine", True, detail)


def _torch() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding(
            "training on the GPU",
            True,
            f"torch {torch.__version__}, {torch.cuda.get_device_name(0)}",
        )
    built = torch.version.cuda
    reason = (
        "this torch was built without CUDA"
        if built is None
        else "torch finds no CUDA device or driver"
    )
    return Finding(
        "training on the GPU",
        False,
        f"torch {torch.__version__}: {reason}; models train on the CPU",
    )


def _renderers() -> list[Finding]:
    from core.render.backend import renderers

    problems = {renderer.name: renderer.probe() for renderer in renderers()}
    findings = [
        Finding(f"renderer {name}", problem is None, problem or "draws correctly")
        for name, problem in problems.items()
    ]
    return [*findings, _drawn_with(problems)]


def _drawn_with(problems: dict[str, str | None]) -> Finding:
    """Say which renderer is used, why not an earlier one, and what to install for that."""
    from core.render.backend import ORDERS
    from core.render.cuda import REMEDIES

    used = next(name for name in ORDERS["auto"] if problems[name] is None)
    passed_over = ORDERS["auto"][: ORDERS["auto"].index(used)]
    reasons = list(dict.fromkeys(problems[name] or "" for name in passed_over))
    detail = "; ".join([used, *reasons])
    remedy = REMEDIES.get(problems["gsplat"] or "")
    return Finding(
        "pictures are drawn by", True, f"{detail}; for gsplat, {remedy}" if remedy else detail
    )


def _kernels() -> Finding:
    import numba

    import core.nn.compiled  # noqa: F401 - chooses the threading layer

    options: Any = numba.config
    detail = f"numba {numba.__version__}, {options.THREADING_LAYER} threads"
    return Finding("compiled kernels", True, detail)


def _window() -> Finding:
    from app.desktop.display import display_problem

    problem = display_problem()
    return Finding("desktop window", problem is None, problem or "a window can be opened")


def _packages() -> Finding:
    missing = []
    for name in ("dearpygui", "gsplat", "viser", "pycolmap", "imageio-ffmpeg"):
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        command = f"{os.path.basename(sys.executable)} -m pip install {' '.join(missing)}"
        return Finding("packages", False, f"missing: {', '.join(missing)}; run: {command}")
    return Finding("packages", True, f"all present; {_compiler()}")


def _compiler() -> str:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return "no CUDA compiler (nvcc), which gsplat needs once on a GPU machine"
    line = subprocess.run(
        [nvcc, "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return line.splitlines()[-1] if line else "nvcc is present"
