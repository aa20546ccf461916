"""Run the claims of studies: every case on the same seeds, data and budget, then the verdict.

    cases x seeds -> Results -> outcome, kept as JSON with the machine that made it

Cases that differ in what is measured alone share one training, and so do equal cases of the claims
run under one plan. Parameters and wall time stand beside the metrics. The results of a claim are one
JSON object (`report`), kept under `claims/STUDY.CLAIM.PRESET.json` of the user's cache; those on
photographs of one's own in a folder with their name beside.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.base import discover
from core.base.cache import cache_folder, keep
from core.base.config import resolve
from core.base.errors import ConfigError, HybridError
from core.base.json_values import finite
from core.base.verdicts import Results, Row, paired, parts
from core.engine.artifacts import Artifacts
from core.study import Budget, Case, Claim, Metrics, Setup, Study

LARGEST = 480  # pixels along the longer side of photographs


@dataclass(frozen=True)
class ClaimPlan:
    """How claims are run; `seeds` of None is what the claim asks for, no `capture` the demo.

    `measured` holds what has been measured so far, by training and by what was asked of it.
    """

    preset: str = "full"
    seeds: int | None = None
    device: str = "cpu"
    capture: str = ""  # folder of photographs, for studies that learn from some
    say: Callable[[str], None] = field(default=lambda _text: None)
    measured: dict[str, Row] = field(default_factory=dict)


def open_study(
    name: str,
    config: Any,
    *,
    variant: str = "",
    device: str = "cpu",
    seed: int = 0,
    capture: Any = None,
) -> Study:
    """Construct a study with its artifacts; one that learns from photographs gets the demo's."""
    study_class = discover.load(name)
    variant = variant or study_class.variants[0]
    if variant not in study_class.variants:
        known = ", ".join(study_class.variants)
        raise ConfigError(f"{name} has no variant '{variant}'. Choose one of: {known}.")
    if study_class.needs_capture and capture is None:
        capture = demo_capture()
    artifact = Artifacts(name)
    setup = Setup(variant=variant, device=device, seed=seed, capture=capture, artifact=artifact)
    study: Study = study_class(config, setup)
    return study


def demo_capture(folder: str = "") -> Any:
    """Return the photographs that studies of photographs are compared on: the demo's, or others."""
    from assets import DEMO
    from core.capture.opening import open_capture

    return open_capture(folder or DEMO).limited(LARGEST)


def run_claim(name: str, claim: Claim, plan: ClaimPlan) -> dict[str, Any]:
    """Run every case of a claim, judge it, keep the report and return it."""
    count = plan.seeds or (min(claim.seeds, 2) if plan.preset == "quick" else claim.seeds)
    rows: list[Row] = []
    failures: list[str] = []
    for seed in range(count):
        for cases in _trainings(claim.cases):
            try:
                rows.extend(_run(name, claim, cases, seed, plan))
            except (HybridError, ArithmeticError) as error:
                failures.append(f"{', '.join(case.name for case in cases)}, seed {seed}: {error}")
                plan.say(failures[-1])
    made = report(name, claim, Results(tuple(rows)), plan.preset, count, failures)
    if plan.capture:
        made["capture"] = Path(plan.capture).resolve().stem
    path = result_path(name, claim.name, plan.preset, plan.capture)
    keep(path, (json.dumps(made, indent=1) + "\n").encode())
    return made


