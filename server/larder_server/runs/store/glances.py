"""Projects at a glance and names of all kinds, in SQL that stays quick over many runs."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy.engine import Row

from larder.contract.home import Brief
from larder.contract.runs import RunStatus
from larder_server.kernel.context import Context
from larder_server.runs.store import lists, runs

_BRIEF = "id, name, project, status, actor, created, started, ended"

WALKED = 5_000
"""So many of the best values of all projects are looked through for one of a project with many runs."""

NEWEST_ARTIFACTS = 20_000
"""So many artifacts, those of the newest runs, are looked through for a name."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many runs of a status a project has, and when the newest of them was made."""

    project: str
    status: str
    runs: int
    newest: int


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """A run with the number by which the other tables point at it, and when it was last heard of."""

    seq: int
    run: Brief
    heard: int


@dataclass(frozen=True, kw_only=True)
class Extreme:
    """A run with an extreme of one of its metrics."""

    seq: int
    value: float


def counts(context: Context) -> list[Count]:
    """The runs of each project that are not archived, by status."""
    rows = context.db.execute(
        "select project, status, count(*) as runs, max(created) as newest from runs"
        " where tenant = :tenant and archived = 0 group by project, status"
    )
    return [Count(project=row.project, status=row.status, runs=int(row.runs), newest=row.newest) for row in rows]


def running(context: Context, *, most: int) -> list[Numbered]:
    """The newest of the runs that execute now."""
    rows = context.db.execute(
        f"select seq, heartbeat, {_BRIEF} from runs where tenant = :tenant and status = 'running'"
        f" and {context.db.aside}archived = 0 order by {context.db.aside}created desc limit :most",
        most=most,
    )
    return [_numbered(row) for row in rows]


def newest(context: Context, project: str, *, most: int) -> list[Numbered]:
    """The newest runs of a project that have begun, the newest first."""
    rows = context.db.execute(
        f"select seq, heartbeat, {_BRIEF} from runs where tenant = :tenant and project = :project and archived = 0"
        f" and {context.db.aside}status not in ('draft', 'queued') order by created desc limit :most",
        project=project,
        most=most,
    )
    return [_numbered(row) for row in rows]


def metrics_of(context: Context, seqs: Sequence[int]) -> dict[str, int]:
    """The numbers of the metrics that any of these runs has, by name."""
    found: dict[str, int] = {}
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            "select distinct n.seq, n.name from metric_summaries s join metric_names n on n.tenant = s.tenant"
            f" and n.seq = s.metric where s.tenant = :tenant and s.run in ({marks})",
            **values,
        )
        found.update((row.name, row.seq) for row in rows)
    return found


def values_of(context: Context, seqs: Sequence[int], metric: int, *, lower: bool) -> dict[int, float]:
    """The best value of a metric of each of these runs that has one."""
    column = "min" if lower else "max"
    found: dict[int, float] = {}
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            # by the key: the index of the metric holds every run there is
            f"select run, {column} as value from metric_summaries where tenant = :tenant and run in ({marks})"
            f" and {context.db.aside}metric = :metric and {context.db.aside}{column} is not null",
            metric=metric,
            **values,
        )
        found.update((row.run, row.value) for row in rows)
    return found


def best(context: Context, project: str, metric: int, *, lower: bool, runs: int) -> Extreme | None:
    """The best value of a metric in a project that has so many runs."""
    column, way = ("min", "asc") if lower else ("max", "desc")
    if runs > WALKED:
        row = context.db.one(
            f"select s.run, s.value from (select run, {column} as value from metric_summaries where tenant = :tenant"
            f" and metric = :metric and {column} is not null order by {column} {way} limit :walked) s"
            " cross join runs r where r.tenant = :tenant and r.seq = s.run and r.project = :project and r.archived = 0"
            f" order by s.value {way} limit 1",
            metric=metric, project=project, walked=WALKED,
        )  # fmt: skip
        if row is not None:
            return Extreme(seq=row.run, value=row.value)
    # on SQLite, a cross join is walked from left to right
    row = context.db.one(
        f"select s.run, s.{column} as value from runs r cross join metric_summaries s where r.tenant = :tenant"
        " and r.project = :project and r.archived = 0 and s.tenant = :tenant and s.run = r.seq and s.metric = :metric"
        f" and s.{column} is not null order by s.{column} {way}, s.run limit 1",
        project=project, metric=metric,
    )  # fmt: skip
    return None if row is None else Extreme(seq=row.run, value=row.value)


def briefs(context: Context, seqs: Collection[int]) -> dict[int, Brief]:
    """Runs by number."""
    found: dict[int, Brief] = {}
    for piece in lists.pieces(sorted(seqs)):
        marks, values = lists.bound("seq", piece)
        rows = context.db.execute(
            f"select seq, {_BRIEF} from runs where tenant = :tenant and seq in ({marks})", **values
        )
        found.update((row.seq, _brief(row)) for row in rows)
    return found


