"""A series is stored whole, whatever batches it came in."""

import math

import numpy as np
import pytest

from larder_server.runs.rules import blocks
from larder_server.runs.rules.blocks import Points
from larder_server.runs.store import metrics
from larder_server.runs.store.metrics import Columns

RUN = 1


def columns(steps, values, times=None) -> Columns:
    steps = np.asarray(steps, np.int64)
    times = steps * 1_000 if times is None else np.asarray(times, np.int64)
    return Columns(steps.tobytes(), times.tobytes(), np.asarray(values, np.float64).tobytes())


def metric(context, name="loss") -> int:
    found = metrics.find(context, RUN, name)
    assert found is not None
    return found


def read(context, name="loss", **part) -> Points:
    return metrics.read(context, RUN, metric(context, name), **part)


def counts(context) -> tuple[int, list[int]]:
    heads = context.db.one("select count(*) as n from metric_heads where tenant = :tenant").n
    rows = context.db.execute("select count as n from metric_blocks where tenant = :tenant order by seq")
    return heads, [row.n for row in rows]


@pytest.mark.parametrize("size", [1, 7, 300, 999, 1_000, 2_500])
def test_points_come_back_as_they_went_in(context, size):
    random = np.random.default_rng(size)
    total = 9_000 if size > 50 else 1_500
    values = random.normal(size=total)
    values[::97] = math.nan
    values[5], values[6], values[7] = math.inf, -math.inf, -0.0
    for start in range(0, total, size):
        part = slice(start, min(start + size, total))
        metrics.append(context, RUN, {"loss": columns(np.arange(total)[part], values[part])})
    points = read(context)
    assert points.values.tobytes() == values.tobytes()
    assert points.steps.tolist() == list(range(total))
    assert points.times.tolist() == [step * 1_000 for step in range(total)]
    assert all(count <= blocks.LARGEST for count in counts(context)[1])


def test_small_batches_are_sealed_into_blocks_that_grow(context):
    for start in range(0, 5_200, 100):
        metrics.append(context, RUN, {"loss": columns(range(start, start + 100), range(100))})
    heads, sealed = counts(context)
    assert heads < metrics.SEALED / 100
    assert len(sealed) == 2 and sealed[0] > 3_000


def test_a_large_batch_takes_the_heads_before_it_along(context):
    metrics.append(context, RUN, {"loss": columns([0, 1], [0, 1])})
    metrics.append(context, RUN, {"loss": columns(range(2, 5_000), range(2, 5_000))})
    assert counts(context) == (0, [2_500, 2_500])
    assert read(context).values.tolist() == list(range(5_000))


def test_several_points_at_one_step_keep_their_order(context):
    for _ in range(3):
        metrics.append(context, RUN, {"loss": columns([2, 1, 2, 1], [20, 10, 21, 11])})
    assert read(context).values.tolist() == [10, 11, 10, 11, 10, 11, 20, 21, 20, 21, 20, 21]


def test_a_part_is_read_by_step(context):
    metrics.append(context, RUN, {"loss": columns(range(3_000), range(3_000))})
    metrics.append(context, RUN, {"loss": columns(range(3_000, 3_010), range(3_000, 3_010))})
    assert read(context, first=2_998, last=3_001).values.tolist() == [2998, 2999, 3000, 3001]
    assert len(read(context, first=5_000)) == 0


def test_summaries_follow_every_batch(context):
    metrics.append(context, RUN, {"loss": columns([1], [math.nan]), "mae": columns([1, 2], [5, 3])})
    first = metrics.summaries_of(context, [RUN])[RUN]
    assert math.isnan(first["loss"].last) and math.isnan(first["loss"].min) and math.isnan(first["loss"].mean)
    metrics.append(context, RUN, {"loss": columns(range(2, 1_002), range(1_000)), "mae": columns([3], [math.inf])})
    after = metrics.summaries_of(context, [RUN])[RUN]
    assert list(after) == ["loss", "mae"]
    loss = after["loss"]
    assert (loss.min, loss.min_step, loss.max, loss.max_step) == (0.0, 2, 999.0, 1001)
    assert (loss.last, loss.last_step, loss.mean, loss.count) == (999.0, 1001, 499.5, 1001)
    assert (after["mae"].max, after["mae"].min, after["mae"].mean) == (math.inf, 3.0, math.inf)


def test_a_thousand_series_in_one_batch(context):
    names = [f"sku {index}/mae" for index in range(1_500)]
    for step in range(3):
        metrics.append(context, RUN, {name: columns([step], [step + 0.5]) for name in names})
    found = metrics.summaries_of(context, [RUN])[RUN]
    assert len(found) == 1_500
    assert {summary.count for summary in found.values()} == {3}


def test_runs_and_tenants_do_not_mix(context, other_context):
    metrics.append(context, RUN, {"loss": columns([1], [1])})
    metrics.append(other_context, RUN, {"loss": columns([1], [2])})
    metrics.append(context, 2, {"loss": columns([1], [3])})
    assert read(context).values.tolist() == [1]
    assert read(other_context).values.tolist() == [2]
    assert metrics.delete(context, RUN) == 1
    assert metrics.find(context, RUN, "loss") is None
    assert read(other_context).values.tolist() == [2]


def test_tidying_changes_nothing_that_is_read(context):
    values = np.random.default_rng(1).normal(size=12_345)
    for start in range(0, 12_345, 1_100):
        stop = min(start + 1_100, 12_345)
        metrics.append(context, RUN, {"loss": columns(range(start, stop), values[start:stop])})
    metrics.append(context, RUN, {"one": columns([1], [1])})
    turns = 1
    while metrics.tidy(context, RUN, most=5_000):
        turns += 1
        assert turns < 20
    heads, sealed = counts(context)
    assert heads == 0 and sorted(sealed) == [1, 2445, 3300, 3300, 3300]
    assert read(context).values.tobytes() == values.tobytes()
    assert read(context, "one").values.tolist() == [1]


@pytest.mark.parametrize("limit", [4, 10, 101, 1_000])
@pytest.mark.parametrize("first,last", [(None, None), (1_234, 291_111)])
def test_a_chart_of_many_points_keeps_every_extreme(context, limit, first, last):
    total = 300_000
    values = np.random.default_rng(2).normal(size=total)
    values[[17, 250_017]] = 40, -40
    values[[1_233, 291_112]] = 100, -100
    values[5_000:9_500] = math.nan
    metrics.append(context, RUN, {"loss": columns(range(total), values)})
    metrics.append(context, RUN, {"loss": columns([total], [0.5])})
    low, high = first or 0, total if last is None else last
    inside = np.append(values, 0.5)[low : high + 1]
    chart = metrics.chart(context, RUN, metric(context), limit=limit, first=first, last=last)
    assert chart.total == len(inside) and len(chart.points) <= limit
    kept = chart.points
    assert (np.nanmin(kept.values), np.nanmax(kept.values)) == (np.nanmin(inside), np.nanmax(inside))
    assert (kept.steps[0], kept.steps[-1]) == (low, high)
    assert blocks.is_sorted(kept.steps)
    whole = np.append(values, 0.5)
    numbers = kept.values == kept.values
    assert (whole[kept.steps][numbers] == kept.values[numbers]).all()
    assert (kept.times == kept.steps * 1_000).all()
