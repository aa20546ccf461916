"""Ranks stop after the same step, whichever of them is asked, and go on from one checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("stopped_ranks.py")


def test_a_stop_asked_of_one_rank_stops_all_and_all_resume(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(SCRIPT), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for rank in range(2):
        stopped, resumed = json.loads((tmp_path / f"rank-{rank}.json").read_text())
        assert stopped == ["done", 17, []]
        assert resumed == ["done", 60, ["Resumed at step 17."]]
    saved = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert sorted(saved) == ["step-000000017.ckpt", "step-000000060.ckpt"]
