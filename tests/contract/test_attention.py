"""Every study that attends hands over what it multiplied: weights times values are what it computed."""

from __future__ import annotations

import pytest
import torch

from core.base import discover
from core.base.config import resolve
from core.nn.attention import Trace
from core.study import Setup, Study

TOLERANCE = 1e-5  # float32 sums in another order, relative to the largest number of the layer


def attending():
    found = []
    for entry in discover.studies().values():
        if entry.family == "radiance":
            continue
        kind = discover.load(entry.name)
        if kind.attend is not Study.attend:
            found += [(entry.name, variant) for variant in kind.variants]
    return found


@pytest.mark.parametrize(("name", "variant"), attending())
def test_weights_times_values_are_what_the_module_computed(name, variant):
    kind = discover.load(name)
    study = kind(resolve(kind.Config, "quick"), Setup(variant))
    study.prepare()
    study.step()
    trace = Trace()
    with torch.no_grad():
        attended = study.attend(0, trace)
    if attended is None:
        return
    assert torch.isfinite(torch.as_tensor(attended.outputs)).all()
    assert trace.layers or trace.maps
    for layer in trace.layers:
        if layer.v is None:
            continue
        assert layer.made is not None, layer.name
        largest = max(1.0, float(layer.made.abs().max()))
        assert float((layer.output() - layer.made).abs().max()) <= TOLERANCE * largest, layer.name
