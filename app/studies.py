"""The command `study`: list what there is, train or inspect one without a window, run claims, write the report."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from app import study_looks
from app.study_report import RESULTS, number, spread, write
from core.base import discover
from core.base.config import knobs, resolve
from core.base.errors import ConfigError

PRESETS = ("quick", "full", "paper")
REPORT = Path("docs/results/studies.md")


def describe(command: ArgumentParser) -> None:
    """Describe the command's own words."""
    kinds = command.add_subparsers(dest="what", metavar="WHAT", required=True)
    names = tuple(discover.studies())
    listed = kinds.add_parser("list", help="list every study")
    shown = kinds.add_parser("show", help="say what a study is, its variants, claims and settings")
    trained = kinds.add_parser("run", help="train a study without a window and measure it")
    inspected = kinds.add_parser("inspect", help="write what a trained study attends to as a file")
    claimed = kinds.add_parser("claim", help="run a study's claims and judge them")
    written = kinds.add_parser("report", help="write the results of all claims as a page")
    for parser in (shown, trained, inspected, claimed):
        parser.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    for parser in (listed, shown, trained, inspected, claimed):
        parser.add_argument("--json", action="store_true", help="print JSON")
    for parser in (trained, inspected):
        _training(parser)
    study_looks.describe(inspected)
    trained.add_argument(
        "--out",
        type=Path,
        metavar="RUN",
        help="run folder to create: settings, metrics, checkpoints",
    )
    trained.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint of --out"
    )
    claimed.add_argument("--preset", choices=PRESETS[:2], default="quick", help="default: quick")
    claimed.add_argument("--seeds", type=_positive, help="default: what each claim asks for")
    for parser in (trained, inspected, claimed):
        parser.add_argument(
            "--capture",
            default="",
            metavar="FOLDER",
            help="photographs, for a study that learns from some (default: the demo)",
        )
    claimed.add_argument("--only", default="", metavar="CLAIM", help="run one claim")
    written.add_argument("--out", type=Path, default=REPORT, help="default: %(default)s")
    written.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of published results"
    )


def _training(parser: ArgumentParser) -> None:
    """Describe what decides a training; no defaults: a run compares what is asked for with what it has."""
    parser.add_argument("--preset", choices=PRESETS, help="default: quick")
    parser.add_argument("--variant", help="default: the proposed system")
    parser.add_argument("--steps", type=_positive, help="default: what the preset says")
    parser.add_argument("--seed", type=int, help="of all random numbers (default: 0)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="where to train (default: cpu)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting"
    )


def _positive(word: str) -> int:
    from argparse import ArgumentTypeError

    if not word.isdecimal() or int(word) < 1:
        raise ArgumentTypeError(f"'{word}' is not a whole number of 1 or more")
    return int(word)


def run(arguments: Namespace) -> int:
    """Carry out `study WHAT`."""
    words = {"list": _list, "show": _show, "run": _run, "claim": _claim, "report": _report}
    words["inspect"] = study_looks.inspect
    return words[arguments.what](arguments)


def _list(arguments: Namespace) -> int:
    found = [discover.facts(entry) for entry in discover.studies().values()]
    if arguments.json:
        print(json.dumps([vars(one) for one in found], indent=1))
        return 0
    for one in found:
        print(f"{one.family}/{one.name}: {one.title}")
        print(f"    {len(one.variants)} variants, {len(one.claims)} claims")
    return 0


def _show(arguments: Namespace) -> int:
    facts = discover.facts(discover.entry_of(arguments.name))
    study_class = discover.load(arguments.name)
    settings = [
        {"key": knob.key, "value": getattr(knob.value, "value", knob.value), "live": knob.is_live}
        for knob in knobs(resolve(study_class.Config, "full"))
    ]
    claims = [
        {"name": claim.name, "says": claim.says, "rule": claim.rule.says(), "seeds": claim.seeds}
        for claim in study_class.claims
    ]
    presets = tuple(study_class.Config.presets)
    if arguments.json:
        shown = {**vars(facts), "claims": claims, "presets": presets, "settings": settings}
        print(json.dumps(shown, indent=1))
        return 0
    print(f"{facts.title}\n{facts.paper}\n")
    print(f"Variants: {', '.join(facts.variants)}\nPresets: {', '.join(presets)}\n")
    for claim in claims:
        print(f"Claim {claim['name']} ({claim['seeds']} seeds): {claim['says']}")
        print(f"    holds if {claim['rule']}")
    print("\nSettings of the full preset:")
    for row in settings:
        print(f"    {row['key']} = {row['value']}{' (live)' if row['live'] else ''}")
    return 0


def _run(arguments: Namespace) -> int:
    from app import study_runs

    return study_runs.train(arguments)


def _claim(arguments: Namespace) -> int:
    from core.engine.claims import ClaimPlan, run_claim
    from core.engine.cores import cores_available, use_cores
    from core.engine.kernels import warm_up

    claims = discover.load(arguments.name).claims
    chosen = [claim for claim in claims if arguments.only in ("", claim.name)]
    if not chosen:
        known = ", ".join(claim.name for claim in claims) or "none"
        raise ConfigError(f"{arguments.name} has no such claim. Its claims: {known}.")
    use_cores(cores_available())
    needs_capture = discover.load(arguments.name).needs_capture
    if arguments.capture and not needs_capture:
        raise ConfigError(f"{arguments.name} learns from no photographs: leave --capture out.")
    plan = ClaimPlan(
        arguments.preset,
        arguments.seeds,
        capture=arguments.capture,
        say=lambda text: print(f"  {text}", file=sys.stderr),
    )
    if needs_capture:
        warm_up(lambda _event: None)  # compiling is no part of a case's time
    made = []
    for claim in chosen:
        print(f"{arguments.name}: {claim.name}", file=sys.stderr)
        made.append(run_claim(arguments.name, claim, plan))
        if not arguments.json:
            print(_table(made[-1]))
    if arguments.json:
        print(
            json.dumps({"study": arguments.name, "preset": plan.preset, "claims": made}, indent=1)
        )
    return 0


def _table(made: dict[str, Any]) -> str:
    """Write the results of a claim as lines of text."""
    metrics = made["metrics"]
    lines = [f"{made['claim']} ({made['preset']}, {made['seeds']} seeds): {made['says']}"]
    head = "".join(f"{metric:>24}{'p':>9}" for metric in metrics)
    lines.append(f"  {'case':<24}{head}{'parameters':>12}{'seconds':>9}")
    for row in made["cases"]:
        cells = "".join(f"{spread(row[name]):>24}{number(row[name]['p']):>9}" for name in metrics)
        lines.append(f"  {row['case']:<24}{cells}{row['parameters']:>12,}{row['seconds']:>9.1f}")
    lines += [f"  {rule['says']}: {rule['verdict']}" for rule in made["rules"]]
    lines.append(f"  {made['verdict']}")
    lines.extend(f"  failed: {text}" for text in made["failures"])
    return "\n".join(lines)


def _report(arguments: Namespace) -> int:
    print(write(arguments.out, arguments.results))
    return 0
