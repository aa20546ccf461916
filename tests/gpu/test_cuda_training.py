"""Training on a GPU: pictures stay there, numbers are read late, snapshots are copied beside the training."""

from __future__ import annotations

import math

import pytest
import torch

from core.base import discover
from core.base.config import resolve
from core.base.late import LateMetrics
from core.base.latest import Latest
from core.engine.publishing import Publisher
from core.radiance.photo_supply import PhotoSupply
from core.study import Setup

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
SETTINGS = {"steps": 20, "seed_gaussians": 200, "density.every": 4, "density.start": 0.0}


def build(name, capture):
    study_class = discover.load(name)
    config = resolve(study_class.Config, "quick", SETTINGS)
    study = study_class(config, Setup(variant="", device="cuda", seed=3, capture=capture))
    study.prepare()
    return study


@pytest.mark.parametrize("room", [0, 10**9], ids=["pinned", "on the device"])
def test_pictures_are_those_of_the_cpu_in_the_same_order(tiny_capture, room):
    on_cpu, on_gpu = (PhotoSupply(tiny_capture.train, device, 5) for device in ("cpu", "cuda"))
    on_gpu._device_room = room
    for _ in range(25):
        (camera, picture), (other, copy) = on_cpu.next(), on_gpu.next()
        assert copy.device.type == "cuda"
        assert (camera.center == other.center).all()
        torch.testing.assert_close(copy.cpu(), picture, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["hyrf", "splats_3dgs"])
def test_a_step_hands_over_numbers_that_are_still_on_their_way(name, tiny_capture):
    study = build(name, tiny_capture)
    for _ in range(6):
        metrics = study.step()
        assert isinstance(metrics, LateMetrics)
    assert all(math.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("name", ["hyrf", "splats_3dgs"])
def test_a_snapshot_holds_the_step_it_was_taken_at(name, tiny_capture):
    study = build(name, tiny_capture)
    study.step()
    expected = {key: value.cpu().clone() for key, value in study.model.explicit.items()}
    slot = Latest()
    publisher = Publisher(slot, clock=lambda: 0.0)
    publisher.publish(study)
    for _ in range(3):
        study.step()
    publisher.hand_over(wait=True)
    snapshot = slot.take()
    torch.testing.assert_close(snapshot.explicit["means"].cpu(), expected["means"], rtol=0, atol=0)
