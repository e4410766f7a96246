"""Runs as a table: rows of columns, groups, counts by value, names and what may come next in a condition."""

from collections.abc import Sequence

from larder.contract import directions
from larder.contract.errors import Invalid
from larder.contract.runs import Run, RunQuery, Selection
from larder.contract.tables import (
    Completion,
    CompletionQuery,
    Completions,
    Facet,
    FacetQuery,
    Facets,
    FacetValue,
    Group,
    GroupQuery,
    Groups,
    Name,
    NameQuery,
    Names,
    Row,
    Spread,
    Table,
    TableQuery,
)
from larder_server.kernel.context import Context
from larder_server.runs.rules import completing, tables, where
from larder_server.runs.rules.completing import Place
from larder_server.runs.rules.where import Operand
from larder_server.runs.store import runs, search
from larder_server.runs.store import table as store
from larder_server.runs.store.table import Known, Same, Sums

MOST_ROWS = 1_000
MOST_GROUPS = 1_000
MOST_NAMES = 1_000

_LOOKED_AT = 100
_TELLING_METRICS, _TELLING_PARAMS = 3, 4


def table(context: Context, query: TableQuery) -> Table:
    """One page of rows. Invalid: a condition, an order or a column does not parse, or a page is too long."""
    if not 0 <= query.limit <= MOST_ROWS:
        raise Invalid(f"limit is between 0 and {MOST_ROWS:,}", field="limit")
    telling = query.columns.strip() == "*"
    columns = tables.columns(", ".join(_telling(context, query.project)) if telling else query.columns)
    found = search.find(
        context,
        RunQuery(project=query.project, where=query.where, text=query.text, order_by=query.order_by,
                 descending=query.descending, limit=query.limit, offset=query.offset, archived=query.archived),
    )  # fmt: skip
    return Table(rows=rows(context, found.seqs, columns), total=found.total, total_is_exact=found.total_is_exact,
                 columns=[column.text for column in columns])  # fmt: skip


def rows(context: Context, seqs: Sequence[int], columns: Sequence[Operand]) -> list[Row]:
    """Runs by number as rows."""
    records = runs.by_seqs(context, seqs)
    pairs = [(record.seq, record.run) for record in records]
    tags = runs.tags_of(context, seqs)
    cells = store.cells(context, pairs, columns)
    params, with_data = store.told(context, seqs)
    return [
        Row(
            id=run.id, name=run.name, project=run.project, status=run.status, created=run.created, user=run.user,
            kind=run.kind, started=run.started, ended=run.ended, reason=run.reason, commit=run.commit, queue=run.queue,
            archived=run.archived, published=run.published, tags=tags[seq], cells=cells[seq],
            missing=tables.missing(run, params=params[seq], has_data=seq in with_data),
        )
        for seq, run in pairs
    ]  # fmt: skip


def missing(context: Context, found: Sequence[tuple[int, Run]]) -> dict[int, list[str]]:
    """What runs lack to be repeated, by number."""
    params, with_data = store.told(context, [seq for seq, _ in found])
    return {seq: tables.missing(run, params=params[seq], has_data=seq in with_data) for seq, run in found}


def groups(context: Context, query: GroupQuery) -> Groups:
    """Groups of the runs that match. Invalid: a condition, a name or an order does not parse, or a page is too long."""
    if not 0 <= query.limit <= MOST_GROUPS:
        raise Invalid(f"limit is between 0 and {MOST_GROUPS:,}", field="limit")
    if not 0 <= query.offset < 2**31:
        raise Invalid("offset is a number from 0", field="offset")
    keys, columns = tables.keys(query.by), tables.columns(query.columns)
    found = store.groups(
        context, search.matching(context, query), keys=keys, columns=columns, order=_group_order(query, keys, columns),
        limit=query.limit, offset=query.offset,
    )  # fmt: skip
    return Groups(
        groups=[
            Group(
                key=one.key, runs=one.runs, newest=one.newest, seeds=one.seeds,
                where=" and ".join(tables.condition(key, value) for key, value in zip(keys, one.key, strict=True)),
                cells=[_spread(cell) for cell in one.columns],
            )
            for one in found.groups
        ],
        total=found.total,
        runs=found.runs,
        seed=found.seed,
    )  # fmt: skip


