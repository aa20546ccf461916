"""Find studies by file name, without importing them.

A study is a module `core/studies/<family>/<name>.py` or a package `core/studies/<family>/<name>/`.
The first line of its docstring is its title; a line that begins with "Paper:" names its paper.
`facts` reads variants and claims out of the source text as well: a gallery imports nothing.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.base.errors import ConfigError

PAPER = "Paper:"
PARSE_TRIES = 20
STUDIES = Path(__file__).resolve().parent.parent / "studies"


@dataclass(frozen=True)
class StudyEntry:
    """Where a study lives and what it is called."""

    name: str
    family: str
    title: str

    @property
    def module(self) -> str:
        """Dotted module path."""
        return f"core.studies.{self.family}.{self.name}"


@dataclass(frozen=True)
class StudyFacts:
    """What a study's source says of it, without running any of it."""

    name: str
    family: str
    title: str
    paper: str
    variants: tuple[str, ...]
    claims: tuple[str, ...]


def studies(root: Path = STUDIES) -> dict[str, StudyEntry]:
    """List every study by name, in the order family, name."""
    found = {}
    for family in sorted(
        path for path in root.iterdir() if path.is_dir() and (path / "__init__.py").exists()
    ):
        for path in sorted(family.iterdir()):
            source = path / "__init__.py" if path.is_dir() else path
            if path.name.startswith("_") or source.suffix != ".py" or not source.exists():
                continue
            found[path.stem] = StudyEntry(path.stem, family.name, _title(source))
    return found


def load(name: str) -> Any:
    """Import a study's module and return its `STUDY` class."""
    return importlib.import_module(entry_of(name).module).STUDY


def entry_of(name: str) -> StudyEntry:
    """Return where a study lives, or say which there are."""
    entries = studies()
    if name not in entries:
        raise ConfigError(f"There is no study '{name}'. Known: {', '.join(entries)}.")
    return entries[name]


def sources(entry: StudyEntry, root: Path = STUDIES) -> tuple[Path, ...]:
    """Return the files of a study, the one with its docstring first."""
    place = root / entry.family / entry.name
    if not place.is_dir():
        return (place.with_suffix(".py"),)
    first = place / "__init__.py"
    return (first, *sorted(path for path in place.glob("*.py") if path != first))


def facts(entry: StudyEntry, root: Path = STUDIES) -> StudyFacts:
    """Read what a gallery shows: `variants` of the study's class, and the name of every `Claim(...)`."""
    variants: tuple[str, ...] = ()
    claims: list[str] = []
    trees = [_parsed(path) for path in sources(entry, root)]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef) and not variants:
            variants = _literal(node, "variants")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Claim":
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant):
                claims.append(str(name.value))
    lines = (ast.get_docstring(trees[0]) or "").splitlines()
    papers = [line.removeprefix(PAPER).strip() for line in lines if line.startswith(PAPER)]
    paper = papers[0] if papers else _in_brackets(entry.title)
    return StudyFacts(entry.name, entry.family, entry.title, paper, variants, tuple(claims))


def _parsed(path: Path) -> ast.Module:
    """Parse a file; again where another thread's parsing disturbed it, which Python 3.11 allows."""
    text = path.read_text(encoding="utf-8")
    for _ in range(PARSE_TRIES):
        with contextlib.suppress(SystemError):
            return ast.parse(text)
    return ast.parse(text)


def _literal(owner: ast.ClassDef, name: str) -> tuple[str, ...]:
    """Return a tuple of texts that a class assigns to a name."""
    for statement in owner.body:
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        is_asked = any(getattr(target, "id", "") == name for target in targets)
        if is_asked and isinstance(value, ast.Tuple):
            return tuple(str(ast.literal_eval(item)) for item in value.elts)
    return ()


def _in_brackets(title: str) -> str:
    """Return the last brackets of a title, where it names its paper itself."""
    return title.rpartition("(")[2].partition(")")[0] if "(" in title else ""


def _title(source: Path) -> str:
    """Return the first line of the docstring, reading only the first tokens of the file."""
    with tokenize.open(source) as lines:
        for token in tokenize.generate_tokens(lines.readline):
            if token.type == tokenize.STRING:
                return str(ast.literal_eval(token.string)).strip().splitlines()[0]
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING):
                break
    return source.stem
