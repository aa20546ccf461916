"""Verdicts: rules that read the results of a claim and say whether the claim came out.

    reproduced       the numbers support it beyond what the seeds scatter
    not reproduced   they contradict it
    undecided        too few seeds, too much scatter, or a number that is missing

A comparison is paired: the same seed means the same data for every case, so its differences are
judged, by their 95 % interval (Student's t). Rules are data; `says` puts them into words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

Outcome = Literal["reproduced", "not reproduced", "undecided"]
FEWEST_SEEDS = 2
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Row:
    """What one case gave with one seed."""

    case: str
    seed: int
    metrics: Mapping[str, float]
    parameters: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Results:
    """The table of a claim."""

    rows: tuple[Row, ...]

    def of(self, case: str, metric: str) -> dict[int, float]:
        """Return {seed: value} of one case; values that are missing or not finite are left out."""
        found = {row.seed: row.metrics.get(metric) for row in self.rows if row.case == case}
        return {
            seed: float(value)
            for seed, value in found.items()
            if value is not None and math.isfinite(value)
        }

    def differences(self, first: str, second: str, metric: str) -> np.ndarray:
        """Return first minus second for every seed that both have, [seeds]."""
        one, other = self.of(first, metric), self.of(second, metric)
        return np.array([one[seed] - other[seed] for seed in sorted(one) if seed in other])


@dataclass(frozen=True)
class Paired:
    """A paired difference: its mean, the ends of its 95 % interval and how likely chance gives it."""

    mean: float
    low: float
    high: float
    p: float
    seeds: int


def paired(differences: Sequence[float] | np.ndarray) -> Paired:
    """Test whether the mean of paired differences is zero (Student's t, two-sided)."""
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    if count == 0:
        return Paired(math.nan, -math.inf, math.inf, math.nan, 0)
    mean = float(values.mean())
    if count < FEWEST_SEEDS:
        return Paired(mean, -math.inf, math.inf, math.nan, count)
    error = float(values.std(ddof=1)) / math.sqrt(count)
    if error <= 1e-12 * max(1.0, abs(mean)):  # every seed says the same
        return Paired(mean, mean, mean, math.nan, count)
    from scipy.stats import t

    reach = float(t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * error
    p = 2 * float(t.sf(abs(mean) / error, count - 1))
    return Paired(mean, mean - reach, mean + reach, p, count)


class Rule(Protocol):
    """Reads a table of results."""

    def judge(self, results: Results) -> Outcome:
        """Return the outcome."""
        ...

    def says(self) -> str:
        """Return what must hold, in words."""
        ...


def _judged(low: float, high: float, bound: float) -> Outcome:
    """Judge an interval against a bound that it should lie above."""
    if low > bound:
        return "reproduced"
    return "not reproduced" if high <= bound else "undecided"


@dataclass(frozen=True)
class Better:
    """One case beats another by more than a margin; a negative margin allows a tie."""

    first: str
    second: str
    metric: str
    margin: float = 0.0
    is_lower_better: bool = False

    def judge(self, results: Results) -> Outcome:
        """Compare the interval of the paired difference with the margin."""
        sign = -1.0 if self.is_lower_better else 1.0
        test = paired(sign * results.differences(self.first, self.second, self.metric))
        return _judged(test.low, test.high, self.margin)

    def says(self) -> str:
        """Return the comparison in words."""
        word = "lower" if self.is_lower_better else "higher"
        if self.margin < 0:
            return f"{self.first} ties or beats {self.second} in {self.metric} (within {-self.margin:g})"
        by = f" by more than {self.margin:g}" if self.margin else ""
        return f"{self.first} has a {word} {self.metric} than {self.second}{by}"


@dataclass(frozen=True)
class Within:
    """The mean of one case lies between two bounds."""

    case: str
    metric: str
    low: float = -math.inf
    high: float = math.inf

    def judge(self, results: Results) -> Outcome:
        """Compare the mean's interval with the bounds, both included."""
        values = list(results.of(self.case, self.metric).values())
        test = paired(values)
        if test.seeds < FEWEST_SEEDS:
            return "undecided"
        if self.low <= test.low and test.high <= self.high:
            return "reproduced"
        return "not reproduced" if test.high < self.low or test.low > self.high else "undecided"

    def says(self) -> str:
        """Return the bounds in words."""
        if math.isinf(self.high):
            return f"{self.metric} of {self.case} is at least {self.low:g}"
        if math.isinf(self.low):
            return f"{self.metric} of {self.case} is at most {self.high:g}"
        return f"{self.metric} of {self.case} lies between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class Trend:
    """A metric rises (or falls) from case to case, in the order given."""

    cases: tuple[str, ...]
    metric: str
    is_falling: bool = False

    def judge(self, results: Results) -> Outcome:
        """Compare every case with the next."""
        steps = tuple(
            Better(second, first, self.metric, is_lower_better=self.is_falling)
            for first, second in zip(self.cases, self.cases[1:], strict=False)
        )
        return AllOf(steps).judge(results)

    def says(self) -> str:
        """Return the direction in words."""
        word = "falls" if self.is_falling else "rises"
        return f"{self.metric} {word} along {', '.join(self.cases)}"


@dataclass(frozen=True)
class Shrinks:
    """The lead of one case over another is smaller in the last pair of cases than in the first."""

    first: tuple[str, str]
    last: tuple[str, str]
    metric: str

    def judge(self, results: Results) -> Outcome:
        """Judge the interval of how much of the lead is lost, paired by seed."""
        leads = []
        for one, other in (self.first, self.last):
            theirs = results.of(other, self.metric)
            own = results.of(one, self.metric).items()
            leads.append({seed: value - theirs[seed] for seed, value in own if seed in theirs})
        before, after = leads
        test = paired([before[seed] - after[seed] for seed in sorted(before) if seed in after])
        return _judged(test.low, test.high, 0.0)

    def says(self) -> str:
        """Return the comparison of both leads in words."""
        before, after = (f"{one} over {other}" for one, other in (self.first, self.last))
        return f"the lead in {self.metric} of {after} is smaller than that of {before}"


@dataclass(frozen=True)
class AllOf:
    """Several rules at once: one that fails is enough to lose."""

    rules: tuple[Any, ...]

    def judge(self, results: Results) -> Outcome:
        """Return the worst of the outcomes."""
        outcomes = [rule.judge(results) for rule in self.rules]
        if "not reproduced" in outcomes:
            return "not reproduced"
        return "undecided" if "undecided" in outcomes else "reproduced"

    def says(self) -> str:
        """Return all of them in words."""
        return "; ".join(rule.says() for rule in self.rules)


def parts(rule: Rule) -> tuple[Rule, ...]:
    """Return the rules that a rule is made of."""
    return rule.rules if isinstance(rule, AllOf) else (rule,)