def facets(context: Context, query: FacetQuery) -> Facets:
    """How often which value occurs. Invalid: a condition or a name does not parse, or `limit` is too long."""
    if not 1 <= query.limit <= MOST_NAMES:
        raise Invalid(f"limit is between 1 and {MOST_NAMES:,}", field="limit")
    names = tables.facets(query.of)
    found = search.matching(context, query)
    answer = []
    for name in names:
        counted = store.facet(context, found, name, limit=query.limit)
        top = [FacetValue(value=value, runs=n, where=tables.condition(name, value)) for value, n in counted.top]
        answer.append(Facet(of=name.text, top=top, values=counted.values, low=counted.low, high=counted.high))
    return Facets(facets=answer, runs=store.count(context, found))


def names(context: Context, query: NameQuery) -> Names:
    """Names of fields, metrics and parameters. Invalid: `kind` or `limit` cannot be."""
    if query.kind not in ("", "field", "metric", "param"):
        raise Invalid("kind is field, metric, param or empty", field="kind")
    if not 1 <= query.limit <= MOST_NAMES:
        raise Invalid(f"limit is between 1 and {MOST_NAMES:,}", field="limit")
    if "\0" in query.text:
        raise Invalid("text holds the character NUL", field="text")
    seqs = store.newest(context, query.project)
    wanted = query.text.strip().lower()
    fields = [
        Name(name=name, kind="field", text=name, holds=holds, runs=len(seqs)) for name, holds in where.FIELDS.items()
    ]
    recorded = store.names(context, seqs)
    if wanted:
        seen = {(one.kind, one.name) for one in recorded}
        found = store.named(context, wanted, limit=query.limit)
        recorded += [one for one in found if (one.kind, one.name) not in seen]
    known = [*fields, *(_name(one) for one in recorded)]
    chosen = [one for one in known if wanted in one.text.lower() and query.kind in ("", one.kind)]
    return Names(names=sorted(chosen, key=lambda one: _likely(one, wanted))[: query.limit], sampled=len(seqs))


def complete(context: Context, query: CompletionQuery) -> Completions:
    """What may stand at a place of a condition, and what is wrong with the condition as it is."""
    if not 1 <= query.limit <= MOST_NAMES:
        raise Invalid(f"limit is between 1 and {MOST_NAMES:,}", field="limit")
    problem, at = "", None
    try:
        search.matching(context, Selection(project=query.project, where=query.where))
    except Invalid as refusal:
        problem, at = str(refusal).partition("\n")[0] + (f" ({refusal.hint})" if refusal.hint else ""), refusal.position
    place = completing.place(query.where, query.position)
    found = [*_names(context, query, place), *_words(place), *_values(context, query, place)]
    return Completions(completions=found[: query.limit], problem=problem, at=at)


def _telling(context: Context, project: str) -> list[str]:
    """The columns that tell most of a project: what its newest runs measure, and in what they differ."""
    known = store.names(context, store.newest(context, project)[:_LOOKED_AT])
    metrics = [one.name for one in known if one.kind == "metric" and not one.name.startswith(("system/", "rank."))]
    if main := directions.main_metric(metrics):
        metrics = [main, *(name for name in metrics if name != main)]
    params = [one.name for one in known if one.kind == "param" and one.values > 1]
    return [
        *(where.written("metric", name) for name in metrics[:_TELLING_METRICS]),
        *(where.written("param", name) for name in params[:_TELLING_PARAMS]),
    ]


# -- helpers -------------------------------------------------------------------------------------------------------


