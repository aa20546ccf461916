"""The study that docs/studies.md shows works as it stands there."""

import importlib.util
import re
from pathlib import Path

from core.base import discover
from core.base.config import resolve
from core.study import Setup

PAGE = Path(__file__).parents[2] / "docs" / "studies.md"


def shown(folder):
    """Save the study of the page as a file of a family and return the file."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    family = folder / "memory"
    family.mkdir(parents=True)
    (family / "__init__.py").touch()
    path = family / "recall.py"
    path.write_text(source, encoding="utf-8")
    return path


def loaded(path):
    spec = importlib.util.spec_from_file_location("recall", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.STUDY


def test_a_study_is_found_by_its_file_alone(tmp_path):
    shown(tmp_path)
    (entry,) = discover.studies(tmp_path).values()
    facts = discover.facts(entry, tmp_path)
    assert (facts.name, facts.family) == ("recall", "memory")
    assert facts.variants == ("attention", "average")
    assert facts.claims == ("recall",)
    assert facts.paper.startswith("Ramsauer")


def test_the_study_of_the_page_recalls_and_its_control_does_not(tmp_path):
    study_class = loaded(shown(tmp_path))
    recalled = {}
    for variant in study_class.variants:
        study = study_class(resolve(study_class.Config, "quick"), Setup(variant))
        study.prepare()
        for _ in range(study.total_steps):
            study.step()
        recalled[variant] = study.evaluate()["recalled"]
        assert study.probes()[0].axes == ("query", "pattern")
    assert recalled["attention"] == 1.0
    assert recalled["average"] < 0.5
