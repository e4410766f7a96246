"""Blocks come back bit for bit, and are small."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from larder_server.runs.rules import blocks, charts, summaries
from larder_server.runs.rules.blocks import Points

BIG = st.integers(-(2**63), 2**63 - 1)
ANY = st.floats(width=64)
FEW_DIGITS = st.builds(lambda value, digits: round(value, digits), st.floats(-1e6, 1e6), st.integers(0, 4))


def points(steps, times, values) -> Points:
    return Points(np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64))


def same(one: Points, other: Points) -> bool:
    pairs = ((one.steps, other.steps), (one.times, other.times), (one.values, other.values))
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(BIG, BIG, ANY), max_size=60))
def test_any_points_come_back(rows):
    there = points(*zip(*rows, strict=True)) if rows else points([], [], [])
    assert same(blocks.decode(blocks.encode(there)), there)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            FEW_DIGITS, FEW_DIGITS, FEW_DIGITS, st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e308])
        ),
        min_size=1,
        max_size=200,
    )
)
def test_decimals_among_strangers_come_back(values):
    there = points(range(len(values)), range(len(values)), values)
    assert same(blocks.decode(blocks.encode(there)), there)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.uint64, st.integers(1, 300)))
def test_any_bits_come_back(bits):
    there = Points(bits.view(np.int64), bits.view(np.int64)[::-1].copy(), bits.view(np.float64))
    assert same(blocks.decode(blocks.encode(there)), there)


def _series(values: np.ndarray, *, jitter: float = 1_000) -> Points:
    random = np.random.default_rng(7)
    count = len(values)
    times = 1_700_000_000_000_000 + np.cumsum(20_000 + np.abs(random.normal(0, jitter, count)).astype(np.int64))
    return Points(np.arange(count, dtype=np.int64), times, values)


@pytest.mark.parametrize(
    "kind,limit",
    [("noise", 9.0), ("uniform", 9.0), ("single", 5.5), ("digits", 5.0), ("constant", 2.5), ("holes", 5.0)],
)
def test_a_point_takes_few_bytes(kind, limit):
    random = np.random.default_rng(3)
    count = blocks.LARGEST
    noise = 1 / (1 + np.arange(count) / 500) + random.normal(0, 0.05, count)
    values = {
        "noise": noise,
        "uniform": random.random(count),
        "single": noise.astype(np.float32).astype(np.float64),
        "digits": np.round(noise, 4),
        "constant": np.full(count, 0.001),
        "holes": np.where(random.random(count) < 0.01, math.nan, np.round(noise, 3)),
    }[kind]
    there = _series(values)
    data = blocks.encode(there)
    assert same(blocks.decode(data), there)
    assert len(data) / count <= limit


def test_a_block_of_another_version_is_not_guessed_at():
    data = blocks.encode(points([1], [1], [1.0]))
    with pytest.raises(ValueError, match="version 9"):
        blocks.decode(b"\x09" + data[1:])


def test_points_are_cut_into_pieces_that_fit():
    count = 2 * blocks.LARGEST + 1
    pieces = blocks.cut(points(range(count), range(count), range(count)))
    assert [len(piece) for piece in pieces] == [2_667, 2_667, 2_667]
    assert np.concatenate([piece.steps for piece in pieces]).tolist() == list(range(count))
    assert blocks.cut(points([], [], [])) == []


VALUES = st.lists(
    st.one_of(st.floats(-10, 10), st.sampled_from([math.nan, math.inf, -math.inf])), min_size=1, max_size=120
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_the_header_names_the_extremes(values):
    there = points(range(10, 10 + len(values)), range(len(values)), values)
    header = blocks.header(there)
    numbers = [value for value in values if value == value]
    if not numbers:
        assert math.isnan(header.min) and math.isnan(header.max)
    else:
        assert (header.min, header.min_step) == (min(numbers), 10 + values.index(min(numbers)))
        assert (header.max, header.max_step) == (max(numbers), 10 + values.index(max(numbers)))
    assert header.count == len(values) and header.sorted


def test_the_header_of_unsorted_points_tells_of_them_by_step():
    header = blocks.header(points([5, 3, 9, 3], [1, 2, 3, 4], [50.0, 30.0, 90.0, 31.0]))
    assert (header.first_step, header.first, header.first_time) == (3, 30.0, 2)
    assert (header.last_step, header.last, header.last_time) == (9, 90.0, 3)
    assert not header.sorted


@settings(max_examples=200, deadline=None)
@given(VALUES, st.integers(0, 120))
def test_a_summary_of_parts_is_the_summary_of_the_whole(values, at):
    there = points(range(len(values)), [5] * len(values), values)
    at = min(max(at, 1), len(values) - 1) if len(values) > 1 else 0
    whole = summaries.of(there)
    parts = summaries.merge(summaries.of(there[:at]), summaries.of(there[at:])) if at else whole
    for name in ("last", "last_step", "min", "min_step", "max", "max_step", "numbers", "count", "total"):
        assert getattr(whole, name) == pytest.approx(getattr(parts, name), nan_ok=True, abs=1e-9), name
    columns = summaries.of_columns(there.steps.tobytes(), there.times.tobytes(), there.values.tobytes())
    if columns is not None:
        assert repr(columns) == repr(whole)


def test_nan_counts_for_last_and_count_only():
    tally = summaries.of(points([1, 2, 3], [1, 2, 3], [2.0, 4.0, math.nan]))
    assert (tally.min, tally.max, tally.total, tally.numbers, tally.count) == (2.0, 4.0, 6.0, 2, 3)
    assert math.isnan(tally.last) and tally.last_step == 3


def test_an_extreme_keeps_the_step_at_which_it_was_first_reached():
    tally = summaries.merge(
        summaries.of(points([1, 2], [1, 2], [1.0, 9.0])), summaries.of(points([3, 4], [3, 4], [9.0, 1.0]))
    )
    assert (tally.min_step, tally.max_step) == (1, 2)


def test_a_journal_that_arrives_late_does_not_take_the_last_value():
    tally = summaries.merge(summaries.of(points([7], [100], [7.0])), summaries.of(points([2], [50], [2.0])))
    assert (tally.last, tally.last_step, tally.count) == (7.0, 7, 2)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-50, 50), st.one_of(st.floats(-9, 9), st.just(math.nan), st.just(math.inf))),
        min_size=1,
        max_size=300,
    ),
    st.integers(4, 60),
)
def test_a_chart_has_few_points_and_every_extreme(rows, limit):
    steps, values = zip(*rows, strict=True)
    there = points(steps, range(len(rows)), values)
    chart = charts.reduce(there, limit)
    assert len(chart) <= limit
    assert blocks.is_sorted(chart.steps)
    numbers = [value for value in values if value == value]
    if numbers:
        kept = [value for value in chart.values.tolist() if value == value]
        assert (min(kept), max(kept)) == (min(numbers), max(numbers))
    in_order = blocks.by_step(there)
    assert (chart.times[0], chart.times[-1]) == (in_order.times[0], in_order.times[-1])


def test_steps_at_the_ends_of_64_bits_make_a_chart():
    there = points([-(2**63), 0, 2**63 - 1] * 100, range(300), range(300))
    assert charts.reduce(there, 10).values.max() == 299
