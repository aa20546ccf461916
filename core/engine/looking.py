"""Look at what a model attends to on one sample, between two steps, without touching its training.

Modes, random numbers and weights are put back: training with and without somebody looking gives the
same bits. Gradients are asked for with `torch.autograd.grad`, so that those of training stay.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from core.base.events import EventQueue
from core.base.latest import Latest
from core.base.threads import failure
from core.nn.attention import AttentionLayer, Changes, Trace
from core.nn.attention_measures import evaluating, modules_of, shuffled
from core.study import Attended, Study

NOTHING = Changes()
EVERY_S, SHARE = 1.0, 0.04  # of the training's time at most goes into looking


@dataclass(frozen=True)
class Wish:
    """What somebody wants to see.

    `target` is the output whose gradients are asked for; None for none. `is_shuffled` is the
    control: the same model with every array of weights in another order.
    """

    sample: int = 0
    changes: Changes = NOTHING
    target: int | None = None
    is_shuffled: bool = False


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen: copies in main memory. `outputs` [O] beside those without the changes."""

    step: int
    wish: Wish
    layers: tuple[AttentionLayer, ...]
    outputs: np.ndarray
    unchanged: np.ndarray
    attended: Attended


class Looker:
    """Looks again while training goes on, as long as somebody wishes; what it sees waits in `looks`.

    The share holds of time that passes and of processor time: where others use the processor, most
    of the time between two looks is not the training's.
    """

    def __init__(
        self,
        events: EventQueue,
        clock: Callable[[], float],
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self.looks = Latest[Look]()
        self._events, self._clock, self._spent = events, clock, spent
        self.wish(None)

    def wish(self, wish: Wish | None) -> None:
        """Choose what is looked at from now on; None for nothing."""
        self._wish, self._looked_s, self._cost_s = wish, -math.inf, 0.0
        self._spent_s, self._work_s = -math.inf, 0.0  # processor time: then, and what a look costs
        self.looks.clear()

    def refresh(self, study: Study, step: int) -> None:
        """Look, if it is time to; a mistake there is told and ends the looking, not the training."""
        if self._wish is None or self.looks.is_fresh:
            return
        began, spent = self._clock(), self._spent()
        pause_s = max(EVERY_S, self._cost_s / SHARE)
        if began - self._looked_s < pause_s or spent - self._spent_s < self._work_s / SHARE:
            return
        try:
            self.looks.put(look(study, self._wish, step))
        except Exception as error:
            self._events.post(failure("attention", error))
            self._wish = None
        self._looked_s, self._spent_s = self._clock(), self._spent()
        self._cost_s, self._work_s = self._looked_s - began, self._spent_s - spent


def look(study: Study, wish: Wish, step: int = 0) -> Look:
    """Pass the wished sample through the model; no layers where nothing attends."""
    modules = modules_of(study)
    mixed = shuffled(modules) if wish.is_shuffled else contextlib.nullcontext()
    with torch.random.fork_rng(devices=[]), evaluating(modules), mixed:
        found = _passed(study, wish)
        if found is None:
            none = np.zeros(0)
            return Look(step, wish, (), none, none, Attended(None))
        attended, layers, outputs = found
        if not layers and len(outputs):  # nothing attends: Grad-CAM of what the model decides for
            chosen = replace(wish, target=int(outputs.argmax()))
            attended, layers, outputs = _passed(study, chosen) or found
        unchanged = outputs
        if not wish.changes.is_empty:
            plain = _passed(study, replace(wish, changes=NOTHING, target=None))
            assert plain is not None
            unchanged = plain[2]
    return Look(step, wish, layers, outputs, unchanged, replace(attended, outputs=None))


def _passed(
    study: Study, wish: Wish
) -> tuple[Attended, tuple[AttentionLayer, ...], np.ndarray] | None:
    """Return the sample, its layers and the outputs [O] of one forward."""
    trace = Trace(wish.changes, wants_gradients=wish.target is not None)
    with torch.set_grad_enabled(wish.target is not None):
        attended = study.attend(wish.sample, trace)
    if attended is None:
        return None
    outputs = torch.as_tensor(attended.outputs).reshape(-1)
    layers = [*trace.layers]
    if wish.target is not None and outputs.requires_grad:
        layers = _with_gradients(layers, trace, outputs[wish.target % len(outputs)])
    values: np.ndarray = outputs.detach().double().cpu().numpy()
    return attended, tuple(layers), values


def _with_gradients(
    layers: list[AttentionLayer], trace: Trace, output: torch.Tensor
) -> list[AttentionLayer]:
    """Add the gradients of an output by each layer's weights, and Grad-CAM's maps of feature maps."""
    wanted = {**trace.dense, **trace.maps}
    names = [name for name, values in wanted.items() if values.requires_grad]
    if not names:
        return layers
    found = torch.autograd.grad(output, [wanted[name] for name in names], allow_unused=True)
    gradients = {
        name: torch.zeros_like(wanted[name]) if one is None else one
        for name, one in zip(names, found, strict=True)
    }
    layers = [
        replace(layer, gradient=gradients[layer.name].detach().cpu())
        if layer.name in trace.dense and layer.name in gradients
        else layer
        for layer in layers
    ]
    return layers + [
        _grad_cam(name, trace.maps[name], gradients[name])
        for name in trace.maps
        if name in gradients
    ]


def _grad_cam(name: str, maps: torch.Tensor, gradients: torch.Tensor) -> AttentionLayer:
    """Return relu(sum_c mean(dY/dF_c) F_c) of maps [1, C, h, w] as the row of one query (Selvaraju et al. 2017)."""
    shares = gradients.mean(dim=(2, 3), keepdim=True)
    relevant = torch.relu((shares * maps).sum(dim=1))[0].detach().float().cpu()  # [h, w]
    return AttentionLayer(
        name=name,
        kind="gradcam",
        given=relevant.reshape(1, 1, -1),
        grid=(1, 1),
        key_grid=(relevant.shape[0], relevant.shape[1]),
    )
