"""Copies of the scene and probes for whoever looks: as fresh as wanted, at a bounded cost for the training.

On the CPU a copy is there when it has been made. On a GPU it is made in a stream of its own: the
training's next step waits for it there, the host does not, and it is handed over once it is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from core.base.latest import Latest
from core.radiance.field import Snapshot
from core.study import Probe, Renderable, Study

SNAPSHOT_EVERY_S = 0.15
SNAPSHOT_SHARE = 0.1  # of the time at most goes into copying snapshots


@dataclass(frozen=True, eq=False)
class Probed:
    """What a study showed of itself after a step."""

    step: int
    probes: tuple[Probe, ...]


class Publisher:
    """Puts snapshots into the slot that the render service reads; probes, where asked for, into another."""

    def __init__(
        self,
        snapshots: Latest[Snapshot],
        clock: Callable[[], float],
        probes: Latest[Probed] | None = None,
    ) -> None:
        self._snapshots, self._clock, self._probes = snapshots, clock, probes
        self._published_s, self._cost_s = -math.inf, 0.0
        self._stream: Any = None
        self._coming: tuple[Snapshot, Any] | None = None  # a copy, and the event that ends it

    def is_due(self) -> bool:
        """Tell whether what was published last was taken and more may be paid for."""
        is_untaken = self._probes is not None and self._probes.is_fresh
        if self._snapshots.is_fresh or is_untaken or self._coming is not None:
            return False
        pause_s = max(SNAPSHOT_EVERY_S, self._cost_s / SNAPSHOT_SHARE)
        return self._clock() - self._published_s >= pause_s

    def publish(self, study: Study, step: int = 0) -> None:
        """Take the probes and copy the scene, if there is one; on a GPU `hand_over` makes it known later."""
        began = self._clock()
        if self._probes is not None:
            self._probes.put(Probed(step, study.probes()))
        if isinstance(study, Renderable):
            if torch.cuda.is_available() and torch.cuda.is_initialized():
                self._copy_beside(study)
            else:
                self._snapshots.put(_copy(study))
        self._published_s = self._clock()
        self._cost_s = self._published_s - began

    def hand_over(self, *, wait: bool = False) -> None:
        """Make known a copy that is done, or wait for it."""
        if self._coming is None:
            return
        snapshot, done = self._coming
        if wait:
            done.synchronize()
        if done.query():
            self._coming = None
            self._snapshots.put(snapshot)

    def _copy_beside(self, study: Renderable) -> None:
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        training = torch.cuda.current_stream()
        self._stream.wait_stream(training)
        with torch.cuda.stream(self._stream):
            snapshot = _copy(study)
            done = torch.cuda.Event()
            done.record()
        training.wait_stream(self._stream)  # a step writes into what is being copied
        self._coming = (snapshot, done)


def _copy(study: Renderable) -> Snapshot:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # waking a thread pool for a copy costs far more than the copy
    try:
        return study.snapshot()
    finally:
        torch.set_num_threads(threads)