def _trainings(cases: Iterable[Case]) -> list[list[Case]]:
    """Group the cases that share a training."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        key = json.dumps([case.variant, dict(case.settings)], sort_keys=True, default=str)
        groups.setdefault(key, []).append(case)
    return list(groups.values())


def _run(name: str, claim: Claim, cases: list[Case], seed: int, plan: ClaimPlan) -> list[Row]:
    """Train once and measure every case of the training, as far as no earlier claim has."""
    keys = {case.name: _key(name, claim, case, seed) for case in cases}
    missing = [case for case in cases if keys[case.name] not in plan.measured]
    if missing:
        study, seconds = _trained(name, claim, missing[0], seed, plan)
        for case in missing:
            metrics = dict(study.measure(case.measures))
            row = Row(case.name, seed, metrics, study.num_parameters, seconds)
            plan.measured[keys[case.name]] = row
    rows = [replace(plan.measured[keys[case.name]], case=case.name) for case in cases]
    for row in rows:
        shown = ", ".join(f"{key} {row.metrics.get(key, math.nan):.4g}" for key in claim.metrics)
        plan.say(f"{row.case}, seed {seed}: {shown} ({row.seconds:.1f} s)")
    return rows


def _trained(
    name: str, claim: Claim, case: Case, seed: int, plan: ClaimPlan
) -> tuple[Study, float]:
    """Return the study of a case at the end of its budget, and how long that took."""
    owner, _, variant = case.variant.rpartition(":")
    study_class = discover.load(owner or name)
    config = resolve(study_class.Config, plan.preset, case.settings)
    capture = demo_capture(plan.capture) if study_class.needs_capture else None
    study = open_study(
        owner or name, config, variant=variant, device=plan.device, seed=seed, capture=capture
    )
    study.prepare()
    began = time.perf_counter()
    spend(study, claim.budget)
    return study, time.perf_counter() - began


def _key(name: str, claim: Claim, case: Case, seed: int) -> str:
    """Return what decides the numbers of a case within a plan."""
    owner, _, variant = case.variant.rpartition(":")
    budget = (claim.budget.amount, claim.budget.unit)
    parts = (owner or name, variant, dict(case.settings), budget, dict(case.measures), seed)
    return json.dumps(parts, sort_keys=True, default=str)


def spend(study: Study, budget: Budget) -> Metrics:
    """Step a study until its budget is used up; return the last step's metrics."""
    limit = study.total_steps if budget.amount is None else budget.amount
    unit = "steps" if budget.amount is None else budget.unit
    spent, began = 0.0, time.perf_counter()
    metrics: Metrics = {}
    while spent < limit:
        metrics = study.step()
        bad = [key for key, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise ArithmeticError(f"{bad[0]} is {metrics[bad[0]]} after {spent:g} {unit}")
        if unit == "seconds":
            spent = time.perf_counter() - began
        else:
            spent += 1 if unit == "steps" else float(metrics[unit])
    return metrics


def report(
    name: str, claim: Claim, results: Results, preset: str, seeds: int, failures: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the results of a claim as JSON values, with its verdict."""
    from core.engine.runs import versions

    first = claim.cases[0].name
    cases = [_case(case.name, first, claim.metrics, results) for case in claim.cases]
    failed = list(failures)
    entry = discover.entry_of(name)
    made = {
        "study": name,
        "family": entry.family,
        "title": entry.title,
        "claim": claim.name,
        "says": claim.says,
        "source": claim.source,
        "preset": preset,
        "seeds": seeds,
        "budget": "all steps of the preset"
        if claim.budget.amount is None
        else f"{claim.budget.amount:g} {claim.budget.unit}",
        "rules": [
            {"says": rule.says(), "verdict": rule.judge(results)} for rule in parts(claim.rule)
        ],
        "metrics": list(claim.metrics),
        "verdict": "undecided" if failed else claim.rule.judge(results),
        "failures": failed,
        "cases": cases,
        "rows": [
            {"case": row.case, "seed": row.seed, "metrics": dict(row.metrics)}
            for row in results.rows
        ],
        "made": time.strftime("%Y-%m-%d"),
        "versions": versions(),
    }
    found: dict[str, Any] = finite(made)
    return found


def _case(case: str, first: str, metrics: tuple[str, ...], results: Results) -> dict[str, Any]:
    """Return mean, spread and the paired difference with the first case, by metric."""
    own = [row for row in results.rows if row.case == case]
    found: dict[str, Any] = {
        "case": case,
        "parameters": own[0].parameters if own else 0,
        "seconds": sum(row.seconds for row in own) / max(len(own), 1),
    }
    for metric in metrics:
        values = list(results.of(case, metric).values())
        mean = sum(values) / len(values) if values else math.nan
        spread = (
            math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
            if len(values) > 1
            else 0.0
        )
        test = paired(results.differences(case, first, metric))
        found[metric] = {"mean": mean, "spread": spread, "difference": test.mean, "p": test.p}
    return found


def result_path(name: str, claim: str, preset: str, capture: str = "") -> Path:
    """Return where the results of a claim are kept."""
    folder = cache_folder("claims")
    if capture:
        folder = folder / Path(capture).resolve().stem
    return folder / f"{name}.{claim}.{preset}.json"


def kept_results(*folders: Path) -> list[dict[str, Any]]:
    """Return what earlier runs of claims left in folders; of each claim, preset and capture the first.

    Results on other photographs than the demo's lie in a folder of the capture's name.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for path in sorted((*folder.glob("*.json"), *folder.glob("*/*.json"))):
            try:
                made = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # another program's file, or one cut short
            if isinstance(made, Mapping) and {"study", "claim", "preset", "verdict"} <= set(made):
                found.setdefault(str(path.relative_to(folder)), dict(made))
    return list(found.values())
