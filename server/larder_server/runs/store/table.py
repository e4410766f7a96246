"""Tables of runs in SQL: cells, groups with their sums, counts by value, names."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from larder.contract.runs import Run
from larder.contract.values import Param
from larder_server.kernel.context import Context
from larder_server.runs.rules import tables
from larder_server.runs.rules.where import Operand
from larder_server.runs.store import conditions, lists, runs
from larder_server.runs.store.conditions import Series
from larder_server.runs.store.search import Matching

SAMPLED = 400
"""So many of the newest runs are asked which names they have."""


# -- rows ----------------------------------------------------------------------------------------------------------


def cells(context: Context, found: Sequence[tuple[int, Run]], columns: Sequence[Operand]) -> dict[int, list[Param]]:
    """The values of the columns, by run; a column that nothing is called so is empty."""
    series = _series(context, columns)
    seqs = [seq for seq, _ in found]
    metrics = _metrics(context, seqs, sorted({s.number for s in series if s and s.kind == "metric" and s.number}))
    params = _params(context, seqs, sorted({s.number for s in series if s and s.kind == "param" and s.number}))
    tags = runs.tags_of(context, seqs) if any(c.kind == "field" and c.name == "tags" for c in columns) else {}
    now = context.clock.now()
    answer: dict[int, list[Param]] = {}
    for seq, run in found:
        row: list[Param] = []
        for column, of in zip(columns, series, strict=True):
            if column.kind == "field":
                row.append(_of_field(run, column.name, tags.get(seq, []), now))
            elif of is None or of.number is None:
                row.append(None)
            elif of.kind == "param":
                row.append(params.get((seq, of.number)))
            else:
                summary = metrics.get((seq, of.number))
                value = None if summary is None else summary[of.statistic]
                row.append(tables.cell(value, recorded=summary is not None))
        answer[seq] = row
    return answer


def told(context: Context, seqs: Sequence[int]) -> tuple[dict[int, list[str]], set[int]]:
    """The names of the parameters of runs that have a value, and the runs of which a fact or artifact names the data."""
    names: dict[int, list[str]] = {seq: [] for seq in seqs}
    with_data: set[int] = set()
    known: dict[int, str] = {}
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            f"select run, param from run_params where tenant = :tenant and run in ({marks}) and value <> 'null'",
            **values,
        )
        unknown = sorted({row.param for row in rows} - known.keys())
        known |= _param_names(context, unknown)
        for run, param in rows:
            names[run].append(known[param])
        kinds, facts = lists.bound("fact", tables.FACTS_OF_DATA)
        rows = context.db.execute(
            f"select run from run_facts where tenant = :tenant and run in ({marks}) and name in ({kinds})",
            **values, **facts,
        )  # fmt: skip
        with_data.update(row.run for row in rows)
        rows = context.db.execute(
            f"select run from artifacts where tenant = :tenant and run in ({marks}) and kind = :kind",
            kind=tables.DATASET, **values,
        )  # fmt: skip
        with_data.update(row.run for row in rows)
    return names, with_data


def _param_names(context: Context, numbers: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for piece in lists.pieces(numbers):
        marks, values = lists.bound("seq", piece)
        rows = context.db.execute(
            f"select seq, name from param_names where tenant = :tenant and seq in ({marks})", **values
        )
        found.update((row.seq, row.name) for row in rows)
    return found


def _series(context: Context, columns: Sequence[Operand]) -> list[Series | None]:
    """What each column stands for; None for a field, and for a name that is nothing here."""
    recorded = [column for column in columns if column.kind != "field"]
    names = conditions.names(context, recorded)
    return [None if column.kind == "field" else names.series(column) for column in columns]


def _metrics(
    context: Context, seqs: Sequence[int], numbers: Sequence[int]
) -> dict[tuple[int, int], dict[str, float | None]]:
    found: dict[tuple[int, int], dict[str, float | None]] = {}
    if not numbers:
        return found
    of, named = lists.bound("metric", numbers)
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            "select run, metric, last, min, max, total, numbers, count as points from metric_summaries"
            f" where tenant = :tenant and run in ({marks}) and metric in ({of})",
            **values, **named,
        )  # fmt: skip
        for run, metric, last, low, high, total, count, points in rows:
            mean = total / count if count and total is not None else None
            found[run, metric] = {"last": last, "min": low, "max": high, "mean": mean, "count": points}
    return found


def _params(context: Context, seqs: Sequence[int], numbers: Sequence[int]) -> dict[tuple[int, int], Param]:
    found: dict[tuple[int, int], Param] = {}
    if not numbers:
        return found
    of, named = lists.bound("param", numbers)
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            f"select run, param, value from run_params where tenant = :tenant and run in ({marks}) and param in ({of})",
            **values, **named,
        )  # fmt: skip
        for run, param, value in rows:
            found[run, param] = runs.shown(value)
    return found


def _of_field(run: Run, name: str, tags: list[str], now: int) -> Param:
    if name == "tags":
        return ", ".join(tags)
    if name == "code":
        return " ".join(part for part in (run.commit, run.branch) if part)
    if name == "duration":
        return (
            None if run.started is None else max(0, (run.ended if run.ended is not None else now) - run.started) / 1e6
        )
    value = getattr(run, name)
    return str(value) if isinstance(value, str) else value


# -- groups --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sums:
    """A metric's values in a group: differences from `origin`, added up, and their squares; what is left out."""

    count: int
    left_out: int
    origin: float
    total: float
    squares: float
    min: float | None
    max: float | None