def briefs_by_id(context: Context, ids: Sequence[str]) -> dict[str, Brief]:
    """Those of the runs that are there, by id."""
    found: dict[str, Brief] = {}
    for piece in lists.pieces(ids):
        marks, values = lists.bound("id", piece)
        rows = context.db.execute(f"select {_BRIEF} from runs where tenant = :tenant and id in ({marks})", **values)
        found.update((row.id, _brief(row)) for row in rows)
    return found


# -- names ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Value:
    """A text that a parameter has in some runs; `cut` where it is longer than what was looked into."""

    param: str
    text: str
    cut: bool = False


@dataclass(frozen=True, kw_only=True)
class Named:
    """The newest artifact of a name."""

    name: str
    kind: str
    run: int


def by_id_end(context: Context, end: str) -> list[Brief]:
    """Runs whose id ends or begins so."""
    rows = context.db.execute(
        f"select {_BRIEF} from runs where tenant = :tenant and (id like :ends or id like :begins) limit 3",
        ends=f"%{end}",
        begins=f"{end}%",
    )
    return [_brief(row) for row in rows]


def params_like(context: Context, text: str, *, most: int) -> list[str]:
    """Names of parameters that hold a text, the shortest first."""
    return [row.name for row in context.db.execute(
        f"select name from param_names where tenant = :tenant and {_LIKE} order by length(name), name limit :most",
        like=_pattern(text), most=most,
    )]  # fmt: skip


def metrics_like(context: Context, text: str, *, most: int) -> list[str]:
    """Names of metrics that hold a text, the shortest first."""
    return [row.name for row in context.db.execute(
        f"select name from metric_names where tenant = :tenant and {_LIKE} order by length(name), name limit :most",
        like=_pattern(text), most=most,
    )]  # fmt: skip


def values_from(context: Context, text: str, *, params: int, most: int) -> list[Value]:
    """Texts that parameters have as values and that begin so; found in the index of each name."""
    names = context.db.execute(
        "select seq, name from param_names where tenant = :tenant order by seq desc limit :params", params=params
    )
    first = [f'"{beginning}' for beginning in dict.fromkeys((text, text.lower(), text.capitalize(), text.upper()))]
    found: list[Value] = []
    for name in names:
        for low in first:
            rows = context.db.execute(
                "select distinct value from run_params where tenant = :tenant and param = :param and value >= :low"
                " and value < :high order by value limit :most",
                param=name.seq, low=low, high=low + "\U0010ffff", most=most,
            )  # fmt: skip
            found += [_value(name.name, row.value) for row in rows]
        if len(found) >= most:
            break
    return list(dict.fromkeys(found))[:most]


def tags_like(context: Context, text: str, *, most: int) -> list[str]:
    """Tags that begin so."""
    found: dict[str, None] = {}
    for low in dict.fromkeys((text, text.lower(), text.capitalize(), text.upper())):
        rows = context.db.execute(
            "select distinct tag from run_tags where tenant = :tenant and tag >= :low and tag < :high"
            " order by tag limit :most",
            low=low, high=low + "\U0010ffff", most=most,
        )  # fmt: skip
        found.update((row.tag, None) for row in rows)
    return list(found)[:most]


def artifacts_like(context: Context, text: str, *, most: int) -> list[Named]:
    """Artifacts of the newest runs whose name holds a text."""
    rows = context.db.execute(
        "select name, max(kind) as kind, max(run) as run from (select name, kind, run from artifacts"
        " where tenant = :tenant order by run desc, name desc limit :looked_at) few"
        f" where {_LIKE} group by name order by max(run) desc limit :most",
        like=_pattern(text), looked_at=NEWEST_ARTIFACTS, most=most,
    )  # fmt: skip
    return [Named(name=row.name, kind=row.kind, run=row.run) for row in rows]


def _value(param: str, indexed: str) -> Value:
    if indexed.endswith(runs.CUT):
        # up to the first escape: what stands before it is said in JSON as it is
        return Value(param=param, text=indexed[1 : -len(runs.CUT)].partition("\\")[0][:200], cut=True)
    return Value(param=param, text=msgspec.json.decode(indexed))


_LIKE = "lower(name) like :like escape '\\'"


def _pattern(text: str) -> str:
    return "%" + re.sub(r"([%_\\])", r"\\\1", text.lower()) + "%"


def _numbered(row: Row[Any]) -> Numbered:
    return Numbered(seq=row.seq, run=_brief(row), heard=max(row.created, row.ended or 0, row.heartbeat or 0))


def _brief(row: Row[Any]) -> Brief:
    return Brief(id=row.id, name=row.name, project=row.project, status=RunStatus(row.status), user=row.actor,
                 created=row.created, started=row.started, ended=row.ended)  # fmt: skip
