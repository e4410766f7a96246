"""Metrics in SQL: heads of raw points, sealed into compressed blocks, beside one summary for each series.

A series is its blocks, then its heads, each in order of arrival. A head is the share of one small batch; when a
series has got about another thousand points its heads are sealed, and a large batch is sealed at once.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.engine import Row

from larder.contract.runs import MetricSummary
from larder_server.kernel.context import Context
from larder_server.runs.rules import blocks, charts, names, summaries
from larder_server.runs.rules.blocks import Header, Points
from larder_server.runs.rules.summaries import Tally
from larder_server.runs.store import lists

SEALED = 1_000
"""A series is sealed about each time it has got so many points."""

OF_THE_MACHINE = "system/"
"""Series that begin so tell of the machine: they have no steps of the work, and none of theirs is repeated."""

_TALLY = ", ".join(f"s.{field.name}" for field in fields(Tally))
_HEADER = ", ".join(field.name for field in fields(Header))
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Columns:
    """Points of one series as little-endian columns of equal length."""

    steps: bytes
    times: bytes
    values: bytes

    def __len__(self) -> int:
        return len(self.steps) // 8


@dataclass(frozen=True)
class Reduced:
    """A chart and the number of points behind it."""

    points: Points
    total: int


def append(context: Context, run: int, series: dict[str, Columns]) -> None:
    """Add points, at least one to each of the series. The caller holds the lock on the run."""
    known = _known(context, run, sorted(series))
    tallies, heads, sealing = [], [], {}
    for name, columns in series.items():
        metric, old = known[name]
        tally = summaries.of_columns(columns.steps, columns.times, columns.values)
        points = None
        if tally is None:
            points = blocks.raw(columns.steps, columns.times, columns.values)
            tally = summaries.of(points)
        before = old.count if old else 0
        tallies.append(_tally_row(run, metric, summaries.merge(old, tally) if old else tally))
        if len(columns) >= SEALED or _due(metric, before=before, after=before + len(columns)):
            sealing[metric] = points or blocks.raw(columns.steps, columns.times, columns.values)
        else:
            heads.append({"run": run, "metric": metric, "count": len(columns),
                          "columns": columns.steps + columns.times + columns.values})  # fmt: skip
    if sealing:
        _seal(context, run, sealing)
    context.db.many(
        "insert into metric_heads (tenant, run, metric, count, columns)"
        " values (:tenant, :run, :metric, :count, :columns)",
        heads,
    )
    _put_tallies(context, tallies)


def counts(context: Context, run: int, names: Sequence[str]) -> dict[str, int]:
    """How many points there are of each series; series without points are left out."""
    found: dict[str, int] = {}
    for piece in lists.pieces(names):
        marks, values = lists.bound("name", piece)
        rows = context.db.execute(
            "select n.name, s.count as points from metric_names n join metric_summaries s on s.tenant = n.tenant"
            f" and s.metric = n.seq and s.run = :run where n.tenant = :tenant and n.name in ({marks})",
            run=run,
            **values,
        )
        found.update((row.name, row.points) for row in rows)
    return found


def summaries_of(context: Context, runs: Sequence[int]) -> dict[int, dict[str, MetricSummary]]:
    """The summaries of runs, by name."""
    found: dict[int, dict[str, MetricSummary]] = {run: {} for run in runs}
    for piece in lists.pieces(runs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            f"select s.run, n.name, {_TALLY} from metric_summaries s join metric_names n on n.tenant = s.tenant"
            f" and n.seq = s.metric where s.tenant = :tenant and s.run in ({marks})",
            **values,
        )
        # a page of runs has a thousand of these: no step between the row and what is shown
        for run, name, last, last_step, _, low, low_step, high, high_step, total, numbers, points in rows:
            found[run][name] = MetricSummary(
                last=_nan(last), last_step=last_step, min=_nan(low), min_step=low_step, max=_nan(high),
                max_step=high_step, mean=_nan(total) / numbers if numbers else math.nan, count=points,
            )  # fmt: skip
    return {run: dict(sorted(metrics.items())) for run, metrics in found.items()}


def find(context: Context, run: int, name: str) -> int | None:
    """The number of a metric that the run has."""
    row = context.db.one(
        "select s.metric from metric_names n join metric_summaries s on s.tenant = n.tenant and s.metric = n.seq"
        " and s.run = :run where n.tenant = :tenant and n.name = :name",
        run=run,
        name=name,
    )
    return None if row is None else int(row.metric)


def read(context: Context, run: int, metric: int, *, first: int | None = None, last: int | None = None) -> Points:
    """All points with steps in [first, last], by step; those of one step in order of arrival."""
    low, high = _LOWEST if first is None else first, _HIGHEST if last is None else last
    rows = context.db.execute(
        "select columns from metric_blocks where tenant = :tenant and run = :run and metric = :metric"
        " and last_step >= :low and first_step <= :high order by seq",
        run=run, metric=metric, low=low, high=high,
    )  # fmt: skip
    parts = [blocks.decode(row.columns) for row in rows]
    return blocks.by_step(_between(blocks.join([*parts, *_heads(context, run, metric)]), low, high))


def chart(
    context: Context, run: int, metric: int, *, limit: int, first: int | None = None, last: int | None = None
) -> Reduced:
    """At most `limit` points with steps in [first, last], by step, every extreme kept."""
    low, high = _LOWEST if first is None else first, _HIGHEST if last is None else last
    rows = context.db.execute(
        f"select seq, count as points, {_HEADER} from metric_blocks where tenant = :tenant and run = :run"
        " and metric = :metric and last_step >= :low and first_step <= :high order by seq",
        run=run, metric=metric, low=low, high=high,
    )  # fmt: skip
    if not charts.by_headers(sum(row.points for row in rows), pieces=len(rows), limit=limit):
        points = read(context, run, metric, first=first, last=last)
        return Reduced(charts.reduce(points, limit), len(points))
    whole, cut = [], []
    for row in rows:
        if low <= row.first_step and row.last_step <= high:
            whole.append(_header(row))
        else:
            cut.append(row.seq)
    parts = [_between(part, low, high) for part in (*_opened(context, cut), *_heads(context, run, metric))]
    total = sum(header.count for header in whole) + sum(map(len, parts))
    return Reduced(charts.reduce(blocks.join([charts.of_headers(whole), *parts]), limit), total)


def chosen(context: Context, runs: Sequence[int], names: Sequence[str]) -> dict[int, dict[str, int]]:
    """The numbers of those of the metrics that each run has, by name."""
    found: dict[int, dict[str, int]] = {run: {} for run in runs}
    for some in lists.pieces(names):
        for piece in lists.pieces(runs):
            name_marks, name_values = lists.bound("name", some)
            run_marks, run_values = lists.bound("run", piece)
            rows = context.db.execute(
                "select s.run, n.name, s.metric from metric_names n join metric_summaries s on s.tenant = n.tenant"
                f" and s.metric = n.seq where n.tenant = :tenant and n.name in ({name_marks})"
                f" and s.run in ({run_marks})",
                **name_values,
                **run_values,
            )
            for row in rows:
                found[row.run][row.name] = row.metric
    return found


def charts_of(
    context: Context, run: int, metrics: Sequence[int], *, limit: int, first: int | None = None, last: int | None = None
) -> dict[int, Reduced]:
    """The charts of several metrics of a run, in few statements; see `chart`."""
    low, high = _LOWEST if first is None else first, _HIGHEST if last is None else last
    found: dict[int, Reduced] = {}
    together: list[int] = []
    waiting = 0
    sealed = _sealed(context, run, metrics, low=low, high=high)
    for metric in metrics:
        points, pieces = sealed.get(metric, (0, 0))
        if charts.by_headers(points, pieces=pieces, limit=limit):
            found[metric] = chart(context, run, metric, limit=limit, first=first, last=last)
            continue
        together.append(metric)
        waiting += points
        if waiting > charts.AT_MOST_OPENED:
            found |= _charts(context, run, together, limit=limit, low=low, high=high)
            together, waiting = [], 0
    return found | _charts(context, run, together, limit=limit, low=low, high=high)


def _sealed(context: Context, run: int, metrics: Sequence[int], *, low: int, high: int) -> dict[int, tuple[int, int]]:
    """How many points and blocks of each metric there are between two steps."""
    found: dict[int, tuple[int, int]] = {}
    for piece in lists.pieces(metrics):
        marks, values = lists.bound("metric", piece)
        rows = context.db.execute(
            "select metric, sum(count) as points, count(*) as pieces from metric_blocks where tenant = :tenant"
            f" and run = :run and metric in ({marks}) and last_step >= :low and first_step <= :high group by metric",
            run=run, low=low, high=high, **values,
        )  # fmt: skip
        found.update((row.metric, (int(row.points), int(row.pieces))) for row in rows)
    return found


def _charts(
    context: Context, run: int, metrics: Sequence[int], *, limit: int, low: int, high: int
) -> dict[int, Reduced]:
    parts: dict[int, list[Points]] = {metric: [] for metric in metrics}
    for piece in lists.pieces(metrics):
        marks, values = lists.bound("metric", piece)
        for row in context.db.execute(
            f"select metric, columns from metric_blocks where tenant = :tenant and run = :run and metric in ({marks})"
            " and last_step >= :low and first_step <= :high order by seq",
            run=run, low=low, high=high, **values,
        ):  # fmt: skip
            parts[row.metric].append(blocks.decode(row.columns))
        for row in context.db.execute(
            f"select metric, columns from metric_heads where tenant = :tenant and run = :run and metric in ({marks})"
            " order by seq",
            run=run,
            **values,
        ):
            parts[row.metric].append(_head(row.columns))
    found = {}
    for metric, pieces in parts.items():
        points = _between(blocks.join(pieces), low, high)
        found[metric] = Reduced(charts.reduce(points, limit), len(points))
    return found


def tidy(context: Context, run: int, *, most: int) -> bool:
    """Seal the heads of a run and join its small blocks, about `most` points at a time; whether there is more to do."""
    rows = context.db.execute(
        "select metric, count(*) as heads from metric_heads where tenant = :tenant and run = :run group by metric"
        " order by metric limit 500",
        run=run,
    )
    done = 0
    sealing: dict[int, Points] = {}
    for row in rows:
        if done >= most // 10:  # a head is a row of its own and takes its time
            break
        sealing[row.metric] = blocks.join([])
        done += row.heads
    if sealing:
        _seal(context, run, sealing)
        return True
    for seqs in _small_neighbours(context, run):
        if done >= most:
            return True
        points = blocks.join(_opened(context, seqs))
        done += len(points)
        _replace(context, seqs[0], points)
        _remove_blocks(context, seqs[1:])
    return False


def any_of(context: Context, run: int) -> bool:
    """Whether a run has logged points."""
    return (
        context.db.one("select run from metric_heads where tenant = :tenant and run = :run limit 1", run=run)
        is not None
        or context.db.one("select run from metric_blocks where tenant = :tenant and run = :run limit 1", run=run)
        is not None
    )


def all_counts(context: Context, run: int) -> dict[str, int]:
    """How many points there are of every series."""
    return {name: points for name, _, points in _series(context, run)}


def cut(context: Context, run: int, *, after: int, rank: int | None = None) -> int:
    """Remove the points of all steps after one, but not the machine's; how many series have lost some.

    With a `rank` only the series of this rank. The caller holds the lock on the run.
    """
    reached = {
        row.metric
        for row in context.db.execute(
            "select distinct metric from metric_blocks where tenant = :tenant and run = :run and last_step > :after",
            run=run,
            after=after,
        )
    }
    for row in context.db.execute(
        "select metric, columns from metric_heads where tenant = :tenant and run = :run", run=run
    ):
        if row.metric not in reached and (_head(row.columns).steps > after).any():
            reached.add(row.metric)
    return sum(
        _keep(context, run, metric, lambda points, _: points.steps <= after)
        for name, metric, _ in _series(context, run)
        if metric in reached
        and rank in (None, names.rank(name))
        and not name.removeprefix(f"rank.{names.rank(name)}/").startswith(OF_THE_MACHINE)
    )


def forget(context: Context, run: int, points: Mapping[str, int]) -> int:
    """Remove the first points to arrive of each series, as many as `points` says; how many series have lost some.

    The caller holds the lock on the run.
    """
    whole, lost = [], 0
    for name, metric, count in _series(context, run):
        first = points.get(name, 0)
        if count <= first:
            whole.append(metric)
        elif first:
            lost += _keep(context, run, metric, _from(first))
    for piece in lists.pieces(whole):
        marks, values = lists.bound("metric", piece)
        of = f"run = :run and metric in ({marks})"
        context.db.change(f"delete from metric_heads where tenant = :tenant and {of}", run=run, **values)
        context.db.change(f"delete from metric_blocks where tenant = :tenant and {of}", run=run, **values)
        context.db.change(f"delete from metric_summaries where tenant = :tenant and {of}", run=run, **values)
    return lost + len(whole)


def delete(context: Context, run: int) -> int:
    """Remove all points of a run; how many series there were."""
    context.db.change("delete from metric_heads where tenant = :tenant and run = :run", run=run)
    context.db.change("delete from metric_blocks where tenant = :tenant and run = :run", run=run)
    return context.db.change("delete from metric_summaries where tenant = :tenant and run = :run", run=run)


def _from(first: int) -> "_Chosen":
    return lambda points, start: np.arange(start, start + len(points)) >= first


_Chosen = Callable[[Points, int], npt.NDArray[np.bool_]]
"""Which of some points to keep, given the place of the first of them in their series."""


def _series(context: Context, run: int) -> list[tuple[str, int, int]]:
    """Name, number and count of points of every series."""
    rows = context.db.execute(
        "select n.name, s.metric, s.count as points from metric_summaries s join metric_names n on n.tenant = s.tenant"
        " and n.seq = s.metric where s.tenant = :tenant and s.run = :run order by n.name",
        run=run,
    )
    return [(row.name, row.metric, row.points) for row in rows]


def _keep(context: Context, run: int, metric: int, chosen: _Chosen) -> bool:
    """Keep the points that are chosen; whether some are gone."""
    sealed = context.db.execute(
        "select seq, columns from metric_blocks where tenant = :tenant and run = :run and metric = :metric order by seq",
        run=run,
        metric=metric,
    )
    heads = context.db.execute(
        "select seq, columns from metric_heads where tenant = :tenant and run = :run and metric = :metric order by seq",
        run=run,
        metric=metric,
    )
    start, lost = 0, False
    tally: Tally | None = None
    emptied: tuple[list[int], list[int]] = ([], [])
    for rows, gone, is_block in ((sealed, emptied[0], True), (heads, emptied[1], False)):
        for row in rows:
            points = blocks.decode(row.columns) if is_block else _head(row.columns)
            kept = points[chosen(points, start)]
            start += len(points)
            lost |= len(kept) < len(points)
            if not len(kept):
                gone.append(row.seq)
                continue
            tally = summaries.merge(tally, summaries.of(kept)) if tally else summaries.of(kept)
            if len(kept) < len(points):
                (_replace if is_block else _replace_head)(context, row.seq, kept)
    if emptied[0]:
        _remove_blocks(context, emptied[0])
    context.db.many(
        "delete from metric_heads where tenant = :tenant and seq = :seq", [{"seq": seq} for seq in emptied[1]]
    )
    if tally is not None:
        _put_tallies(context, [_tally_row(run, metric, tally)])
    else:
        context.db.change(
            "delete from metric_summaries where tenant = :tenant and run = :run and metric = :metric",
            run=run,
            metric=metric,
        )
    return lost


def _replace_head(context: Context, seq: int, points: Points) -> None:
    context.db.change(
        "update metric_heads set count = :count, columns = :columns where tenant = :tenant and seq = :seq",
        seq=seq,
        count=len(points),
        columns=points.steps.tobytes() + points.times.tobytes() + points.values.tobytes(),
    )


def _put_tallies(context: Context, tallies: list[dict[str, Any]]) -> None:
    context.db.many(
        "insert into metric_summaries (tenant, run, metric, last, last_step, last_time, min, min_step, max, max_step,"
        " total, numbers, count) values (:tenant, :run, :metric, :last, :last_step, :last_time, :min, :min_step, :max,"
        " :max_step, :total, :numbers, :count) on conflict (tenant, run, metric) do update set last = excluded.last,"
        " last_step = excluded.last_step, last_time = excluded.last_time, min = excluded.min,"
        " min_step = excluded.min_step, max = excluded.max, max_step = excluded.max_step, total = excluded.total,"
        " numbers = excluded.numbers, count = excluded.count",
        tallies,
    )


def _known(context: Context, run: int, names: Sequence[str]) -> dict[str, tuple[int, Tally | None]]:
    found = _look_up(context, run, names)
    missing = [name for name in names if name not in found]
    if missing:
        context.db.many(
            "insert into metric_names (tenant, name) values (:tenant, :name) on conflict (tenant, name) do nothing",
            [{"name": name} for name in missing],
        )
        found.update(_look_up(context, run, missing))
    return found


def _look_up(context: Context, run: int, names: Sequence[str]) -> dict[str, tuple[int, Tally | None]]:
    found: dict[str, tuple[int, Tally | None]] = {}
    for piece in lists.pieces(names):
        marks, values = lists.bound("name", piece)
        rows = context.db.execute(
            f"select n.name, n.seq, {_TALLY} from metric_names n left join metric_summaries s on s.tenant = n.tenant"
            f" and s.metric = n.seq and s.run = :run where n.tenant = :tenant and n.name in ({marks})",
            run=run,
            **values,
        )
        for row in rows:
            found[row.name] = (row.seq, None if row.numbers is None else _tally(row))
    return found


def _due(metric: int, *, before: int, after: int) -> bool:
    # series that grow in step are sealed in different batches, so that no batch seals them all
    shift = metric * 617 % SEALED
    return (before + shift) // SEALED != (after + shift) // SEALED


def _seal(context: Context, run: int, series: dict[int, Points]) -> None:
    """Make blocks of the heads of each series and the points that follow them."""
    heads: dict[int, list[Points]] = {}
    for piece in lists.pieces(list(series)):
        marks, values = lists.bound("metric", piece)
        rows = context.db.execute(
            f"select metric, columns from metric_heads where tenant = :tenant and run = :run and metric in ({marks})"
            " order by seq",
            run=run,
            **values,
        )
        for row in rows:
            heads.setdefault(row.metric, []).append(_head(row.columns))
        if rows:
            context.db.change(
                f"delete from metric_heads where tenant = :tenant and run = :run and metric in ({marks})",
                run=run,
                **values,
            )
    made = []
    for metric, points in series.items():
        if metric in heads:
            large = len(points) >= SEALED
            points = blocks.join([*heads[metric], points])
            if not large and _lengthen(context, run, metric, points):
                continue
        made += [{"run": run, "metric": metric, **_block(piece)} for piece in blocks.cut(points)]
    context.db.many(
        "insert into metric_blocks (tenant, run, metric, count, first_step, last_step, sorted, first, last, min,"
        " min_step, max, max_step, first_time, last_time, min_time, max_time, columns) values (:tenant, :run, :metric,"
        " :count, :first_step, :last_step, :sorted, :first, :last, :min, :min_step, :max, :max_step, :first_time,"
        " :last_time, :min_time, :max_time, :columns)",
        made,
    )


def _lengthen(context: Context, run: int, metric: int, points: Points) -> bool:
    """Add the points to the last block, when they fit into it."""
    last = context.db.one(
        "select seq, count as points from metric_blocks where tenant = :tenant and run = :run and metric = :metric"
        " order by seq desc limit 1",
        run=run,
        metric=metric,
    )
    if last is None or last.points + len(points) > blocks.LARGEST:
        return False
    _replace(context, last.seq, blocks.join([*_opened(context, [last.seq]), points]))
    return True


def _replace(context: Context, seq: int, points: Points) -> None:
    context.db.change(
        "update metric_blocks set count = :count, first_step = :first_step, last_step = :last_step, sorted = :sorted,"
        " first = :first, last = :last, min = :min, min_step = :min_step, max = :max, max_step = :max_step,"
        " first_time = :first_time, last_time = :last_time, min_time = :min_time, max_time = :max_time,"
        " columns = :columns where tenant = :tenant and seq = :seq",
        seq=seq,
        **_block(points),
    )


def _remove_blocks(context: Context, seqs: Sequence[int]) -> None:
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("seq", piece)
        context.db.change(
            f"delete from metric_blocks where {context.db.aside}tenant = :tenant and seq in ({marks})", **values
        )


def _small_neighbours(context: Context, run: int) -> list[list[int]]:
    """Blocks of one series, next to each other, that fit into one."""
    rows = context.db.execute(
        "select seq, metric, count as points from metric_blocks where tenant = :tenant and run = :run"
        " order by metric, seq",
        run=run,
    )
    groups: list[list[int]] = []
    metric, room = None, 0
    for row in rows:
        if row.metric != metric or row.points > room:
            metric, room = row.metric, blocks.LARGEST
            groups.append([])
        groups[-1].append(row.seq)
        room -= row.points
    return [group for group in groups if len(group) > 1]


def _opened(context: Context, seqs: Sequence[int]) -> list[Points]:
    found = []
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("seq", piece)
        rows = context.db.execute(
            f"select columns from metric_blocks where {context.db.aside}tenant = :tenant and seq in ({marks}) order by seq",
            **values,
        )
        found += [blocks.decode(row.columns) for row in rows]
    return found


def _heads(context: Context, run: int, metric: int) -> list[Points]:
    rows = context.db.execute(
        "select columns from metric_heads where tenant = :tenant and run = :run and metric = :metric order by seq",
        run=run,
        metric=metric,
    )
    return [_head(row.columns) for row in rows]


def _head(columns: bytes) -> Points:
    size = len(columns) // 3
    return blocks.raw(columns[:size], columns[size : 2 * size], columns[2 * size :])


def _between(points: Points, low: int, high: int) -> Points:
    if low == _LOWEST and high == _HIGHEST:
        return points
    inside = (points.steps >= low) & (points.steps <= high)
    return points if inside.all() else points[inside]


def _block(points: Points) -> dict[str, Any]:
    header = blocks.header(points)
    return {
        **vars(header), "sorted": int(header.sorted), "first": _null(header.first), "last": _null(header.last),
        "min": _null(header.min), "max": _null(header.max), "columns": blocks.encode(points),
    }  # fmt: skip


def _header(row: Row[Any]) -> Header:
    _, _, count, in_order, first, first_step, first_time, last, last_step, last_time, *extremes = row
    low, low_step, low_time, high, high_step, high_time = extremes
    return Header(
        count, bool(in_order), _nan(first), first_step, first_time, _nan(last), last_step, last_time,
        _nan(low), low_step, low_time, _nan(high), high_step, high_time,
    )  # fmt: skip


def _tally_row(run: int, metric: int, tally: Tally) -> dict[str, Any]:
    return {
        "run": run, "metric": metric, "last": _null(tally.last), "last_step": tally.last_step,
        "last_time": tally.last_time, "min": _null(tally.min), "min_step": tally.min_step, "max": _null(tally.max),
        "max_step": tally.max_step, "total": _null(tally.total), "numbers": tally.numbers, "count": tally.count,
    }  # fmt: skip


def _tally(row: Row[Any]) -> Tally:
    last, last_step, last_time, low, low_step, high, high_step, total, numbers, count = row[2:]
    return Tally(
        _nan(last), last_step, last_time, _nan(low), low_step, _nan(high), high_step, _nan(total), numbers, count
    )


def _null(value: float) -> float | None:
    return None if value != value else value


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