@dataclass(frozen=True, kw_only=True)
class Same:
    """A parameter's values in a group: how many runs have one, how many different ones, and the one where it is one."""

    count: int
    values: int
    only: Param


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """One group: what it agrees in, its runs, when the newest was made, how many seeds, and what its columns hold."""

    key: list[Param]
    runs: int
    newest: int
    seeds: int
    columns: list[Sums | Same | None]


@dataclass(frozen=True, kw_only=True)
class Groups:
    """One page of groups; how many there are, and how many runs in all of them."""

    groups: list[Grouped]
    total: int
    runs: int
    seed: str


def groups(
    context: Context, found: Matching, *, keys: Sequence[Operand], columns: Sequence[Operand],
    order: Sequence[tuple[str, int, bool]], limit: int, offset: int,
) -> Groups:  # fmt: skip
    """Groups of the runs that match. `order` names `key`, `runs` or `column`, its place, and whether it descends."""
    binds = found.binds
    seed = _seed(context)
    joins: list[str] = []
    inner: list[str] = ["r.seq as run", "r.created as made"]
    outer: list[str] = ["count(*) as n", "max(x.made) as newest"]
    by: list[str] = []
    key_series, column_series = _series(context, keys), _series(context, columns)
    for place, (key, of) in enumerate(zip(keys, key_series, strict=True)):
        if key.kind == "field":
            inner.append(f"{conditions.COLUMNS[key.name]} as k{place}")
            by.append(f"x.k{place}")
            outer.append(f"x.k{place} as k{place}")
        elif of is None or of.number is None:
            outer.append(f"null as k{place}")
        else:
            joins.append(_joined_param(f"g{place}", binds.add(of.number)))
            # 4 and 4.0 are one value; true and 1 are two
            inner += [
                f"case when g{place}.value in ('true', 'false') then null else g{place}.number end as k{place}n",
                f"case when g{place}.number is null or g{place}.value in ('true', 'false') then g{place}.value end"
                f" as k{place}t",
                f"g{place}.value as k{place}",
            ]
            by += [f"x.k{place}n", f"coalesce(x.k{place}t, 'null')"]
            outer += [f"min(x.k{place}) as k{place}", f"min(x.k{place}n) as k{place}n"]
    origins: dict[int, float] = {}
    for place, (column, of) in enumerate(zip(columns, column_series, strict=True)):
        if column.kind == "field" or of is None or of.number is None:
            continue
        number = binds.add(of.number)
        if of.kind == "param":
            joins.append(_joined_param(f"c{place}", number))
            inner.append(f"c{place}.value as c{place}")
            outer += [
                f"count(x.c{place}) as c{place}n", f"count(distinct x.c{place}) as c{place}v",
                f"min(x.c{place}) as c{place}o",
            ]  # fmt: skip
            continue
        value = conditions.statistic(f"c{place}", of.statistic)
        origins[place] = _origin(context, of)
        origin = binds.add(origins[place])
        joins.append(
            f"left join metric_summaries c{place} on c{place}.tenant = :tenant and c{place}.run = r.seq"
            f" and c{place}.metric = {number}"
        )
        inner += [
            f"case when abs({value}) < {tables.BEYOND!r} then {value} - {origin} end as c{place}",
            f"c{place}.count as c{place}p",
        ]
        outer += [
            f"count(x.c{place}) as c{place}n", f"count(x.c{place}p) as c{place}r", f"sum(x.c{place}) as c{place}s",
            f"sum(x.c{place} * x.c{place}) as c{place}q", f"min(x.c{place}) as c{place}a", f"max(x.c{place}) as c{place}z",
        ]  # fmt: skip
    if seed is not None:
        joins.append(_joined_param("seed", binds.add(seed[0])))
        inner.append("seed.value as seed")
        outer.append("count(distinct x.seed) as seeds")
    ordered = [_group_key(what, place, descending, key_series, origins) for what, place, descending in order]
    # a group without runs is none: without keys, one row would come of nothing
    sql = (
        f"with x as (select {', '.join(inner)} {found.joined(' '.join(joins))}),"
        f" y as (select {', '.join(outer)} from x group by {', '.join(by) or '1 = 1'} having count(*) > 0)"
        " select y.*, count(*) over () as groups, sum(y.n) over () as runs from y"
        f" order by {', '.join([*ordered, 'y.newest desc'])} limit :limit offset :offset"
    )
    rows = context.db.execute(sql, **binds.values, limit=limit, offset=offset)
    return Groups(
        groups=[_grouped(row, keys, key_series, columns, column_series, origins) for row in rows],
        total=rows[0].groups if rows else 0,
        runs=int(rows[0].runs) if rows else 0,
        seed="" if seed is None else seed[1],
    )


