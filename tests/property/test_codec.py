"""Round trips of every coding of version 1: exact once quantised, and never further off than half a step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.formats.codings import content_bytes, unpack
from core.formats.morton import interleave, separate
from core.radiance.parts import Coding
from tests.unit.version_1 import LEVEL_STEPS, pack, position_codes

LOSSY = (Coding.POSITION16, Coding.UNIFORM8, Coding.TABLE8, Coding.FLOAT16)
FLOAT32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
MODERATE = st.floats(-60000, 60000, width=32)


def round_trip(values: np.ndarray, coding: Coding) -> np.ndarray:
    packed = pack(values, coding)
    dtype = values.dtype.newbyteorder("<").str if coding is Coding.RAW else "<f4"
    return unpack(packed.payload, values.shape, coding, packed.layout, dtype)


def near_one_value(rows: int, seed: int) -> np.ndarray:
    """Return rows [N, 3] whose numbers differ by a few units in the last place, the worst case for a grid."""
    rng = np.random.default_rng(seed)
    center = np.float32(rng.choice([1.0, 2.0, 1e-30, 1e-42, 3e38, 65536.0]))
    steps = rng.integers(-3, 4, (rows, 3))
    bits = np.full((rows, 3), center, np.float32).view(np.int32) + steps
    return np.abs(np.maximum(bits, 0).astype(np.int32).view(np.float32))


@pytest.mark.parametrize("coding", LOSSY)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_was_decoded_once_encodes_to_the_same_numbers(coding, data):
    elements = MODERATE if coding is Coding.FLOAT16 else FLOAT32
    rows = data.draw(st.integers(0, 40))
    values = data.draw(arrays.arrays(np.float32, (rows, 3), elements=elements))
    once = round_trip(values, coding)
    np.testing.assert_array_equal(round_trip(once, coding), once)


@pytest.mark.parametrize("coding", LOSSY[:3])
@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_numbers_a_few_ulps_apart_are_stable_too(coding, rows, seed):
    values = near_one_value(rows, seed)
    once = round_trip(values, coding)
    np.testing.assert_array_equal(round_trip(once, coding), once)
    if coding is Coding.POSITION16:
        np.testing.assert_array_equal(
            position_codes(round_trip(once, coding)), position_codes(once)
        )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 300), scale=st.floats(1e-3, 1e3))
def test_columns_are_off_by_half_a_step_at_most(seed, rows, scale):
    values = (np.random.default_rng(seed).normal(size=(rows, 4)) * scale).astype(np.float32)
    decoded = round_trip(values, Coding.UNIFORM8)
    step = (values.max(0) - values.min(0)) / 255
    # the last term: both ends are rounded to 32-bit numbers
    assert (np.abs(decoded - values) <= step / 2 + np.abs(values) * 2e-7).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 300), scale=st.floats(1e-3, 1e4))
def test_positions_are_off_by_half_a_logarithmic_step_at_most(seed, rows, scale):
    values = (np.random.default_rng(seed).normal(size=(rows, 3)) * scale).astype(np.float32)
    decoded = round_trip(values, Coding.POSITION16)
    wide = values.astype(np.float64)
    span = np.log1p(np.abs(wide).max(0)) * 2
    # d symexp(n) / dn = 1 + |x|: half a step in n, and 2 % for its curvature
    bound = (1 + np.abs(wide)) * span / 65535 / 2 * 1.02 + np.abs(wide) * 2e-7
    assert (np.abs(decoded - wide) <= bound).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 4), outlier=st.floats(1.0, 50.0))
def test_a_table_keeps_zeros_the_largest_value_and_half_a_step(seed, levels, outlier):
    values = np.random.default_rng(seed).laplace(size=(levels, 64, 2)).astype(np.float32)
    values[:, 0], values[:, 1, 0] = 0.0, outlier
    decoded = round_trip(values, Coding.TABLE8)
    largest = np.abs(values).max(axis=(1, 2), keepdims=True)
    assert (decoded[:, 0] == 0).all()
    np.testing.assert_array_equal(np.abs(decoded).max(axis=(1, 2), keepdims=True), largest)
    assert (np.abs(decoded - values) <= largest / LEVEL_STEPS[0] / 2 * 1.0001).all()


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "int64", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7, 3), (2, 0, 3)])
def test_raw_arrays_come_back_exactly(dtype, shape):
    values = (np.random.default_rng(0).normal(size=shape) * 5).astype(dtype)
    values = np.asarray(values)
    back = round_trip(values, Coding.RAW)
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("coding", [*LOSSY, Coding.RAW])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(coding, bad):
    values = np.zeros((4, 3), np.float32)
    values[2, 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        pack(values, coding)


def test_numbers_too_large_for_half_precision_are_refused():
    with pytest.raises(ValueError, match="65504"):
        pack(np.array([65505.0], np.float32), Coding.FLOAT16)


@pytest.mark.parametrize("coding", LOSSY)
@pytest.mark.parametrize("value", [0.0, -3.25, 1e-30, 6e4])
def test_a_constant_comes_back_exactly(coding, value):
    values = np.full((5, 3), value, np.float32)
    if coding is Coding.FLOAT16:
        values = values.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(round_trip(values, coding), values)


@given(st.lists(st.tuples(*[st.integers(0, 65535)] * 3), max_size=30))
def test_morton_codes_hold_every_bit_of_their_coordinates(rows):
    grid = np.array(rows, dtype=np.uint64).reshape(-1, 3)
    np.testing.assert_array_equal(separate(interleave(grid)), grid)


def test_morton_codes_interleave_bit_by_bit():
    assert int(interleave(np.array([[0b01, 0b10, 0b11]]))[0]) == 0b110_101


def test_a_payload_is_refused_when_its_shape_asks_for_another_size():
    packed = pack(np.zeros((100, 3), np.float32), Coding.UNIFORM8)
    with pytest.raises(ValueError, match="unpacks to"):
        unpack(packed.payload, (101, 3), Coding.UNIFORM8, packed.layout, "<f4")
    assert content_bytes((100, 3), Coding.UNIFORM8, "<f4") == 300 + 2 * 4 * 3
