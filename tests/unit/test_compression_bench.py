"""How files are compared at equal quality."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.compression import bd_rate, compared, front


def row(case, suffix, size, psnr):
    return {"case": case, "format": suffix, "bytes": size, "psnr": psnr}


def test_the_front_leaves_out_what_is_larger_and_no_better():
    rows = [row("a", ".ply", 100, 20.0), row("b", ".ply", 200, 19.0), row("c", ".ply", 300, 25.0)]
    np.testing.assert_allclose(front(rows), [(20.0, np.log(100)), (25.0, np.log(300))])


def test_half_the_bytes_everywhere_is_minus_a_half():
    theirs = front([row("a", ".ply", 100, 20.0), row("b", ".ply", 400, 30.0)])
    ours = front([row("c", ".hyrf", 50, 20.0), row("d", ".hyrf", 200, 30.0)])
    assert bd_rate(ours, theirs) == pytest.approx(-0.5)
    assert bd_rate(theirs, theirs) == pytest.approx(0.0)


def test_curves_that_share_no_quality_are_not_compared():
    low = front([row("a", ".ply", 100, 20.0), row("b", ".ply", 400, 22.0)])
    high = front([row("c", ".hyrf", 50, 25.0), row("d", ".hyrf", 200, 30.0)])
    assert bd_rate(high, low) is None


def test_each_file_is_compared_with_the_best_of_the_others():
    rows = [
        row("a", ".spz", 100, 20.0),
        row("b", ".spz", 400, 30.0),
        row("a", ".ply", 1000, 20.0),
        row("b", ".ply", 4000, 31.0),
        row("c", ".hyrf", 50, 25.0),
        row("d", ".hyrf", 500, 40.0),
    ]
    found = {
        entry["others"]: entry
        for entry in compared(rows + [row("x", s, 9999, 19.0) for s in (".compressed.ply", ".sog")])
    }
    assert found["best"]["c"] == pytest.approx(4.0)  # 200 bytes lie halfway between 100 and 400
    assert found["best"]["d"] is None  # nobody else reaches 40 dB
    assert found[".ply"]["c"] > found["best"]["c"]
