"""`torchrun ... launch.py train`: one run, one voice, stopped together and resumed by any number of ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.base.cache import cache_folder

ROOT = Path(__file__).parents[2]
LIMIT_S = 400  # a loaded machine with kernels still to compile
TINY = ("--preset", "quick", "--max-size", "48", "--set", "seed_gaussians=400", "--json")

pytestmark = pytest.mark.slow


def start(ranks, *words):
    """Start `launch.py` under torchrun with this many ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += [str(ranks), str(ROOT / "launch.py"), "train", *map(str, words)]
    kernels = str(cache_folder("kernels").parent)
    return subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HYRF_CACHE": kernels},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    """Return the events a training printed; it must have succeeded."""
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, out + err
    return [json.loads(line) for line in out.splitlines()]


def test_two_ranks_write_one_run_that_goes_on_after_a_stop_with_one_rank_or_two(tmp_path):
    run = tmp_path / "run"
    process = start(2, ROOT / "assets" / "demo", "--out", run, *TINY, "--steps", "100000")
    for line in process.stdout:
        if json.loads(line)["event"] == "StepDone":
            break
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    saved = sorted((run / "checkpoints").glob("*.ckpt"))
    assert saved  # rank 0 kept what both had learned
    stopped = int(saved[-1].stem.split("-")[1])
    assert stopped > 0

    config = json.loads((run / "config.json").read_text())
    assert config["ranks"] == 2
    config["settings"]["steps"] = stopped + 6  # the rest of it, soon done
    (run / "config.json").write_text(json.dumps(config))
    lines = finished(start(2, "--out", run, "--resume", "--json"))
    assert [line["event"] for line in lines].count("begin") == 1
    assert any(line.get("text") == f"Resumed at step {stopped}." for line in lines)
    assert [line["step"] for line in lines if line["event"] == "Evaluated"] == [stopped + 6]
    assert (run / "scene.hyrf").exists()

    config["settings"]["steps"] = stopped + 9
    (run / "config.json").write_text(json.dumps(config))
    lines = finished(start(1, "--out", run, "--resume", "--json"))
    assert any("goes on with 1 on 1" in line.get("text", "") for line in lines)
