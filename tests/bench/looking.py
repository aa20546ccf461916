"""How much slower a study trains while somebody looks at its attention: open and closed take turns.

    python -m tests.bench looking --studies convit axial --turns 6 --seconds 8

One process, one application without a window. The panel is open for so many seconds, then closed
for as many, and so on; steps are divided by processor seconds of the training's own thread, so that
what else runs on the machine matters less. `slower` is one minus the ratio of open to closed, with
the quartiles of the turns; `share` is the part of the thread's processor time that went into looks,
measured around them: it is exact where a busy machine makes the steps themselves uneven.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from app import actions
from app.session import Session
from core.engine import looking
from tests.bench import live
from tests.bench.measure import print_table

COLUMNS = (
    "study", "closed_steps_per_s", "open_steps_per_s", "slower", "slower_from", "slower_to", "share", "looks_per_s",
)  # fmt: skip
TICK_S = 1 / 60
LIMIT_S = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--studies", nargs="+", default=["convit", "axial"])
    parser.add_argument("--turns", type=int, default=6, help="open and closed, each so often")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every study; return the rows."""
    rows = [_measured(study, options.turns, options.seconds) for study in options.studies]
    print_table([[row[name] for name in COLUMNS] for row in rows], list(COLUMNS))
    return {"rows": rows}


def _measured(study: str, turns: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hyrf-bench-") as home:
        session = live.training_session({}, Path(home))
        try:
            return {"study": study, **_figures(session, study, turns, seconds)}
        finally:
            session.close()


def _figures(session: Session, study: str, turns: int, seconds: float) -> dict[str, float]:
    store = session.store

    def turn() -> None:
        session.tick()
        time.sleep(TICK_S)

    def during(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            turn()

    session.start_engine()
    live.wait_until(lambda: store.get("engine.state") == "ready", turn, LIMIT_S, "the engine")
    session.post(actions.OpenStudy(study))
    live.wait_until(lambda: live.step_of(session) >= 5, turn, LIMIT_S, "the first steps")
    rates: dict[bool, list[float]] = {True: [], False: []}
    looked_s = 0.0
    looks, open_s, look_s = 0, 0.0, _timed_looks()
    for at in range(2 * turns):
        is_open = bool(at % 2)
        session.post(actions.WatchAttention(is_open))
        during(1.0)  # the first look after opening is one more than the others
        before_s = sum(look_s)
        step, spent_s, seen = live.step_of(session), _trainer_s(), _newest(session)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            turn()
            looks += _newest(session) is not seen
            seen = _newest(session)
        spent_s = _trainer_s() - spent_s
        rates[is_open].append((live.step_of(session) - step) / spent_s)
        if is_open:
            open_s, looked_s = open_s + spent_s, looked_s + sum(look_s) - before_s
    # Neighbours in time are compared with each other.
    slower = [1 - later / before for before, later in zip(rates[False], rates[True], strict=True)]
    low, _, high = statistics.quantiles(slower, n=4)
    return {
        "closed_steps_per_s": statistics.median(rates[False]),
        "open_steps_per_s": statistics.median(rates[True]),
        "slower": statistics.median(slower),
        "slower_from": low,
        "slower_to": high,
        "share": looked_s / open_s,
        "looks_per_s": looks / (turns * seconds),
    }


def _timed_looks() -> list[float]:
    """Return a list that receives the processor seconds of every look from now on."""
    look, spent = looking.look, list[float]()

    def timed(*arguments: Any) -> looking.Look:
        began = time.thread_time()
        try:
            return look(*arguments)
        finally:
            spent.append(time.thread_time() - began)

    looking.look = timed
    return spent


def _newest(session: Session) -> object:
    return session._studying.attention.seen


def _trainer_s() -> float:
    """Return the processor seconds of the training's thread."""
    (thread,) = (one for one in threading.enumerate() if one.name == "training")
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
