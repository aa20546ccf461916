"""`study inspect`: what a trained study attends to on one sample, written as the window's attention panel writes it.

The study is trained as `study run` does, or taken from a checkpoint of a run. Layers and heads are
asked for by their names or counted from 1, samples and queries counted from 0 as the sliders do.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import study_runs
from app.attention_choices import MAX, MEAN, METHODS, Choices
from core.base import discover
from core.base.errors import ConfigError
from core.study import Study

if TYPE_CHECKING:
    from core.engine.looking import Look
    from core.nn.attention import AttentionLayer

FUSED = {"mean": MEAN, "max": MAX}


def describe(command: ArgumentParser) -> None:
    """Describe what to look at; the training's own options stand beside these."""
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".png, .npz or .html to write"
    )
    command.add_argument(
        "--run",
        type=Path,
        metavar="RUN",
        help="look at a run folder's newest checkpoint, or at a checkpoint file of one, instead of training",
    )
    command.add_argument(
        "--sample", type=int, default=0, help="held-out sample, counted from 0 (default: 0)"
    )
    command.add_argument("--layer", default="1", help="its name, or counted from 1 (default: 1)")
    command.add_argument(
        "--head", default="mean", help="mean, max, its name, or counted from 1 (default: mean)"
    )
    command.add_argument(
        "--query",
        metavar="Q",
        help="counted from 0, prefix tokens first, or ROW,COLUMN of the grid from 1 (default: the middle)",
    )
    command.add_argument(
        "--map", choices=tuple(METHODS), default="row", help="how it is made (default: row)"
    )
    command.add_argument(
        "--target", metavar="OUTPUT", help="output that relevance is for (default: the largest)"
    )


def inspect(arguments: Namespace) -> int:
    """Train or open the study, look at it, write the file and say what was written."""
    from app import attention_files
    from core.engine.cores import cores_available, use_cores

    name = arguments.name
    attention_files.expect_writable(arguments.out)
    if discover.load(name).attend is Study.attend:
        raise ConfigError(f"{name} does not attend anywhere: there is nothing to look at.")
    use_cores(cores_available())
    if arguments.run is None:
        config = study_runs.asked_config(arguments)
        teller = study_runs.Teller(is_quiet=arguments.json)
        capture = study_runs.opened_capture(arguments, config)
        made = study_runs.carried_through(config, capture, teller)
        if code := made.exit_code(teller):
            return code
        study, step = made.study, made.trainer.step
    else:
        config, study, step = _restored(arguments)
    seen, choices = looked(arguments, study, step)
    told = attention_files.write(arguments.out, seen, choices, name)
    facts = _facts(arguments, config, seen, choices)
    print(json.dumps(facts, indent=1) if arguments.json else told)
    return 0


def _restored(arguments: Namespace) -> tuple[Any, Study, int]:
    """Return a run's settings, its study where a checkpoint stands, and the step; nothing is locked or written."""
    from core.engine.runs import Run

    path = arguments.run
    folder = path.absolute().parent.parent if path.is_file() else path
    run = Run.open(folder)
    study_runs.expect_same(Namespace(**{**vars(arguments), "out": folder}), run.config)
    capture = study_runs.opened_capture(arguments, run.config)
    study, step = study_runs.restored(run, capture, path if path.is_file() else None)
    return run.config, study, step


def looked(arguments: Namespace, study: Study, step: int) -> tuple[Look, Choices]:
    """Look at the study as the command line asks; return what was seen and what of it is shown."""
    from app import attention_maps
    from core.engine.looking import Wish, look

    name, sample = arguments.name, arguments.sample
    seen = look(study, Wish(), step)
    if not seen.layers:
        raise ConfigError(f"{name}: this variant attends nowhere. Choose another one.")
    if not 0 <= sample < seen.attended.samples:
        last = seen.attended.samples - 1
        raise ConfigError(f"--sample {sample}: {name} has the samples 0 to {last}.")
    if sample:
        seen = look(study, Wish(sample=sample), step)
    layers = tuple(one.name for one in seen.layers)
    at = _chosen("--layer", arguments.layer, layers)
    layer = seen.layers[at]
    allowed = attention_maps.methods_of(seen, layer)
    if arguments.map not in allowed:
        raise ConfigError(
            f"--map {arguments.map}: {layer.name} of {name} has {', '.join(allowed)} only."
        )
    if arguments.map == "relevance":
        seen = look(study, Wish(sample=sample, target=_target(arguments.target, seen)), step)
    choices = Choices(
        sample=sample,
        layer=at,
        head=_head(arguments.head, layer),
        method=arguments.map,
        query=_query(arguments.query, layer),
    )
    return seen, choices


def _head(asked: str, layer: AttentionLayer) -> int:
    names = tuple(layer.head_name(head) for head in range(layer.num_heads))
    return FUSED[asked] if asked in FUSED else _chosen("--head", asked, names)


def _target(asked: str | None, seen: Look) -> int:
    """Return the output that gradients are taken of."""
    from app.attention_files import names_of

    if asked is None:
        return int(seen.outputs.argmax())
    return _chosen("--target", asked, names_of(seen))


def _chosen(option: str, asked: str, names: Sequence[str]) -> int:
    """Return the index of a name, or of a number counted from 1."""
    if asked in names:
        return list(names).index(asked)
    if asked.isdecimal() and 1 <= int(asked) <= len(names):
        return int(asked) - 1
    listed = ", ".join(f"{at} ({name})" for at, name in enumerate(names, 1))
    raise ConfigError(f"{option} {asked}: there is no such one. Choose one of {listed}.")


def _query(asked: str | None, layer: AttentionLayer) -> int:
    """Return a query's index, prefix tokens counted."""
    from app.attention_maps import middle

    if asked is None:
        return middle(layer)
    rows, columns = layer.query_shape
    words = asked.split(",")
    if len(words) == 2 and all(word.strip().isdecimal() for word in words):
        row, column = (int(word) for word in words)
        if 1 <= row <= rows and 1 <= column <= columns:
            return layer.prefix + (row - 1) * columns + column - 1
    elif asked.isdecimal() and int(asked) < layer.num_queries:
        return int(asked)
    raise ConfigError(
        f"--query {asked}: {layer.name} has the queries 0 to {layer.num_queries - 1}, and a grid of "
        f"{rows} rows and {columns} columns."
    )


def _facts(arguments: Namespace, config: Any, seen: Look, choices: Choices) -> dict[str, Any]:
    """Return what `--json` prints."""
    from app.attention_files import about
    from app.attention_maps import mapped

    found = mapped(seen, choices)
    facts = about(seen, choices, found, config.study)
    return {
        "file": str(arguments.out),
        "variant": config.variant,
        "preset": config.preset,
        "seed": config.seed,
        **facts,
    }
