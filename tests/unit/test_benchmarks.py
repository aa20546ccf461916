"""The parts of the benchmarks that can be wrong without anybody noticing in a table of numbers."""

import time

import numpy as np
import pytest

from tests.bench import measure, stages
from tests.bench.measure import Patience, Timing, WrongResult
from tests.bench.stages import Stage, Stopwatch


def test_every_function_that_a_stage_names_exists():
    for stage in stages.STAGES:
        for reference in stage.functions:
            stages.found(reference)


def test_a_stage_whose_function_is_gone_says_where_to_name_its_successor():
    with pytest.raises(stages.StageError, match=r"cpu_tiles:gone.*tests/bench/stages\.py"):
        stages.found("core.render.cpu_tiles:gone")


def test_functions_are_as_before_after_watching():
    from core.radiance import visible
    from core.studies import photographs

    original = visible.visible_rows
    with stages.watched(Stopwatch()):
        assert photographs.visible_rows is visible.visible_rows is not original
    assert photographs.visible_rows is visible.visible_rows is original


def test_time_inside_a_nested_stage_is_not_counted_twice():
    stopwatch = Stopwatch()
    inner = stopwatch.wrapped(lambda: time.sleep(0.02), Stage("inner", ()))

    def work():
        time.sleep(0.01)
        inner()

    outer = stopwatch.wrapped(work, Stage("outer", (), then="after"))
    whole, parts = stopwatch.run(lambda: (outer(), time.sleep(0.03)))
    stages.check(whole, parts)
    # sleeping takes at least as long as asked for; the whole is the sum whatever it takes
    assert parts["outer"][0] >= 10
    assert parts["inner"][0] >= 20
    assert parts["after"][0] >= 30
    assert sum(wall for wall, _ in parts.values()) == pytest.approx(whole[0], abs=0.01)


def test_a_closed_stage_keeps_what_happens_inside_it():
    stopwatch = Stopwatch()
    inner = stopwatch.wrapped(lambda: time.sleep(0.01), Stage("inner", ()))
    outer = stopwatch.wrapped(inner, Stage("outer", (), is_closed=True))
    _, parts = stopwatch.run(outer)
    assert set(parts) == {stages.REST, "outer"}


def test_stages_that_do_not_add_up_are_refused():
    with pytest.raises(WrongResult, match="add up"):
        stages.check((10.0, 10.0), {"blend": (20.0, 20.0)})
    with pytest.raises(WrongResult, match="add up"):
        stages.check((10.0, 10.0), {"blend": (11.0, 11.0), "rest": (-1.0, -1.0)})


def test_alternating_calls_every_action_equally_often_and_changes_who_begins():
    calls = []
    actions = {name: lambda name=name: calls.append(name) for name in "ab"}
    timings = measure.alternate(actions, Patience(times=4))
    assert calls == list("ab" + "ab" + "ba" + "ab" + "ba")
    assert all(len(timing.walls) == 4 for timing in timings.values())


def test_patience_ends_early_but_not_before_its_least():
    assert len(list(Patience(times=50, seconds=0.0, least=3).rounds())) == 3
    assert len(list(Patience(times=5, seconds=60.0).rounds())) == 5


def test_the_ratio_of_two_timings_is_taken_round_by_round():
    slow, fast = Timing(cpus=[4.0, 8.0, 400.0]), Timing(cpus=[2.0, 4.0, 200.0])
    assert measure.ratio(slow, fast) == pytest.approx((2.0, 2.0, 2.0))


def test_exponents_of_an_exact_law_are_found():
    rows = [
        {"num_gaussians": n, "width": w, "height": w, "ms": 3e-4 * n**0.8 * (w * w) ** 0.5}
        for n in (100, 1000, 10000)
        for w in (64, 128)
    ]
    found = measure.fitted_exponents(rows, "ms")
    assert found == pytest.approx({"gaussians": 0.8, "pixels": 0.5})


def test_a_number_that_is_not_finite_is_found_wherever_it_stands():
    measure.check_finite({"rows": [{"stages": {"blend": 1.0}}]}, "step")
    with pytest.raises(WrongResult, match=r"step\.rows\[0\]\.stages\.blend is nan"):
        measure.check_finite({"rows": [{"stages": {"blend": float("nan")}}]}, "step")


def test_more_work_never_lowers_a_floor():
    from tests.bench.ceilings import Ceilings

    limits = Ceilings(1, {1000: 4e9, 10**6: 1e9}, 1e11, {1000: 1e9, 10**6: 1e8})
    small = limits.milliseconds(1000, 1e6, 1e6, 1000)
    large = limits.milliseconds(10**7, 2e6, 2e6, 10**7)
    assert small == pytest.approx({"bytes": 2.5e-4, "operations": 1e-2, "gathers": 1.0})
    assert all(large[kind] > small[kind] for kind in small)


def test_the_tuning_split_never_touches_a_test_picture(tiny_capture):
    from tests.bench.quality_time import tuning_split

    split = tuning_split(tiny_capture)
    tests = {photo.name for photo in tiny_capture.test}
    assert not tests & {photo.name for photo in split.photos}
    assert [photo.name for photo in split.test] == [photo.name for photo in tiny_capture.train[::8]]


def test_random_scenes_cover_a_picture_equally_often_at_any_number_and_size():
    from tests.bench.scenes import random_scene

    def covered(num, width, height):
        splats, K = random_scene(num, width, height)
        sigma = splats.scales.numpy() * K[0, 0] / splats.means.numpy()[:, 2:]
        return float((sigma[:, 0] * sigma[:, 1]).sum() / (width * height))

    areas = [covered(20_000, 270, 480), covered(80_000, 270, 480), covered(20_000, 540, 960)]
    # a mean over 20,000 products of uniform numbers varies by less than 1 %
    np.testing.assert_allclose(areas, areas[0], rtol=0.04)


def test_a_row_that_lacks_a_column_is_refused():
    measure.check_rows([{"step_ms": 1.0}], ["step_ms"], "step")
    with pytest.raises(WrongResult, match="A row of step lacks stages"):
        measure.check_rows([{"step_ms": 1.0}], ["step_ms", "stages"], "step")
    with pytest.raises(WrongResult, match="no rows"):
        measure.check_rows([], ["step_ms"], "step")
