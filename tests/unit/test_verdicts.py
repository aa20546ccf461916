"""Verdicts on tables of results."""

import math

import numpy as np
import pytest

from core.base.verdicts import AllOf, Better, Results, Row, Shrinks, Trend, Within, paired


def table(**values):
    return Results(
        tuple(
            Row(case.replace("_", " "), seed, {"score": value})
            for case, row in values.items()
            for seed, value in enumerate(row)
        )
    )


def test_the_paired_test_is_students():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 1, 8), rng.normal(0.5, 1, 8)
    found, expected = paired(one - other), stats.ttest_rel(one, other)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_a_difference_that_every_seed_shows_is_reproduced():
    rule = Better("new", "old", "score")
    assert rule.judge(table(new=[2.0, 2.1, 2.2], old=[1.0, 1.1, 1.3])) == "reproduced"
    assert rule.judge(table(new=[1.0, 1.1, 1.3], old=[2.0, 2.1, 2.2])) == "not reproduced"


def test_scatter_larger_than_the_difference_stays_undecided():
    rule = Better("new", "old", "score")
    assert rule.judge(table(new=[2.0, 0.0, 1.5], old=[1.0, 1.1, 1.3])) == "undecided"


def test_one_seed_decides_nothing():
    assert Better("new", "old", "score").judge(table(new=[9.0], old=[1.0])) == "undecided"
    assert Within("new", "score", low=0).judge(table(new=[9.0])) == "undecided"


def test_the_pairs_are_those_of_the_same_seed():
    rows = [Row("new", seed, {"score": seed + 1.0}) for seed in (2, 0, 1)]
    rows += [Row("old", seed, {"score": float(seed)}) for seed in (0, 1, 2)]
    np.testing.assert_allclose(Results(tuple(rows)).differences("new", "old", "score"), [1, 1, 1])


def test_a_missing_number_is_no_pair():
    results = table(new=[2.0, math.nan, 2.2], old=[1.0, 1.1, 1.3])
    assert len(results.differences("new", "old", "score")) == 2


def test_a_tie_is_allowed_by_a_negative_margin():
    results = table(new=[1.0, 1.01, 0.99], old=[1.0, 1.0, 1.0])
    assert Better("new", "old", "score", margin=-0.1).judge(results) == "reproduced"
    assert Better("new", "old", "score").judge(results) == "undecided"


def test_lower_can_be_better():
    results = table(new=[1.0, 1.1, 1.0], old=[2.0, 2.0, 2.1])
    assert Better("new", "old", "score", is_lower_better=True).judge(results) == "reproduced"


def test_a_trend_must_hold_at_every_step():
    rising = table(a=[1.0, 1.1], b=[2.0, 2.1], c=[3.0, 3.1])
    assert Trend(("a", "b", "c"), "score").judge(rising) == "reproduced"
    assert Trend(("a", "c", "b"), "score").judge(rising) == "not reproduced"
    assert Trend(("c", "b", "a"), "score", is_falling=True).judge(rising) == "reproduced"


def test_one_lost_rule_loses_all_and_one_open_rule_leaves_all_open():
    results = table(new=[1.0, 1.0])
    holds, fails = Within("new", "score", low=0.5), Within("new", "score", low=2)
    is_open = Within("old", "score", low=0)
    assert AllOf((holds,)).judge(results) == "reproduced"
    assert AllOf((holds, is_open, fails)).judge(results) == "not reproduced"
    assert AllOf((holds, is_open)).judge(results) == "undecided"
    assert "at least 0.5" in AllOf((holds, fails)).says()


def test_a_lead_shrinks_where_every_seed_loses_some_of_it():
    rule = Shrinks(("new few", "old few"), ("new many", "old many"), "score")
    leads = {"new_few": [3.0, 3.5, 3.2], "old_few": [1.0, 1.4, 1.1]}
    lost = table(**leads, new_many=[5.0, 5.2, 5.1], old_many=[4.0, 4.1, 4.2])
    grown = table(**leads, new_many=[9.0, 9.2, 9.1], old_many=[4.0, 4.1, 4.2])
    assert rule.judge(lost) == "reproduced"
    assert rule.judge(grown) == "not reproduced"
    assert rule.judge(table(**leads)) == "undecided"
    assert "new many over old many is smaller than that of new few over old few" in rule.says()
