"""Small tables: a Hopfield lookup in all training rows beside tuned classical learners.

    rows    [n, columns]   standardised by the training rows
    labels  [n]

The lookup stores the training rows as they are and their labels as projections:
`softmax(beta normalised(x) normalised(X)^T) labels`. Every learner tries eight settings by
three-fold validation inside the training rows; one step tries one setting on one table.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from core.base.config import Config
from core.nn.bundled import TABLES, learning, table
from core.studies.memory.hopfield import network
from core.study import Probe, Setup

FOLDS = 3
Fitted = Callable[[np.ndarray], np.ndarray]  # rows -> labels

SETTINGS: dict[str, tuple[Any, ...]] = {
    "lookup": (0.03, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 8.0),  # beta
    "nearest": (1, 2, 3, 5, 7, 10, 15, 20),  # neighbours
    "logistic": (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 10.0, 100.0),  # C
    "boosting": tuple((depth, rate) for depth in (2, 4) for rate in (0.03, 0.1, 0.2, 0.4)),
    "support_vectors": tuple((c, g) for c in (1.0, 10.0) for g in (0.1, 0.3, 1.0, 3.0)),
}


class TableConfig(Config):
    """Which tables, and how much of them is learned from."""

    tables: Literal["all", "wine", "breast_cancer", "digits"] = Field(
        "all", title="Tables", description="One of scikit-learn's tables, or all three."
    )
    share: float = Field(
        0.2, gt=0, lt=1, title="Training share", description="Share of the rows to learn from."
    )
    boosts: int = Field(
        60, ge=1, le=1000, title="Trees", description="Rounds of gradient boosting."
    )


class Tables:
    """The table task: one learner, its settings tried one by one, the best of them measured."""

    def __init__(self, config: TableConfig, setup: Setup) -> None:
        self.config, self.setup = config, setup
        self.module: torch.nn.Module | None = None
        self.names = TABLES if config.tables == "all" else (config.tables,)
        self.settings = SETTINGS[setup.variant]
        self.scores = np.full((len(self.names), len(self.settings)), -1.0)  # -1: not tried yet
        self.steps_done = 0

    @property
    def total_steps(self) -> int:
        """Settings to try, on every table."""
        return self.scores.size

    def prepare(self) -> None:
        """Load the tables and part them by the seed."""
        rng = np.random.default_rng(self.setup.seed)
        self.parts = []
        for name in self.names:
            rows, labels = table(name)
            order = rng.permutation(len(rows))
            count = max(round(self.config.share * len(rows)), 4 * FOLDS)
            first, rest = order[:count], order[count:]
            mean, spread = rows[first].mean(axis=0), rows[first].std(axis=0) + 1e-9
            scaled = (rows - mean) / spread
            self.parts.append((scaled[first], labels[first], scaled[rest], labels[rest]))

    def step(self) -> dict[str, float]:
        """Try one setting on one table by validation inside the training rows."""
        at, setting = divmod(self.steps_done % self.total_steps, len(self.settings))
        rows, labels = self.parts[at][:2]
        folds = np.arange(len(rows)) % FOLDS
        right = 0
        for fold in range(FOLDS):
            is_out = folds == fold
            predict = self._fitted(rows[~is_out], labels[~is_out], self.settings[setting])
            right += int((predict(rows[is_out]) == labels[is_out]).sum())
        self.scores[at, setting] = right / len(rows)
        self.steps_done += 1
        return {"validation": float(self.scores[at, setting])}

    def evaluate(self) -> dict[str, float]:
        """Measure the best setting so far of every table on its held-out rows."""
        found = {}
        for at, name in enumerate(self.names):
            rows, labels, held, truth = self.parts[at]
            predict = self._fitted(rows, labels, self.settings[int(self.scores[at].argmax())])
            found[f"accuracy_{name}"] = float((predict(held) == truth).mean())
        return {"accuracy": float(np.mean(list(found.values()))), **found}

    def _fitted(self, rows: np.ndarray, labels: np.ndarray, setting: Any) -> Fitted:
        if self.setup.variant == "lookup":
            return lambda asked: looked_up(asked, rows, labels, setting)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=learning("exceptions").ConvergenceWarning)
            learner = self._learner(setting, len(rows))
            learner.fit(rows, labels)
        predict: Fitted = learner.predict
        return predict

    def _learner(self, setting: Any, count: int) -> Any:
        variant, seed = self.setup.variant, self.setup.seed
        if variant == "nearest":
            return learning("neighbors").KNeighborsClassifier(min(setting, count))
        if variant == "logistic":
            return learning("linear_model").LogisticRegression(C=setting, max_iter=300)
        if variant == "boosting":
            depth, rate = setting
            return learning("ensemble").GradientBoostingClassifier(
                n_estimators=self.config.boosts,
                max_depth=depth,
                learning_rate=rate,
                max_features="sqrt",
                random_state=seed,
            )
        c, gamma = setting
        return learning("svm").SVC(C=c, gamma=gamma / 30)

    def probes(self) -> tuple[Probe, ...]:
        """Return the validation scores of every setting."""
        names = tuple(str(setting) for setting in self.settings)
        ticks = {"table": self.names, "setting": names}
        scores = np.round(self.scores, 3)
        return (
            Probe("Validation accuracy", "table", scores, ("table", "setting"), ticks),
            Probe(
                "Accuracy by setting",
                "curve",
                self.scores.copy(),
                ("table", "setting"),
                {"table": self.names},
                note="-1 where a setting has not been tried yet.",
            ),
        )

    def inspect(self, query: Mapping[str, Any]) -> tuple[Probe, ...]:
        """Return nothing: a table has no places to click."""
        return ()

    def state(self) -> dict[str, Any]:
        """Return what has been tried."""
        return {"scores": self.scores.copy(), "steps_done": self.steps_done}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.scores, self.steps_done = np.array(state["scores"]), int(state["steps_done"])


def looked_up(asked: np.ndarray, rows: np.ndarray, labels: np.ndarray, beta: float) -> np.ndarray:
    """Return the label with the largest share of the association weights, for every asked row."""
    states, stored = (network.normalised(torch.from_numpy(part)) for part in (asked, rows))
    weights = network.associations(states, stored, beta)  # [asked, rows]
    kinds, columns = np.unique(labels, return_inverse=True)
    shares = weights @ torch.nn.functional.one_hot(torch.from_numpy(columns), len(kinds)).double()
    return kinds[shares.argmax(dim=-1).numpy()]
