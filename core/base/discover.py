"""Find studies by file name, without importing them.

A study is a module `core/studies/<family>/<name>.py` or a package `core/studies/<family>/<name>/`.
The first line of its docstring is its title.
"""

from __future__ import annotations

import ast
import importlib
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.base.errors import ConfigError

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
    entries = studies()
    if name not in entries:
        raise ConfigError(f"There is no study '{name}'. Known: {', '.join(entries)}.")
    return importlib.import_module(entries[name].module).STUDY


def _title(source: Path) -> str:
    """Return the first line of the docstring, reading only the first tokens of the file."""
    with tokenize.open(source) as lines:
        for token in tokenize.generate_tokens(lines.readline):
            if token.type == tokenize.STRING:
                return str(ast.literal_eval(token.string)).strip().splitlines()[0]
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING):
                break
    return source.stem
