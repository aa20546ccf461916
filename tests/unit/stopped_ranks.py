"""What `torchrun` starts: a tiny training that rank 1 alone is asked to stop, and its resumption."""

import json
import sys
from pathlib import Path

from tiny_study import TinyConfig, TinyStudy

from core.base.events import EventQueue, Notice
from core.base.latest import Latest
from core.engine import commands
from core.engine.runs import Run, RunConfig
from core.engine.trainer import Trainer, TrainerOptions
from core.nn.ranks import join
from core.study import Setup

STOP_AT, STEPS = 17, 60


def trained(run, rank, stop_at):
    """Train until done or stopped; return (state, step, notices)."""
    events = EventQueue()
    config = TinyConfig(steps=STEPS)
    trainer = Trainer(
        lambda: TinyStudy(config, Setup(variant="plain")), events, Latest(), run, TrainerOptions()
    )
    trainer.has_viewers = False
    while trainer.tick():
        if rank == 1 and trainer.step == stop_at:
            trainer.post(commands.Stop())
    trainer.close()
    notices = [event.text for event in events.drain() if isinstance(event, Notice)]
    return trainer.state.value, trainer.step, notices


def main():
    ranks, folder = join(patience_s=60), Path(sys.argv[1])
    run = Run.create(folder / "run", RunConfig(study="tiny")) if ranks.is_first else None
    found = [trained(run, ranks.rank, STOP_AT), trained(run, ranks.rank, -1)]
    (folder / f"rank-{ranks.rank}.json").write_text(json.dumps(found))
    ranks.leave()


if __name__ == "__main__":
    main()