def _group_key(
    what: str, place: int, descending: bool, keys: Sequence[Series | None], origins: dict[int, float]
) -> str:
    way = "desc" if descending else "asc"
    if what == "runs":
        return f"y.n {way}"
    if what == "column":
        if place in origins:
            mean = f"y.c{place}s / nullif(y.c{place}n, 0)"
            return f"{mean} is null, {mean} {way}"
        return "y.newest desc"
    of = keys[place]
    if of is None or of.number is None:
        return f"y.k{place} {way}"
    return f"y.k{place} is null, y.k{place}n is null, y.k{place}n {way}, y.k{place} {way}"


def _grouped(
    row: Any, keys: Sequence[Operand], key_series: Sequence[Series | None], columns: Sequence[Operand],
    column_series: Sequence[Series | None], origins: dict[int, float],
) -> Grouped:  # fmt: skip
    values = row._asdict()
    key: list[Param] = []
    for place, (one, of) in enumerate(zip(keys, key_series, strict=True)):
        value = values[f"k{place}"]
        if one.kind == "field":
            key.append(bool(value) if one.name in ("archived", "published") else value)
        else:
            key.append(None if of is None or value is None else runs.shown(value))
    cells: list[Sums | Same | None] = []
    for place, (column, of) in enumerate(zip(columns, column_series, strict=True)):
        if column.kind == "field" or of is None or of.number is None:
            cells.append(None)
        elif of.kind == "param":
            different = values[f"c{place}v"]
            only = runs.shown(values[f"c{place}o"]) if different == 1 else None
            cells.append(Same(count=values[f"c{place}n"], values=different, only=only))
        else:
            low, high = values[f"c{place}a"], values[f"c{place}z"]
            origin = origins[place]
            cells.append(
                Sums(
                    count=values[f"c{place}n"], left_out=values[f"c{place}r"] - values[f"c{place}n"], origin=origin,
                    total=values[f"c{place}s"] or 0.0, squares=values[f"c{place}q"] or 0.0,
                    min=None if low is None else low + origin, max=None if high is None else high + origin,
                )
            )  # fmt: skip
    return Grouped(key=key, runs=values["n"], newest=values["newest"], seeds=values.get("seeds") or 0, columns=cells)


