"""Each reader survives damaged files: a scene or one sentence, in bounded memory and time.

The default run damages each file 200 times; `pytest -m slow tests/fuzz` does it 10,000 times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from readers import READERS

HERE = Path(__file__).resolve().parent
DEFAULT, THOROUGH = 200, 10_000
BY_NAME = pytest.mark.parametrize("name", READERS)


def results(rounds: int, names: list[str], timeout_s: float) -> dict[str, dict]:
    """Try readers in a process of their own, so that one that takes its process along is found too."""
    command = [sys.executable, str(HERE / "readers.py"), str(rounds), "0", *names]
    folders = os.pathsep.join((str(HERE.parent.parent), str(HERE)))
    environment = {**os.environ, "PYTHONPATH": folders, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False
    )
    found = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    missing = [name for name in names if name not in found]
    if missing:
        found[missing[0]] = {
            "refused": rounds,
            "findings": [f"the process ended with {done.returncode}: {done.stderr[-2000:]}"],
        }
    return found


@pytest.fixture(scope="module")
def quick() -> dict[str, dict]:
    return results(DEFAULT, list(READERS), 540)


@BY_NAME
def test_a_damaged_file_is_read_or_refused_in_one_sentence(name, quick):
    assert name in quick, "a reader before this one took the process along"
    assert quick[name]["findings"] == []
    assert quick[name]["refused"] > DEFAULT // 10  # damage reaches the reader


@pytest.mark.slow
@BY_NAME
def test_ten_thousand_damaged_files_are_read_or_refused(name):
    assert results(THOROUGH, [name], 3600)[name]["findings"] == []