def _group_order(query: GroupQuery, keys: Sequence[Operand], columns: Sequence[Operand]) -> list[tuple[str, int, bool]]:
    """By what groups are sorted: the names of `order_by`, then the keys."""
    key_names, column_names = [key.text for key in keys], [column.text for column in columns]
    order: list[tuple[str, int, bool]] = []
    for one in where.order(query.order_by):
        text, downwards = one.operand.text, bool(one.descending)
        if text == "runs":
            order.append(("runs", 0, downwards))
        elif text in key_names:
            order.append(("key", key_names.index(text), downwards))
        elif text in column_names and columns[column_names.index(text)].kind != "field":
            order.append(("column", column_names.index(text), downwards))
        else:
            where.refuse(
                query.order_by, one.operand.position, f"cannot be {text}: groups have no such column", field="order_by",
                hint=f"choose of runs, {', '.join([*key_names, *column_names])}",
            )  # fmt: skip
    return [*order, *(("key", place, False) for place in range(len(keys)))]


def _spread(cell: Sums | Same | None) -> Spread:
    if cell is None:
        return Spread()
    if isinstance(cell, Same):
        return Spread(count=cell.count, values=cell.values, only=cell.only)
    if not cell.count:
        return Spread(left_out=cell.left_out)
    sure = tables.interval(count=cell.count, origin=cell.origin, total=cell.total, squares=cell.squares)
    return Spread(count=cell.count, left_out=cell.left_out, mean=sure.mean, low=sure.low, high=sure.high,
                  deviation=sure.deviation, min=cell.min, max=cell.max)  # fmt: skip


def _name(one: Known) -> Name:
    kind = "metric" if one.kind == "metric" else "param"
    text = where.written("metric" if one.kind == "metric" else "param", one.name)
    holds = "number" if one.number else "text"
    return Name(name=one.name, kind=kind, text=text, holds=holds, runs=one.runs, values=one.values)


_COMMON = ("status", "user", "name", "tags", "created", "duration", "project")
"""The fields that are asked for most."""


def _likely(one: Name, wanted: str) -> tuple[bool, int, int, bool, str]:
    """What begins with the text comes before what holds it; what many runs have before what few have."""
    own = not (one.name.lower().startswith(wanted) or one.text.lower().startswith(wanted))
    if one.kind == "field":
        return (own, 0, _COMMON.index(one.name), False, "") if one.name in _COMMON else (own, 2, 0, False, one.name)
    return (own, 3 if one.name.startswith("system/") else 1, -one.runs, one.kind != "metric", one.name)


def _words(place: Place) -> list[Completion]:
    return [
        Completion(text=text, kind=kind, start=place.start, end=place.end, note=note)
        for text, kind, note in place.words
        if text.startswith(place.typed.lower())
    ]


def _names(context: Context, query: CompletionQuery, place: Place) -> list[Completion]:
    if not place.names:
        return []
    found = names(context, NameQuery(text=place.typed.strip("\"`'"), project=query.project, limit=query.limit))
    return [
        Completion(text=one.text, kind=one.kind, start=place.start, end=place.end,
                   note=one.holds if one.kind == "field" else f"in {one.runs} of the newest {found.sampled}")
        for one in found.names
    ]  # fmt: skip


def _values(context: Context, query: CompletionQuery, place: Place) -> list[Completion]:
    """The values that the compared name has among the runs of the project."""
    if place.compared is None:
        return []
    one = place.compared
    given = [
        Completion(text=text, kind="value", start=place.start, end=place.end, note=note)
        for text, note in completing.given(one)
        if text.lower().startswith(place.typed.lower())
    ]
    if given or one.kind == "metric" or one.statistic or one.kind in ("params", "metrics"):
        return given
    if one.kind == "field" and (one.name in tables.NO_GROUPS and one.name != "tags"):
        return given
    if one.kind == "field":
        counted = store.facet(context, search.matching(context, Selection(project=query.project)), one, limit=500)
    else:
        counted = store.values(context, one, limit=500)
    wanted = place.typed.strip("\"'").lower()
    return [
        Completion(text=where.literal(value if value != "" else None), kind="value", start=place.start, end=place.end,
                   note=f"{n:,} runs")
        for value, n in counted.top
        if str(value).lower().startswith(wanted)
    ][: query.limit]  # fmt: skip