def _joined_param(alias: str, number: str) -> str:
    return (
        f"left join run_params {alias} on {alias}.tenant = :tenant and {alias}.run = r.seq and {alias}.param = {number}"
    )


def _origin(context: Context, of: Series) -> float:
    """Some value of a metric: what is near the values that are added up loses no digits of their differences."""
    value = conditions.statistic("s", of.statistic)
    row = context.db.one(
        f"select {value} as value from metric_summaries s where s.tenant = :tenant and s.metric = :metric"
        f" and abs({value}) < {tables.BEYOND!r} limit 1",
        metric=of.number,
    )
    return 0.0 if row is None else float(row.value)


def _seed(context: Context) -> tuple[int, str] | None:
    """The number and name of the parameter that is the seed."""
    rows = context.db.execute(
        "select seq, name from param_names where tenant = :tenant"
        " and (lower(name) like :seed or lower(name) like :state) order by seq limit 50",
        seed="%seed%", state="%random%state%",
    )  # fmt: skip
    return next(((row.seq, row.name) for row in rows if tables.is_seed(row.name)), None)


# -- counts by value -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How often each value occurs, the most frequent ones; how many there are; the ends of those that are numbers."""

    top: list[tuple[Param, int]]
    values: int
    low: float | None = None
    high: float | None = None


def count(context: Context, found: Matching) -> int:
    """How many runs match."""
    return int(context.db.execute(f"select count(*) as n {found.joined()}", **found.binds.values)[0].n)


def facet(context: Context, found: Matching, of: Operand, *, limit: int) -> Counted:
    """The values of a field, of the tags or of a parameter among the runs that match."""
    binds = dict(found.binds.values)
    low = high = None
    if of.kind == "field" and of.name == "tags":
        tagged = found.joined("join run_tags t on t.tenant = :tenant and t.run = r.seq")
        counted = f"select t.tag as value, count(*) as n {tagged} group by t.tag"
    elif of.kind == "field":
        column = conditions.COLUMNS[of.name]
        counted = f"select {column} as value, count(*) as n {found.joined()} group by {column}"
    else:
        [series] = _series(context, [of])
        if series is None or series.kind != "param" or series.number is None:
            return Counted(top=[], values=0)
        binds["facet"] = series.number
        param = found.joined("join run_params f on f.tenant = :tenant and f.run = r.seq and f.param = :facet")
        counted = f"select f.value as value, min(f.number) as number, count(*) as n {param} group by f.value"
    ends = ", min(y.number) over () as low, max(y.number) over () as high" if of.kind != "field" else ""
    rows = context.db.execute(
        f"with y as ({counted}) select y.value, y.n, count(*) over () as many{ends} from y"
        " order by y.n desc, y.value limit :limit",
        **binds, limit=limit,
    )  # fmt: skip
    if rows and of.kind != "field":
        low, high = rows[0].low, rows[0].high
    return Counted(
        top=[(_facet_value(of, row.value), row.n) for row in rows], values=rows[0].many if rows else 0,
        low=low if low is not None and math.isfinite(low) else None,
        high=high if high is not None and math.isfinite(high) else None,
    )  # fmt: skip


def values(context: Context, of: Operand, *, limit: int) -> Counted:
    """The values of a parameter in all runs of the tenant."""
    [series] = _series(context, [of])
    if series is None or series.kind != "param" or series.number is None:
        return Counted(top=[], values=0)
    rows = context.db.execute(
        "select value, count(*) as n from run_params where tenant = :tenant and param = :param group by value"
        " order by n desc, value limit :limit",
        param=series.number, limit=limit,
    )  # fmt: skip
    return Counted(top=[(runs.shown(row.value), row.n) for row in rows], values=len(rows))


def _facet_value(of: Operand, value: Any) -> Param:
    if of.kind != "field":
        return runs.shown(value)
    return bool(value) if of.name in ("archived", "published") else value


# -- names ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Known:
    """A metric or a parameter: how many of the newest runs have it, how many values it has there, whether numbers."""

    name: str
    kind: str
    runs: int = 0
    values: int = 0
    number: bool = True


def newest(context: Context, project: str) -> list[int]:
    """The newest runs, of a project where one is named."""
    rows = context.db.execute(
        "select r.seq from runs r where r.tenant = :tenant and r.archived = 0"
        + (" and r.project = :project" if project else "")
        + " order by r.created desc limit :limit",
        project=project, limit=SAMPLED,
    )  # fmt: skip
    return [row.seq for row in rows]


