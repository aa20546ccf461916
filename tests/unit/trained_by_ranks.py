"""What `torchrun` starts in tests: train small studies together, then rank 0 does so alone.

python trained_by_ranks.py FOLDER           write rank-R.pt (every rank) and alone.pt
python trained_by_ranks.py FOLDER --dies    rank 1 ends without a word after two steps
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch

from assets import DEMO
from core.base import discover
from core.base.config import resolve
from core.base.errors import HybridError
from core.capture.opening import open_capture
from core.engine.cores import use_cores
from core.nn.ranks import join
from core.study import Setup

STEPS = 8
CASES = (("hyrf", "paper"), ("splats_3dgs", "paper"), ("splats_3dgs", "mcmc"))
SETTINGS = {
    "steps": 20,
    "seed_gaussians": 300,
    "half_until": 0.2,
    "density.cap": 420,
    "density.every": 5,
    "density.start": 0.0,
    "density.stop": 1.0,
    "density.gradient": 1e-5,
    "density.growth": 0.2,
    "hybrid.fields.log2_table": 10,
    # the paper's rates: the faster a preset learns, the further Adam carries what is only rounding
    "means_rate": 1.6e-4,
    "colors_rate": 2.5e-3,
    "opacities_rate": 2.5e-2,
    "scales_rate": 5e-3,
    "fields_rate": 3e-3,
}


def small_capture():
    capture = open_capture(DEMO).limited(64)
    return replace(capture, photos=capture.train[:5] + capture.test[:3])


def build(name, method, batch, capture):
    study_class = discover.load(name)
    known = set(study_class.Config.model_fields)
    settings = {key: value for key, value in SETTINGS.items() if key.split(".")[0] in known}
    settings |= {"density.method": method, "batch": batch}
    study = study_class(
        resolve(study_class.Config, "quick", settings), Setup(variant="", seed=3, capture=capture)
    )
    study.prepare()
    return study


def trained(batch, capture):
    """Train every case; return (state, metrics of every step, measured pictures) by case."""
    found = {}
    for name, method in CASES:
        study = build(name, method, batch, capture)
        metrics = [dict(study.step()) for _ in range(STEPS)]
        found[name, method] = study.state(), metrics, study.evaluate_pictures()
    return found


def die_early(capture):
    """Let rank 1 end in the middle; return what rank 0 says about it."""
    study = build("splats_3dgs", "paper", 1, capture)
    try:
        for step in range(STEPS):
            if step == 2 and study.ranks.rank == 1:
                os._exit(1)
            study.step()
    except HybridError as error:
        return str(error)
    return "nothing"


def main():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it when a rank has died
    use_cores(1)
    folder, capture = Path(sys.argv[1]), small_capture()
    if os.environ["RANK"] == "0":
        torch.save(trained(2, capture), folder / "alone.pt")
    ranks = join(patience_s=60)
    torch.save(trained(1, capture), folder / f"rank-{ranks.rank}.pt")
    (folder / f"said-{ranks.rank}").write_text(die_early(capture))


if __name__ == "__main__":
    main()
