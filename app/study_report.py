"""The page of results of all claims, written from what the runs left; nobody types it.

Results of full presets go from the user's cache to the published ones (`assets/results`), which
travel with the program and stand in the gallery; the page is made from those. What the studies
showed last becomes the thumbnails that others see before their own first training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from assets import RESULTS
from core.base import discover
from core.base.cache import cache_folder

__all__ = ["RESULTS", "number", "results", "spread", "standing", "write"]

HEAD = """# What came out

Written by `python launch.py study report` from the results of `study claim NAME --preset full`.
Every case of a claim ran on the same data, seeds and budget; models of photographs on the demo's
unless another capture is named. Numbers are means and standard
deviations over seeds; p belongs to the paired difference with the first case (Student's t,
two-sided), and is absent where every seed says the same. Seconds are those of one training, on
whatever else the machine had to do.
"""


def results(published: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the results of claims: the user's own, else the published ones."""
    from core.engine.claims import kept_results

    return kept_results(cache_folder("claims"), published)


def standing(found: Iterable[Mapping[str, Any]], study: str) -> dict[str, str]:
    """Return {claim: verdict} of a study's full runs on the data that the program brings."""
    return {
        str(made["claim"]): str(made["verdict"])
        for made in found
        if made["study"] == study and made["preset"] == "full" and not made.get("capture")
    }


def write(page: Path, published: Path = RESULTS) -> str:
    """Publish the full results and the thumbnails, write the page and say how many claims stand on it."""
    full = [made for made in results(published) if made["preset"] == "full"]
    for made in full:
        path = published / made.get("capture", "") / f"{made['study']}.{made['claim']}.full.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    for picture in sorted(cache_folder("thumbnails").glob("*.png")):
        if picture.stem in discover.studies():
            (published / picture.name).write_bytes(picture.read_bytes())
    full.sort(key=lambda made: (made["family"], made["study"], made.get("capture", "")))
    parts = [HEAD, _summary(full)]
    for at, made in enumerate(full):
        if at == 0 or full[at - 1]["study"] != made["study"]:
            parts.append(f"## {made['study']}\n\n{made['title']}\n")
        parts.append(_claim(made))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(parts), encoding="utf-8")
    return f"{len(full)} claims written to {page}."


def _summary(full: list[dict[str, Any]]) -> str:
    lines = ["| study | claim | verdict | seeds |", "| --- | --- | --- | --- |"]
    lines += [f"| {m['study']} | {_name(m)} | {m['verdict']} | {m['seeds']} |" for m in full]
    return "\n".join(lines) + "\n"


def _name(made: Mapping[str, Any]) -> str:
    return f"{made['claim']}, on {made['capture']}" if made.get("capture") else made["claim"]


def _claim(made: dict[str, Any]) -> str:
    metrics = made["metrics"]
    head = "".join(f" {metric} | p |" for metric in metrics)
    lines = [
        f"### {_name(made)}: {made['verdict']}\n",
        f"{made['says']} ({made['source']})\n",
        f"{made['seeds']} seeds, {made['budget']}, run on {made['made']} with torch "
        f"{made['versions'].get('torch', 'unknown')}. It holds if all of these do:\n",
        *(f"- {rule['says']}: {rule['verdict']}" for rule in made["rules"]),
        "",
        f"| case |{head} parameters | seconds |",
        f"| --- |{' --- | --- |' * len(metrics)} --- | --- |",
    ]
    for row in made["cases"]:
        cells = "".join(f" {spread(row[name])} | {number(row[name]['p'])} |" for name in metrics)
        lines.append(f"| {row['case']} |{cells} {row['parameters']:,} | {row['seconds']:.1f} |")
    cause = _probable_cause(made) if made["verdict"] == "not reproduced" else ""
    if cause:
        lines.append(f"\nProbable cause: {cause}")
    lines += [f"\nFailed: {text}" for text in made["failures"]]
    return "\n".join(lines) + "\n"


def _probable_cause(made: Mapping[str, Any]) -> str:
    """Return what the study itself says today about a claim that it has lost."""
    known = discover.load(made["study"]).claims if made["study"] in discover.studies() else ()
    return next((claim.if_lost for claim in known if claim.name == made["claim"]), "")


def spread(cell: Mapping[str, Any]) -> str:
    """Write a mean with its standard deviation over seeds."""
    mean, deviation = cell["mean"], cell["spread"]
    if mean is None or not math.isfinite(mean):
        return "–"
    if mean and (abs(mean) < 1e-2 or abs(mean) >= 1e4):
        return f"{mean:.2e} ± {deviation:.1e}"
    return f"{mean:.3f} ± {deviation:.3f}"


def number(value: float | None) -> str:
    """Write a number with three digits, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}"
