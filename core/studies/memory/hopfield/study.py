"""The study: which variant belongs to which task, and what the paper claims of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from core.base.config import Config
from core.base.verdicts import AllOf, Better, Trend, Within
from core.nn.attention import Trace
from core.studies.memory.hopfield.bags import BagConfig, Bags
from core.studies.memory.hopfield.retrieval import Retrieval, RetrievalConfig
from core.studies.memory.hopfield.tables import SETTINGS, TableConfig, Tables
from core.study import Attended, Budget, Case, Claim, Metrics, Probe, Setup, Study

POOLINGS = ("pooling", "mean_pooling", "max_pooling", "attention_pooling")
MODERN = (16, 64, 512, 4096)  # patterns that the modern network stores
CLASSICAL = (8, 16, 64)
BETAS = (0.001, 0.04, 0.25, 8.0)
RANDOM = {
    "memory.source": "random",
    "memory.damage": "flip",
    "memory.beta": 1.0,
    "memory.updates": 20,
    "memory.queries": 256,
}


class HopfieldConfig(Config):
    """Settings of the three tasks; a variant uses those of its own."""

    memory: RetrievalConfig = RetrievalConfig()
    bags: BagConfig = BagConfig()
    tables: TableConfig = TableConfig()

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "bags": {"train": 64, "test": 64, "steps": 40},
            "tables": {"tables": "wine", "boosts": 5},
        },
        "full": {},
        # the configuration the authors' code shows for bags of bit patterns
        "paper": {
            "bags": {
                "source": "bits",
                "heads": 8,
                "head_width": 8,
                "updates": 3,
                "beta": 0.25,
                "dropout": 0.5,
            }
        },
    }


def _storage() -> Claim:
    cases = tuple(
        Case(f"{variant} {count}", network, {**RANDOM, "memory.patterns": count})
        for variant, network, counts in (
            ("modern", "retrieval", MODERN),
            ("classical", "classical", CLASSICAL),
        )
        for count in counts
    )
    holds = tuple(Within(f"modern {count}", "exact", low=0.99) for count in MODERN)
    breaks = Within("classical 64", "exact", high=0.5)
    return Claim(
        "storage",
        says="The modern network stores far more random patterns than the classical one.",
        cases=cases,
        rule=AllOf((*holds, breaks)),
        metrics=("exact",),
        seeds=5,
        source="Theorem 3 and section 2",
    )


def _faces() -> Claim:
    faces: dict[str, Any] = {"memory.source": "faces", "memory.damage": "half"}
    cases = (
        Case("100 faces", "retrieval", {**faces, "memory.patterns": 100}),
        Case("100, beta 0.04", "retrieval", {**faces, "memory.beta": 0.04}),
        Case("100, not normalised", "retrieval", {**faces, "memory.normalises": False}),
        Case("200 pictures", "retrieval", {**faces, "memory.patterns": 200}),
        Case("100, classical", "classical", {**faces, "memory.patterns": 100}),
    )
    rules = (
        Within("100 faces", "recalled", low=0.95),
        Within("100, classical", "exact", high=0.05),
        Better("100 faces", "100, not normalised", "recalled", margin=0.5),
    )
    return Claim(
        "faces",
        says="One update recalls real pictures from half of them, once every pattern is normalised.",
        cases=cases,
        rule=AllOf(rules),
        metrics=("recalled", "exact"),
        seeds=2,
        budget=Budget(1),
        source="section 2, figure 1",
    )


def _regimes() -> Claim:
    names = tuple(f"beta {beta:g}" for beta in BETAS)
    settings = {"memory.source": "faces", "memory.patterns": 200}
    cases = tuple(
        Case(name, "retrieval", {**settings, "memory.beta": beta})
        for name, beta in zip(names, BETAS, strict=True)
    )
    falls = tuple(Within(name, "energy_rise", high=1e-6) for name in names)
    ends = (Within(names[0], "effective", low=150), Within(names[-1], "effective", high=1.1))
    return Claim(
        "regimes",
        says="Beta leads from the average of all patterns over metastable states to one; energy falls.",
        cases=cases,
        rule=AllOf((Trend(names, "effective", is_falling=True), *ends, *falls)),
        metrics=("effective", "energy_rise"),
        seeds=2,
        source="section 2, theorems 1 and 2",
    )


def _pooling() -> Claim:
    cases = tuple(Case(name.replace("_", " "), name) for name in POOLINGS)
    rules = (
        Better("pooling", "mean pooling", "auc"),
        Better("pooling", "attention pooling", "auc", margin=-0.01),
    )
    return Claim(
        "pooling",
        says="Hopfield pooling finds the one instance that matters in a bag of digits.",
        cases=cases,
        rule=AllOf(rules),
        metrics=("auc", "accuracy", "keys_90"),
        seeds=5,
        source="section 4, multiple-instance learning",
    )


def _tables() -> Claim:
    cases = tuple(Case(name.replace("_", " "), name) for name in SETTINGS)
    others = tuple(case.name for case in cases[1:])
    return Claim(
        "small_tables",
        says="Looking rows up is the best learner on small tables (three can only contradict it weakly).",
        cases=cases,
        rule=AllOf(tuple(Better("lookup", other, "accuracy", margin=-0.005) for other in others)),
        metrics=("accuracy", "accuracy_wine", "accuracy_breast_cancer", "accuracy_digits"),
        seeds=10,
        source="section 4, UCI benchmark",
        if_lost="The paper's layer learns its projections and is tuned by task; this one stores the "
        "rows as they are, and its normalisation takes away their size, which matters most in the "
        "breast cancer table. The learners beside it are tuned as well, which later work asks for.",
    )


class HopfieldStudy(Study):
    """One task of the three, as the variant says."""

    Config = HopfieldConfig
    variants = (
        "retrieval",
        "classical",
        "pooling",
        "mean_pooling",
        "max_pooling",
        "attention_pooling",
        "lookup",
        "nearest",
        "logistic",
        "boosting",
        "support_vectors",
    )
    claims = (_storage(), _faces(), _regimes(), _pooling(), _tables())
    config: HopfieldConfig

    def __init__(self, config: HopfieldConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.task: Retrieval | Bags | Tables
        self._last: dict[str, float] = {}
        if setup.variant in POOLINGS:
            self.task = Bags(config.bags, setup)
        elif setup.variant in SETTINGS:
            self.task = Tables(config.tables, setup)
        else:
            self.task = Retrieval(config.memory, setup)
        self.module = self.task.module

    def prepare(self) -> None:
        """Draw patterns, fill bags or load tables."""
        self.task.prepare()

    @property
    def total_steps(self) -> int:
        """Updates, batches or settings to try."""
        return self.task.total_steps

    def step(self) -> Metrics:
        """Update all states, learn from a batch, or try a setting."""
        metrics = self.task.step()
        if "energy_rise" in metrics:
            rise = max(metrics["energy_rise"], self._last.get("energy_rise", -1.0))
            self._last = {"energy_rise": rise}
        return metrics

    def evaluate(self) -> Metrics:
        """Measure the task's own quality; the largest rise of the energy in any step beside it."""
        return {**self.task.evaluate(), **self._last}

    def probes(self) -> tuple[Probe, ...]:
        """Return the pictures of the task."""
        return self.task.probes()

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Answer a click in the task's pictures."""
        return self.task.inspect(query)

    def attend(self, sample: int, trace: Trace) -> Attended | None:
        """Show what recalls or pools one sample; tables and the classical network attend nowhere."""
        return None if isinstance(self.task, Tables) else self.task.attend(sample, trace)

    def configure(self, config: HopfieldConfig) -> None:
        """Apply live edits."""
        self.config = config
        if isinstance(self.task, Bags):
            self.task.config = config.bags
        elif isinstance(self.task, Retrieval):
            self.task.config = config.memory

    def state(self) -> dict[str, Any]:
        """Return everything an exact resume needs."""
        return {"task": self.task.state(), "last": dict(self._last)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.task.load(state["task"])
        self._last = dict(state["last"])
