"""Killed at random moments, a training resumes from its newest whole checkpoint and ends with the same numbers.

Every attempt is a process of its own, killed with SIGKILL. They are forked from one server that has
imported torch already, since starting twenty interpreters would take longer than the test itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tiny_study import TinyConfig, TinyStudy

from core.base.events import EventQueue, TrainerState
from core.base.latest import Latest
from core.engine.checkpoints import CheckpointStore
from core.engine.runs import Run, RunConfig
from core.engine.trainer import Trainer, TrainerOptions
from core.study import Setup

KILLS = 20
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")


def build_tiny():
    """Slow enough to be hit between steps, with a state large enough to be hit while it is written."""

    class Slow(TinyStudy):
        def step(self):
            time.sleep(0.002)
            return super().step()

        def state(self):
            return {**super().state(), "ballast": np.full(60_000, float(self.done))}

    return Slow(TinyConfig(steps=200), Setup(variant="plain", seed=5))


def build_hyrf():
    """The proposed model on ten small pictures of the demo scene, with density control on."""
    from core.base.config import resolve
    from core.capture import synthetic
    from core.capture.camera import Similarity
    from core.capture.capture import Capture, Photo
    from core.studies.radiance.hyrf import STUDY

    cameras = [camera.resized(48, 36) for camera in synthetic.cameras()[::5]]
    points, colors = synthetic.surface_points(300)
    capture = Capture(
        name="demo",
        folder=Path(),
        photos=tuple(
            Photo(f"{i}", Path(), camera, partial(synthetic.render, camera), is_test=i == 0)
            for i, camera in enumerate(cameras)
        ),
        points=points.astype(np.float32),
        point_colors=colors,
        bounds=np.array([[-2.0] * 3, [2.0] * 3]),
        up=synthetic.UP,
        to_original=Similarity.identity(),
    )
    settings = {
        "steps": 160,
        "seed_gaussians": 300,
        "density.cap": 900,
        "density.every": 10,
        "density.start": 0.1,
        "density.stop": 0.9,
        "hybrid.fields.log2_table": 10,
    }
    config = resolve(STUDY.Config, "quick", settings)
    return STUDY(config, Setup(variant="hybrid", seed=5, capture=capture))


BUILDERS = {"tiny": build_tiny, "hyrf": build_hyrf}


def train(folder: str, builder: str, checkpoint_every_s: float = 0.0) -> None:
    """Open or create the run and train it to its end, by default with a checkpoint after every step."""
    # numba makes a semaphore when its pool starts; this way it has no name that a kill could leak
    multiprocessing.set_start_method("fork", force=True)
    path = Path(folder)
    run = Run.open(path) if Run.is_run(path) else Run.create(path, RunConfig(study=builder))
    options = TrainerOptions(checkpoint_every_s=checkpoint_every_s)
    trainer = Trainer(BUILDERS[builder], EventQueue(), Latest(), run, options)
    while trainer.tick():
        pass
    trainer.close()
    if trainer.state is not TrainerState.DONE:
        raise SystemExit(3)


def spawn(folder: Path, builder: str, checkpoint_every_s: float = 0.0):
    context = multiprocessing.get_context("forkserver")
    # torch imports its compiler for the first optimizer: slow, and here done once for all
    preload = ["core.engine.trainer", "core.engine.packing", "tiny_study"]
    preload += ["torch._dynamo", "numba.np.ufunc.parallel"]
    preload += ["core.studies.radiance.hyrf", "core.capture.synthetic", "core.render.cpu"]
    context.set_forkserver_preload(preload)
    arguments = (str(folder), builder, checkpoint_every_s)
    process = context.Process(target=train, args=arguments, daemon=True)
    process.start()
    return process


def wait_until_training(folder: Path, process, before: int) -> None:
    """Wait until this attempt has written a checkpoint of its own, so that attempts always advance."""
    end = time.monotonic() + 60
    while newest(folder) <= before and process.is_alive():
        assert time.monotonic() < end, "no checkpoint within a minute"
        time.sleep(0.001)


def wait_for_a_write(folder: Path, process) -> None:
    """Wait until a checkpoint is being written; the kill then lands in it, or just after."""
    while process.is_alive() and not any((folder / "checkpoints").glob("*.tmp")):
        time.sleep(0.0002)


def newest(folder: Path) -> int:
    generations = CheckpointStore(folder / "checkpoints").generations()
    return generations[0][0] if generations else -1


@pytest.mark.parametrize("builder", BUILDERS)
def test_killed_twenty_times_it_ends_with_the_parameters_of_an_undisturbed_run(
    tmp_path, builder, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for the server's early imports
    rng = np.random.default_rng(20)
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    calm = spawn(undisturbed, builder, checkpoint_every_s=1e9)
    calm.join(120)
    assert calm.exitcode == 0

    during_write = steps_before = 0
    for attempt in range(KILLS):
        before = newest(folder)
        process = spawn(folder, builder)
        wait_until_training(folder, process, before)
        if attempt % 2:
            wait_for_a_write(folder, process)
        else:
            time.sleep(float(rng.uniform(0, 0.03)))
        assert process.is_alive(), "the training ended before it was killed often enough"
        os.kill(process.pid, signal.SIGKILL)
        process.join(20)
        assert process.exitcode == -signal.SIGKILL
        during_write += any((folder / "checkpoints").glob("*.tmp"))
        assert newest(folder) > steps_before
        steps_before = newest(folder)

    last = spawn(folder, builder)
    last.join(120)
    assert last.exitcode == 0
    print(f"{during_write} of {KILLS} kills hit a checkpoint while it was written")
    assert during_write > 0, "no kill hit a write: the test has lost its point"
    assert_same_end(undisturbed, folder)


def assert_same_end(one: Path, other: Path) -> None:
    (step, expected), (other_step, found) = (
        CheckpointStore(folder / "checkpoints").latest() for folder in (one, other)
    )
    assert step == other_step
    assert_bitwise_equal(expected["study"], found["study"], "study")
    lines = [
        [{key: line[key] for key in line if key != "elapsed_s"} for line in Run.open(run).metrics()]
        for run in (one, other)
    ]
    assert lines[0] == lines[1]


def assert_bitwise_equal(one, other, where: str) -> None:
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_bitwise_equal(one[key], other[key], f"{where}.{key}")
    elif hasattr(one, "tobytes") or hasattr(one, "numpy"):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes(), where
    else:
        assert one == other, where