def names(context: Context, seqs: Sequence[int]) -> list[Known]:
    """What some runs have, the most frequent first."""
    if not seqs:
        return []
    marks, values = lists.bound("run", seqs)
    params = context.db.execute(
        "select n.name, count(*) as n, count(distinct p.value) as different,"
        " sum(case when p.number is null and p.value <> 'null' then 1 else 0 end) as texts"
        " from run_params p join param_names n on n.tenant = p.tenant and n.seq = p.param"
        f" where p.tenant = :tenant and p.run in ({marks}) group by n.name",
        **values,
    )
    metrics = context.db.execute(
        "select n.name, count(*) as n from metric_summaries s join metric_names n on n.tenant = s.tenant"
        f" and n.seq = s.metric where s.tenant = :tenant and s.run in ({marks}) group by n.name",
        **values,
    )
    found = [Known(name=row.name, kind="metric", runs=row.n) for row in metrics]
    found += [
        Known(name=row.name, kind="param", runs=row.n, values=row.different, number=not row.texts) for row in params
    ]
    return sorted(found, key=lambda one: (-one.runs, one.name))


def named(context: Context, text: str, *, limit: int) -> list[Known]:
    """Metrics and parameters of any run whose name holds a text."""
    pattern = "%" + "".join(f"!{c}" if c in "!%_" else c for c in text.lower()) + "%"
    metrics = context.db.execute(
        "select name from metric_names where tenant = :tenant and lower(name) like :pattern escape '!'"
        " order by name limit :limit",
        pattern=pattern, limit=limit,
    )  # fmt: skip
    params = context.db.execute(
        "select name from param_names where tenant = :tenant and lower(name) like :pattern escape '!'"
        " order by name limit :limit",
        pattern=pattern, limit=limit,
    )  # fmt: skip
    return [
        *(Known(name=row.name, kind="metric") for row in metrics), *(Known(name=row.name, kind="param") for row in params)
    ]  # fmt: skip


def recorded(context: Context, seqs: Sequence[int]) -> tuple[list[str], list[str]]:
    """The names of all metrics and parameters that runs have, sorted."""
    metrics: set[str] = set()
    params: set[str] = set()
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            "select distinct n.name from metric_summaries s join metric_names n on n.tenant = s.tenant"
            f" and n.seq = s.metric where s.tenant = :tenant and s.run in ({marks})",
            **values,
        )
        metrics.update(row.name for row in rows)
        rows = context.db.execute(
            "select distinct n.name from run_params p join param_names n on n.tenant = p.tenant and n.seq = p.param"
            f" where p.tenant = :tenant and p.run in ({marks})",
            **values,
        )
        params.update(row.name for row in rows)
    return sorted(metrics), sorted(params)


def is_text(context: Context, columns: Sequence[Operand]) -> list[bool]:
    """Whether a column may hold text: a parameter that was text somewhere."""
    answer = []
    for column, of in zip(columns, _series(context, columns), strict=True):
        if column.kind == "field" or of is None or of.number is None or of.kind == "metric":
            answer.append(False)
        else:
            row = context.db.one(
                "select 1 from run_params where tenant = :tenant and param = :param and number is null"
                " and value <> 'null' limit 1",
                param=of.number,
            )
            answer.append(row is not None)
    return answer


# -- changes of many -----------------------------------------------------------------------------------------------


def newest_seq(context: Context) -> int:
    """The number of the newest run."""
    row = context.db.one("select max(seq) as last from runs where tenant = :tenant")
    return int(row.last or 0) if row is not None else 0


def after(context: Context, found: Matching, *, after: int, until: int, limit: int) -> list[tuple[int, str]]:
    """The next runs that match, by the number under which they were made, with their ids."""
    rows = context.db.execute(
        f"select r.seq, r.id {found.joined()} and r.seq > :after and r.seq <= :until order by r.seq limit :limit",
        **found.binds.values, after=after, until=until, limit=limit,
    )  # fmt: skip
    return [(row.seq, row.id) for row in rows]
