"""Compiled kernels are kept on disk, elsewhere where their place cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import numpy as np
from core.nn import compiled
from core.nn.encoding_kernels import contract
ones = np.ones((1, 3), np.float32)
contract(ones, ones[0], ones[0], ones.copy())  # compiles and keeps a kernel
kept = list(compiled.CACHE.rglob("*.nbi"))
print(compiled.CACHE, len(kept), compiled.CACHE_PROBLEM, sep="\\n")
"""


def kept_where(cache: Path, temporary: Path) -> list[str]:
    """Run a kernel in a process of its own; return the folder, the files kept and the notice."""
    environment = {**os.environ, "HYRF_CACHE": str(cache), "TMPDIR": str(temporary)}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_kernels_are_kept_where_the_cache_is(tmp_path):
    folder, count, problem = kept_where(tmp_path / "cache", tmp_path)
    assert folder.startswith(str(tmp_path / "cache" / "kernels"))
    assert int(count) > 0
    assert problem == "None"


def test_a_cache_that_cannot_be_written_is_replaced_by_a_folder_of_ones_own_and_said_so(tmp_path):
    (tmp_path / "file").write_text("not a folder")  # refused to everybody, root included
    folder, count, problem = kept_where(tmp_path / "file" / "cache", tmp_path)
    assert folder.startswith(str(tmp_path / "hyrf-kernels-"))
    assert int(count) > 0
    assert "cannot be written" in problem
    assert "HYRF_CACHE" in problem
    mode = Path(folder).parent.stat().st_mode
    assert mode & 0o077 == 0


def test_a_substitute_that_others_can_write_is_not_trusted(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    planted = tmp_path / f"hyrf-kernels-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    folder, _, _ = kept_where(tmp_path / "file" / "cache", tmp_path)
    assert not folder.startswith(str(planted) + "/")
